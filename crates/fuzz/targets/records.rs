//! See `streamdb_fuzz::records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::records(data));

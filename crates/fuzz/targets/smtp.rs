//! See `streamdb_fuzz::smtp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::smtp(data));

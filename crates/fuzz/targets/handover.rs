//! See `streamdb_fuzz::handover`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::handover(data));

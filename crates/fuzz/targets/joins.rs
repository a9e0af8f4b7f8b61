//! See `streamdb_fuzz::joins`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::joins(data));

//! See `streamdb_fuzz::journal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::journal(data));

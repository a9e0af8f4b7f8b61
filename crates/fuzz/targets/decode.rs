//! See `streamdb_fuzz::decode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::decode(data));

//! See `streamdb_fuzz::brotli`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::brotli(data));

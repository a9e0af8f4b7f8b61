//! See `streamdb_fuzz::http2`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::http2(data));

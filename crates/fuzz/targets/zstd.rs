//! See `streamdb_fuzz::zstd`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::zstd(data));

//! See `streamdb_fuzz::index_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::index_file(data));

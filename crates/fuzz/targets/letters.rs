//! See `streamdb_fuzz::letters`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::letters(data));

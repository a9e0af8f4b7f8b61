//! See `streamdb_fuzz::fragments`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::fragments(data));

//! See `streamdb_fuzz::hex`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::hex(data));

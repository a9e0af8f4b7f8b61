//! See `streamdb_fuzz::socks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::socks(data));

//! See `streamdb_fuzz::ftp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::ftp(data));

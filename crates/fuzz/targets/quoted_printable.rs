//! See `streamdb_fuzz::quoted_printable`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::quoted_printable(data));

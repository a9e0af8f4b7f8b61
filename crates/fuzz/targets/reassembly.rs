//! See `streamdb_fuzz::reassembly`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::reassembly(data));

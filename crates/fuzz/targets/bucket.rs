//! See `streamdb_fuzz::bucket`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::bucket(data));

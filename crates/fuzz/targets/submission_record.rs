//! See `streamdb_fuzz::submission_record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::submission_record(data));

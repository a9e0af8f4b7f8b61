//! See `streamdb_fuzz::scan_lists`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamdb_fuzz::scan_lists(data));

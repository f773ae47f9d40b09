//! Runs `mantle_fuzz::archive` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mantle_fuzz::archive(bytes));

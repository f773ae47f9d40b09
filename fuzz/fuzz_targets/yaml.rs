//! Runs `mantle_fuzz::yaml` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mantle_fuzz::yaml(bytes));

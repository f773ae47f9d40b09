//! Runs `mantle_fuzz::manifest` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mantle_fuzz::manifest(bytes));

//! Runs `mantle_fuzz::template` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mantle_fuzz::template(bytes));

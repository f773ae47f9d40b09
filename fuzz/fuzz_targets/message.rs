//! Runs `mantle_fuzz::message` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mantle_fuzz::message(bytes));

//! Runs `mantle_fuzz::frame_decoder` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mantle_fuzz::frame_decoder(bytes));

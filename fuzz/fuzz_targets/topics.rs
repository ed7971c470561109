//! `tests/fuzz/topics.rs` under libFuzzer.
#![no_main]

#[path = "../../tests/fuzz/topics.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::body(data));

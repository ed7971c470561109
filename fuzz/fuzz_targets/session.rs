//! `tests/fuzz/session.rs` under libFuzzer.
#![no_main]

#[path = "../../tests/fuzz/session.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::body(data));

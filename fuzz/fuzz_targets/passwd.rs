//! `tests/fuzz/passwd.rs` under libFuzzer.
#![no_main]

#[path = "../../tests/fuzz/passwd.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::body(data));

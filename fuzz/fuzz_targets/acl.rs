//! `tests/fuzz/acl.rs` under libFuzzer.
#![no_main]

#[path = "../../tests/fuzz/acl.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::body(data));

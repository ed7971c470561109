//! `tests/fuzz/event_log.rs` under libFuzzer.
#![no_main]

#[path = "../../tests/fuzz/event_log.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::body(data));

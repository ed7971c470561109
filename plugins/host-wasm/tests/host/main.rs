//! The Wasm host with guests that are made here: what is refused, what ends a call, what is left afterwards. No broker, no port, no
//! toolchain.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests")]

mod asked;
mod grants;
mod guests;
mod hostile;
mod instances;
mod refused;

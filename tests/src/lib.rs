//! What the tests of the whole broker share: an independent wire toolkit, a harness that starts brokers, and a way to
//! run a test in a process of its own.
//!
//! [`wire`] speaks MQTT from the text of the standard alone and uses none of the broker's crates: it is the oracle.
//! [`harness`] is the only file here that touches the broker's embedding API.
#![forbid(unsafe_code)]

pub mod alone;
pub mod harness;
pub mod wire;

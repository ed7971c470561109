//! One test for every normative statement of MQTT 5.0 and 3.1.1 that binds a server, named after it.
//!
//! `v5_3_1_2_22__keep_alive` is the test of [MQTT-3.1.2-22] of 5.0; the two standards use the same numbers for different
//! sentences. `statements.rs` sees to it that none is forgotten.
#![forbid(unsafe_code)]
#![allow(
    non_snake_case,
    reason = "two underscores divide a statement's number from what the test shows"
)]

mod v311;
mod v5;

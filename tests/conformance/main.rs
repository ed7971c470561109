//! One test for every normative statement of MQTT 5.0 and 3.1.1 that binds a server, named after it.
//!
//! `v5_3_1_2_22__keep_alive` is the test of [MQTT-3.1.2-22] of 5.0; the two standards use the same numbers for different
//! sentences. Where both say the same, the body is in `shared` and takes the version. `statements.rs` sees to it that
//! no statement is forgotten. `faults` and `seen_to_fail` hold what other brokers got wrong and no statement says.
#![forbid(unsafe_code)]
#![allow(
    non_snake_case,
    reason = "two underscores divide a statement's number from what the test shows"
)]

mod faults;
mod seen_to_fail;
mod shared;
mod statements;
mod v311;
mod v5;

/// What every test here needs.
mod prelude {
    pub(crate) use jackfield_tests::harness::{TestBroker, eventually, secs};
    pub(crate) use jackfield_tests::wire::Version::{V5, V31, V311};
    pub(crate) use jackfield_tests::wire::*;

    pub(crate) use crate::shared::{self, shared_tests};
}

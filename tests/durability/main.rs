//! What survives a broker that is stopped or killed, and what an acknowledgement means: brokers on a store that shows what
//! a crash would leave, delays its commits and fails.
#![forbid(unsafe_code)]

mod acks;
mod broker;
mod crash;
mod damage;
mod faults;
mod plugins;
mod restart;
mod retained;
mod sessions;
mod wills;
mod window;

/// What every test here needs.
mod prelude {
    pub(crate) use std::time::Duration;

    pub(crate) use broker_core::MemoryStore;
    pub(crate) use jackfield_tests::wire::Version::{V5, V311};
    pub(crate) use jackfield_tests::wire::*;
    pub(crate) use plugin_api::{Durability, StoreFault};

    pub(crate) use crate::broker::{Durable, End, disk};
}

//! The hooks: each reads what the broker shows, calls the author's trait, and says the verdict in the words of the interface.

mod authorize;
mod connection;
mod events;
mod exchange;
mod message;
mod providers;
mod subscription;

use alloc::vec::Vec;
use core::time::Duration;

use super::bindings::base::jackfield::plugin::types::{Denial, UserProperty};
use alloc::string::String;

fn denial(denial: crate::Denial) -> Denial {
    Denial {
        reason: denial.reason.byte(),
        text: denial.text,
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

pub(crate) fn user_properties(pairs: Vec<(String, String)>) -> Vec<UserProperty> {
    pairs
        .into_iter()
        .map(|(key, value)| UserProperty { key, value })
        .collect()
}

//! What chains of plugins do, seen from the wire: every verdict at every hook as the bytes that publisher and subscriber
//! get, who waits for whom, and what a plugin's failure costs.
//!
//! How verdicts fold into one is tested without a socket, in `broker-core/src/hooks`.
#![forbid(unsafe_code)]

mod admission;
mod control;
mod doors;
mod exchange;
mod explain;
mod faults;
mod messages;
mod outgoing;
mod plugin;
mod receive;
mod rights;
mod sharing;
mod subscriptions;
mod waiting;

use jackfield_tests::wire::Version;

/// The versions whose answers differ.
const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

/// What a version makes of a Reason Code that it may not know.
fn told(version: Version, v5: u8, v311: u8) -> u8 {
    if version.is_v5() { v5 } else { v311 }
}

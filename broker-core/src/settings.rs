//! What holds for the whole broker, whatever the listener.

use std::time::Duration;

use crate::routing::ShareStrategy;

/// Which member of a Shared Subscription gets a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedStrategy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Any.
    Random,
    /// The same one until it goes away.
    Sticky,
    /// The same one for each publisher.
    HashClient,
    /// The same one for each Topic Name.
    HashTopic,
    /// The one with the fewest messages under way.
    LeastInflight,
}

impl SharedStrategy {
    /// Every strategy with the name that the configuration uses.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("round-robin", Self::RoundRobin),
        ("random", Self::Random),
        ("sticky", Self::Sticky),
        ("hash-client", Self::HashClient),
        ("hash-topic", Self::HashTopic),
        ("least-inflight", Self::LeastInflight),
    ];
}

impl SharedStrategy {
    pub(crate) fn with_seed(self, seed: u64) -> ShareStrategy {
        match self {
            Self::RoundRobin => ShareStrategy::RoundRobin,
            Self::Random => ShareStrategy::Random(seed),
            Self::Sticky => ShareStrategy::Sticky,
            Self::HashClient => ShareStrategy::HashClient,
            Self::HashTopic => ShareStrategy::HashTopic,
            Self::LeastInflight => ShareStrategy::LeastInflight,
        }
    }
}

/// What a full queue of a Session does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueFull {
    /// The messages that wait longest make room.
    #[default]
    DropOldest,
    /// The new message is dropped.
    DropNewest,
    /// The connection ends with 0x97; without one the new message is dropped.
    Disconnect,
}

/// Settings of the whole broker. A reload makes new ones.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// How shared groups choose.
    pub(crate) share_strategy: ShareStrategy,
    /// What a full queue does.
    pub(crate) queue_full: QueueFull,
    /// Sessions there may be.
    pub(crate) sessions_max: usize,
    /// Retained Messages there may be.
    pub(crate) retained_max: usize,
    /// Bytes of all Retained Messages.
    pub(crate) retained_bytes_max: u64,
    /// Bytes that messages and Sessions may take; `i64::MAX`: any number.
    pub(crate) memory_max: i64,
    /// How often `$SYS` is published; `None`: never.
    pub(crate) sys_interval: Option<Duration>,
}

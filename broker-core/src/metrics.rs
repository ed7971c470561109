//! Counters. Each shard counts for itself, without contention; whoever wants to know sums up.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The counters of one shard.
        #[derive(Debug, Default)]
        pub(crate) struct ShardMetrics { $(pub(crate) $name: Counter,)* }

        /// Sums over all shards since the broker started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counts { $($(#[$doc])* pub $name: u64,)* }

        impl Counts {
            pub(crate) fn add(&mut self, shard: &ShardMetrics) { $(self.$name += shard.$name.get();)* }

            /// Returns every counter with its name, in the order of this page.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, u64)> { vec![$((stringify!($name), self.$name),)*] }
        }
    };
}

counters! {
    /// Network Connections accepted.
    connections_opened,
    /// Network Connections ended.
    connections_closed,
    /// Network Connections refused because of `connections_max`.
    connections_refused,
    /// Times that accepting failed because file descriptors or memory were used up.
    accept_exhausted,
    /// CONNECTs answered with success.
    connects_accepted,
    /// CONNECTs refused.
    connects_refused,
    /// Bytes read from clients.
    bytes_received,
    /// Bytes written to clients.
    bytes_sent,
    /// Control Packets read.
    packets_received,
    /// PUBLISH packets read.
    publishes_received,
    /// PUBLISH packets written or put into a connection's output.
    publishes_sent,
    /// Application Messages taken from publishers.
    messages_accepted,
    /// Application Messages refused: not authorized, rejected by a plugin, over a limit.
    messages_refused,
    /// Deliveries dropped because a queue or an output was full.
    dropped_full,
    /// Deliveries dropped because the message expired.
    dropped_expired,
    /// Deliveries dropped because the message is larger than the client takes.
    dropped_too_large,
    /// Deliveries dropped because the client may not receive the message, or a plugin dropped it.
    dropped_refused,
    /// Deliveries dropped because the Session isn't connected and doesn't keep QoS 0.
    dropped_offline,
    /// Malformed packets and protocol errors: each cost its connection.
    protocol_errors,
    /// Connections ended because nothing came within one and a half Keep Alives.
    keep_alive_timeouts,
    /// Connections ended because they took nothing of what was written.
    write_stalls,
    /// Sessions taken over by another connection.
    take_overs,
    /// Will Messages published.
    wills_fired,
    /// Messages not retained because of a limit.
    retained_refused,
    /// Reads of a client put off because of its rate limit.
    rate_limited,
    /// Panics in a connection's task; each cost its connection.
    panics,
}

/// A number that one thread writes and any may read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds one.
    #[inline]
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Returns the number.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

//! Counters. Each shard counts for itself, without contention; whoever wants to know sums up.
//!
//! A counter has one writer, the thread of its shard, so adding is a plain load and a plain store: no locked instruction
//! and no line that other cores write. Each shard's counters lie in cache lines of their own.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use broker_proto::PacketType;

/// Packet types there are, the reserved 0 included.
const TYPES: usize = 16;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The counters of one shard.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct ShardMetrics {
            $(pub(crate) $name: Counter,)*
            /// Control Packets read.
            pub(crate) received: PacketCounters,
            /// Control Packets written, or put into a connection's output.
            pub(crate) sent: PacketCounters,
            /// What it holds at the moment.
            pub(crate) holds: ShardHolds,
        }

        /// Sums over all shards since the broker started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
            /// Control Packets read, by type.
            pub received: ByPacket,
            /// Control Packets written or put into a connection's output, by type.
            pub sent: ByPacket,
        }

        impl Counts {
            pub(crate) fn add(&mut self, shard: &ShardMetrics) {
                $(self.$name += shard.$name.get();)*
                self.received.add(&shard.received);
                self.sent.add(&shard.sent);
            }

            /// Returns every counter with its name, in the order of this page, without those by packet type.
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
    /// New Sessions refused because memory runs out.
    sessions_refused_memory,
    /// Bytes read from clients.
    bytes_received,
    /// Bytes written to clients.
    bytes_sent,
    /// PUBLISH packets read with QoS 0.
    publishes_received_qos0,
    /// PUBLISH packets read with QoS 1.
    publishes_received_qos1,
    /// PUBLISH packets read with QoS 2.
    publishes_received_qos2,
    /// Bytes of the payloads of PUBLISH packets read.
    publish_bytes_received,
    /// Bytes of the payloads of PUBLISH packets sent.
    publish_bytes_sent,
    /// Application Messages taken from publishers.
    messages_accepted,
    /// Application Messages refused: not authorized, rejected by a plugin, over a limit.
    messages_refused,
    /// Application Messages dropped (QoS 0) or refused with 0x97 because memory runs out.
    messages_refused_memory,
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
    /// Connections ended because there is no memory for the rest of a large packet.
    partial_refused,
    /// Sessions taken over by another connection.
    take_overs,
    /// Sessions that ended because their Session Expiry Interval passed.
    sessions_expired,
    /// Will Messages published.
    wills_fired,
    /// Messages not retained because of a limit.
    retained_refused,
    /// Reads of a client put off because of its rate limit.
    rate_limited,
    /// Panics in a connection; each cost its connection.
    panics,
}

impl Counts {
    /// Returns the deliveries that were dropped, for whatever reason.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped_full
            + self.dropped_expired
            + self.dropped_too_large
            + self.dropped_refused
            + self.dropped_offline
    }
}

/// Numbers of Control Packets by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByPacket([u64; TYPES]);

impl ByPacket {
    /// Every type with the word that `$SYS` and metrics use.
    pub const TYPES: [(&'static str, PacketType); TYPES - 1] = [
        ("connect", PacketType::Connect),
        ("connack", PacketType::ConnAck),
        ("publish", PacketType::Publish),
        ("puback", PacketType::PubAck),
        ("pubrec", PacketType::PubRec),
        ("pubrel", PacketType::PubRel),
        ("pubcomp", PacketType::PubComp),
        ("subscribe", PacketType::Subscribe),
        ("suback", PacketType::SubAck),
        ("unsubscribe", PacketType::Unsubscribe),
        ("unsuback", PacketType::UnsubAck),
        ("pingreq", PacketType::PingReq),
        ("pingresp", PacketType::PingResp),
        ("disconnect", PacketType::Disconnect),
        ("auth", PacketType::Auth),
    ];

    /// Returns the number of one type.
    #[must_use]
    pub const fn of(&self, packet: PacketType) -> u64 {
        self.0[packet as usize]
    }

    /// Returns the number of all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    fn add(&mut self, shard: &PacketCounters) {
        for (sum, counter) in self.0.iter_mut().zip(&shard.0) {
            *sum += counter.get();
        }
    }
}

/// A shard's counters of Control Packets by type.
#[derive(Debug, Default)]
pub(crate) struct PacketCounters([Counter; TYPES]);

impl PacketCounters {
    /// Counts one.
    #[inline]
    pub(crate) fn one(&self, packet: PacketType) {
        self.add(packet, 1);
    }

    /// Counts `n`.
    #[inline]
    pub(crate) fn add(&self, packet: PacketType, n: u64) {
        self.0[packet as usize].add(n);
    }

    /// Counts the packet that begins with `frame`, whole or not.
    #[inline]
    pub(crate) fn frame(&self, frame: &[u8]) {
        if let Some(first) = frame.first() {
            self.0[usize::from(first >> 4)].add(1);
        }
    }
}

/// A number that one thread writes and any may read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the shard that the counter belongs to may call this: two writers would lose counts.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Adds one.
    #[inline]
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Returns the number.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What all Sessions hold together, as far as one shard changed it. One shard adds what another takes away, so only the
/// sums over all shards mean something, and a shard's own may be negative.
#[derive(Debug, Default)]
pub(crate) struct ShardHolds {
    /// Messages that wait in queues.
    pub(crate) queued: Level,
    /// Bytes of topic, payload and properties that wait in queues, counted for each Session.
    pub(crate) queued_bytes: Level,
    /// Messages that wait in the store only; among those that wait in queues.
    pub(crate) behind: Level,
    /// PUBLISH packets with QoS 1 and 2 under way to clients.
    pub(crate) inflight: Level,
    /// Bytes of frames in outputs; large payloads, which are shared, not included.
    pub(crate) output_bytes: Level,
    /// Bytes of packets that aren't complete yet.
    pub(crate) partial_bytes: Level,
}

/// A number that goes up and down. One thread writes it and any may read it.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicI64);

impl Level {
    /// Moves it from a part that was `before` to one that is `after`. One writer, as for [`Counter::add`].
    #[inline]
    pub(crate) fn change(&self, before: usize, after: usize) {
        if before != after {
            let by = (after as i64).wrapping_sub(before as i64);
            self.0.store(self.get().wrapping_add(by), Ordering::Relaxed);
        }
    }

    /// Returns the number.
    #[inline]
    pub(crate) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_type_has_its_place() {
        let shard = ShardMetrics::default();
        for (n, (_, packet)) in ByPacket::TYPES.iter().enumerate() {
            shard.received.add(*packet, n as u64 + 1);
            shard.sent.frame(&[(*packet as u8) << 4]);
        }
        shard.sent.frame(&[]);
        let mut counts = Counts::default();
        counts.add(&shard);
        counts.add(&shard);
        for (n, (_, packet)) in ByPacket::TYPES.iter().enumerate() {
            assert_eq!(counts.received.of(*packet), 2 * (n as u64 + 1));
        }
        assert_eq!((counts.received.total(), counts.sent.total()), (240, 30));
    }

    #[test]
    fn levels_add_up_across_shards() {
        let (one, other) = (Level::default(), Level::default());
        one.change(0, 100);
        other.change(100, 30);
        assert_eq!((one.get(), other.get(), one.get() + other.get()), (100, -70, 30));
    }
}

//! The words in which the engine talks to [`Outbound`](super::Outbound): bounds and wishes in, outcomes out.

use broker_types::{PacketId, ProtocolVersion, QoS, SubscriptionId};

use crate::session::queue::DropPolicy;

/// Bounds of one Session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboundLimits {
    /// PUBLISH packets with QoS 1 and 2 under way at a time, whatever the Client allows; at least 1.
    pub inflight_max: u16,
    /// Messages that wait at most.
    pub queued_messages_max: usize,
    /// Bytes of topic, payload and properties that wait at most.
    pub queued_bytes_max: usize,
    /// Messages that wait in memory; more are left to the owner, see [`Delivered::Behind`].
    pub window: usize,
    /// What happens when the queue is full.
    pub drop: DropPolicy,
    /// Whether QoS 0 messages wait for a Client that is offline.
    pub queue_qos0: bool,
    /// Whether changes are noted for [`Outbound::poll_record`](crate::Outbound::poll_record).
    pub recorded: bool,
}

/// What a connection brings along: the Client's wishes, already limited by our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The version it speaks.
    pub version: ProtocolVersion,
    /// The Client's Receive Maximum; at least 1. 65,535 before 5.0.
    pub receive_maximum: u16,
    /// The Client's Maximum Packet Size.
    pub packet_size_max: Option<u32>,
    /// Topic Aliases that may be used towards it.
    pub topic_alias_maximum: u16,
    /// Bytes in the buffer to the Client from which on nothing is added. One message may exceed it.
    pub outbox_bytes_max: usize,
    /// Whether the Session survives the connection. If not, messages under way are not kept.
    pub resumable: bool,
}

/// How a message goes to one Session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// The granted QoS; that of the message wins when lower.
    pub qos: QoS,
    /// The RETAIN flag to send.
    pub retain: bool,
    /// The Subscription Identifiers of all matching subscriptions.
    pub ids: &'a [SubscriptionId],
    /// Whether it came through a Shared Subscription: it is kept until it is acknowledged, also in a Session that ends
    /// with its connection, because another member may have to get it.
    pub shared: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivered {
    /// It is in the buffer.
    Sent {
        /// Its number and Packet Identifier; `None` with QoS 0.
        under_way: Option<(u64, PacketId)>,
    },
    /// It waits.
    Queued {
        /// Its number.
        seq: u64,
        /// Messages that were dropped to make room.
        dropped: usize,
    },
    /// It was counted, but is not in memory: the owner must keep it under this number and bring it back with
    /// [`Outbound::refill`](crate::Outbound::refill).
    Behind {
        /// Its number.
        seq: u64,
        /// Messages that were dropped to make room.
        dropped: usize,
    },
    /// It will not be delivered.
    Dropped(DropReason),
    /// The queue is full and the policy is to end the connection with 0x97. The message was not taken.
    Overflow,
}

/// Why a message is not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// QoS 0, and the Client is not connected.
    Offline,
    /// QoS 0, and the Client doesn't take what was sent before.
    OutboxFull,
    /// The queue is full.
    QueueFull,
    /// Its Message Expiry Interval has passed `[MQTT-3.3.2-5]`.
    Expired,
    /// The packet is larger than the Client takes `[MQTT-3.1.2-24]`.
    TooLarge,
}

/// What [`Outbound::pump`](crate::Outbound::pump) did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pumped {
    /// PUBLISH packets that were encoded, sent again ones included.
    pub sent: usize,
    /// Bytes of their payloads.
    pub payload_bytes: usize,
    /// PUBREL packets that were sent again.
    pub released: usize,
    /// Messages dropped because their time was over.
    pub expired: usize,
    /// Messages dropped because the Client doesn't take packets of their size.
    pub too_large: usize,
}

/// What an answer of the Client changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Delivery of this message is complete; a code of 0x80 and above says that the Client refused it.
    Finished {
        /// Its number.
        seq: u64,
    },
    /// PUBREC came and PUBREL is in the buffer.
    Released {
        /// Its number.
        seq: u64,
    },
    /// Nothing: the Packet Identifier is unknown, or the answer came a second time.
    Unchanged,
}

/// A change that a durable store must know, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// PUBLISH was encoded with this Packet Identifier.
    Sent {
        /// Number of the message.
        seq: u64,
        /// Its Packet Identifier.
        packet_id: PacketId,
    },
    /// PUBREC came, PUBREL was encoded: PUBLISH must not be sent again `[MQTT-4.3.3-6]`.
    Released {
        /// Number of the message.
        seq: u64,
    },
    /// The message was acknowledged or dropped: forget it.
    Finished {
        /// Number of the message.
        seq: u64,
    },
}

impl Pumped {
    pub(super) fn count(&mut self, delivered: Option<Delivered>, payload_bytes: usize) {
        match delivered {
            Some(Delivered::Sent { .. }) => {
                self.sent += 1;
                self.payload_bytes += payload_bytes;
            }
            Some(Delivered::Dropped(DropReason::TooLarge)) => self.too_large += 1,
            _ => {}
        }
    }
}

//! The sending half of a Session as plain data: what has to survive the broker. How a store encodes it is the store's
//! affair; the receiving half is [`ReceivedIds`](super::ReceivedIds).

use std::sync::Arc;

use broker_types::PacketId;

use super::inflight::Phase;
use super::queue::{Queued, Terms};
use crate::stored::Stored;

/// The state of an [`Outbound`](super::Outbound).
#[derive(Clone, Debug, Default)]
pub struct OutboundSnapshot {
    /// The number that the next message gets.
    pub next_seq: u64,
    /// Where the search for a Packet Identifier goes on; 0 means 1.
    pub next_packet_id: u16,
    /// What is under way, in the order of sending.
    pub inflight: Vec<InFlight>,
    /// What waits, in order, without what is behind the window.
    pub queued: Vec<Queued>,
    /// Messages behind the window.
    pub behind: u64,
    /// Their bytes of topic, payload and properties.
    pub behind_bytes: usize,
}

/// A message under way.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// Its number.
    pub seq: u64,
    /// Its Packet Identifier.
    pub packet_id: PacketId,
    /// How far it has come.
    pub phase: Phase,
    /// The message; not needed any more once it is released.
    pub message: Option<Arc<Stored>>,
    /// How it was sent.
    pub terms: Terms,
}

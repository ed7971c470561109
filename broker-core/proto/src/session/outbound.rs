//! The sending half of a Session: what is under way to the Client, what waits, and what may leave now. It lives as long
//! as the Session and survives its connections; everybody with a message for the Client calls it under the Session's
//! lock. It encodes into the [`WriteBuf`] it is given and never writes, waits or looks anything up.
//!
//! The order of one Session is strict: nothing with QoS 1 or 2 overtakes what waits, and QoS 0 goes past a queue only
//! when there is none. A message leaves when the Client's Receive Maximum and our own limit have room (QoS 1 and 2) and
//! the buffer to the Client isn't full. What doesn't leave waits (QoS 1 and 2) or is dropped (QoS 0).
//!
//! Cost of a delivery that leaves at once: for QoS 0 one encoded or copied frame, nothing else; for QoS 1 besides one
//! place in the ring, and a reference to the shared message if the Session can be resumed. A Session that ends with its
//! connection never sends anything twice, so it keeps no message. No allocation in the steady state.
//!
//! A Session that must survive the broker is *recorded*: each change of what is under way is a [`Record`] to be taken
//! with [`Outbound::poll_record`]. If a record must be safe before its packet leaves (QoS 2: the Packet Identifier before
//! PUBLISH, PUBREC before PUBREL), the owner passes a buffer of its own and appends it to the connection's later.

use std::collections::VecDeque;
use std::sync::Arc;

use broker_types::{PacketId, ProtocolVersion, QoS, ReasonCode, SubscriptionId, Timestamp};

use super::inflight::{Inflight, Phase, Slot};
use super::queue::{DropPolicy, Queue, Queued, Terms};
use super::topic_alias::{ALIAS_LEN_MAX, ALIAS_TOPIC_MIN, OutgoingAliases};
use super::{OutboundSnapshot, ProtocolError};
use crate::AckKind;
use crate::outgoing::{Outgoing, write_publish};
use crate::packet::Publish;
use crate::stored::{MessageRef, Payload, Stored, remaining_expiry};
use crate::varint;
use crate::write_buf::WriteBuf;

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
    /// Whether changes are noted for [`Outbound::poll_record`].
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
    /// [`Outbound::refill`].
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

/// What [`Outbound::pump`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pumped {
    /// PUBLISH packets that were encoded, sent again ones included.
    pub sent: usize,
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

/// The sending half of a Session.
#[derive(Debug)]
pub struct Outbound {
    limits: OutboundLimits,
    connection: Option<Connection>,
    inflight: Inflight,
    /// What a new connection must get again, in order; before the queue.
    resend: VecDeque<PacketId>,
    queue: Queue,
    next_seq: u64,
    records: VecDeque<Record>,
}

/// What holds for the present connection only.
#[derive(Debug)]
struct Connection {
    version: ProtocolVersion,
    resumable: bool,
    /// PUBLISH packets with QoS 1 and 2 that may still be sent (section 4.9).
    quota: u16,
    packet_size_max: u32,
    outbox_bytes_max: usize,
    aliases: Option<Box<OutgoingAliases>>,
}

impl Outbound {
    /// Returns the sending half of a new Session, not connected.
    #[must_use]
    pub const fn new(limits: OutboundLimits) -> Self {
        Self {
            limits,
            connection: None,
            inflight: Inflight::new(),
            resend: VecDeque::new(),
            queue: Queue::new(),
            next_seq: 0,
            records: VecDeque::new(),
        }
    }

    /// A connection begins. Everything that is under way is sent again in its original order, PUBLISH with DUP or, where
    /// PUBREC came, PUBREL `[MQTT-4.4.0-1]`, then what waits. CONNACK must be in `out` already. What the Client's Receive
    /// Maximum or a full buffer holds back follows with [`Self::pump`].
    pub fn connect(&mut self, now: Timestamp, peer: &Peer, out: &mut WriteBuf) -> Pumped {
        self.begin(peer);
        self.pump(now, out)
    }

    /// As [`Self::connect`], but nothing is sent yet: for an owner that looks at each message with [`Self::next_ready`].
    pub fn begin(&mut self, peer: &Peer) {
        self.connection = Some(Connection::new(peer, &self.limits));
        let mut again: Vec<_> = self
            .inflight
            .iter_mut()
            .map(|slot| {
                slot.counted = false;
                (slot.seq, slot.packet_id)
            })
            .collect();
        again.sort_unstable();
        self.resend = again.into_iter().map(|(_, id)| id).collect();
    }

    /// The connection ended. What was under way stays so; QoS 0 messages that wait are dropped (unless `queue_qos0`),
    /// and so is what the Client knew of Topic Aliases. Returns how many messages were dropped.
    pub fn disconnect(&mut self) -> usize {
        self.connection = None;
        self.resend = VecDeque::new();
        self.inflight.shrink();
        if self.limits.queue_qos0 {
            return 0;
        }
        self.retain_queued(|queued| queued.terms.qos != QoS::AtMostOnce)
    }

    /// Delivers a message: at once if it may leave, else it waits or is dropped.
    #[inline]
    pub fn deliver(
        &mut self,
        now: Timestamp,
        message: &mut Outgoing<'_>,
        how: &Delivery<'_>,
        out: &mut WriteBuf,
    ) -> Delivered {
        let qos = how.qos.min(message.message().qos);
        let waits = self.is_waiting();
        let Some(connection) = &mut self.connection else {
            return self.enqueue(now, message, how);
        };
        if qos == QoS::AtMostOnce && connection.is_full(out) {
            return Delivered::Dropped(DropReason::OutboxFull);
        }
        if waits || !connection.has_room(qos, self.inflight.len(), &self.limits, out) {
            return self.enqueue(now, message, how);
        }
        let Ok(expiry) = message.remaining_expiry(now) else {
            return Delivered::Dropped(DropReason::Expired);
        };
        let packet_id = (qos != QoS::AtMostOnce).then(|| self.inflight.next_id());
        let mut publish = message.message().publish(qos, how.retain, expiry, how.ids);
        publish.packet_id = packet_id;
        if !connection.fit(&mut publish) {
            return Delivered::Dropped(DropReason::TooLarge);
        }
        message.write(&publish, connection.version, out);
        let Some(packet_id) = packet_id else {
            return Delivered::Sent { under_way: None };
        };
        let keep = connection.resumable || how.shared;
        let message = keep.then(|| Arc::clone(message.shared()));
        let terms = Terms::new(qos, how.retain, how.shared, how.ids);
        let seq = self.next_seq;
        self.next_seq += 1;
        self.put_under_way(seq, packet_id, message, terms)
    }

    /// Lets a message wait even if it could leave, because its owner has something to ask first.
    pub fn enqueue(&mut self, now: Timestamp, message: &mut Outgoing<'_>, how: &Delivery<'_>) -> Delivered {
        let qos = how.qos.min(message.message().qos);
        let size = message.message().size();
        let transient = qos == QoS::AtMostOnce && !self.limits.queue_qos0;
        if transient && self.connection.is_none() {
            return Delivered::Dropped(DropReason::Offline);
        }
        if message.remaining_expiry(now).is_err() {
            return Delivered::Dropped(DropReason::Expired);
        }
        let dropped = match self.make_room(size) {
            Ok(dropped) => dropped,
            Err(refused) => return refused,
        };
        let behind = self.queue.behind() > 0 || self.queue.in_memory() >= self.limits.window;
        if behind && transient {
            // What is kept in a store would outlive the connection, and this must not.
            return Delivered::Dropped(DropReason::QueueFull);
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        if behind {
            self.queue.push_behind(1, size);
            return Delivered::Behind { seq, dropped };
        }
        self.queue.push(Queued {
            seq,
            message: Arc::clone(message.shared()),
            terms: Terms::new(qos, how.retain, how.shared, how.ids),
        });
        Delivered::Queued { seq, dropped }
    }

    /// PUBACK came. One with 0x80 and above ends the delivery too `[MQTT-4.4.0-2]`.
    ///
    /// # Errors
    /// The Packet Identifier stands for a QoS 2 message.
    #[inline]
    pub fn handle_puback(&mut self, id: PacketId) -> Result<Progress, ProtocolError> {
        match self.inflight.get_mut(id) {
            Some(slot) if slot.terms.qos != QoS::AtLeastOnce => Err(unexpected(AckKind::PubAck, id)),
            Some(_) => Ok(self.finish(id)),
            None => Ok(Progress::Unchanged),
        }
    }

    /// PUBREC came. An unknown Packet Identifier is answered too, in 5.0 with 0x92, so that the Client can forget it.
    ///
    /// # Errors
    /// The Packet Identifier stands for a QoS 1 message.
    pub fn handle_pubrec(
        &mut self,
        id: PacketId,
        reason: ReasonCode,
        out: &mut WriteBuf,
    ) -> Result<Progress, ProtocolError> {
        let Some(connection) = &self.connection else {
            return Ok(Progress::Unchanged);
        };
        let mut answer = ReasonCode::Success;
        let mut progress = Progress::Unchanged;
        match self.inflight.get_mut(id) {
            Some(slot) if slot.terms.qos != QoS::ExactlyOnce => return Err(unexpected(AckKind::PubRec, id)),
            Some(_) if reason.is_error() => return Ok(self.finish(id)),
            None if reason.is_error() => return Ok(Progress::Unchanged),
            None => answer = ReasonCode::PacketIdentifierNotFound,
            Some(slot) if slot.phase == Phase::Sent => {
                slot.phase = Phase::Released;
                slot.message = None;
                progress = Progress::Released { seq: slot.seq };
            }
            Some(_) => {}
        }
        AckKind::PubRel.encode(connection.version, id, answer, out.frames());
        if let Progress::Released { seq } = progress {
            self.record(Record::Released { seq });
        }
        Ok(progress)
    }

    /// PUBCOMP came, with whatever Reason Code.
    ///
    /// # Errors
    /// The Packet Identifier is under way, but no PUBREL was sent for it.
    pub fn handle_pubcomp(&mut self, id: PacketId) -> Result<Progress, ProtocolError> {
        match self.inflight.get_mut(id) {
            Some(slot) if slot.phase != Phase::Released => Err(unexpected(AckKind::PubComp, id)),
            Some(_) => Ok(self.finish(id)),
            None => Ok(Progress::Unchanged),
        }
    }

    /// Sends what waits as far as there is room. To be called once after a batch of acknowledgements, and when the
    /// buffer was written.
    pub fn pump(&mut self, now: Timestamp, out: &mut WriteBuf) -> Pumped {
        let mut pumped = self.send_again(now, out);
        while let Some(seq) = self.ready(now, out, &mut pumped).map(|queued| queued.seq) {
            pumped.count(self.send_next(now, seq, None, out));
        }
        pumped
    }

    /// Sends again what must be, drops what expired, and returns the first message that waits if it may leave now: for
    /// an owner that has to ask somebody before it calls [`Self::send_next`] or [`Self::skip_next`].
    pub fn next_ready(&mut self, now: Timestamp, out: &mut WriteBuf) -> (Pumped, Option<&Queued>) {
        let mut pumped = self.send_again(now, out);
        let queued = self.ready(now, out, &mut pumped);
        (pumped, queued)
    }

    /// Sends the first message that waits, or `edited` in its place. Returns `None`, and does nothing, when there is no
    /// room or the first message has another number than `seq` by now.
    pub fn send_next(
        &mut self,
        now: Timestamp,
        seq: u64,
        edited: Option<Arc<Stored>>,
        out: &mut WriteBuf,
    ) -> Option<Delivered> {
        let connection = self.connection.as_mut()?;
        let first = self.queue.front().filter(|queued| queued.seq == seq)?;
        let qos = first.terms.qos;
        if !self.resend.is_empty() || !connection.has_room(qos, self.inflight.len(), &self.limits, out) {
            return None;
        }
        let Queued { message, terms, .. } = self.queue.pop()?;
        let message = edited.unwrap_or(message);
        let Ok(expiry) = remaining_expiry(message.expiry(), message.received_at(), now) else {
            self.record(Record::Finished { seq });
            return Some(Delivered::Dropped(DropReason::Expired));
        };
        let packet_id = (qos != QoS::AtMostOnce).then(|| self.inflight.next_id());
        let lent = message.message();
        let mut publish = lent.publish(qos, terms.retain, expiry, terms.ids());
        publish.packet_id = packet_id;
        if !connection.fit(&mut publish) {
            self.record(Record::Finished { seq });
            return Some(Delivered::Dropped(DropReason::TooLarge));
        }
        connection.write(&lent, &publish, out);
        drop(publish);
        let Some(packet_id) = packet_id else {
            self.record(Record::Finished { seq });
            return Some(Delivered::Sent { under_way: None });
        };
        let keep = connection.resumable || terms.shared;
        Some(self.put_under_way(seq, packet_id, keep.then_some(message), terms))
    }

    /// Drops the first message that waits if it still has the number `seq`.
    pub fn skip_next(&mut self, seq: u64) -> bool {
        let first = self.queue.front().is_some_and(|queued| queued.seq == seq);
        if first {
            self.drop_first();
        }
        first
    }

    /// Drops all messages in memory whose time is over and returns their number. They are dropped in any case before they
    /// would be sent; this gives their memory back earlier.
    pub fn drop_expired(&mut self, now: Timestamp) -> usize {
        self.retain_queued(|queued| !queued.has_expired(now))
    }

    /// Returns how many messages from behind the window should be brought, once half of it is free.
    #[must_use]
    pub fn wants_refill(&self) -> Option<usize> {
        let in_memory = self.queue.in_memory();
        let wanted = self.limits.window.saturating_sub(in_memory);
        (self.queue.behind() > 0 && in_memory <= self.limits.window / 2)
            .then(|| wanted.min(usize::try_from(self.queue.behind()).unwrap_or(usize::MAX)))
    }

    /// Brings the first messages from behind the window, in order. `gone` of those that came before or between them
    /// don't exist any more; when the owner has none left at all, `gone` may be `u64::MAX`. [`Self::pump`] sends them.
    pub fn refill(&mut self, entries: impl IntoIterator<Item = Queued>, gone: u64) {
        for queued in entries {
            self.queue.forget_behind(1, queued.message.size());
            self.queue.push(queued);
        }
        self.queue.forget_behind(gone, 0);
    }

    /// Returns the next change that a durable store must know; nothing unless the Session is recorded.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// Tells whether a Client is connected.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Tells whether something waits to be sent or sent again.
    #[inline]
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty() || !self.resend.is_empty()
    }

    /// Returns how many messages wait.
    #[must_use]
    pub fn queued_messages(&self) -> usize {
        self.queue.messages()
    }

    /// Returns the bytes of topic, payload and properties that wait.
    #[must_use]
    pub const fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Returns how many messages with QoS 1 and 2 are under way.
    #[must_use]
    pub const fn inflight(&self) -> usize {
        self.inflight.len()
    }

    /// Sets other bounds. What is beyond them already stays; those of a connection hold from the next one on.
    pub const fn set_limits(&mut self, limits: OutboundLimits) {
        self.limits = limits;
    }

    /// Returns everything that has to survive, or to be given to others when the Session ends.
    #[must_use]
    pub fn snapshot(&self) -> OutboundSnapshot {
        let mut inflight: Vec<_> = self.inflight.iter().map(Slot::snapshot).collect();
        inflight.sort_unstable_by_key(|slot| slot.seq);
        OutboundSnapshot {
            next_seq: self.next_seq,
            next_packet_id: self.inflight.position(),
            inflight,
            queued: self.queue.iter().cloned().collect(),
            behind: self.queue.behind(),
            behind_bytes: self.queue.behind_bytes(),
        }
    }

    /// Returns a sending half that continues from `snapshot`, not connected. Of two messages with the same Packet
    /// Identifier the second is left out.
    #[must_use]
    pub fn restore(limits: OutboundLimits, snapshot: OutboundSnapshot) -> Self {
        let mut outbound = Self::new(limits);
        outbound.next_seq = snapshot.next_seq;
        outbound.inflight.set_position(snapshot.next_packet_id);
        for slot in snapshot.inflight {
            outbound.inflight.restore(slot.into());
        }
        for queued in snapshot.queued {
            outbound.queue.push(queued);
        }
        outbound.queue.push_behind(snapshot.behind, snapshot.behind_bytes);
        outbound
    }

    /// Sends what a new connection must get again, as far as there is room.
    fn send_again(&mut self, now: Timestamp, out: &mut WriteBuf) -> Pumped {
        let mut pumped = Pumped::default();
        while let Some(&id) = self.resend.front() {
            match self.repeat(now, id, out) {
                Repeat::Held => break,
                Repeat::Publish => pumped.sent += 1,
                Repeat::PubRel | Repeat::Over => {}
                Repeat::Lost => _ = self.finish(id),
                Repeat::TooLarge => {
                    pumped.too_large += 1;
                    self.finish(id);
                }
            }
            self.resend.pop_front();
        }
        pumped
    }

    fn repeat(&mut self, now: Timestamp, id: PacketId, out: &mut WriteBuf) -> Repeat {
        let Some(connection) = self
            .connection
            .as_mut()
            .filter(|connection| !connection.is_full(out))
        else {
            return Repeat::Held;
        };
        let Some(slot) = self.inflight.get_mut(id) else {
            return Repeat::Over;
        };
        if slot.phase == Phase::Released {
            AckKind::PubRel.encode(connection.version, id, ReasonCode::Success, out.frames());
            return Repeat::PubRel;
        }
        let Some(message) = &slot.message else {
            return Repeat::Lost;
        };
        if connection.quota == 0 {
            return Repeat::Held;
        }
        // [MQTT-4.3.3-7]: what was sent once doesn't expire any more, its interval only counts down.
        let expiry = remaining_expiry(message.expiry(), message.received_at(), now).unwrap_or(Some(0));
        let lent = message.message();
        let mut publish = lent.publish(slot.terms.qos, slot.terms.retain, expiry, slot.terms.ids());
        publish.dup = true;
        publish.packet_id = Some(id);
        if !connection.fit(&mut publish) {
            return Repeat::TooLarge;
        }
        connection.write(&lent, &publish, out);
        connection.quota -= 1;
        slot.counted = true;
        Repeat::Publish
    }

    /// Returns the first message that waits if it may leave, after dropping those before it whose time is over.
    fn ready(&mut self, now: Timestamp, out: &WriteBuf, pumped: &mut Pumped) -> Option<&Queued> {
        while self.queue.front()?.has_expired(now) {
            self.drop_first();
            pumped.expired += 1;
        }
        let connection = self.connection.as_ref()?;
        let qos = self.queue.front()?.terms.qos;
        let room = connection.has_room(qos, self.inflight.len(), &self.limits, out);
        (self.resend.is_empty() && room).then(|| self.queue.front())?
    }

    fn put_under_way(
        &mut self,
        seq: u64,
        packet_id: PacketId,
        message: Option<Arc<Stored>>,
        terms: Terms,
    ) -> Delivered {
        if let Some(connection) = &mut self.connection {
            connection.quota -= 1;
        }
        self.inflight.insert(Slot {
            seq,
            message,
            terms,
            packet_id,
            phase: Phase::Sent,
            counted: true,
        });
        self.record(Record::Sent { seq, packet_id });
        Delivered::Sent {
            under_way: Some((seq, packet_id)),
        }
    }

    fn finish(&mut self, id: PacketId) -> Progress {
        let Some(slot) = self.inflight.remove(id) else {
            return Progress::Unchanged;
        };
        if let Some(connection) = self.connection.as_mut().filter(|_| slot.counted) {
            connection.quota += 1;
        }
        self.record(Record::Finished { seq: slot.seq });
        Progress::Finished { seq: slot.seq }
    }

    /// Makes room for `size` bytes in the queue and returns how many messages that cost, or what becomes of the new one.
    fn make_room(&mut self, size: usize) -> Result<usize, Delivered> {
        let OutboundLimits {
            queued_messages_max: messages_max,
            queued_bytes_max: bytes_max,
            ..
        } = self.limits;
        // Dropping others makes no sense for a message that doesn't fit even alone.
        let oldest = self.limits.drop == DropPolicy::Oldest && size <= bytes_max;
        let mut dropped = 0;
        while self.queue.messages() >= messages_max || self.queue.bytes() + size > bytes_max {
            if oldest && self.drop_first() {
                dropped += 1;
            } else if self.limits.drop == DropPolicy::Disconnect && self.connection.is_some() {
                return Err(Delivered::Overflow);
            } else {
                return Err(Delivered::Dropped(DropReason::QueueFull));
            }
        }
        Ok(dropped)
    }

    fn drop_first(&mut self) -> bool {
        let dropped = self.queue.pop();
        if let Some(Queued { seq, .. }) = dropped {
            self.record(Record::Finished { seq });
            return true;
        }
        false
    }

    fn retain_queued(&mut self, keep: impl Fn(&Queued) -> bool) -> usize {
        let before = self.queue.in_memory();
        let (recorded, records) = (self.limits.recorded, &mut self.records);
        self.queue.retain(keep, |seq| {
            if recorded {
                records.push_back(Record::Finished { seq });
            }
        });
        before - self.queue.in_memory()
    }

    #[inline]
    fn record(&mut self, record: Record) {
        if self.limits.recorded {
            self.records.push_back(record);
        }
    }
}

/// What became of a message that must be sent again.
enum Repeat {
    /// There is no room for it now.
    Held,
    /// It was sent.
    Publish,
    /// PUBREL was sent.
    PubRel,
    /// The Client doesn't take packets of its size any more `[MQTT-3.1.2-25]`.
    TooLarge,
    /// It was not kept, because the Session was to end with its connection.
    Lost,
    /// It was answered meanwhile, with what the Client remembered of the last connection.
    Over,
}

impl Connection {
    fn new(peer: &Peer, limits: &OutboundLimits) -> Self {
        let aliases = peer.version.is_v5() && peer.topic_alias_maximum > 0;
        Self {
            version: peer.version,
            resumable: peer.resumable,
            quota: peer.receive_maximum.min(limits.inflight_max),
            packet_size_max: peer
                .packet_size_max
                .unwrap_or(PACKET_SIZE_MAX)
                .min(PACKET_SIZE_MAX),
            outbox_bytes_max: peer.outbox_bytes_max,
            aliases: aliases.then(|| Box::new(OutgoingAliases::new(peer.topic_alias_maximum))),
        }
    }

    #[inline]
    fn is_full(&self, out: &WriteBuf) -> bool {
        out.len() >= self.outbox_bytes_max
    }

    /// Tells whether a message may leave now, with so many `under_way`.
    #[inline]
    fn has_room(&self, qos: QoS, under_way: usize, limits: &OutboundLimits, out: &WriteBuf) -> bool {
        let may_leave =
            qos == QoS::AtMostOnce || self.quota > 0 && under_way < usize::from(limits.inflight_max);
        may_leave && !self.is_full(out)
    }

    /// Returns whether the Client takes a packet of this size; if so, lets a Topic Alias stand for a long topic.
    #[inline]
    fn fit(&mut self, publish: &mut Publish<'_>) -> bool {
        let size = publish.encoded_len(self.version);
        let max = self.packet_size_max as usize;
        if let Some(aliases) = &mut self.aliases
            && let Some(topic) = publish.topic
            && topic.as_str().len() >= ALIAS_TOPIC_MIN
            && size + ALIAS_LEN_MAX <= max
        {
            let (alias, known) = aliases.assign(topic.as_str());
            publish.topic_alias = Some(alias);
            if known {
                publish.topic = None;
            }
        }
        size <= max
    }

    /// Appends a message that was kept.
    fn write(&self, message: &MessageRef<'_>, publish: &Publish<'_>, out: &mut WriteBuf) {
        let body = match message.payload {
            Payload::Shared(body) => Some(body.clone()),
            Payload::Borrowed(_) => None,
        };
        write_publish(publish, self.version, body, out);
    }
}

impl Queued {
    fn has_expired(&self, now: Timestamp) -> bool {
        remaining_expiry(self.message.expiry(), self.message.received_at(), now).is_err()
    }
}

impl Pumped {
    fn count(&mut self, delivered: Option<Delivered>) {
        match delivered {
            Some(Delivered::Sent { .. }) => self.sent += 1,
            Some(Delivered::Dropped(DropReason::TooLarge)) => self.too_large += 1,
            _ => {}
        }
    }
}

/// The largest packet there is: one byte, four of Remaining Length, and what they can say.
pub(super) const PACKET_SIZE_MAX: u32 = 1 + 4 + varint::MAX as u32;

const fn unexpected(kind: AckKind, packet_id: PacketId) -> ProtocolError {
    ProtocolError::AckUnexpected { kind, packet_id }
}

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
//! PUBLISH, PUBREC before PUBREL), the owner passes a buffer of its own, for everything until then because Topic Aliases
//! rely on the order, and appends it to the connection's later.

mod answers;
mod connection;
mod delivery;
mod resume;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use broker_types::{PacketId, QoS, Timestamp};

use self::connection::Connection;
pub(super) use self::connection::PACKET_SIZE_MAX;
pub use self::delivery::{Delivered, Delivery, DropReason, OutboundLimits, Peer, Progress, Pumped, Record};
use super::inflight::{Inflight, Phase, Slot};
use super::queue::{DropPolicy, Queue, Queued, Terms};
use crate::outgoing::Outgoing;
use crate::seldom::Seldom;
use crate::stored::{Stored, remaining_expiry};
use crate::write_buf::WriteBuf;

/// The sending half of a Session.
#[derive(Debug)]
pub struct Outbound {
    limits: Arc<OutboundLimits>,
    connection: Option<Connection>,
    inflight: Inflight,
    /// What a new connection must get again, in order; before the queue.
    resend: Seldom<VecDeque<PacketId>>,
    queue: Queue,
    next_seq: u64,
    records: Seldom<VecDeque<Record>>,
}

impl Outbound {
    /// Returns the sending half of a new Session, not connected. Sessions may share their limits.
    #[must_use]
    pub fn new(limits: impl Into<Arc<OutboundLimits>>) -> Self {
        Self {
            limits: limits.into(),
            connection: None,
            inflight: Inflight::new(),
            resend: Seldom::new(),
            queue: Queue::default(),
            next_seq: 0,
            records: Seldom::new(),
        }
    }

    /// Leaves the Packet Identifiers above `max` to others: a Client needs some for its requests. At least twice as many
    /// as may be under way must remain.
    #[must_use]
    pub(crate) const fn with_packet_id_max(mut self, max: u16) -> Self {
        self.inflight.set_id_max(max);
        self
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
        let qos = how.qos.min(message.qos());
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
        let qos = how.qos.min(message.qos());
        let size = message.message().size();
        let transient = qos == QoS::AtMostOnce && !self.limits.queue_qos0;
        if transient && self.connection.is_none() {
            return Delivered::Dropped(DropReason::Offline);
        }
        if message.remaining_expiry(now).is_err() {
            return Delivered::Dropped(DropReason::Expired);
        }
        let dropped = match self.make_room(qos, size) {
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

    /// Sends what waits as far as there is room. To be called once after a batch of acknowledgements, and when the
    /// buffer was written.
    pub fn pump(&mut self, now: Timestamp, out: &mut WriteBuf) -> Pumped {
        let mut pumped = self.send_again(now, out);
        while let Some(next) = self.ready(now, out, &mut pumped) {
            let (seq, payload_bytes) = (next.seq, next.message.payload().len());
            pumped.count(self.send_next(now, seq, None, out), payload_bytes);
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

    /// Sends the first message that waits, or `edited` in its place, whose QoS may be lower. Returns `None`, and does nothing,
    /// when there is no room or the first message has another number than `seq` by now.
    pub fn send_next(
        &mut self,
        now: Timestamp,
        seq: u64,
        edited: Option<Arc<Stored>>,
        out: &mut WriteBuf,
    ) -> Option<Delivered> {
        let connection = self.connection.as_mut()?;
        let first = self.queue.front().filter(|queued| queued.seq == seq)?;
        let room = connection.has_room(first.terms.qos, self.inflight.len(), &self.limits, out);
        if !room || !self.resend.is_empty() {
            return None;
        }
        let Queued {
            message, mut terms, ..
        } = self.queue.pop()?;
        let message = edited.unwrap_or(message);
        let qos = terms.qos.min(message.qos());
        terms.qos = qos;
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
        self.records.made()?.pop_front()
    }

    /// Tells whether a Client is connected.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Returns how many bytes the buffer to the Client may hold before nothing is added; 0 when it isn't connected.
    #[must_use]
    pub fn outbox_bytes_max(&self) -> usize {
        self.connection.as_ref().map_or(0, Connection::outbox_bytes_max)
    }

    /// Tells whether nothing may be added to the buffer to the Client.
    #[inline]
    #[must_use]
    pub fn is_full(&self, out: &WriteBuf) -> bool {
        out.len() >= self.outbox_bytes_max()
    }

    /// Tells whether something waits to be sent or sent again.
    #[inline]
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.queue.is_empty() || !self.resend.is_empty()
    }

    /// Tells whether a message with this QoS would not have to wait for room.
    #[must_use]
    pub fn may_leave(&self, qos: QoS, out: &WriteBuf) -> bool {
        // QoS 0 leaves or is dropped.
        qos == QoS::AtMostOnce
            || self
                .connection
                .as_ref()
                .is_some_and(|connection| connection.has_room(qos, self.inflight.len(), &self.limits, out))
    }

    /// Returns how many messages wait.
    #[must_use]
    pub fn queued_messages(&self) -> usize {
        self.queue.messages()
    }

    /// Returns the bytes of topic, payload and properties that wait.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Returns how many messages with QoS 1 and 2 are under way.
    #[must_use]
    pub const fn inflight(&self) -> usize {
        self.inflight.len()
    }

    /// Sets other bounds. What is beyond them already stays; those of a connection hold from the next one on.
    pub fn set_limits(&mut self, limits: impl Into<Arc<OutboundLimits>>) {
        self.limits = limits.into();
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

    /// Makes room for `size` bytes in the queue and returns how many messages that cost, or what becomes of the new one.
    /// QoS 0 never costs another message its place, nor the Client its connection.
    fn make_room(&mut self, qos: QoS, size: usize) -> Result<usize, Delivered> {
        let OutboundLimits {
            queued_messages_max: messages_max,
            queued_bytes_max: bytes_max,
            ..
        } = *self.limits;
        let mut dropped = 0;
        while self.queue.messages() >= messages_max || self.queue.bytes() + size > bytes_max {
            match self.limits.drop {
                _ if qos == QoS::AtMostOnce => return Err(Delivered::Dropped(DropReason::QueueFull)),
                DropPolicy::Disconnect if self.connection.is_some() => return Err(Delivered::Overflow),
                DropPolicy::Newest | DropPolicy::Disconnect => {
                    return Err(Delivered::Dropped(DropReason::QueueFull));
                }
                // Dropping others makes no sense for a message that doesn't fit even alone.
                DropPolicy::Oldest => {
                    if size > bytes_max || !self.drop_first() {
                        return Err(Delivered::Dropped(DropReason::QueueFull));
                    }
                    dropped += 1;
                }
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
                records.make().push_back(Record::Finished { seq });
            }
        });
        before - self.queue.in_memory()
    }

    #[inline]
    fn record(&mut self, record: Record) {
        if self.limits.recorded {
            self.records.make().push_back(record);
        }
    }
}

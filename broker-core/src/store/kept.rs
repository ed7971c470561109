//! What a Session that must survive the broker writes down: which of its changes becomes which record, and in which
//! group. It stands in the Session's state and is used under the Session's lock, so the records of one Session are
//! written in the order of its changes. When they are committed is the journal's affair.
//!
//! In memory: one [`Entry`] for each message that waits in the window or is under way. What waits behind the window is
//! only counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_proto::{Delivered, Delivery, Outbound, Phase, Record, Stored, Terms};
use broker_types::{ClientId, PacketId, QoS, SubscriptionFilter};
use plugin_api::Durability;
use smallvec::SmallVec;

use super::Map;
use super::journal::{Group, Journal, Pen, Waiter};
use super::records::{
    Entry, EntryPhase, Moment, SessionRecord, WillRecord, body_key, chunks_of, entry_key, received_key,
    received_value, session_key, stored_len, stored_value, subscription_key, subscription_value, will_key,
};
use crate::engine::session::Session;
use crate::engine::subscriptions::Held;

/// Messages of a durable Session's queue that are in memory; the rest waits in the store.
pub(crate) const WINDOW: usize = 256;

/// The records of one Session.
#[derive(Debug)]
pub(crate) struct Kept {
    journal: Arc<Journal>,
    session: u64,
    want: Durability,
    entries: Map<u64, Entry>,
    /// Packet Identifiers of QoS 2 messages that were received and not released.
    received: BTreeSet<PacketId>,
    /// The last message that is or was in memory; what is behind the window comes after it.
    pub(crate) in_memory: Option<u64>,
    /// The last message of all.
    pub(crate) last: Option<u64>,
    /// Messages behind the window.
    pub(crate) behind: u64,
    /// Messages from behind the window are being brought.
    pub(crate) refilling: Option<Refilling>,
}

/// What was behind the window when more was asked for: later messages may be durable earlier than those before them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refilling {
    /// The last message.
    pub(crate) upto: u64,
    /// How many there were.
    pub(crate) behind: u64,
}

/// What belongs together, while it is being done: one publication and all that it changes.
#[derive(Debug)]
pub(crate) struct Transaction {
    journal: Arc<Journal>,
    group: Option<Group>,
    /// What was made durable in it already, so that all receivers share it. It holds a share of each itself.
    bodies: SmallVec<[(Arc<Stored>, u64); 1]>,
}

/// Names the record of a Will Message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WillKey {
    session: u64,
    number: u64,
    chunks: u32,
}

impl Transaction {
    /// Begins. Costs nothing until something is made durable.
    pub(crate) fn new(journal: Arc<Journal>) -> Self {
        Self {
            journal,
            group: None,
            bodies: SmallVec::new(),
        }
    }

    /// Returns the group that everything goes into.
    pub(crate) fn group(&mut self) -> Group {
        *self.group.get_or_insert_with(|| self.journal.open())
    }

    /// Returns the group if something went into it.
    pub(crate) fn used(&self) -> Option<Group> {
        self.group
    }

    /// Ends. `waiter` is told when all of it is durable.
    pub(crate) fn end(mut self, waiter: Option<Waiter>) {
        let Some(group) = self.group.take() else { return };
        if !self.bodies.is_empty() {
            let mut pen = self.journal.pen(Some(group), Durability::Memory);
            for (stored, body) in self.bodies.drain(..) {
                release(&mut pen, body, chunks_of(stored_len(stored.size())));
            }
        }
        if let Some(waiter) = waiter {
            // It is open, so it isn't durable already.
            let early = self.journal.wait(group, waiter);
            debug_assert!(early.is_none());
        }
        self.journal.close(group);
    }
}

impl Drop for Transaction {
    /// A panic in the middle: what was written so far is as good as what would have been.
    fn drop(&mut self) {
        if let Some(group) = self.group.take() {
            self.journal.close(group);
        }
    }
}

impl Kept {
    /// Returns the records of a Session that has none yet.
    pub(crate) fn new(journal: Arc<Journal>, session: u64, want: Durability) -> Self {
        Self {
            journal,
            session,
            want,
            entries: Map::default(),
            received: BTreeSet::new(),
            in_memory: None,
            last: None,
            behind: 0,
            refilling: None,
        }
    }

    /// Takes over what the store holds of a message in memory.
    pub(crate) fn adopt(&mut self, seq: u64, entry: Entry) {
        self.in_memory = self.in_memory.max(Some(seq));
        self.last = self.last.max(Some(seq));
        self.entries.insert(seq, entry);
    }

    /// Returns how many messages wait in the store only.
    pub(crate) fn behind(&self) -> usize {
        usize::try_from(self.behind).unwrap_or(usize::MAX)
    }

    /// Returns the Session's number.
    pub(crate) const fn session(&self) -> u64 {
        self.session
    }

    /// Returns the journal.
    pub(crate) const fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Asks for another durability from now on.
    pub(crate) const fn set_want(&mut self, want: Durability) {
        self.want = want;
    }

    fn pen(&self, group: Option<Group>) -> Pen<'_> {
        self.journal.pen(group, self.want)
    }

    /// Writes the Session itself.
    pub(crate) fn put_session(&self, client_id: &ClientId, record: &SessionRecord) -> Group {
        let mut pen = self.pen(None);
        pen.put(session_key(client_id), record.encode());
        pen.group()
    }

    /// Writes a subscription.
    pub(crate) fn put_subscription(&self, held: &Held) {
        let (key, value) = (
            subscription_key(self.session, &held.requested),
            subscription_value(held),
        );
        self.pen(None).put(key, value);
    }

    /// Removes a subscription.
    pub(crate) fn delete_subscription(&self, requested: &SubscriptionFilter) {
        self.pen(None).delete(subscription_key(self.session, requested));
    }

    /// Writes that the QoS 2 message `packet_id` was received: in the group of all that it caused.
    pub(crate) fn put_received(&mut self, packet_id: PacketId, group: Option<Group>) {
        if self.received.insert(packet_id) {
            self.pen(group)
                .put_new(received_key(self.session, packet_id), received_value());
        }
    }

    /// Takes over that the store holds `packet_id`.
    pub(crate) fn adopt_received(&mut self, packet_id: PacketId) {
        self.received.insert(packet_id);
    }

    /// Returns the Packet Identifiers of messages that were received and not released.
    pub(crate) fn received(&self) -> impl Iterator<Item = PacketId> {
        self.received.iter().copied()
    }

    /// Removes a received Packet Identifier, and returns the group after which PUBCOMP may leave.
    pub(crate) fn delete_received(&mut self, packet_id: PacketId) -> Group {
        self.received.remove(&packet_id);
        let mut pen = self.pen(None);
        pen.delete(received_key(self.session, packet_id));
        pen.group()
    }

    /// Writes a Will Message, in place of the one that `before` names.
    pub(crate) fn put_will(&self, record: &WillRecord, before: Option<WillKey>) -> WillKey {
        let number = before.map_or_else(|| self.journal.new_number(), |key| key.number);
        let value = record.encode();
        let key = WillKey {
            session: self.session,
            number,
            chunks: chunks_of(value.len()),
        };
        let mut pen = self.pen(None);
        // Only the time changes, not the length.
        let length = before.map(|_| value.len());
        pen.put_long(&will_key(key.session, key.number), &value, length);
        key
    }

    /// Writes down what became of a delivery: a message that is to be kept waits or is under way.
    pub(crate) fn delivered(
        &mut self,
        delivered: Delivered,
        how: &Delivery<'_>,
        qos: QoS,
        stored: &Arc<Stored>,
        transaction: Option<&mut Transaction>,
        moment: Moment,
    ) {
        let (seq, phase) = match delivered {
            Delivered::Sent {
                under_way: Some((seq, packet_id)),
            } => (seq, EntryPhase::UnderWay(packet_id, Phase::Sent)),
            Delivered::Queued { seq, .. } | Delivered::Behind { seq, .. } => (seq, EntryPhase::Waits),
            _ => return,
        };
        let behind = matches!(delivered, Delivered::Behind { .. });
        self.behind += u64::from(behind);
        let terms = Terms::new(qos, how.retain, how.shared, how.ids);
        let entry = Entry::new(phase, &terms);
        self.append(seq, entry, behind, Some(stored), transaction, moment);
    }

    /// Writes a message that has no record yet.
    pub(crate) fn append(
        &mut self,
        seq: u64,
        mut entry: Entry,
        behind: bool,
        stored: Option<&Arc<Stored>>,
        mut transaction: Option<&mut Transaction>,
        moment: Moment,
    ) {
        self.last = Some(seq);
        if !behind {
            self.in_memory = Some(seq);
        }
        if stored.is_some_and(|stored| !self.journal.takes(stored_len(stored.size()))) {
            // A client's message of this size was refused; this is the broker's own.
            tracing::error!(
                session = self.session,
                seq,
                "a message is too large for the store and will not survive"
            );
            return;
        }
        let group = transaction.as_mut().map(|transaction| transaction.group());
        let mut pen = self.journal.pen(group, self.want);
        if let Some(stored) = stored {
            entry.size = u32::try_from(stored.size()).unwrap_or(u32::MAX);
            entry.body = Some(match transaction {
                None => put_body(&mut pen, &self.journal, stored, moment),
                Some(transaction) => {
                    let mut bodies = transaction.bodies.iter();
                    let body = match bodies.find(|(other, _)| Arc::ptr_eq(other, stored)) {
                        Some((_, body)) => *body,
                        None => {
                            let body = put_body(&mut pen, &self.journal, stored, moment);
                            transaction.bodies.push((stored.clone(), body));
                            body
                        }
                    };
                    pen.share_body(body);
                    body
                }
            });
        }
        pen.put_new(entry_key(self.session, seq), entry.encode());
        if !behind {
            self.entries.insert(seq, entry);
        }
    }

    /// Writes what changed of what is under way: into `group`, or the current one. `edited` is what was sent in the place of
    /// the message that was kept, because hooks changed it. Returns the group that must be durable before what was just
    /// encoded leaves.
    pub(crate) fn take_records(
        &mut self,
        outbound: &mut Outbound,
        group: Option<Group>,
        edited: Option<(&Arc<Stored>, Moment)>,
    ) -> Option<Group> {
        let first = outbound.poll_record()?;
        let mut pen = self.journal.pen(group, self.want);
        let mut until = None;
        let mut next = Some(first);
        while let Some(record) = next {
            match record {
                Record::Sent { seq, packet_id } => {
                    let phase = EntryPhase::UnderWay(packet_id, Phase::Sent);
                    // Without an entry: QoS 0, or a message that the store doesn't take.
                    if let Some(entry) = self.entries.get_mut(&seq) {
                        if let Some((stored, moment)) = edited {
                            replace_body(&mut pen, &self.journal, entry, stored, moment);
                        }
                        if entry.phase != phase {
                            entry.phase = phase;
                            pen.put(entry_key(self.session, seq), entry.encode());
                        }
                        // QoS 1 may be doubled, so it needn't wait.
                        if entry.qos == QoS::ExactlyOnce {
                            until = Some(pen.group());
                        }
                    }
                }
                Record::Released { seq } => {
                    if let Some(entry) = self.entries.get_mut(&seq) {
                        if let EntryPhase::UnderWay(packet_id, _) = entry.phase {
                            entry.phase = EntryPhase::UnderWay(packet_id, Phase::Released);
                        }
                        if let Some(body) = entry.body.take() {
                            release(&mut pen, body, entry.body_chunks());
                        }
                        pen.put(entry_key(self.session, seq), entry.encode());
                        until = Some(pen.group());
                    }
                }
                Record::Finished { seq } => {
                    if let Some(entry) = self.entries.remove(&seq) {
                        forget(&mut pen, self.session, seq, &entry);
                    }
                }
            }
            next = outbound.poll_record();
        }
        until
    }

    /// Asks for messages from behind the window if it is half empty.
    #[inline]
    pub(crate) fn refill(&mut self, session: &Arc<Session>, outbound: &Outbound) {
        if self.behind > 0 && self.refilling.is_none() && outbound.wants_refill().is_some() {
            self.refilling = self.last.map(|upto| Refilling {
                upto,
                behind: self.behind,
            });
            let group = self.pen(None).group();
            // The current group is never durable.
            let early = self.journal.wait(group, Waiter::Refill(session.clone()));
            debug_assert!(early.is_none());
        }
    }

    /// Removes everything: the Session has ended. Its Will Message has a record of its own until it is published.
    pub(crate) fn erase<'h>(
        &mut self,
        client_id: &ClientId,
        subscriptions: impl Iterator<Item = &'h Held>,
        group: Group,
    ) {
        let entries = std::mem::take(&mut self.entries);
        {
            let mut pen = self.pen(Some(group));
            pen.delete(session_key(client_id));
            subscriptions.for_each(|held| pen.delete(subscription_key(self.session, &held.requested)));
            for packet_id in &self.received {
                pen.delete(received_key(self.session, *packet_id));
            }
            for (seq, entry) in entries {
                forget(&mut pen, self.session, seq, &entry);
            }
        }
        if self.behind > 0 {
            self.behind = 0;
            // It is open, so it isn't durable already.
            let early = self.journal.wait(group, Waiter::Sweep(self.session));
            debug_assert!(early.is_none());
        }
    }
}

impl WillKey {
    /// Names a record that the store holds.
    pub(crate) fn new(session: u64, number: u64, bytes: usize) -> Self {
        let chunks = chunks_of(bytes);
        Self {
            session,
            number,
            chunks,
        }
    }

    /// Removes the record.
    pub(crate) fn delete(self, pen: &mut Pen<'_>) {
        pen.delete_long(&will_key(self.session, self.number), self.chunks);
    }
}

/// Removes an entry, and its body with the last one that has it.
pub(crate) fn forget(pen: &mut Pen<'_>, session: u64, seq: u64, entry: &Entry) {
    pen.delete(entry_key(session, seq));
    if let Some(body) = entry.body {
        release(pen, body, entry.body_chunks());
    }
}

fn put_body(pen: &mut Pen<'_>, journal: &Journal, stored: &Stored, moment: Moment) -> u64 {
    let body = journal.new_number();
    pen.put_long(&body_key(body), &stored_value(stored, moment), None);
    body
}

fn replace_body(pen: &mut Pen<'_>, journal: &Journal, entry: &mut Entry, stored: &Stored, moment: Moment) {
    if let Some(body) = entry.body {
        release(pen, body, entry.body_chunks());
    }
    entry.body = Some(put_body(pen, journal, stored, moment));
    entry.size = u32::try_from(stored.size()).unwrap_or(u32::MAX);
    entry.qos = entry.qos.min(stored.qos());
}

fn release(pen: &mut Pen<'_>, body: u64, chunks: u32) {
    if pen.release_body(body) {
        pen.delete_long(&body_key(body), chunks);
    }
}

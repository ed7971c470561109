//! Messages that wait for a Session, in order and bounded. It holds the head of the line; what the owner keeps in a
//! store behind that (*behind the window*) is only counted here. When something may be sent is `outbound.rs`.
//!
//! Cost: 32 bytes and a reference count per waiting message.

use std::collections::VecDeque;
use std::sync::Arc;

use broker_types::{QoS, SubscriptionId, Timestamp};

use crate::stored::{Stored, remaining_expiry};

/// What happens when a queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DropPolicy {
    /// The messages that wait longest make room.
    #[default]
    Oldest,
    /// The new message is dropped.
    Newest,
    /// The connection of the Client ends; without one the new message is dropped.
    Disconnect,
}

/// How a message is to be delivered to one Session: what routing found out.
#[derive(Clone, Debug)]
pub struct Terms {
    more: Option<Box<ManyIds>>,
    id: Option<SubscriptionId>,
    /// The QoS to send with, already the lower one of message and subscription.
    pub qos: QoS,
    /// The RETAIN flag to send.
    pub retain: bool,
    /// Whether it came through a Shared Subscription, so that another member may get it if this Session ends.
    pub shared: bool,
}

/// Several identifiers, from overlapping subscriptions. A type of its own, so that it takes one word in [`Terms`].
#[derive(Clone, Debug)]
struct ManyIds(Box<[SubscriptionId]>);

impl Terms {
    /// Notes the terms. Allocates only for two Subscription Identifiers and more.
    #[must_use]
    pub fn new(qos: QoS, retain: bool, shared: bool, ids: &[SubscriptionId]) -> Self {
        let (id, more) = match ids {
            [] => (None, None),
            [id] => (Some(*id), None),
            many => (None, Some(Box::new(ManyIds(many.into())))),
        };
        Self {
            more,
            id,
            qos,
            retain,
            shared,
        }
    }

    /// Returns the Subscription Identifiers to send.
    #[must_use]
    pub fn ids(&self) -> &[SubscriptionId] {
        match &self.more {
            Some(many) => &many.0,
            None => self.id.as_slice(),
        }
    }
}

/// A message that waits for a Session.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Its number in this Session, growing in the order of sending.
    pub seq: u64,
    /// The message.
    pub message: Arc<Stored>,
    /// How to send it.
    pub terms: Terms,
}

impl Queued {
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        remaining_expiry(self.message.expiry(), self.message.received_at(), now).is_err()
    }
}

/// The waiting messages of one Session. One pointer until the first message waits.
#[derive(Debug, Default)]
pub(crate) struct Queue(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    list: VecDeque<Queued>,
    bytes: usize,
    /// Messages behind the window.
    behind: u64,
    /// Their bytes.
    behind_bytes: usize,
}

/// An empty queue keeps room for this many messages.
const SPARE_MAX: usize = 64;

impl Queue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|waiting| waiting.list.is_empty() && waiting.behind == 0)
    }

    /// Returns how many messages wait, behind the window too.
    pub(crate) fn messages(&self) -> usize {
        self.in_memory() + usize::try_from(self.behind()).unwrap_or(usize::MAX)
    }

    /// Returns the bytes of topic, payload and properties that wait, behind the window too.
    pub(crate) fn bytes(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |waiting| waiting.bytes + waiting.behind_bytes)
    }

    pub(crate) fn in_memory(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.list.len())
    }

    pub(crate) fn behind(&self) -> u64 {
        self.0.as_ref().map_or(0, |waiting| waiting.behind)
    }

    pub(crate) fn behind_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.behind_bytes)
    }

    pub(crate) fn push(&mut self, queued: Queued) {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes += queued.message.size();
        waiting.list.push_back(queued);
    }

    /// Counts messages that their owner keeps.
    pub(crate) fn push_behind(&mut self, messages: u64, bytes: usize) {
        if messages > 0 {
            let waiting = self.0.get_or_insert_default();
            waiting.behind += messages;
            waiting.behind_bytes += bytes;
        }
    }

    /// Takes `messages` of the first ones behind the window into account: they were loaded, or they are gone.
    pub(crate) fn forget_behind(&mut self, messages: u64, bytes: usize) {
        let Some(waiting) = &mut self.0 else { return };
        waiting.behind = waiting.behind.saturating_sub(messages);
        // Without messages there are no bytes, whatever was counted.
        waiting.behind_bytes = if waiting.behind == 0 {
            0
        } else {
            waiting.behind_bytes.saturating_sub(bytes)
        };
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<&Queued> {
        self.0.as_ref()?.list.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let waiting = self.0.as_mut()?;
        let queued = waiting.list.pop_front()?;
        waiting.bytes -= queued.message.size();
        if waiting.list.is_empty() && waiting.list.capacity() > SPARE_MAX {
            waiting.list = VecDeque::new();
        }
        Some(queued)
    }

    /// Takes out those that `keep` refuses and hands their numbers to `gone`.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Queued) -> bool, mut gone: impl FnMut(u64)) {
        let Some(waiting) = &mut self.0 else { return };
        waiting.list.retain(|queued| {
            let kept = keep(queued);
            if !kept {
                waiting.bytes -= queued.message.size();
                gone(queued.seq);
            }
            kept
        });
    }

    /// Gives memory back if nothing waits.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.0.iter().flat_map(|waiting| &waiting.list)
    }
}

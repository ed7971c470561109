//! Keeping Retained Messages (MQTT 5.0 section 3.3.1.3), and sending them for a new subscription.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_proto::{Delivery, MessageRef, Seldom, Stored};
use broker_types::{QoS, ReasonCode, SubscriptionFilter, SubscriptionId, Timestamp, TopicFilter, TopicRef};
use plugin_api::EventKind;

use super::session::Session;
use super::shard::Shard;
use crate::hooks::{ChainSet, HookMask, Retained as Verdict};
use crate::retained::Cursor;
use crate::store::{Journal, chunks_of, retained_key, retained_len, retained_value};

/// Messages that may wait in an output or queue before more Retained Messages are sent to it.
const FEED_QUEUED_MAX: usize = 64;
/// Bytes that may wait in an output before more Retained Messages are sent to it.
const FEED_BYTES_MAX: usize = 64 * 1024;
/// Pages that are looked up in a row before others get their turn.
const FEED_PAGES: usize = 16;

impl Shard {
    /// Keeps `message`, whose topic is absolute, or clears its topic if the payload is empty `[MQTT-3.3.1-6]`. The hooks of
    /// `chain` are asked first.
    ///
    /// # Errors
    /// The Reason Code for its publisher: 0x97 when the broker keeps as much as it may.
    pub(crate) fn keep_retained(
        &self,
        chain: Option<&Arc<ChainSet>>,
        message: &MessageRef<'_>,
        now: Timestamp,
    ) -> Result<(), ReasonCode> {
        let core = &self.core;
        if message.payload.as_bytes().is_empty() {
            if self.clear_retained(message.topic) {
                core.event(EventKind::RetainedCleared, |event| {
                    event.topic = Some(message.topic.as_str().into());
                });
            }
            return Ok(());
        }
        let mut keep_for = message.expiry.map(|seconds| Duration::from_secs(seconds.into()));
        if let Some(chain) = chain.filter(|chain| chain.mask().has(HookMask::RETAIN)) {
            match chain.retain(&message.to_message()) {
                Verdict::Store => {}
                Verdict::StoreFor(time) => keep_for = Some(keep_for.map_or(time, |own| own.min(time))),
                Verdict::Pass => return Ok(()),
            }
        }
        let stored = Arc::new(Stored::counted(message, now, self.ledger()));
        let settings = core.settings();
        let before = core.retained.get(message.topic, now);
        let freed = before.as_ref().map_or(0, |before| before.size() as u64);
        let full = before.is_none() && core.retained.count() >= settings.retained_max
            || core.retained.bytes().saturating_sub(freed) + stored.size() as u64
                > settings.retained_bytes_max;
        if full {
            self.metrics.retained_refused.one();
            return Err(ReasonCode::QuotaExceeded);
        }
        let expires = keep_for.map_or(Timestamp::NEVER, |time| now + time);
        let size = u32::try_from(stored.size()).unwrap_or(u32::MAX);
        self.put_retained(message.topic, stored, size, expires);
        core.event(EventKind::RetainedSet, |event| {
            event.topic = Some(message.topic.as_str().into())
        });
        Ok(())
    }
}

impl Shard {
    /// Returns the journal if what is kept for `topic` must survive: what the broker says of itself is said anew.
    fn retained_journal(&self, topic: TopicRef<'_>) -> Option<&Arc<Journal>> {
        let journal = self.core.journal.as_ref();
        journal.filter(|_| !topic.as_str().starts_with("$SYS/"))
    }

    /// Keeps a message in memory and, if there is a durable store, there.
    fn put_retained(&self, topic: TopicRef<'_>, stored: Arc<Stored>, size: u32, expires: Timestamp) {
        let core = &self.core;
        let Some(journal) = self.retained_journal(topic) else {
            core.retained.put(&topic.to_owned(), stored, size, expires);
            return;
        };
        let value = retained_value(&stored, expires, core.moment());
        let _turn = core.retained_turn();
        let before = core.retained.put(&topic.to_owned(), stored, size, expires);
        let mut pen = journal.pen(self.group(), journal.strongest);
        let before = before.map(|before| retained_len(before.size()));
        pen.put_long(&retained_key(topic.as_str()), &value, before);
    }

    /// Clears a topic. False: nothing was kept.
    fn clear_retained(&self, topic: TopicRef<'_>) -> bool {
        let core = &self.core;
        let Some(journal) = self.retained_journal(topic) else {
            return core.retained.remove(topic).is_some();
        };
        let _turn = core.retained_turn();
        let Some(before) = core.retained.remove(topic) else {
            return false;
        };
        let chunks = chunks_of(retained_len(before.size()));
        let mut pen = journal.pen(self.group(), journal.strongest);
        pen.delete_long(&retained_key(topic.as_str()), chunks);
        true
    }
}

/// Retained Messages on their way to a new subscription. They are looked up a page at a time, when the receiver has room,
/// so that a subscription to everything neither floods its own queue nor holds up anybody else.
#[derive(Debug)]
pub(crate) struct Feed {
    cursor: Cursor,
    qos: QoS,
    id: Option<SubscriptionId>,
    class: u32,
    page: Vec<Arc<Stored>>,
}

impl Feed {
    /// Begins to send what matches `filter`, which is absolute.
    pub(crate) fn new(filter: TopicFilter, qos: QoS, id: Option<SubscriptionId>, class: u32) -> Self {
        Self {
            cursor: Cursor::new(filter),
            qos,
            id,
            class,
            page: Vec::new(),
        }
    }

    /// Sends as much as there is room for. True: it is done.
    fn advance(&mut self, shard: &Shard, session: &Arc<Session>, pages: &mut usize) -> bool {
        loop {
            if self.page.is_empty() && self.cursor.is_done() {
                return true;
            }
            if !has_room(session) {
                return false;
            }
            if let Some(stored) = self.page.pop() {
                // RETAIN is set because of the subscription, whatever Retain As Published says [MQTT-3.3.1-8].
                let how = Delivery {
                    qos: self.qos,
                    retain: true,
                    ids: self.id.as_slice(),
                    shared: false,
                };
                shard.deliver_stored(session, &stored, &how, self.class);
                continue;
            }
            if *pages == 0 {
                if let Some(link) = session.lock().link.as_deref_mut() {
                    link.wake();
                }
                return false;
            }
            *pages -= 1;
            shard
                .core
                .retained
                .page(&mut self.cursor, shard.now(), &mut self.page);
            self.page.reverse();
        }
    }
}

/// The Retained Messages on their way to one Session, by the filter that the client asked for: who subscribes once more
/// while they come gets them from the beginning, and never waits for more than it has subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Feeds(Seldom<BTreeMap<SubscriptionFilter, Feed>>);

impl Feeds {
    /// Tells whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins to send for the subscription that the client knows as `requested`.
    pub(crate) fn begin(&mut self, requested: SubscriptionFilter, feed: Feed) {
        self.0.make().insert(requested, feed);
    }

    /// Begins to send all of `others` too.
    pub(crate) fn append(&mut self, mut others: Self) {
        if let Some(others) = others.0.made() {
            self.0.make().append(others);
        }
    }

    /// Sends as much as there is room for, and for as long as it may. The Session's owner is woken when there is more to do.
    pub(crate) fn advance(&mut self, shard: &Shard, session: &Arc<Session>) {
        let mut pages = FEED_PAGES;
        let Some(feeds) = self.0.made() else { return };
        while let Some(mut first) = feeds.first_entry() {
            if !first.get_mut().advance(shard, session, &mut pages) {
                return;
            }
            first.remove();
        }
        // An empty map keeps more than a kilobyte.
        self.0 = Seldom::new();
    }

    /// Stops what belongs to subscriptions that were given up `[MQTT-3.10.4-2]`.
    pub(crate) fn stop_unsubscribed(&mut self, session: &Session) {
        let state = session.lock();
        if let Some(feeds) = self.0.made() {
            feeds.retain(|requested, _| state.subscriptions.get(requested).is_some());
        }
    }
}

/// Tells whether a Session takes more Retained Messages now; if not, its owner is woken when it does.
fn has_room(session: &Session) -> bool {
    let mut state = session.lock();
    let queued = state.outbound.queued_messages();
    let queued_max = state.listener.limits.queued_messages_max.min(FEED_QUEUED_MAX);
    let bytes_max = state.outbound.outbox_bytes_max().min(FEED_BYTES_MAX);
    let Some(link) = state.link.as_deref_mut() else {
        return false;
    };
    let bytes = link.out.len() + link.staging.len();
    let room = queued < queued_max && bytes < bytes_max && !link.held;
    link.wants_drained |= !room;
    room
}

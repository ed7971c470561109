//! The decisions a connection remembers. Bounded in number and bytes; when full it starts again, which is cheaper than
//! choosing a victim. One pointer until the first decision that may be remembered.

use std::hash::{Hash, Hasher};

use broker_types::{QoS, Timestamp};
use hashbrown::{Equivalent, HashMap};
use plugin_api::{AclItem, Action};

use super::{Decision, Outcome};

/// Decisions a connection remembers.
const ENTRIES_MAX: usize = 1_024;
/// Bytes of topics they may have in all.
const TOPIC_BYTES_MAX: usize = 64 * 1024;

/// What decisions are of: this compilation of the chain, and as many invalidations. Another stamp, and none holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(super) generation: u64,
    pub(super) chain: u64,
    pub(super) client: u64,
}

/// Decisions that a connection need not ask for again.
#[derive(Debug, Default)]
pub(crate) struct AclCache(Option<Box<Table>>);

#[derive(Debug, Default)]
struct Table {
    stamp: Stamp,
    topic_bytes: usize,
    entries: HashMap<Key, Entry, foldhash::fast::RandomState>,
}

#[derive(Debug)]
struct Entry {
    outcome: Outcome,
    until: Timestamp,
}

impl AclCache {
    /// Returns what was decided about `item`, if it still holds.
    pub(crate) fn get(
        &mut self,
        stamp: Stamp,
        now: Timestamp,
        action: Action,
        item: &AclItem<'_>,
    ) -> Option<&Outcome> {
        self.0.take_if(|table| table.stamp != stamp);
        let entry = self.0.as_ref()?.entries.get(&Borrowed { action, item })?;
        (now < entry.until).then_some(&entry.outcome)
    }

    /// Remembers a decision if it may be. `stamp` is from before it was asked for: what was invalidated meanwhile is not
    /// remembered.
    pub(crate) fn put(
        &mut self,
        stamp: Stamp,
        now: Timestamp,
        action: Action,
        item: &AclItem<'_>,
        decision: &Decision,
    ) {
        let Some(time) = decision.cache_for else { return };
        let key = Key::new(action, item);
        if key.bytes() > TOPIC_BYTES_MAX {
            return;
        }
        let table = self.0.get_or_insert_default();
        let full = table.entries.len() >= ENTRIES_MAX || table.topic_bytes + key.bytes() > TOPIC_BYTES_MAX;
        if table.stamp != stamp || full {
            table.entries.clear();
            table.topic_bytes = 0;
            table.stamp = stamp;
        }
        let entry = Entry {
            outcome: decision.outcome.clone(),
            until: now + time,
        };
        let bytes = key.bytes();
        if table.entries.insert(key, entry).is_none() {
            table.topic_bytes += bytes;
        }
    }

    /// Forgets everything: the client authenticated anew.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}

/// What a decision is about. An authorizer sees the Share Name, so it counts.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    action: Action,
    qos: QoS,
    retain: bool,
    topic: Box<str>,
    share: Option<Box<str>>,
}

/// A [`Key`] to look up.
struct Borrowed<'a> {
    action: Action,
    item: &'a AclItem<'a>,
}

impl Key {
    fn new(action: Action, item: &AclItem<'_>) -> Self {
        Self {
            action,
            qos: item.qos,
            retain: item.retain,
            topic: item.topic.into(),
            share: item.share.map(Into::into),
        }
    }

    fn bytes(&self) -> usize {
        self.topic.len() + self.share.as_deref().map_or(0, str::len)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(state, self.action, self.qos, self.retain, &self.topic);
    }
}

impl Hash for Borrowed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(
            state,
            self.action,
            self.item.qos,
            self.item.retain,
            self.item.topic,
        );
    }
}

impl Equivalent<Key> for Borrowed<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.action == key.action
            && self.item.qos == key.qos
            && self.item.retain == key.retain
            && *self.item.topic == *key.topic
            && self.item.share == key.share.as_deref()
    }
}

/// Both forms of a key must hash alike. The Share Name stays out: few topics are both shared and not.
fn hash<H: Hasher>(state: &mut H, action: Action, qos: QoS, retain: bool, topic: &str) {
    (action, qos, retain, topic).hash(state);
}

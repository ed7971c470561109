//! Retained Messages by topic (MQTT 5.0 section 3.3.1.3). Holds whatever the engine keeps for one, with its size and its
//! expiry; knows no message, no clock and no limit. Who puts a message in asks the totals first.
//!
//! Every topic stands in a hash table, which a PUBLISH and a subscription without wildcards use, and in a sorted tree,
//! which one with wildcards walks. Sorted text was chosen over a trie because its cursor is a text: a page can be
//! resumed after any change, and no page holds the lock for more than [`PAGE_STEPS`] steps. `seek` is the
//! walk. The text of a topic is shared with the first message that has it.
//!
//! Measured with 64-byte messages on topics like `site/7/dev12/state`, in random order, release build, one thread:
//!
//! | messages | 1k | 100k | 1M |
//! |---|---|---|---|
//! | put a new topic, the message made too, ns | 217 | 336 | 930 |
//! | replace, ns | 24 | 120 | 520 |
//! | exact look-up, ns | 22 | 35 | 160 |
//! | each one that `#` returns, ns | 120 | 200 | 190 |
//! | bytes each; 256 of them are the message's own | 349 | 354 | 350 |

mod seek;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hash};
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use broker_types::{Timestamp, TopicFilter, TopicName, TopicRef};
use hashbrown::HashTable;
use slab::Slab;

use seek::{Step, step};

/// Topics that one page looks at.
const PAGE_STEPS: usize = 256;

/// Topics passed one by one before the tree is searched again from its root.
const WALK_MAX: usize = 8;

/// The Retained Messages of a broker. Shared by all shards.
#[derive(Debug)]
pub(crate) struct Retained<V> {
    store: RwLock<Store<V>>,
}

/// How far a look-up has come. Holds no lock and stays good whatever changes.
#[derive(Debug)]
pub(crate) struct Cursor {
    filter: TopicFilter,
    /// The next topic is the first that is not before this text.
    from: String,
    /// The topic that is `from` has been returned already.
    past: bool,
    done: bool,
}

impl Cursor {
    /// Returns the cursor of a look-up for `filter` that has not begun.
    pub(crate) fn new(filter: TopicFilter) -> Self {
        let from = seek::start(filter.as_str()).to_owned();
        Self {
            filter,
            from,
            past: false,
            done: false,
        }
    }

    /// Tells whether every topic has been looked at.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }
}

#[derive(Debug)]
struct Store<V> {
    entries: Slab<Entry<V>>,
    by_topic: HashTable<Place>,
    sorted: BTreeMap<Key, u32>,
    /// Those that expire.
    expiring: BTreeSet<(Timestamp, u32)>,
    bytes: u64,
    hasher: foldhash::fast::RandomState,
}

#[derive(Debug)]
struct Entry<V> {
    topic: TopicName,
    value: V,
    bytes: u32,
    expires: Timestamp,
}

/// Where an entry stands, with enough of its topic's hash to let the table grow without a look at a million topics.
#[derive(Debug)]
struct Place {
    tag: u32,
    at: u32,
}

/// A Topic Name that can be looked for with a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key(TopicName);

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        self.0.as_str()
    }
}

impl<V: Clone> Retained<V> {
    /// Returns an empty store.
    pub(crate) fn new() -> Self {
        Self {
            store: RwLock::new(Store {
                entries: Slab::new(),
                by_topic: HashTable::new(),
                sorted: BTreeMap::new(),
                expiring: BTreeSet::new(),
                bytes: 0,
                hasher: foldhash::fast::RandomState::default(),
            }),
        }
    }

    /// Keeps `value` for `topic` and returns the one it replaces. `bytes` is what the totals count for it;
    /// [`Timestamp::NEVER`] if it doesn't expire. To share its text, `topic` should be a clone of the message's.
    pub(crate) fn put(&self, topic: &TopicName, value: V, bytes: u32, expires: Timestamp) -> Option<V> {
        let mut store = self.write();
        store.bytes += u64::from(bytes);
        if let Some(at) = store.find(topic.as_str()) {
            return Some(store.replace(at, value, bytes, expires));
        }
        store.add(Entry {
            topic: topic.clone(),
            value,
            bytes,
            expires,
        });
        None
    }

    /// Removes what is kept for `topic` and returns it.
    pub(crate) fn remove(&self, topic: TopicRef<'_>) -> Option<V> {
        let mut store = self.write();
        let at = store.find(topic.as_str())?;
        Some(store.take(at).value)
    }

    /// Returns what is kept for `topic`, unless it has expired.
    pub(crate) fn get(&self, topic: TopicRef<'_>, now: Timestamp) -> Option<V> {
        let store = self.read();
        store.valid(store.find(topic.as_str())?, now)
    }

    /// Adds to `out` what is kept for some more of the topics that match the cursor's filter, each topic once, without the
    /// expired. Call it until the cursor is done. A page may add nothing and yet not be the last one.
    pub(crate) fn page(&self, cursor: &mut Cursor, now: Timestamp, out: &mut Vec<V>) {
        self.steps(PAGE_STEPS, cursor, now, out);
    }

    fn steps(&self, mut steps: usize, cursor: &mut Cursor, now: Timestamp, out: &mut Vec<V>) {
        if cursor.done {
            return;
        }
        let store = self.read();
        if !cursor.filter.has_wildcard() {
            let at = store.find(cursor.filter.as_str());
            out.extend(at.and_then(|at| store.valid(at, now)));
            cursor.done = true;
            return;
        }
        while steps > 0 && !cursor.done {
            store.walk(cursor, &mut steps, now, out);
        }
    }

    /// Removes at most `most` messages that have expired at `now`, and adds them to `out`.
    pub(crate) fn expire(&self, now: Timestamp, most: usize, out: &mut Vec<(TopicName, V)>) {
        if self.next_expiry().is_none_or(|next| next > now) {
            return;
        }
        let mut store = self.write();
        for _ in 0..most {
            match store.expiring.first() {
                Some(&(expires, at)) if expires <= now => {
                    let Entry { topic, value, .. } = store.take(at);
                    out.push((topic, value));
                }
                _ => return,
            }
        }
    }

    /// Returns when the next message expires.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.read().expiring.first().map(|&(expires, _)| expires)
    }

    /// Returns how many messages there are.
    pub(crate) fn count(&self) -> usize {
        self.read().entries.len()
    }

    /// Returns the bytes of all messages, as [`Retained::put`] was told.
    pub(crate) fn bytes(&self) -> u64 {
        self.read().bytes
    }

    fn read(&self) -> RwLockReadGuard<'_, Store<V>> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Store<V>> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Clone> Store<V> {
    /// Walks on in order until a jump pays, the steps are used up or nothing is left.
    fn walk(&self, cursor: &mut Cursor, steps: &mut usize, now: Timestamp, out: &mut Vec<V>) {
        let from = if cursor.past {
            Bound::Excluded(cursor.from.as_str())
        } else {
            Bound::Included(cursor.from.as_str())
        };
        let mut last = None;
        // Topics passed since the target of a jump was known.
        let mut target = String::new();
        let mut passed = 0;
        for (key, &at) in self.sorted.range::<str, _>((from, Bound::Unbounded)) {
            let topic = key.0.as_str();
            if *steps == 0 || passed == WALK_MAX {
                break;
            }
            *steps -= 1;
            last = Some(topic);
            if topic < target.as_str() {
                passed += 1;
                continue;
            }
            target.clear();
            passed = 0;
            match step(cursor.filter.as_str(), topic, &mut target) {
                Step::Matches => out.extend(self.valid(at, now)),
                Step::Next | Step::To => {}
                Step::End => {
                    cursor.done = true;
                    return;
                }
            }
        }
        let stopped = *steps == 0 || passed == WALK_MAX;
        match last {
            _ if !stopped => cursor.done = true,
            Some(topic) if topic < target.as_str() => {
                cursor.from = target;
                cursor.past = false;
            }
            Some(topic) => {
                topic.clone_into(&mut cursor.from);
                cursor.past = true;
            }
            None => {}
        }
    }

    fn find(&self, topic: &str) -> Option<u32> {
        let tag = self.tag(topic);
        let found = self.by_topic.find(spread(tag), |place| {
            place.tag == tag && self.entries[place.at as usize].topic.as_str() == topic
        })?;
        Some(found.at)
    }

    fn valid(&self, at: u32, now: Timestamp) -> Option<V> {
        let entry = &self.entries[at as usize];
        (entry.expires > now).then(|| entry.value.clone())
    }

    fn add(&mut self, entry: Entry<V>) {
        let tag = self.tag(entry.topic.as_str());
        let key = Key(entry.topic.clone());
        let expires = entry.expires;
        let at = u32::try_from(self.entries.insert(entry)).expect("fewer than 2^32 retained messages");
        self.by_topic
            .insert_unique(spread(tag), Place { tag, at }, |place| spread(place.tag));
        self.sorted.insert(key, at);
        if expires != Timestamp::NEVER {
            self.expiring.insert((expires, at));
        }
    }

    /// Replaces all but the topic: its text is also the tree's, which a new one is not worth a search in.
    fn replace(&mut self, at: u32, value: V, bytes: u32, expires: Timestamp) -> V {
        let entry = &mut self.entries[at as usize];
        self.bytes -= u64::from(entry.bytes);
        if entry.expires != expires {
            self.expiring.remove(&(entry.expires, at));
            if expires != Timestamp::NEVER {
                self.expiring.insert((expires, at));
            }
        }
        entry.bytes = bytes;
        entry.expires = expires;
        std::mem::replace(&mut entry.value, value)
    }

    fn take(&mut self, at: u32) -> Entry<V> {
        let entry = self.entries.remove(at as usize);
        let tag = self.tag(entry.topic.as_str());
        if let Ok(found) = self.by_topic.find_entry(spread(tag), |place| place.at == at) {
            found.remove();
        }
        self.sorted.remove(entry.topic.as_str());
        self.expiring.remove(&(entry.expires, at));
        self.bytes -= u64::from(entry.bytes);
        if self.entries.is_empty() {
            self.entries = Slab::new();
            self.by_topic = HashTable::new();
        }
        entry
    }

    #[expect(clippy::cast_possible_truncation, reason = "32 bits of the hash are kept")]
    fn tag(&self, topic: &str) -> u32 {
        self.hasher.hash_one(topic) as u32
    }
}

/// Fills the 64 bits that the hash table looks at.
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

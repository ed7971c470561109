//! Which slots want a topic, and what a connection remembers of that.

use broker_types::{TopicFilter, TopicRef};

use super::ChainSet;
use crate::routing;

/// Up to 64 slots of one hook, slot 0 in the lowest bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotBits(u64);

impl SlotBits {
    /// Slots there can be.
    pub(crate) const MAX: usize = 64;

    /// Tells whether nobody is interested.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the first slot.
    pub(super) const fn first(self) -> Option<usize> {
        if self.0 == 0 {
            None
        } else {
            Some(self.0.trailing_zeros() as usize)
        }
    }

    /// Returns the last slot.
    pub(super) const fn last(self) -> Option<usize> {
        if self.0 == 0 {
            None
        } else {
            Some(63 - self.0.leading_zeros() as usize)
        }
    }

    /// Returns those from slot `at` on.
    pub(super) const fn from(self, at: usize) -> Self {
        if at < Self::MAX {
            Self(self.0 & u64::MAX << at)
        } else {
            Self(0)
        }
    }

    /// Returns those before slot `at`, which is below [`Self::MAX`].
    pub(super) const fn before(self, at: usize) -> Self {
        Self(self.0 & !(u64::MAX << at))
    }
}

/// The slots that want one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    /// For [`ChainSet::publish`].
    pub(crate) publish: SlotBits,
    /// For [`ChainSet::deliver`].
    pub(crate) deliver: SlotBits,
}

/// The topics of the slots of one hook: what the plugins want, narrowed by what the uses let them see.
#[derive(Debug, Default)]
pub(super) struct Topics {
    plugins: Wanted,
    uses: Wanted,
}

/// Slots without a filter, and slots by filter.
#[derive(Debug, Default)]
struct Wanted {
    everything: u64,
    filters: routing::Interest,
}

impl Topics {
    pub(super) fn add(&mut self, slot: usize, plugin: &[TopicFilter], used: &[TopicFilter]) {
        self.plugins.add(slot, plugin);
        self.uses.add(slot, used);
    }

    pub(super) fn slots(&self, topic: TopicRef<'_>) -> SlotBits {
        SlotBits(self.plugins.slots(topic) & self.uses.slots(topic))
    }
}

impl Wanted {
    fn add(&mut self, slot: usize, filters: &[TopicFilter]) {
        if filters.is_empty() {
            self.everything |= 1 << slot;
        }
        for filter in filters {
            self.filters.add(filter, slot as u32);
        }
    }

    fn slots(&self, topic: TopicRef<'_>) -> u64 {
        self.everything | self.filters.slots(topic)
    }
}

/// The interest in the topics a connection used last. Two look-ups in a trie cost some ten times what this does.
/// One pointer until the first use.
#[derive(Debug, Default)]
pub(crate) struct InterestCache(Option<Box<Recent>>);

#[derive(Debug, Default)]
struct Recent {
    generation: u64,
    topics: [(Box<str>, Interest); InterestCache::ENTRIES],
    next: usize,
}

impl InterestCache {
    const ENTRIES: usize = 8;
    /// Longer topics are looked up each time: what a connection holds has a bound.
    const TOPIC_BYTES_MAX: usize = 256;

    /// Returns what [`ChainSet::interest`] would.
    pub(crate) fn get(&mut self, chain: &ChainSet, topic: TopicRef<'_>) -> Interest {
        let text = topic.as_str();
        if text.len() > Self::TOPIC_BYTES_MAX {
            return chain.interest(topic);
        }
        let recent = self.0.get_or_insert_default();
        if recent.generation != chain.generation() {
            **recent = Recent {
                generation: chain.generation(),
                ..Recent::default()
            };
        }
        // An empty text stands for no entry; no Topic Name is empty [MQTT-4.7.3-1].
        if let Some((_, interest)) = recent.topics.iter().find(|(known, _)| **known == *text) {
            return *interest;
        }
        let interest = chain.interest(topic);
        recent.topics[recent.next] = (text.into(), interest);
        recent.next = (recent.next + 1) % Self::ENTRIES;
        interest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_cut_where_they_should_be() {
        let all = SlotBits(u64::MAX);
        assert_eq!((all.first(), all.last()), (Some(0), Some(63)));
        assert_eq!(all.from(63), SlotBits(1 << 63));
        assert!(all.from(64).is_empty());
        assert_eq!(all.before(1), SlotBits(1));
        assert!(all.before(0).is_empty());
        assert_eq!(all.before(63).last(), Some(62));
        assert_eq!((SlotBits(0).first(), SlotBits(0).last()), (None, None));
    }
}

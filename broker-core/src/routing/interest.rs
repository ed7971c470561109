//! Which of up to 64 plugins want a topic: the trie of the routes with a bitmap at each filter.

use broker_types::{TopicFilter, TopicRef};

use super::trie::Trie;

/// Topic Filters to slots 0 to 63. Built once with a chain, then only read.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    filters: Trie<u64>,
}

impl Interest {
    /// Slots there are.
    pub(crate) const SLOTS: u32 = u64::BITS;

    /// Adds `filter` to what `slot` wants.
    ///
    /// # Panics
    /// If `slot` is not below [`Self::SLOTS`].
    pub(crate) fn add(&mut self, filter: &TopicFilter, slot: u32) {
        assert!(slot < Self::SLOTS, "an Interest has {} slots", Self::SLOTS);
        *self.filters.slot(filter.as_str()).get_or_insert(0) |= 1 << slot;
    }

    /// Returns the slots that want `topic`, slot 0 in the lowest bit. With no filters at all this is one branch.
    pub(crate) fn slots(&self, topic: TopicRef<'_>) -> u64 {
        let mut slots = 0;
        self.filters.matches(topic, |wanted| slots |= wanted);
        slots
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_told_apart() {
        let mut interest = Interest::default();
        let nobody = TopicRef::new("a/b").unwrap();
        assert_eq!(interest.slots(nobody), 0);
        for (filter, slot) in [("a/#", 0), ("a/+", 3), ("a/b", 63), ("a/b", 1), ("b/#", 2)] {
            interest.add(&TopicFilter::new(filter).unwrap(), slot);
        }
        assert_eq!(interest.slots(nobody), 1 | 1 << 1 | 1 << 3 | 1 << 63);
        assert_eq!(interest.slots(TopicRef::new("b").unwrap()), 1 << 2);
        assert_eq!(interest.slots(TopicRef::new("c").unwrap()), 0);
    }

    #[test]
    #[should_panic(expected = "64 slots")]
    fn there_is_no_65th_slot() {
        Interest::default().add(&TopicFilter::new("a").unwrap(), 64);
    }
}

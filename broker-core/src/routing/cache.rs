//! What a shard remembers of its busy topics: a hit costs one hash look-up, no lock and no reference count that other
//! threads share.
//!
//! Everything remembered is of one generation of the [`Routes`]; the first look-up after a change forgets it all. A
//! topic is remembered the second time it is seen, so a stream of topics that never come back costs no
//! allocation and pushes nothing out. When full, the cache starts again: cheaper than choosing a victim at every hit.

use std::hash::BuildHasher;
use std::rc::Rc;

use broker_types::TopicRef;
use hashbrown::HashMap;

use super::{Matches, Routes, Subscriber};

/// Topic Name to [`Matches`], bounded in entries and in matches. Owned by one shard.
///
/// It keeps subscribers alive until the next look-up: call [`TopicCache::forget_stale`] now and then in a shard that may
/// be idle.
#[derive(Debug)]
pub(crate) struct TopicCache<S> {
    entries: HashMap<Box<str>, Rc<Matches<S>>, foldhash::fast::RandomState>,
    generation: u64,
    /// Matches in `entries`.
    held: usize,
    entries_max: usize,
    matches_max: usize,
    /// Hashes of topics that were missed once, by their low bits.
    seen: Box<[u32]>,
    /// Holds the answer for a topic that isn't remembered; its memory is used again.
    scratch: Rc<Matches<S>>,
}

impl<S: Subscriber> TopicCache<S> {
    /// Returns an empty cache for at most `entries_max` topics with `matches_max` matches in all. 0 entries: it never
    /// remembers anything.
    pub(crate) fn new(entries_max: usize, matches_max: usize) -> Self {
        Self {
            entries: HashMap::default(),
            generation: 0,
            held: 0,
            entries_max,
            matches_max,
            seen: vec![0; entries_max.next_power_of_two()].into(),
            scratch: Rc::new(Matches::new()),
        }
    }

    /// Returns what `topic` matches, as [`Routes::matches`] would find it.
    pub(crate) fn get(&mut self, routes: &Routes<S>, topic: TopicRef<'_>) -> Rc<Matches<S>> {
        self.forget_stale(routes);
        if let Some(found) = self.entries.get(topic.as_str()) {
            return Rc::clone(found);
        }
        match Rc::get_mut(&mut self.scratch) {
            Some(scratch) if scratch.len() <= self.matches_max => routes.matches(topic, scratch),
            // The last answer is still held by somebody, or keeps more memory than it is good for.
            _ => {
                let mut matches = Matches::new();
                routes.matches(topic, &mut matches);
                self.scratch = Rc::new(matches);
            }
        }
        // The table may have changed since its number was read. Then this is remembered under the old number, and
        // forgotten with it.
        if self.seen_before(topic) {
            self.remember(topic);
        }
        Rc::clone(&self.scratch)
    }

    /// Returns the generation that the last answer of [`Self::get`] is of.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Lets go of what no longer holds.
    pub(crate) fn forget_stale(&mut self, routes: &Routes<S>) {
        let generation = routes.generation();
        if generation != self.generation {
            self.forget(generation);
            if let Some(scratch) = Rc::get_mut(&mut self.scratch) {
                scratch.clear();
            }
        }
    }

    /// Returns how many topics and matches are remembered.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.held)
    }

    fn forget(&mut self, generation: u64) {
        self.generation = generation;
        self.entries.clear();
        self.held = 0;
    }

    fn remember(&mut self, topic: TopicRef<'_>) {
        let matches = self.scratch.len();
        if matches > self.matches_max {
            return;
        }
        if self.entries.len() >= self.entries_max || self.held + matches > self.matches_max {
            self.forget(self.generation);
        }
        self.held += matches;
        self.entries
            .insert(topic.as_str().into(), Rc::clone(&self.scratch));
    }

    /// Tells whether `topic` was missed before, as far as one hash tells, and notes that it was now.
    #[expect(clippy::cast_possible_truncation, reason = "bits of a hash")]
    fn seen_before(&mut self, topic: TopicRef<'_>) -> bool {
        if self.entries_max == 0 {
            return false;
        }
        let hash = self.entries.hasher().hash_one(topic.as_str());
        // Never 0, which stands for nothing.
        let mark = (hash >> 32) as u32 | 1;
        let at = hash as usize & (self.seen.len() - 1);
        std::mem::replace(&mut self.seen[at], mark) == mark
    }
}

//! Packet Identifiers of QoS 2 messages that came in and are not released: what must be remembered so that a message
//! sent again is not delivered again. Part of the Session State (section 4.1).
//!
//! Kept sorted in a deque. Clients count upwards and release in order, so nearly always a new identifier goes to the back
//! and a released one is at the front; anything else is a binary search and a move of at most 256 KiB.

use std::collections::VecDeque;

use broker_types::PacketId;

/// The identifiers of one Session. Costs nothing while empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceivedIds {
    ids: VecDeque<Received>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Received {
    id: PacketId,
    accepted: bool,
}

impl ReceivedIds {
    /// Returns an empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ids: VecDeque::new() }
    }

    /// Tells whether a message with `id` was accepted and not released.
    #[must_use]
    pub fn contains(&self, id: PacketId) -> bool {
        self.state(id) == Some(true)
    }

    /// Returns the identifiers of accepted messages, in numeric order.
    pub fn iter(&self) -> impl Iterator<Item = PacketId> {
        self.ids
            .iter()
            .filter(|received| received.accepted)
            .map(|received| received.id)
    }

    /// Returns how many identifiers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Tells whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns whether a message with `id` was accepted, or `None` if there is none.
    pub(crate) fn state(&self, id: PacketId) -> Option<bool> {
        let place = self.find(id).ok()?;
        Some(self.ids[place].accepted)
    }

    /// Remembers that a message with `id`, which must be new, is being looked at.
    pub(crate) fn begin(&mut self, id: PacketId) {
        if let Err(place) = self.find(id) {
            self.ids.insert(place, Received { id, accepted: false });
        }
    }

    /// Remembers that the message was accepted.
    pub(crate) fn accept(&mut self, id: PacketId) {
        if let Ok(place) = self.find(id) {
            self.ids[place].accepted = true;
        }
    }

    /// Forgets `id`: the message was released or refused.
    pub(crate) fn remove(&mut self, id: PacketId) {
        if let Ok(place) = self.find(id) {
            self.ids.remove(place);
        }
    }

    /// Forgets the messages that nobody accepted, because their connection is gone.
    pub(crate) fn settle(&mut self) {
        self.ids.retain(|received| received.accepted);
        self.ids.shrink_to_fit();
    }

    #[inline]
    fn find(&self, id: PacketId) -> Result<usize, usize> {
        match (self.ids.front(), self.ids.back()) {
            (Some(first), _) if first.id == id => Ok(0),
            (_, Some(last)) if last.id < id => Err(self.ids.len()),
            (None, _) => Err(0),
            _ => self.ids.binary_search_by_key(&id, |received| received.id),
        }
    }
}

impl FromIterator<PacketId> for ReceivedIds {
    /// Remembers accepted messages, as a store brings them back.
    fn from_iter<I: IntoIterator<Item = PacketId>>(ids: I) -> Self {
        let mut received = Self::new();
        for id in ids {
            received.begin(id);
            received.accept(id);
        }
        received
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_sorted_map(ops in prop::collection::vec((0u8..4, 1u16..20), 1..200)) {
            let (mut received, mut model) = (ReceivedIds::new(), BTreeMap::new());
            for (op, id) in ops {
                let packet_id = PacketId::new(id).unwrap();
                match op {
                    0 => {
                        received.begin(packet_id);
                        model.entry(id).or_insert(false);
                    }
                    1 => {
                        received.accept(packet_id);
                        model.entry(id).and_modify(|accepted| *accepted = true);
                    }
                    2 => {
                        received.remove(packet_id);
                        model.remove(&id);
                    }
                    _ => prop_assert_eq!(received.state(packet_id), model.get(&id).copied()),
                }
            }
            received.settle();
            model.retain(|_, accepted| *accepted);
            prop_assert!(received.iter().map(PacketId::get).eq(model.into_keys()));
        }
    }
}

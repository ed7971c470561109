//! Packet Identifiers of QoS 2 messages that came in and are not released: what must be remembered so that a message
//! sent again is not delivered again. Part of the Session State (section 4.1).
//!
//! Kept sorted in a deque. Clients count upwards and release in order, so nearly always a new identifier goes to the back
//! and a released one is at the front; anything else is a binary search and a move of at most 256 KiB.

use std::collections::VecDeque;

use broker_types::PacketId;

use crate::Seldom;

/// The identifiers of one Session. Costs nothing while empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceivedIds {
    ids: Seldom<VecDeque<Received>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Received {
    id: PacketId,
    stage: Stage,
}

/// How far an incoming QoS 2 message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Somebody looks at it.
    Looked,
    /// Somebody is responsible for it.
    Accepted,
    /// PUBREL came; the identifier is being forgotten.
    Released,
}

impl ReceivedIds {
    /// Returns an empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ids: Seldom::new() }
    }

    /// Tells whether a message with `id` was accepted and not released.
    #[must_use]
    pub fn contains(&self, id: PacketId) -> bool {
        self.stage(id).is_some_and(|stage| stage != Stage::Looked)
    }

    /// Returns the identifiers of accepted messages, in numeric order.
    pub fn iter(&self) -> impl Iterator<Item = PacketId> {
        self.ids
            .iter()
            .filter(|received| received.stage != Stage::Looked)
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

    /// Returns how far the message with `id` has come, if there is one.
    #[inline]
    pub(crate) fn stage(&self, id: PacketId) -> Option<Stage> {
        let place = self.find(id).ok()?;
        Some(self.ids[place].stage)
    }

    /// Remembers a message that is new.
    pub(crate) fn begin(&mut self, id: PacketId) {
        if let Err(place) = self.find(id) {
            let stage = Stage::Looked;
            self.ids.make().insert(place, Received { id, stage });
        }
    }

    /// Remembers that a message has come further.
    pub(crate) fn advance(&mut self, id: PacketId, stage: Stage) {
        if let Ok(place) = self.find(id) {
            self.ids.make()[place].stage = stage;
        }
    }

    /// Forgets `id`: the message was released or refused.
    pub(crate) fn remove(&mut self, id: PacketId) {
        if let Ok(place) = self.find(id) {
            self.ids.make().remove(place);
        }
    }

    /// The connection is gone: forgets the messages that nobody accepted, and goes on remembering those whose release nobody
    /// confirmed.
    pub(crate) fn settle(&mut self) {
        let Some(ids) = self.ids.made() else { return };
        ids.retain(|received| received.stage != Stage::Looked);
        for received in &mut *ids {
            received.stage = Stage::Accepted;
        }
        ids.shrink_to_fit();
        if ids.is_empty() {
            self.ids = Seldom::new();
        }
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
            received.advance(id, Stage::Accepted);
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
        fn behaves_as_a_sorted_map(ops in prop::collection::vec((0u8..5, 1u16..20), 1..200)) {
            let (mut received, mut model) = (ReceivedIds::new(), BTreeMap::new());
            for (op, id) in ops {
                let packet_id = PacketId::new(id).unwrap();
                match op {
                    0 => {
                        received.begin(packet_id);
                        model.entry(id).or_insert(Stage::Looked);
                    }
                    1 | 2 => {
                        let further = if op == 1 { Stage::Accepted } else { Stage::Released };
                        received.advance(packet_id, further);
                        model.entry(id).and_modify(|stage| *stage = further);
                    }
                    3 => {
                        received.remove(packet_id);
                        model.remove(&id);
                    }
                    _ => prop_assert_eq!(received.stage(packet_id), model.get(&id).copied()),
                }
            }
            received.settle();
            model.retain(|_, stage| *stage != Stage::Looked);
            prop_assert!(received.iter().map(PacketId::get).eq(model.into_keys()));
        }
    }
}

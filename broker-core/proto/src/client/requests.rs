//! SUBSCRIBE and UNSUBSCRIBE packets that wait for their answer.

use broker_types::PacketId;

use super::ClientError;
use crate::packet::PacketType;

/// The first Packet Identifier for requests.
pub(super) const REQUEST_ID_MIN: u16 = 0xF000;
/// Requests without an answer at a time.
pub(super) const REQUESTS_MAX: usize = 1024;

/// The requests without an answer. Their Packet Identifiers are those that PUBLISH doesn't use, so that none is used
/// twice `[MQTT-2.2.1-3]`.
#[derive(Debug, Default)]
pub(super) struct Requests {
    last: u16,
    pending: Vec<PacketId>,
}

impl Requests {
    /// Returns an identifier that is not pending, if there may be one more; [`Self::start`] makes it so.
    pub(super) fn next_id(&mut self) -> Option<PacketId> {
        if self.pending.len() >= REQUESTS_MAX {
            return None;
        }
        loop {
            self.last = self.last.wrapping_add(1).max(REQUEST_ID_MIN);
            let id = PacketId::new(self.last)?;
            if !self.pending.contains(&id) {
                return Some(id);
            }
        }
    }

    /// The request was sent.
    pub(super) fn start(&mut self, id: PacketId) {
        self.pending.push(id);
    }

    /// An answer came; it must be one that is due.
    pub(super) fn finish(&mut self, id: PacketId, answer: PacketType) -> Result<(), ClientError> {
        let place = self.pending.iter().position(|pending| *pending == id);
        self.pending
            .swap_remove(place.ok_or(ClientError::Unexpected(answer))?);
        Ok(())
    }
}

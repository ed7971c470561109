//! The PUBLISH packets with QoS 1 and 2 that a Client has not finished: who has which Packet Identifier. When they are
//! sent or sent again is `outbound.rs`.
//!
//! Identifiers are handed out in sequence, 1 to 65,535 and again, so the table is a ring in which the place is the
//! identifier modulo its size. A place that a slow receiver still holds is skipped together with its identifier: one
//! stuck message neither stops the others nor makes the table grow with the distance. It is at most half full, so a
//! free place is near. Looking up and finishing is one index; nothing is allocated unless more are under way than ever.

use std::sync::Arc;

use broker_types::PacketId;

use super::queue::Terms;
use super::snapshot::InFlight;
use crate::stored::Stored;

/// How far a message has come. The list is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// PUBLISH was sent; PUBACK or PUBREC is due.
    Sent,
    /// PUBREC came and PUBREL was sent; PUBCOMP is due. The message itself is not needed any more.
    Released,
}

/// One message under way.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) seq: u64,
    /// Absent once released, and always in a Session that ends with its connection: it will never be sent again.
    pub(crate) message: Option<Arc<Stored>>,
    pub(crate) terms: Terms,
    pub(crate) packet_id: PacketId,
    pub(crate) phase: Phase,
    /// Whether it takes a place of the Receive Maximum of the present connection.
    pub(crate) counted: bool,
}

impl Slot {
    pub(crate) fn snapshot(&self) -> InFlight {
        InFlight {
            seq: self.seq,
            packet_id: self.packet_id,
            phase: self.phase,
            message: self.message.clone(),
            terms: self.terms.clone(),
        }
    }
}

impl From<InFlight> for Slot {
    fn from(saved: InFlight) -> Self {
        Self {
            seq: saved.seq,
            message: saved.message,
            terms: saved.terms,
            packet_id: saved.packet_id,
            phase: saved.phase,
            counted: false,
        }
    }
}

/// The messages under way of one Session.
#[derive(Debug)]
pub(crate) struct Inflight {
    /// A power of two, or empty.
    ring: Box<[Option<Slot>]>,
    used: u32,
    next_id: u16,
    id_max: u16,
}

const RING_MIN: usize = 8;
const RING_MAX: usize = 1 << 16;

impl Inflight {
    pub(crate) fn new() -> Self {
        Self {
            ring: Box::default(),
            used: 0,
            next_id: 1,
            id_max: u16::MAX,
        }
    }

    /// Leaves the identifiers above `id_max` to others. At least twice as many as may be under way must remain.
    pub(crate) const fn set_id_max(&mut self, id_max: u16) {
        self.id_max = id_max;
    }

    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.used as usize
    }

    /// Returns the identifier that the next message gets, and makes sure that there is a place for it. There must be
    /// fewer than 65,535 under way.
    #[inline]
    pub(crate) fn next_id(&mut self) -> PacketId {
        if (self.len() + 1) * 2 > self.ring.len() && self.ring.len() < RING_MAX {
            self.grow();
        }
        loop {
            let id = PacketId::new(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            let free = |id: &PacketId| id.get() <= self.id_max && self.ring[self.place(*id)].is_none();
            if let Some(id) = id.filter(free) {
                return id;
            }
        }
    }

    /// Puts a message under way; its place must be free, as that of [`Self::next_id`] is.
    #[inline]
    pub(crate) fn insert(&mut self, slot: Slot) {
        let place = self.place(slot.packet_id);
        debug_assert!(self.ring[place].is_none());
        self.ring[place] = Some(slot);
        self.used += 1;
    }

    /// Puts a message of an earlier life of the broker under way, whose identifier may lie anywhere. Returns false when
    /// the identifier is taken.
    pub(crate) fn restore(&mut self, slot: Slot) -> bool {
        if (self.len() + 1) * 2 > self.ring.len() && self.ring.len() < RING_MAX {
            self.grow();
        }
        while let Some(held) = &self.ring[self.place(slot.packet_id)] {
            if held.packet_id == slot.packet_id {
                return false;
            }
            self.grow();
        }
        self.insert(slot);
        true
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: PacketId) -> Option<&mut Slot> {
        let place = self.place(id);
        self.ring
            .get_mut(place)?
            .as_mut()
            .filter(|slot| slot.packet_id == id)
    }

    #[inline]
    pub(crate) fn remove(&mut self, id: PacketId) -> Option<Slot> {
        let place = self.place(id);
        let slot = self.ring.get_mut(place)?.take_if(|slot| slot.packet_id == id)?;
        self.used -= 1;
        Some(slot)
    }

    /// Returns all, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.ring.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.ring.iter_mut().flatten()
    }

    /// Returns the identifier that is handed out next, if it is free: kept over a restart, so that a late answer to an
    /// identifier of before is not taken for one to another message.
    pub(crate) const fn position(&self) -> u16 {
        self.next_id
    }

    pub(crate) const fn set_position(&mut self, next_id: u16) {
        self.next_id = next_id;
    }

    /// Gives memory back if nothing is under way.
    pub(crate) fn shrink(&mut self) {
        if self.used == 0 {
            self.ring = Box::default();
        }
    }

    #[inline]
    fn place(&self, id: PacketId) -> usize {
        usize::from(id.get()) & self.ring.len().wrapping_sub(1)
    }

    #[cold]
    fn grow(&mut self) {
        let size = (self.ring.len() * 2).max(RING_MIN);
        let new = std::iter::repeat_with(|| None).take(size).collect();
        let old = std::mem::replace(&mut self.ring, new);
        // Places that differ modulo the old size differ modulo twice of it too.
        for slot in old.into_iter().flatten() {
            let place = self.place(slot.packet_id);
            self.ring[place] = Some(slot);
        }
    }
}

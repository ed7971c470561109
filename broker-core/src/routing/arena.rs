//! Where trie nodes live: numbered places in chunks that double in size. Growing moves nothing, so it neither keeps the
//! table locked for a copy of all nodes nor needs room for two.

use std::ops::{Index, IndexMut};

/// A node's place. The first one added is 0.
pub(super) type NodeId = u32;

/// Places in the first chunk. A power of two.
const FIRST: u32 = 4;

#[derive(Debug)]
pub(super) struct Arena<T> {
    /// Chunk `k` has room for `FIRST << k`; all but the last are full.
    chunks: Vec<Vec<T>>,
    free: Vec<NodeId>,
    /// Places handed out, free ones included.
    places: u32,
}

impl<T> Arena<T> {
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            places: 0,
        }
    }

    /// Returns how many places are in use.
    pub(super) fn len(&self) -> usize {
        self.places as usize - self.free.len()
    }

    pub(super) fn add(&mut self, node: T) -> NodeId {
        if let Some(id) = self.free.pop() {
            self[id] = node;
            return id;
        }
        let id = self.places;
        self.places += 1;
        assert!(self.places < NodeId::MAX / 2, "fewer than 2^31 nodes");
        let (chunk, _) = locate(id);
        if chunk == self.chunks.len() {
            self.chunks.push(Vec::with_capacity((FIRST as usize) << chunk));
        }
        self.chunks[chunk].push(node);
        id
    }

    /// Gives the place `id` back and leaves `empty` in it.
    pub(super) fn remove(&mut self, id: NodeId, empty: T) {
        self[id] = empty;
        self.free.push(id);
    }
}

impl<T> Index<NodeId> for Arena<T> {
    type Output = T;

    fn index(&self, id: NodeId) -> &T {
        let (chunk, at) = locate(id);
        &self.chunks[chunk][at]
    }
}

impl<T> IndexMut<NodeId> for Arena<T> {
    fn index_mut(&mut self, id: NodeId) -> &mut T {
        let (chunk, at) = locate(id);
        &mut self.chunks[chunk][at]
    }
}

/// Returns the chunk of a place, and where it stands there.
const fn locate(id: NodeId) -> (usize, usize) {
    let shifted = id + FIRST;
    let power = shifted.ilog2();
    (
        (power - FIRST.ilog2()) as usize,
        (shifted - (1 << power)) as usize,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_and_come_back() {
        let mut arena = Arena::new();
        let ids: Vec<_> = (0..1000).map(|n| arena.add(n)).collect();
        assert!(ids.iter().zip(0..).all(|(&id, n)| arena[id] == n));
        arena.remove(500, -1);
        assert_eq!(arena.len(), 999);
        assert_eq!(arena.add(7), 500);
        assert_eq!((arena[500], arena.len()), (7, 1000));
    }

    #[test]
    fn chunks_double() {
        assert_eq!(
            [0, 3, 4, 11, 12].map(locate),
            [(0, 0), (0, 3), (1, 0), (1, 7), (2, 0)]
        );
    }
}

//! The children of one trie node: `+` and `#` as fields of their own, the others by the hash of their first level.

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::arena::NodeId;

/// No child: the root's number, since the root is nobody's.
pub(super) const NONE: NodeId = 0;

/// Above this many children with a name a hash table finds them, below a scan.
const SCAN_MAX: usize = 16;

/// The way to a child: `tag` is the hash of the first level of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) tag: u32,
    pub(super) child: NodeId,
}

#[derive(Debug, Default)]
pub(super) struct Branch {
    /// The child whose text begins with `+`.
    pub(super) plus: NodeId,
    /// The child whose text is `#`.
    pub(super) hash: NodeId,
    named: Named,
}

#[derive(Debug)]
enum Named {
    Few(SmallVec<[Edge; 4]>),
    Many(Box<HashTable<Edge>>),
}

impl Default for Named {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl Branch {
    /// Returns the child with `tag` that `is_it` accepts; two levels can have the same tag.
    pub(super) fn find(&self, tag: u32, is_it: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let found = |edge: &&Edge| edge.tag == tag && is_it(edge.child);
        match &self.named {
            Named::Few(few) => few.iter().find(found),
            Named::Many(many) => many.find(spread(tag), |edge| found(&edge)),
        }
        .map(|edge| edge.child)
    }

    pub(super) fn insert(&mut self, edge: Edge) {
        match &mut self.named {
            Named::Few(few) if few.len() < SCAN_MAX => few.push(edge),
            Named::Few(few) => {
                let mut many = HashTable::with_capacity(SCAN_MAX * 2);
                for edge in few.drain(..).chain([edge]) {
                    many.insert_unique(spread(edge.tag), edge, |edge| spread(edge.tag));
                }
                self.named = Named::Many(Box::new(many));
            }
            Named::Many(many) => {
                many.insert_unique(spread(edge.tag), edge, |edge| spread(edge.tag));
            }
        }
    }

    /// Puts `new` in the place of `old`.
    pub(super) fn replace(&mut self, old: Edge, new: NodeId) {
        let found = match &mut self.named {
            Named::Few(few) => few.iter_mut().find(|edge| **edge == old),
            Named::Many(many) => many.find_mut(spread(old.tag), |edge| *edge == old),
        };
        found.expect("a child is linked from its parent").child = new;
    }

    pub(super) fn remove(&mut self, edge: Edge) {
        match &mut self.named {
            Named::Few(few) => few.retain(|e| *e != edge),
            Named::Many(many) => {
                if let Ok(found) = many.find_entry(spread(edge.tag), |e| *e == edge) {
                    found.remove();
                }
                if many.len() <= SCAN_MAX / 2 {
                    self.named = Named::Few(many.iter().copied().collect());
                } else if many.len() < many.capacity() / 8 {
                    many.shrink_to(many.len() * 2, |edge| spread(edge.tag));
                }
            }
        }
    }

    /// Returns how many children there are.
    pub(super) fn len(&self) -> usize {
        let named = match &self.named {
            Named::Few(few) => few.len(),
            Named::Many(many) => many.len(),
        };
        named + usize::from(self.plus != NONE) + usize::from(self.hash != NONE)
    }

    /// Returns the child when there is exactly one.
    pub(super) fn only(&self) -> Option<NodeId> {
        match (&self.named, self.len()) {
            (_, 1) if self.plus != NONE => Some(self.plus),
            (_, 1) if self.hash != NONE => Some(self.hash),
            (Named::Few(few), 1) => few.first().map(|edge| edge.child),
            _ => None,
        }
    }
}

/// Fills the 64 bits that the hash table looks at: the place from the low ones, a check from the high ones.
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Levels with equal hashes are rare, and an attacker's wish.
    #[test]
    fn children_with_equal_tags_are_told_apart() {
        let mut branch = Branch::default();
        for child in 1..=40 {
            branch.insert(Edge { tag: 7, child });
        }
        branch.remove(Edge { tag: 7, child: 13 });
        branch.replace(Edge { tag: 7, child: 20 }, 99);
        let found = |child| branch.find(7, |c| c == child);
        assert_eq!(
            [found(12), found(13), found(20), found(99)],
            [Some(12), None, None, Some(99)]
        );
        assert_eq!(branch.len(), 39);
    }

    #[test]
    fn growing_and_shrinking_keeps_all() {
        let mut branch = Branch::default();
        let edge = |n| Edge {
            tag: n * 31,
            child: n,
        };
        for n in 1..=1000 {
            branch.insert(edge(n));
            assert!(
                (1..=n)
                    .step_by(7)
                    .all(|n| branch.find(n * 31, |c| c == n).is_some())
            );
        }
        assert!(matches!(branch.named, Named::Many(_)));
        for n in (2..=1000).rev() {
            branch.remove(edge(n));
            assert_eq!(branch.find(n * 31, |_| true), None);
            assert!(
                (1..n)
                    .step_by(7)
                    .all(|n| branch.find(n * 31, |c| c == n).is_some())
            );
        }
        assert!(matches!(branch.named, Named::Few(_)));
        assert_eq!(branch.only(), Some(1));
    }

    #[test]
    fn the_only_child_may_be_a_wildcard() {
        let mut branch = Branch {
            plus: 5,
            ..Branch::default()
        };
        assert_eq!(branch.only(), Some(5));
        branch.hash = 6;
        assert_eq!(branch.only(), None);
        branch.plus = NONE;
        assert_eq!(branch.only(), Some(6));
    }
}

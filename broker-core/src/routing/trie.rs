//! Topic Filters to values, and the walk that finds those a Topic Name matches.
//!
//! A radix tree over whole levels: a node holds as many levels as all filters below it share, so the tail that only
//! one filter has is one node, however deep. Nodes live in an arena (a `Vec`, indexes of 32 bits, a free list). Each takes
//! 64 bytes, text included, and one cache line; those with children have a [`Branch`] besides. The form depends
//! on the filters held and not on how they came: removing one takes back every node made for it.
//!
//! Levels are found by a seeded hash and compared as text. Numbering them instead ("interning") costs one more table, and
//! with a million different device names that table is two more cache misses for each look-up.
//!
//! The walk keeps its own stack: depth costs memory from a vector, never the thread's stack. It sees each node whose
//! path matches the beginning of the topic at most once, so `+/+/+/…` costs as many steps as there are such
//! filters, not two to the power of the levels; each level of the topic is hashed once.

use std::hash::{BuildHasher, Hasher};

use broker_types::TopicRef;
use smallvec::SmallVec;

use super::branch::{Branch, Edge, NONE, NodeId};
use super::text::Text;

const ROOT: NodeId = 0;

/// A map from Topic Filters, given as text that has been checked.
#[derive(Debug)]
pub(super) struct Trie<T> {
    /// The root stands first, without text or value. Freed nodes are linked by `free`.
    nodes: Vec<Node<T>>,
    free: Vec<NodeId>,
    hasher: foldhash::fast::RandomState,
}

#[derive(Debug)]
#[repr(align(64))]
struct Node<T> {
    /// At least one level, levels separated by `/`. An empty text is one empty level.
    text: Text,
    /// What hangs on the filter that ends here.
    value: Option<T>,
    branch: Option<Box<Branch>>,
}

/// A level of the topic looked up.
struct Level<'t> {
    text: &'t [u8],
    tag: u32,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self {
            nodes: vec![Node::new(b"")],
            free: Vec::new(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

impl<T> Trie<T> {
    /// Calls `found` with the value of every filter that `topic` matches (MQTT 5.0 section 4.7), in no order.
    pub(super) fn matches<'s>(&'s self, topic: TopicRef<'_>, mut found: impl FnMut(&'s T)) {
        let Some(root) = &self.nodes[0].branch else { return };
        let mut levels = SmallVec::<[Level<'_>; 16]>::new();
        levels.extend(split(topic.as_str().as_bytes()).map(|text| Level {
            text,
            tag: self.tag(text),
        }));
        // Nodes to visit, each with the level of the topic that its text begins at.
        let mut open = SmallVec::<[(NodeId, u32); 16]>::new();
        self.open(root, &levels, 0, topic.is_dollar(), &mut open);
        while let Some((id, at)) = open.pop() {
            let node = self.node(id);
            let Some(at) = consume(node.text.as_bytes(), &levels, at) else {
                continue;
            };
            if at as usize >= levels.len()
                && let Some(value) = &node.value
            {
                found(value);
            }
            if let Some(branch) = &node.branch {
                self.open(branch, &levels, at, false, &mut open);
            }
        }
    }

    /// Adds the children that level `at` of the topic leads to. `hidden`: not the wildcards `[MQTT-4.7.2-1]`.
    fn open(
        &self,
        branch: &Branch,
        levels: &[Level<'_>],
        at: u32,
        hidden: bool,
        open: &mut SmallVec<[(NodeId, u32); 16]>,
    ) {
        if branch.hash != NONE && !hidden {
            open.push((branch.hash, at));
        }
        let Some(level) = levels.get(at as usize) else {
            return;
        };
        if branch.plus != NONE && !hidden {
            open.push((branch.plus, at));
        }
        open.extend(self.named(branch, level).map(|child| (child, at)));
    }

    /// Returns the value of `filter`.
    pub(super) fn get(&self, filter: &str) -> Option<&T> {
        let mut rest = filter.as_bytes();
        let mut at = ROOT;
        loop {
            at = self.child(at, first(rest))?;
            let text = self.node(at).text.as_bytes();
            let common = common(text, rest);
            if common < text.len() {
                return None;
            }
            if common == rest.len() {
                return self.node(at).value.as_ref();
            }
            rest = &rest[common + 1..];
        }
    }

    /// Returns the place for the value of `filter`, making it if need be. The caller fills it.
    pub(super) fn slot(&mut self, filter: &str) -> &mut Option<T> {
        let mut rest = filter.as_bytes();
        let mut parent = ROOT;
        let at = loop {
            let Some(mut child) = self.child(parent, first(rest)) else {
                let leaf = self.add(Node::new(rest));
                self.link(parent, leaf);
                break leaf;
            };
            let text = self.node(child).text.as_bytes();
            let common = common(text, rest);
            if common < text.len() {
                child = self.split(parent, child, common);
            }
            if common == rest.len() {
                break child;
            }
            rest = &rest[common + 1..];
            parent = child;
        };
        &mut self.node_mut(at).value
    }

    /// Lets `change` have the value of `filter`, if there is one, and takes the filter out when it leaves `None`.
    pub(super) fn update(&mut self, filter: &str, change: impl FnOnce(&mut Option<T>)) {
        let mut rest = filter.as_bytes();
        let mut path = SmallVec::<[NodeId; 16]>::from_elem(ROOT, 1);
        let at = loop {
            let Some(child) = self.child(path[path.len() - 1], first(rest)) else {
                return;
            };
            let text = self.node(child).text.as_bytes();
            let common = common(text, rest);
            if common < text.len() {
                return;
            }
            if common == rest.len() {
                break child;
            }
            rest = &rest[common + 1..];
            path.push(child);
        };
        let value = &mut self.node_mut(at).value;
        if value.is_none() {
            return;
        }
        change(value);
        if value.is_none() {
            self.prune(at, &path);
        }
    }

    /// Takes the valueless node `at` away, or joins it with the only child it has; then its parent, if that lost its
    /// purpose by it. Goes no further up: a parent without value had two children before.
    fn prune(&mut self, at: NodeId, path: &[NodeId]) {
        let (&parent, above) = path.split_last().expect("a path begins at the root");
        if self.node(at).branch.is_some() {
            self.join(parent, at);
            return;
        }
        self.unlink(parent, at);
        self.take(at);
        if let Some(&grandparent) = above.last()
            && self.node(parent).value.is_none()
        {
            self.join(grandparent, parent);
        }
    }

    /// Puts a new node between `parent` and `child` that holds the first `common` bytes of the child's text.
    fn split(&mut self, parent: NodeId, child: NodeId, common: usize) -> NodeId {
        let text = self.node(child).text.clone();
        let upper = self.add(Node::new(&text.as_bytes()[..common]));
        self.relink(parent, child, upper);
        self.node_mut(child).text = Text::new(&text.as_bytes()[common + 1..]);
        self.link(upper, child);
        upper
    }

    /// Undoes [`Trie::split`], if `at` has exactly one child.
    fn join(&mut self, parent: NodeId, at: NodeId) {
        let Some(child) = self.node(at).branch.as_ref().and_then(|branch| branch.only()) else {
            return;
        };
        let text = [self.node(at).text.as_bytes(), self.node(child).text.as_bytes()].join(&b'/');
        self.relink(parent, at, child);
        self.node_mut(child).text = Text::new(&text);
        self.take(at);
    }

    /// Returns the child of `parent` whose text begins with `level`.
    fn child(&self, parent: NodeId, level: &[u8]) -> Option<NodeId> {
        let branch = self.node(parent).branch.as_ref()?;
        match level {
            b"+" => (branch.plus != NONE).then_some(branch.plus),
            b"#" => (branch.hash != NONE).then_some(branch.hash),
            _ => self.named(
                branch,
                &Level {
                    text: level,
                    tag: self.tag(level),
                },
            ),
        }
    }

    fn named(&self, branch: &Branch, level: &Level<'_>) -> Option<NodeId> {
        branch.find(level.tag, |child| {
            first(self.node(child).text.as_bytes()) == level.text
        })
    }

    fn link(&mut self, parent: NodeId, child: NodeId) {
        let way = self.way(child);
        let branch = self.node_mut(parent).branch.get_or_insert_default();
        match way {
            Way::Plus => branch.plus = child,
            Way::Hash => branch.hash = child,
            Way::Named(tag) => branch.insert(Edge { tag, child }),
        }
    }

    /// Puts `new` where `old` is linked; both begin with the same level.
    fn relink(&mut self, parent: NodeId, old: NodeId, new: NodeId) {
        let way = self.way(old);
        let branch = self.node_mut(parent).branch.get_or_insert_default();
        match way {
            Way::Plus => branch.plus = new,
            Way::Hash => branch.hash = new,
            Way::Named(tag) => branch.replace(Edge { tag, child: old }, new),
        }
    }

    fn unlink(&mut self, parent: NodeId, child: NodeId) {
        let way = self.way(child);
        let node = self.node_mut(parent);
        let Some(branch) = &mut node.branch else { return };
        match way {
            Way::Plus => branch.plus = NONE,
            Way::Hash => branch.hash = NONE,
            Way::Named(tag) => branch.remove(Edge { tag, child }),
        }
        if branch.len() == 0 {
            node.branch = None;
        }
    }

    /// Tells how a parent finds `child`.
    fn way(&self, child: NodeId) -> Way {
        match first(self.node(child).text.as_bytes()) {
            b"+" => Way::Plus,
            b"#" => Way::Hash,
            level => Way::Named(self.tag(level)),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "32 bits of the hash are kept")]
    fn tag(&self, level: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(level);
        hasher.finish() as u32
    }

    fn node(&self, id: NodeId) -> &Node<T> {
        &self.nodes[id as usize]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node<T> {
        &mut self.nodes[id as usize]
    }

    fn add(&mut self, node: Node<T>) -> NodeId {
        if let Some(id) = self.free.pop() {
            self.nodes[id as usize] = node;
            return id;
        }
        let id = NodeId::try_from(self.nodes.len()).expect("fewer than 2^32 nodes of 64 bytes");
        self.nodes.push(node);
        id
    }

    fn take(&mut self, id: NodeId) {
        self.nodes[id as usize] = Node::new(b"");
        self.free.push(id);
        if self.free.len() + 1 == self.nodes.len() {
            *self = Self::default();
        }
    }

    /// Returns how many nodes are in use, the root not counted.
    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len() - 1 - self.free.len()
    }
}

impl<T> Node<T> {
    fn new(text: &[u8]) -> Self {
        Self {
            text: Text::new(text),
            value: None,
            branch: None,
        }
    }
}

enum Way {
    Plus,
    Hash,
    Named(u32),
}

/// Returns the level of the topic after those that `text` matches, counted from `at`; `None` if it doesn't match.
fn consume(text: &[u8], levels: &[Level<'_>], at: u32) -> Option<u32> {
    let mut at = at as usize;
    for part in split(text) {
        match (part, levels.get(at)) {
            (b"#", _) => return Some(end(levels.len())),
            (_, None) => return None,
            (b"+", Some(_)) => {}
            (part, Some(level)) if part == level.text => {}
            _ => return None,
        }
        at += 1;
    }
    Some(end(at))
}

/// Levels are at most as many as bytes, 65,535, and one more.
fn end(levels: usize) -> u32 {
    u32::try_from(levels).unwrap_or(u32::MAX)
}

fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'/')
}

/// Returns the first level of `text`.
fn first(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|&b| b == b'/');
    &text[..end.unwrap_or(text.len())]
}

/// Returns how many bytes of whole levels two texts have in common that begin with the same level.
fn common(a: &[u8], b: &[u8]) -> usize {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let ends = |text: &[u8]| text.get(same).is_none_or(|&next| next == b'/');
    if ends(a) && ends(b) {
        return same;
    }
    a[..same].iter().rposition(|&b| b == b'/').unwrap_or(0)
}

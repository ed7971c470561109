//! Topic Filters to values, and the walk that finds those a Topic Name matches.
//!
//! A radix tree over whole levels: a node holds as many levels as all filters below it share, so the tail that only
//! one filter has is one node, however deep. A node takes 64 bytes, its text included, and one cache line; those
//! with children have a [`Branch`] besides. The form depends on the filters held and not on how they came: removing
//! one takes back every node made for it.
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

use super::arena::{Arena, NodeId};
use super::branch::{Branch, Edge, NONE};
use super::text::Text;

const ROOT: NodeId = 0;

/// A map from Topic Filters, given as text that has been checked.
#[derive(Debug)]
pub(super) struct Trie<T> {
    /// The root stands first, without text or value.
    nodes: Arena<Node<T>>,
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
        let mut nodes = Arena::new();
        nodes.add(Node::new(b""));
        Self {
            nodes,
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
            let node = &self.nodes[id];
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
            let text = self.nodes[at].text.as_bytes();
            let common = common(text, rest);
            if common < text.len() {
                return None;
            }
            if common == rest.len() {
                return self.nodes[at].value.as_ref();
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
                let leaf = self.nodes.add(Node::new(rest));
                self.link(parent, leaf);
                break leaf;
            };
            let text = self.nodes[child].text.as_bytes();
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
        &mut self.nodes[at].value
    }

    /// Lets `change` have the value of `filter`, if there is one, and takes the filter out when it leaves `None`.
    pub(super) fn update(&mut self, filter: &str, change: impl FnOnce(&mut Option<T>)) {
        let mut rest = filter.as_bytes();
        let mut path = SmallVec::<[NodeId; 16]>::from_elem(ROOT, 1);
        let at = loop {
            let Some(child) = self.child(path[path.len() - 1], first(rest)) else {
                return;
            };
            let text = self.nodes[child].text.as_bytes();
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
        let value = &mut self.nodes[at].value;
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
        if self.nodes[at].branch.is_some() {
            self.join(parent, at);
            return;
        }
        self.unlink(parent, at);
        self.free(at);
        if let Some(&grandparent) = above.last()
            && self.nodes[parent].value.is_none()
        {
            self.join(grandparent, parent);
        }
    }

    /// Puts a new node between `parent` and `child` that holds the first `common` bytes of the child's text.
    fn split(&mut self, parent: NodeId, child: NodeId, common: usize) -> NodeId {
        let text = self.nodes[child].text.clone();
        let upper = self.nodes.add(Node::new(&text.as_bytes()[..common]));
        self.relink(parent, child, upper);
        self.nodes[child].text = Text::new(&text.as_bytes()[common + 1..]);
        self.link(upper, child);
        upper
    }

    /// Undoes [`Trie::split`], if `at` has exactly one child.
    fn join(&mut self, parent: NodeId, at: NodeId) {
        let Some(child) = self.nodes[at].branch.as_ref().and_then(|branch| branch.only()) else {
            return;
        };
        let text = [self.nodes[at].text.as_bytes(), self.nodes[child].text.as_bytes()].join(&b'/');
        self.relink(parent, at, child);
        self.nodes[child].text = Text::new(&text);
        self.free(at);
    }

    /// Returns the child of `parent` whose text begins with `level`.
    fn child(&self, parent: NodeId, level: &[u8]) -> Option<NodeId> {
        let branch = self.nodes[parent].branch.as_ref()?;
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
            first(self.nodes[child].text.as_bytes()) == level.text
        })
    }

    fn link(&mut self, parent: NodeId, child: NodeId) {
        let way = self.way(child);
        let branch = self.nodes[parent].branch.get_or_insert_default();
        match way {
            Way::Plus => branch.plus = child,
            Way::Hash => branch.hash = child,
            Way::Named(tag) => branch.insert(Edge { tag, child }),
        }
    }

    /// Puts `new` where `old` is linked; both begin with the same level.
    fn relink(&mut self, parent: NodeId, old: NodeId, new: NodeId) {
        let way = self.way(old);
        let branch = self.nodes[parent].branch.get_or_insert_default();
        match way {
            Way::Plus => branch.plus = new,
            Way::Hash => branch.hash = new,
            Way::Named(tag) => branch.replace(Edge { tag, child: old }, new),
        }
    }

    fn unlink(&mut self, parent: NodeId, child: NodeId) {
        let way = self.way(child);
        let node = &mut self.nodes[parent];
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
        match first(self.nodes[child].text.as_bytes()) {
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

    fn free(&mut self, at: NodeId) {
        self.nodes.remove(at, Node::new(b""));
        if self.nodes.len() == 1 {
            *self = Self::default();
        }
    }

    /// Returns how many nodes are in use, the root not counted.
    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len() - 1
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

#[cfg(test)]
mod tests {
    use super::*;
    use broker_types::TopicFilter;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn found(trie: &Trie<String>, topic: &str) -> Vec<String> {
        let mut found = Vec::new();
        trie.matches(TopicRef::new(topic).unwrap(), |value| found.push(value.clone()));
        found.sort();
        found
    }

    fn trie_of<'f>(filters: impl IntoIterator<Item = &'f str>) -> Trie<String> {
        let mut trie = Trie::default();
        for filter in filters {
            *trie.slot(filter) = Some(filter.to_owned());
        }
        trie
    }

    /// Adds or, with `-` before it, removes filters, and checks what `topic` finds.
    #[track_caller]
    fn check(filters: &[&str], topic: &str, expected: &[&str]) {
        let mut trie = Trie::default();
        for filter in filters {
            match filter.strip_prefix('-') {
                Some(filter) => trie.update(filter, |value| *value = None),
                None => *trie.slot(filter) = Some((*filter).to_owned()),
            }
        }
        assert_eq!(found(&trie, topic), expected, "{filters:?} against {topic}");
    }

    #[test]
    fn wildcards_hide_dollar_topics_at_the_first_level_only() {
        let filters = ["#", "+/x", "$SYS/#", "$SYS/+", "+/#"];
        check(&filters, "$SYS/x", &["$SYS/#", "$SYS/+"]);
        check(&filters, "a/x", &["#", "+/#", "+/x"]);
        check(&["a/+", "a/#"], "a/$x", &["a/#", "a/+"]);
    }

    #[test]
    fn empty_levels_are_levels() {
        check(
            &["/", "//", "+/+", "/+", "/#", "a/"],
            "/",
            &["+/+", "/", "/#", "/+"],
        );
        check(&["/", "//", "a/", "a"], "a/", &["a/"]);
    }

    #[test]
    fn nodes_are_split_and_joined() {
        check(&["a/b/c/d", "a/b/x", "a"], "a/b/c/d", &["a/b/c/d"]);
        check(&["a/b/c/d", "a/b/x", "-a/b/x"], "a/b/c/d", &["a/b/c/d"]);
        check(&["a/b/c", "a/b", "-a/b"], "a/b/c", &["a/b/c"]);
        check(&["a/b/c", "a/b", "-a/b/c"], "a/b", &["a/b"]);
        check(&["ab/c", "a/c"], "a/c", &["a/c"]);
        check(&["a/b/c", "-a/b", "-a/b/c/d", "-x"], "a/b/c", &["a/b/c"]);
    }

    #[test]
    fn tails_take_one_node_each() {
        assert_eq!(trie_of(["site/1/+/temp/#", "site/2/+/temp/#"]).nodes(), 3);
        assert_eq!(size_of::<Node<[u64; 2]>>(), 64);
    }

    /// A client holds every way to write `a/a/…` with wildcards, or a tower of them.
    #[test]
    fn a_lookup_costs_no_more_than_what_exists() {
        let all: Vec<String> = (0..1024)
            .map(|bits| {
                let levels: Vec<_> = (0..10)
                    .map(|i| if bits >> i & 1 == 0 { "a" } else { "+" })
                    .collect();
                levels.join("/")
            })
            .collect();
        let trie = trie_of(all.iter().map(String::as_str));
        assert_eq!(found(&trie, &["a"; 10].join("/")).len(), 1024);

        // With a walk that doesn't end at what exists this would not come back.
        let tower: Vec<_> = (1..=200).map(|n| vec!["+"; n].join("/")).collect();
        let trie = trie_of(tower.iter().map(String::as_str));
        assert_eq!(found(&trie, &["a"; 199].join("/")).len(), 1);
    }

    #[test]
    fn the_deepest_topics_need_no_stack() {
        let slashes = "/".repeat(65_535);
        let mut trie = Trie::default();
        // Short ones first, so that the long path is made of many nodes.
        for length in (1..65_535).step_by(1000).chain([65_535]) {
            *trie.slot(&slashes[..length]) = Some(length.to_string());
        }
        assert_eq!(found(&trie, &slashes), ["65535"]);
        assert_eq!(trie.nodes(), 67);
    }

    #[test]
    fn levels_with_equal_tags_are_told_apart() {
        let mut trie = Trie::default();
        // Enough names for some twenty pairs.
        let mut tags = std::collections::HashMap::new();
        let (a, b) = (0..400_000)
            .find_map(|n| {
                let name = format!("n{n}");
                let twin = tags.insert(trie.tag(name.as_bytes()), name.clone());
                twin.map(|twin| (twin, name))
            })
            .unwrap();
        *trie.slot(&a) = Some(a.clone());
        assert_eq!(found(&trie, &b), [""; 0]);
        *trie.slot(&b) = Some(b.clone());
        assert_eq!(found(&trie, &a), [a.as_str()]);
        assert_eq!(found(&trie, &b), [b.as_str()]);
        trie.update(&a, |value| *value = None);
        assert_eq!(found(&trie, &b), [b]);
    }

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "", "$s", "a name longer than a node has room for"])
    }

    fn topic() -> impl Strategy<Value = String> {
        prop::collection::vec(level(), 1..6)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("a Topic Name is not empty", |topic| !topic.is_empty())
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![3 => level(), 1 => Just("+")];
        (prop::collection::vec(level, 0..6), any::<bool>())
            .prop_map(|(mut levels, all)| {
                levels.extend(all.then_some("#"));
                levels.join("/")
            })
            .prop_filter("a Topic Filter is not empty", |filter| !filter.is_empty())
    }

    #[derive(Debug, Clone)]
    enum Act {
        Add(String),
        Remove(prop::sample::Index),
        RemoveUnknown(String),
        Look(String),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => filter().prop_map(Act::Add),
            2 => any::<prop::sample::Index>().prop_map(Act::Remove),
            1 => filter().prop_map(Act::RemoveUnknown),
            3 => topic().prop_map(Act::Look),
        ]
    }

    proptest! {
        #[test]
        fn it_finds_what_a_list_finds(acts in prop::collection::vec(act(), 1..120)) {
            let mut trie = Trie::default();
            let mut list = BTreeSet::new();
            for act in acts {
                match act {
                    Act::Add(filter) => {
                        *trie.slot(&filter) = Some(filter.clone());
                        list.insert(filter);
                    }
                    Act::Remove(_) if list.is_empty() => {}
                    Act::Remove(which) => {
                        let filter = list.iter().nth(which.index(list.len())).unwrap().clone();
                        trie.update(&filter, |value| *value = None);
                        list.remove(&filter);
                    }
                    Act::RemoveUnknown(filter) => {
                        trie.update(&filter, |value| *value = None);
                        list.remove(&filter);
                    }
                    Act::Look(topic) => {
                        let name = TopicRef::new(&topic).unwrap();
                        let expected: Vec<_> = list
                            .iter()
                            .filter(|filter| TopicFilter::new(filter.as_str()).unwrap().matches(name))
                            .cloned()
                            .collect();
                        prop_assert_eq!(found(&trie, &topic), expected);
                    }
                }
                prop_assert!(list.iter().all(|filter| trie.get(filter) == Some(filter)));
            }
            // As many nodes as if the filters that are left had been all there ever was.
            prop_assert_eq!(trie.nodes(), trie_of(list.iter().map(String::as_str)).nodes());
            for filter in list {
                trie.update(&filter, |value| *value = None);
            }
            prop_assert_eq!(trie.nodes(), 0);
        }
    }
}

//! The store against a map of topics, with pages that are interrupted by changes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn name(topic: &str) -> TopicName {
    TopicName::new(topic).unwrap()
}

fn put(store: &Retained<String>, topic: &str) -> Option<String> {
    store.put(&name(topic), topic.to_owned(), 1, Timestamp::NEVER)
}

fn cursor(filter: &str) -> Cursor {
    Cursor::new(TopicFilter::new(filter).unwrap())
}

/// Looks `filter` up in pages of `steps`.
fn all(store: &Retained<String>, filter: &str, steps: usize) -> Vec<String> {
    let mut cursor = cursor(filter);
    let mut found = Vec::new();
    while !cursor.is_done() {
        let before = found.len();
        store.steps(steps, &mut cursor, Timestamp::ZERO, &mut found);
        assert!(
            found.len() - before <= steps,
            "a page looks at {steps} topics at most"
        );
    }
    found
}

#[track_caller]
fn check(topics: &[&str], filter: &str, expected: &[&str]) {
    let store = Retained::new();
    for topic in topics {
        put(&store, topic);
    }
    for steps in [1, 2, 100] {
        let found = all(&store, filter, steps);
        assert_eq!(found, expected, "{filter} in pages of {steps}");
    }
}

#[test]
fn wildcards_find_their_topics_in_order() {
    // `!` sorts before `/`, so that topics of other levels stand between a topic and those below it.
    let topics = [
        "a", "a!", "a!/b", "a/", "a/b", "a/b!", "a/b/c", "a0", "b/b", "$s/b", "/", "//b",
    ];
    check(&topics, "a/#", &["a", "a/", "a/b", "a/b!", "a/b/c"]);
    check(&topics, "+/b", &["a!/b", "a/b", "b/b"]);
    check(&topics, "a/+", &["a/", "a/b", "a/b!"]);
    check(&topics, "a/b/#", &["a/b", "a/b/c"]);
    check(&topics, "+", &["a", "a!", "a0"]);
    check(&topics, "$s/#", &["$s/b"]);
    check(&topics, "/+", &["/"]);
    check(&topics, "+/+/b", &["//b"]);
    check(&topics, "a/b", &["a/b"]);
    check(&topics, "c/#", &[]);
}

#[test]
fn hash_finds_all_but_dollar_topics() {
    let topics = ["!", "$", "$SYS/x", "$z", "%", "a"];
    check(&topics, "#", &["!", "%", "a"]);
    check(&topics, "+/#", &["!", "%", "a"]);
    check(&topics, "$SYS/#", &["$SYS/x"]);
}

#[test]
fn a_page_is_bounded_and_jumps_over_what_cannot_match() {
    let store = Retained::new();
    for site in 0..10 {
        for device in 0..1000 {
            put(&store, &format!("site/{site}/dev{device}/state"));
        }
    }
    let pages = |filter: &str| {
        let mut cursor = cursor(filter);
        let mut found = Vec::new();
        let mut pages = 0;
        while !cursor.is_done() {
            store.page(&mut cursor, Timestamp::ZERO, &mut found);
            pages += 1;
            assert!(found.len() <= pages * PAGE_STEPS);
        }
        (found.len(), pages)
    };
    assert_eq!(pages("#"), (10_000, 40));
    // Some steps for each site, not one for each topic.
    assert_eq!(pages("site/+/dev5/state"), (10, 1));
    assert_eq!(pages("site/7/#"), (1000, 4));
    assert_eq!(pages("site/3/dev500/+"), (1, 1));
}

#[test]
fn messages_are_replaced_counted_and_removed() {
    let store = Retained::new();
    let put =
        |topic: &str, value: &str, bytes| store.put(&name(topic), value.to_owned(), bytes, Timestamp::NEVER);
    assert_eq!(put("a", "1", 10), None);
    assert_eq!(put("b", "2", 5), None);
    assert_eq!(put("a", "3", 7), Some("1".to_owned()));
    assert_eq!((store.count(), store.bytes()), (2, 12));
    let a = name("a");
    assert_eq!(store.get(a.as_ref(), Timestamp::ZERO), Some("3".to_owned()));
    assert_eq!(store.remove(a.as_ref()), Some("3".to_owned()));
    assert_eq!(store.remove(a.as_ref()), None);
    assert_eq!((store.count(), store.bytes()), (1, 5));
    assert_eq!(all(&store, "#", 9), ["2"]);
}

#[test]
fn what_has_expired_is_not_found_and_goes_when_told() {
    let at = Timestamp::from_millis;
    let store = Retained::new();
    for (topic, expires) in [
        ("a", at(10)),
        ("b", at(20)),
        ("c", Timestamp::NEVER),
        ("d", at(10)),
    ] {
        store.put(&name(topic), topic.to_owned(), 1, expires);
    }
    // Replacing counts from the new message.
    store.put(&name("d"), "d".to_owned(), 1, at(30));
    let found = |now| {
        let mut found = Vec::new();
        store.page(&mut cursor("+"), now, &mut found);
        found
    };
    assert_eq!(found(at(9)), ["a", "b", "c", "d"]);
    assert_eq!(found(at(10)), ["b", "c", "d"]);
    assert_eq!(store.get(name("a").as_ref(), at(10)), None);
    assert_eq!(store.next_expiry(), Some(at(10)));

    let expire = |now, most| {
        let mut gone = Vec::new();
        store.expire(now, most, &mut gone);
        gone.iter()
            .map(|(topic, _)| topic.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(expire(at(9), 10), [""; 0]);
    assert_eq!(expire(at(25), 1), ["a"]);
    assert_eq!(expire(at(25), 10), ["b"]);
    store.remove(name("d").as_ref());
    assert_eq!(store.next_expiry(), None);
    assert_eq!((store.count(), store.bytes()), (1, 1));
}

#[test]
fn nothing_is_left_of_what_was_removed() {
    let store = Retained::new();
    for n in 0..1000 {
        store.put(&name(&n.to_string()), n, 1, Timestamp::from_millis(n));
    }
    for n in 0..1000 {
        assert_eq!(store.remove(name(&n.to_string()).as_ref()), Some(n));
    }
    let store = store.read();
    assert_eq!((store.entries.capacity(), store.by_topic.capacity()), (0, 0));
    assert!(store.sorted.is_empty() && store.expiring.is_empty() && store.bytes == 0);
}

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "", "$s", "a!", "b0"])
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a Topic Name is not empty", |topic| !topic.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![2 => level(), 1 => Just("+")];
    (prop::collection::vec(level, 0..5), any::<bool>())
        .prop_map(|(mut levels, all)| {
            levels.extend(all.then_some("#"));
            levels.join("/")
        })
        .prop_filter("a Topic Filter is not empty", |filter| !filter.is_empty())
}

proptest! {
    #[test]
    fn a_lookup_finds_what_a_list_finds(
        topics in prop::collection::btree_set(topic(), 0..60),
        filter in filter(),
        steps in 1..20_usize,
    ) {
        let store = Retained::new();
        for topic in &topics {
            put(&store, topic);
        }
        let wanted = TopicFilter::new(filter.as_str()).unwrap();
        let expected: Vec<_> = topics.iter().filter(|t| wanted.matches(name(t).as_ref())).cloned().collect();
        prop_assert_eq!(all(&store, &filter, steps), expected);
    }

    #[test]
    fn changes_between_pages_neither_hide_nor_repeat_a_topic(
        topics in prop::collection::btree_set(topic(), 0..60),
        changes in prop::collection::vec((topic(), any::<bool>()), 0..60),
        filter in filter(),
        steps in 1..8_usize,
    ) {
        let store = Retained::new();
        let mut now: BTreeMap<_, _> = topics.iter().map(|t| (t.clone(), t.clone())).collect();
        for topic in &topics {
            put(&store, topic);
        }
        let mut always = topics;
        let mut ever = always.clone();
        let mut found = Vec::new();
        let mut cursor = cursor(&filter);
        let mut changes = changes.into_iter();
        while !cursor.is_done() {
            store.steps(steps, &mut cursor, Timestamp::ZERO, &mut found);
            for (topic, add) in changes.by_ref().take(3) {
                if add {
                    prop_assert_eq!(put(&store, &topic), now.insert(topic.clone(), topic.clone()));
                    ever.insert(topic);
                } else {
                    prop_assert_eq!(store.remove(name(&topic).as_ref()), now.remove(&topic));
                    always.remove(&topic);
                }
            }
        }
        let wanted = TopicFilter::new(filter.as_str()).unwrap();
        let matching = |set: BTreeSet<String>| -> BTreeSet<_> {
            set.into_iter().filter(|t| wanted.matches(name(t).as_ref())).collect()
        };
        let once: BTreeSet<_> = found.iter().cloned().collect();
        prop_assert_eq!(once.len(), found.len());
        prop_assert!(once.is_superset(&matching(always)));
        prop_assert!(once.is_subset(&matching(ever)));
        prop_assert_eq!(store.count(), now.len());
        prop_assert_eq!(store.bytes(), now.len() as u64);
    }
}

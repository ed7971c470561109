//! Routes and caches against a list of subscriptions, and between threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use broker_types::{SubscriptionFilter, SubscriptionId, TopicRef};
use proptest::prelude::*;

use super::*;

/// A subscriber that is what the test says.
#[derive(Debug)]
pub(super) struct Client {
    id: u64,
    pub(super) connected: AtomicBool,
    pub(super) inflight: AtomicUsize,
}

pub(super) fn client(id: u64) -> Arc<Client> {
    Arc::new(Client {
        id,
        connected: true.into(),
        inflight: 0.into(),
    })
}

impl Subscriber for Arc<Client> {
    fn id(&self) -> u64 {
        self.id
    }

    fn available(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    fn inflight(&self) -> usize {
        self.inflight.load(Ordering::Relaxed)
    }
}

pub(super) fn filter(text: &str) -> SubscriptionFilter {
    SubscriptionFilter::parse(text).unwrap()
}

pub(super) fn topic(text: &str) -> TopicRef<'_> {
    TopicRef::new(text).unwrap()
}

fn with_id(id: u32) -> SubscriptionOptions {
    SubscriptionOptions {
        id: SubscriptionId::new(id),
        ..SubscriptionOptions::default()
    }
}

#[test]
fn overlapping_subscriptions_stand_side_by_side() {
    let routes = Routes::new(ShareStrategy::default());
    let (a, b) = (client(1), client(2));
    for (n, (who, text)) in [(&a, "x/+"), (&b, "x/y"), (&a, "x/#"), (&b, "#"), (&a, "z")]
        .into_iter()
        .enumerate()
    {
        routes.subscribe(who, &filter(text), with_id(n as u32 + 1));
    }
    let mut matches = Matches::new();
    routes.matches(topic("x/y"), &mut matches);
    let ids: Vec<_> = matches
        .by_subscriber()
        .map(|subscriptions| {
            let mut ids: Vec<_> = subscriptions
                .iter()
                .map(|s| (s.who.id(), s.options.id.unwrap().get()))
                .collect();
            ids.sort_unstable();
            ids
        })
        .collect();
    assert_eq!(ids, [[(1, 1), (1, 3)], [(2, 2), (2, 4)]]);
}

#[test]
fn subscribing_again_replaces_all_options() {
    let routes = Routes::new(ShareStrategy::default());
    let who = client(1);
    let all = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        id: SubscriptionId::new(5),
        class: 3,
    };
    assert_eq!(routes.subscribe(&who, &filter("a"), all), Subscribed::New);
    assert_eq!(
        routes.subscribe(&who, &filter("a"), SubscriptionOptions::default()),
        Subscribed::Replaced
    );
    let mut matches = Matches::new();
    routes.matches(topic("a"), &mut matches);
    assert_eq!(matches.subscriptions()[0].options, SubscriptionOptions::default());
    assert_eq!((matches.len(), routes.count()), (1, (1, 0)));
}

/// A Session that ends must not be kept alive by what a shard once looked up.
#[test]
fn a_cache_lets_go_of_subscribers() {
    let routes = Routes::new(ShareStrategy::default());
    let who = client(1);
    routes.subscribe(&who, &filter("a/#"), SubscriptionOptions::default());
    let mut cache = TopicCache::new(8, 8);
    for name in ["a/1", "a/1", "a/2"] {
        assert_eq!(cache.get(&routes, topic(name)).len(), 1);
    }
    routes.unsubscribe(1, &filter("a/#"));
    assert!(Arc::strong_count(&who) > 1);
    cache.forget_stale(&routes);
    assert_eq!(Arc::strong_count(&who), 1);
}

#[test]
fn a_cache_answers_from_memory_and_keeps_its_bounds() {
    let routes = Routes::new(ShareStrategy::default());
    for id in 0..3 {
        routes.subscribe(&client(id), &filter("a/#"), SubscriptionOptions::default());
    }
    let mut cache = TopicCache::new(4, 10);
    cache.get(&routes, topic("a/1"));
    let second = cache.get(&routes, topic("a/1"));
    let third = cache.get(&routes, topic("a/1"));
    assert!(std::rc::Rc::ptr_eq(&second, &third), "seen twice, so remembered");
    for n in 0..1000 {
        let name = format!("a/{}", n / 2);
        assert_eq!(cache.get(&routes, topic(&name)).len(), 3);
        let (entries, held) = cache.size();
        assert!(
            entries <= 4 && held <= 10 && held == entries * 3,
            "{entries} {held}"
        );
    }
    // More than the cache would hold in all.
    for id in 3..20 {
        routes.subscribe(&client(id), &filter("a/#"), SubscriptionOptions::default());
    }
    for _ in 0..3 {
        assert_eq!(cache.get(&routes, topic("a/1")).len(), 20);
    }
    assert_eq!(cache.size(), (0, 0));
}

#[test]
fn members_come_and_go_without_a_new_lookup() {
    let routes = Routes::new(ShareStrategy::default());
    let shared = filter("$share/g/a");
    routes.subscribe(&client(1), &shared, SubscriptionOptions::default());
    let group = routes.group(&shared).unwrap();
    let generation = routes.generation();
    routes.subscribe(&client(2), &shared, SubscriptionOptions::default());
    assert!(routes.unsubscribe(1, &shared));
    assert_eq!((group.len(), routes.generation()), (1, generation));
    assert!(routes.unsubscribe(2, &shared));
    assert!(routes.generation() > generation, "the group is gone");
    assert!(routes.group(&shared).is_none());
}

#[test]
fn a_filter_with_many_subscribers_finds_each() {
    let routes = Routes::new(ShareStrategy::default());
    for id in 0..1000 {
        routes.subscribe(&client(id), &filter("news"), SubscriptionOptions::default());
    }
    for id in (0..1000).filter(|id| id % 3 != 0) {
        assert!(routes.unsubscribe(id, &filter("news")));
        assert!(!routes.unsubscribe(id, &filter("news")));
    }
    let mut matches = Matches::new();
    routes.matches(topic("news"), &mut matches);
    let left: BTreeSet<_> = matches.subscriptions().iter().map(|s| s.who.id()).collect();
    assert!(left.iter().copied().eq((0..1000).step_by(3)));
}

/// What was subscribed before a message came is found for it, whichever threads the two ran on.
#[test]
fn another_thread_sees_a_subscription_at_once() {
    let routes = Routes::new(ShareStrategy::default());
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for id in 1..=2000 {
                routes.subscribe(&client(id), &filter("a/+"), SubscriptionOptions::default());
                if id % 2 == 0 {
                    routes.unsubscribe(id, &filter("a/+"));
                }
                done.store(id, Ordering::Release);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut cache = TopicCache::new(16, 1 << 16);
                loop {
                    let seen = done.load(Ordering::Acquire);
                    let matches = cache.get(&routes, topic("a/b"));
                    let odd = matches.subscriptions().iter().filter(|s| s.who.id() % 2 == 1);
                    assert!(odd.count() as u64 >= seen.div_ceil(2));
                    if seen == 2000 {
                        return;
                    }
                }
            });
        }
    });
}

#[derive(Debug, Clone)]
enum Act {
    Subscribe(u64, usize, u32),
    Unsubscribe(u64, usize),
    Look(usize),
}

const FILTERS: [&str; 14] = [
    "a",
    "a/b",
    "a/+",
    "+/b",
    "#",
    "a/#",
    "a/b/#",
    "+/+",
    "$s/#",
    "$share/g/a/+",
    "$share/h/a/+",
    "$share/g/#",
    "$share/g/a",
    "/",
];
const TOPICS: [&str; 7] = ["a", "a/b", "a/c", "b", "$s/x", "/", "a/b/c"];

fn act() -> impl Strategy<Value = Act> {
    // More subscribers than a crowd scans.
    prop_oneof![
        3 => (0..40_u64, 0..FILTERS.len(), 1..9_u32).prop_map(|(id, f, n)| Act::Subscribe(id, f, n)),
        2 => (0..40_u64, 0..FILTERS.len()).prop_map(|(id, f)| Act::Unsubscribe(id, f)),
        3 => (0..TOPICS.len()).prop_map(Act::Look),
    ]
}

/// Who gets `name` by which identifiers, and the groups with their sizes, from a list of all subscriptions.
type Answer = (Vec<(u64, u32)>, BTreeMap<String, usize>);

fn expected(list: &BTreeMap<(u64, usize), u32>, name: &str) -> Answer {
    let mut answer = Answer::default();
    for (&(id, f), &option) in list {
        let subscription = filter(FILTERS[f]);
        if !subscription.filter.matches(topic(name)) {
            continue;
        }
        if subscription.share.is_some() {
            *answer.1.entry(FILTERS[f].to_owned()).or_default() += 1;
        } else {
            answer.0.push((id, option));
        }
    }
    answer.0.sort_unstable();
    answer
}

fn answered(matches: &Matches<Arc<Client>>) -> Answer {
    let each = matches.subscriptions().iter();
    let mut plain: Vec<_> = each.map(|s| (s.who.id(), s.options.id.unwrap().get())).collect();
    plain.sort_unstable();
    let groups = matches.groups().iter();
    let groups = groups.map(|g| (format!("$share/{}/{}", g.share(), g.filter()), g.len()));
    (plain, groups.collect())
}

proptest! {
    #[test]
    fn routes_and_caches_find_what_a_list_finds(acts in prop::collection::vec(act(), 1..200)) {
        let routes = Routes::new(ShareStrategy::default());
        let mut caches = [TopicCache::new(0, 0), TopicCache::new(2, 1000), TopicCache::new(16, 1000)];
        let mut list = BTreeMap::new();
        for act in acts {
            match act {
                Act::Subscribe(id, f, option) => {
                    let known = list.insert((id, f), option).is_some();
                    let did = routes.subscribe(&client(id), &filter(FILTERS[f]), with_id(option));
                    prop_assert_eq!(did == Subscribed::Replaced, known);
                }
                Act::Unsubscribe(id, f) => {
                    let known = list.remove(&(id, f)).is_some();
                    prop_assert_eq!(routes.unsubscribe(id, &filter(FILTERS[f])), known);
                }
                Act::Look(t) => {
                    let expected = expected(&list, TOPICS[t]);
                    let mut matches = Matches::new();
                    routes.matches(topic(TOPICS[t]), &mut matches);
                    prop_assert_eq!(answered(&matches), expected.clone());
                    let one_each: BTreeSet<_> = matches.by_subscriber().map(|s| s[0].who.id()).collect();
                    prop_assert_eq!(one_each.len(), matches.by_subscriber().count());
                    for cache in &mut caches {
                        prop_assert_eq!(answered(&cache.get(&routes, topic(TOPICS[t]))), expected.clone());
                    }
                }
            }
            let shared = list.keys().filter(|(_, f)| FILTERS[*f].starts_with("$share")).count();
            prop_assert_eq!(routes.count(), (list.len() - shared, shared));
        }
        for &(id, f) in list.keys() {
            prop_assert!(routes.unsubscribe(id, &filter(FILTERS[f])));
        }
        prop_assert_eq!(routes.nodes(), 0);
    }
}

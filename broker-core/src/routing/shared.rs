//! A group of Shared Subscriptions (MQTT 5.0 section 4.8.2): the Sessions that hold one `$share/NAME/FILTER`, and which
//! of them gets the next message. The choice prefers members that are connected; when none is, a member with a
//! Session still gets it, so that the message waits there. A message whose member left is chosen for again,
//! without that member.
//!
//! A group is alive: joining and leaving don't need a new look-up by those who know the group already.

use std::sync::{Mutex, MutexGuard, PoisonError};

use broker_types::{ShareName, TopicFilter, TopicRef};

use super::crowd::Crowd;
use super::{Subscriber, Subscription};

/// How a group chooses a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ShareStrategy {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Any, by a generator that starts from this seed.
    Random(u64),
    /// The same one until it goes away.
    Sticky,
    /// The same one for each publisher, while the members stay the same.
    HashClient,
    /// The same one for each Topic Name, while the members stay the same.
    HashTopic,
    /// The one with the fewest messages under way, among at most 64 looked at.
    LeastInflight,
}

/// What the choice may look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published<'a> {
    /// The Topic Name.
    pub topic: TopicRef<'a>,
    /// The publisher's Client Identifier; anything constant for messages of the broker's own.
    pub publisher: &'a str,
}

/// The members of one `$share/NAME/FILTER`.
#[derive(Debug)]
pub(crate) struct Group<S> {
    share: ShareName,
    filter: TopicFilter,
    strategy: ShareStrategy,
    state: Mutex<State<S>>,
}

#[derive(Debug)]
struct State<S> {
    members: Crowd<S>,
    /// Where the next round starts.
    next: usize,
    /// Whom [`ShareStrategy::Sticky`] chose last.
    chosen: Option<u64>,
    /// The generator of [`ShareStrategy::Random`].
    random: u64,
}

/// Members that [`ShareStrategy::LeastInflight`] compares.
const COMPARED_MAX: usize = 64;

impl<S: Subscriber> Group<S> {
    pub(super) fn new(share: ShareName, filter: TopicFilter, strategy: ShareStrategy) -> Self {
        let random = match strategy {
            ShareStrategy::Random(seed) => seed,
            _ => 0,
        };
        Self {
            share,
            filter,
            strategy,
            state: Mutex::new(State {
                members: Crowd::new(),
                next: 0,
                chosen: None,
                random,
            }),
        }
    }

    /// Returns the Share Name.
    pub(crate) fn share(&self) -> &ShareName {
        &self.share
    }

    /// Returns the Topic Filter, without `$share/NAME/`.
    pub(crate) fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// Returns how many members there are.
    pub(crate) fn len(&self) -> usize {
        self.state().members.as_slice().len()
    }

    /// Tells whether somebody other than `without` is connected.
    pub(crate) fn has_available(&self, without: u64) -> bool {
        let state = self.state();
        state
            .members
            .as_slice()
            .iter()
            .any(|member| member.who.id() != without && member.who.available())
    }

    /// Chooses the member that gets the message, never `without`. `None`: nobody else is left. Costs a pass over the
    /// members when few of them are connected, else a few steps.
    pub(crate) fn pick(&self, published: Published<'_>, without: Option<u64>) -> Option<Subscription<S>> {
        let mut state = self.state();
        let count = state.members.as_slice().len();
        if count == 0 {
            return None;
        }
        let at = match self.strategy {
            ShareStrategy::RoundRobin => state.first_from(state.next, without),
            ShareStrategy::Random(_) => {
                let start = index(state.random(), count);
                state.first_from(start, without)
            }
            ShareStrategy::Sticky => state.sticky(without),
            ShareStrategy::HashClient => state.first_from(hashed(published.publisher, count), without),
            ShareStrategy::HashTopic => state.first_from(hashed(published.topic.as_str(), count), without),
            ShareStrategy::LeastInflight => state.least_inflight(without),
        }?;
        state.next = (at + 1) % count;
        let picked = state.members.as_slice()[at].clone();
        state.chosen = Some(picked.who.id());
        Some(picked)
    }

    /// Lets `choose` pick from all members, by index. For a plugin that provides the choice: it sees a copy, so whatever it
    /// does or waits for holds up nobody else.
    pub(crate) fn pick_by(
        &self,
        choose: impl FnOnce(&[Subscription<S>]) -> Option<usize>,
    ) -> Option<Subscription<S>> {
        let mut members = self.state().members.as_slice().to_vec();
        let at = choose(&members).filter(|&at| at < members.len())?;
        Some(members.swap_remove(at))
    }

    pub(super) fn join(&self, member: Subscription<S>) -> bool {
        self.state().members.insert(member)
    }

    pub(super) fn leave(&self, id: u64) -> Option<Subscription<S>> {
        self.state().members.remove(id)
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        // Whatever panicked left a list of members that is still one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> State<S> {
    /// Returns the positions of all members but `without`, from `start` once round.
    fn round(&self, start: usize, without: Option<u64>) -> impl Iterator<Item = usize> {
        let members = self.members.as_slice();
        let start = if start < members.len() { start } else { 0 };
        (start..members.len())
            .chain(0..start)
            .filter(move |&at| without.is_none_or(|id| members[at].who.id() != id))
    }

    fn available(&self, at: usize) -> bool {
        self.members.as_slice()[at].who.available()
    }

    /// Returns the first member from `start` on that is connected, else the first at all.
    fn first_from(&self, start: usize, without: Option<u64>) -> Option<usize> {
        self.round(start, without)
            .find(|&at| self.available(at))
            .or_else(|| self.round(start, without).next())
    }

    fn sticky(&self, without: Option<u64>) -> Option<usize> {
        self.chosen
            .filter(|&id| without != Some(id))
            .and_then(|id| self.members.position(id))
            .filter(|&at| self.available(at))
            .or_else(|| self.first_from(self.next, without))
    }

    fn least_inflight(&self, without: Option<u64>) -> Option<usize> {
        self.round(self.next, without)
            .filter(|&at| self.available(at))
            .take(COMPARED_MAX)
            .min_by_key(|&at| self.members.as_slice()[at].who.inflight())
            .or_else(|| self.round(self.next, without).next())
    }

    /// SplitMix64: one word of state, any seed is a good one.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Maps any number to a position below `count`, which isn't zero.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the remainder is below `count`, a usize"
)]
fn index(number: u64, count: usize) -> usize {
    (number % count as u64) as usize
}

fn hashed(text: &str, count: usize) -> usize {
    use std::hash::BuildHasher;
    // Fixed, so that a publisher keeps its member when the broker starts again.
    index(foldhash::fast::FixedState::with_seed(0).hash_one(text), count)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::super::tests::{Client, client, topic};
    use super::*;

    struct Fixture {
        group: Group<Arc<Client>>,
        clients: Vec<Arc<Client>>,
    }

    fn group(strategy: ShareStrategy, members: u64) -> Fixture {
        let group = Group::new(
            ShareName::new("g").unwrap(),
            TopicFilter::new("a/#").unwrap(),
            strategy,
        );
        let clients: Vec<_> = (0..members).map(client).collect();
        for who in &clients {
            group.join(Subscription {
                who: Arc::clone(who),
                options: super::super::SubscriptionOptions::default(),
            });
        }
        Fixture { group, clients }
    }

    impl Fixture {
        fn pick(&self, name: &str, publisher: &str, without: Option<u64>) -> Option<u64> {
            let published = Published {
                topic: topic(name),
                publisher,
            };
            self.group.pick(published, without).map(|picked| picked.who.id())
        }

        fn picks(&self, count: usize) -> Vec<u64> {
            (0..count).filter_map(|_| self.pick("a/b", "p", None)).collect()
        }

        fn connect(&self, connected: &[u64]) {
            for who in &self.clients {
                who.connected
                    .store(connected.contains(&who.id()), Ordering::Relaxed);
            }
        }
    }

    const ALL: [ShareStrategy; 6] = [
        ShareStrategy::RoundRobin,
        ShareStrategy::Random(1),
        ShareStrategy::Sticky,
        ShareStrategy::HashClient,
        ShareStrategy::HashTopic,
        ShareStrategy::LeastInflight,
    ];

    #[test]
    fn every_strategy_prefers_the_connected_and_spares_the_excluded() {
        for strategy in ALL {
            let fixture = group(strategy, 5);
            fixture.connect(&[2, 3]);
            assert!(
                fixture.picks(50).iter().all(|id| [2, 3].contains(id)),
                "{strategy:?}"
            );
            for _ in 0..50 {
                assert_eq!(fixture.pick("a/b", "p", Some(3)), Some(2), "{strategy:?}");
            }
            fixture.connect(&[3]);
            let other = fixture.pick("a/b", "p", Some(3));
            assert!(
                other.is_some_and(|id| id != 3),
                "{strategy:?}: a Session that waits, not the excluded one"
            );
            fixture.connect(&[]);
            assert_eq!(
                fixture.picks(1).len(),
                1,
                "{strategy:?}: somebody's Session keeps it"
            );
        }
    }

    #[test]
    fn an_empty_group_picks_nobody() {
        for strategy in ALL {
            assert_eq!(group(strategy, 0).pick("a", "p", None), None);
            assert_eq!(group(strategy, 1).pick("a", "p", Some(0)), None);
            let fixture = group(strategy, 3);
            for id in [2, 0, 1] {
                assert_eq!(fixture.picks(1).len(), 1, "{strategy:?}");
                assert!(fixture.group.leave(id).is_some());
            }
            assert_eq!(fixture.picks(1), [], "{strategy:?}");
        }
    }

    #[test]
    fn round_robin_takes_turns() {
        let fixture = group(ShareStrategy::RoundRobin, 3);
        assert_eq!(fixture.picks(7), [0, 1, 2, 0, 1, 2, 0]);
        fixture.connect(&[0, 2]);
        assert_eq!(fixture.picks(4), [2, 0, 2, 0]);
    }

    #[test]
    fn random_reaches_all_and_repeats_with_its_seed() {
        let picks = group(ShareStrategy::Random(7), 4).picks(200);
        assert_eq!(picks.iter().collect::<BTreeSet<_>>().len(), 4);
        assert_eq!(picks, group(ShareStrategy::Random(7), 4).picks(200));
        assert_ne!(picks, group(ShareStrategy::Random(8), 4).picks(200));
    }

    #[test]
    fn sticky_stays_until_it_must_move() {
        let fixture = group(ShareStrategy::Sticky, 3);
        assert_eq!(fixture.picks(3), [0, 0, 0]);
        fixture.connect(&[1, 2]);
        assert_eq!(fixture.picks(2), [1, 1]);
        fixture.connect(&[0, 1, 2]);
        assert_eq!(fixture.picks(2), [1, 1]);
    }

    #[test]
    fn hashes_keep_a_publisher_and_a_topic_together() {
        for strategy in [ShareStrategy::HashClient, ShareStrategy::HashTopic] {
            let fixture = group(strategy, 8);
            let mut by_client = BTreeSet::new();
            let mut by_topic = BTreeSet::new();
            for n in 0..100 {
                by_client.insert(fixture.pick("a/b", &n.to_string(), None));
                by_topic.insert(fixture.pick(&format!("a/{n}"), "p", None));
            }
            let hashes_client = strategy == ShareStrategy::HashClient;
            assert_eq!(by_client.len() > 4, hashes_client, "{strategy:?}");
            assert_eq!(by_topic.len() > 4, !hashes_client, "{strategy:?}");
        }
    }

    #[test]
    fn least_inflight_takes_the_idlest() {
        let fixture = group(ShareStrategy::LeastInflight, 3);
        for (who, inflight) in fixture.clients.iter().zip([5, 1, 3]) {
            who.inflight.store(inflight, Ordering::Relaxed);
        }
        assert_eq!(fixture.picks(2), [1, 1]);
        fixture.connect(&[0, 2]);
        assert_eq!(fixture.picks(1), [2]);
    }

    #[test]
    fn a_plugin_may_choose() {
        let fixture = group(ShareStrategy::RoundRobin, 3);
        let last = fixture.group.pick_by(|members| members.len().checked_sub(1));
        assert_eq!(last.map(|s| s.who.id()), Some(2));
        assert!(fixture.group.pick_by(|_| Some(99)).is_none());
        // It may publish, and that may come back here.
        let again = |_: &[_]| fixture.group.pick_by(|_| Some(1)).map(|_| 0);
        assert_eq!(fixture.group.pick_by(again).map(|s| s.who.id()), Some(0));
    }
}

//! Which subscriptions want this topic. Pure data structures: no tokio, no clock, no knowledge of Sessions beyond
//! [`Subscriber`].
//!
//! | file | subject |
//! |---|---|
//! | `trie`, `arena`, `branch`, `text` | Topic Filters to values, and the walk that finds the filters a Topic Name matches |
//! | `routes` | the broker's one table of subscriptions |
//! | `crowd` | who holds one filter |
//! | `shared` | groups of Shared Subscriptions, and which member gets the message |
//! | `cache` | what a shard remembers of its busy topics |
//! | `interest` | the same trie for the filters of plugins |

mod arena;
mod branch;
mod cache;
mod crowd;
mod interest;
mod routes;
mod shared;
#[cfg(test)]
mod tests;
mod text;
mod trie;

use std::sync::Arc;

use broker_types::{QoS, SubscriptionId};

pub(crate) use cache::TopicCache;
pub(crate) use interest::Interest;
pub(crate) use routes::{Routes, Subscribed};
pub(crate) use shared::{Group, Published, ShareStrategy};

/// Whoever can hold a subscription. The engine's is a shared Session; cloning it must be cheap. All methods are called
/// under routing's locks: they answer from a field, an atomic one if it changes, and take no lock.
pub(crate) trait Subscriber: Clone + Send + Sync {
    /// Names the subscriber; never changes, and no two have the same.
    fn id(&self) -> u64;

    /// Tells whether it is connected. Shared groups prefer those that are.
    fn available(&self) -> bool;

    /// Returns how many messages are under way to it, for [`ShareStrategy::LeastInflight`].
    fn inflight(&self) -> usize;
}

/// What a SUBSCRIBE asked for one filter, and what a plugin added to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SubscriptionOptions {
    /// The QoS granted.
    pub qos: QoS,
    /// No Local: not what the subscriber itself published. Never with a Share Name `[MQTT-3.8.3-4]`.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// The Subscription Identifier that goes along with each message.
    pub id: Option<SubscriptionId>,
    /// The subscriber class: deliver hooks run once per class. 0 without plugins.
    pub class: u32,
}

/// A subscription as a look-up finds it.
#[derive(Clone, Debug)]
pub(crate) struct Subscription<S> {
    /// Who holds it.
    pub who: S,
    /// Its options.
    pub options: SubscriptionOptions,
}

/// Everything one Topic Name matches. Reusable: a look-up empties it first.
#[derive(Debug)]
pub(crate) struct Matches<S> {
    subscriptions: Vec<Subscription<S>>,
    groups: Vec<Arc<Group<S>>>,
    /// Whether a subscriber may be in it more than once.
    overlapping: bool,
}

impl<S: Subscriber> Matches<S> {
    /// Returns an empty one. Allocates nothing.
    pub(crate) const fn new() -> Self {
        Self {
            subscriptions: Vec::new(),
            groups: Vec::new(),
            overlapping: false,
        }
    }

    /// Returns the subscriptions without Share Name, those of one subscriber side by side.
    #[cfg(test)]
    fn subscriptions(&self) -> &[Subscription<S>] {
        &self.subscriptions
    }

    /// Returns the subscriptions without Share Name, one slice for each subscriber, so that overlapping ones can be
    /// delivered once, with the highest QoS and all identifiers (MQTT 5.0 section 3.3.4).
    pub(crate) fn by_subscriber(&self) -> impl Iterator<Item = &[Subscription<S>]> {
        self.subscriptions
            .chunk_by(|a, b| self.overlapping && a.who.id() == b.who.id())
    }

    /// Returns the groups of Shared Subscriptions; each delivers to one member, whatever else the member has.
    pub(crate) fn groups(&self) -> &[Arc<Group<S>>] {
        &self.groups
    }

    /// Tells whether nobody wants the topic.
    pub(crate) fn is_empty(&self) -> bool {
        self.subscriptions.is_empty() && self.groups.is_empty()
    }

    /// Returns how many subscriptions and groups it holds.
    pub(crate) fn len(&self) -> usize {
        self.subscriptions.len() + self.groups.len()
    }

    fn clear(&mut self) {
        self.subscriptions.clear();
        self.groups.clear();
        self.overlapping = false;
    }
}

//! What one client is subscribed to, by the filter that it asked for. Nearly every client has none, one or a few subscriptions, and
//! there are very many clients: none takes one pointer, one takes one piece of memory, a few are looked through. Only
//! many have a table.

use std::hash::BuildHasher;

use broker_proto::Stored;
use broker_types::SubscriptionFilter;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::routing::SubscriptionOptions;

/// The subscriptions of one client.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Option<Box<All>>);

#[derive(Debug)]
struct All {
    /// Any of them.
    first: Held,
    /// The others; absent when there are none.
    rest: Option<Box<Rest>>,
}

/// Subscriptions besides the first beyond which a table finds them.
const FEW: usize = 8;

#[derive(Debug, Default)]
struct Rest {
    /// Looked through, up to [`FEW`] of them.
    few: Vec<Held>,
    /// The others.
    more: Option<More>,
}

/// The filters are the client's choice, so the hash is a keyed one.
#[derive(Debug, Default)]
struct More {
    held: HashTable<Held>,
    hasher: RandomState,
}

impl More {
    fn hash(&self, requested: &SubscriptionFilter) -> u64 {
        self.hasher.hash_one(requested)
    }
}

/// One subscription.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// What the client asked for.
    pub(crate) requested: SubscriptionFilter,
    /// What is in the routes instead, if a mount or a plugin changed it.
    changed: Option<Box<SubscriptionFilter>>,
    /// Its options.
    pub(crate) options: SubscriptionOptions,
}

impl Held {
    /// Returns a subscription that the client knows as `requested` and the routes as `routed`.
    pub(crate) fn new(
        requested: SubscriptionFilter,
        routed: SubscriptionFilter,
        options: SubscriptionOptions,
    ) -> Self {
        Self {
            changed: (routed != requested).then(|| Box::new(routed)),
            requested,
            options,
        }
    }

    /// Returns what is in the routes: with the mount, and as plugins changed it.
    pub(crate) fn routed(&self) -> &SubscriptionFilter {
        self.changed.as_deref().unwrap_or(&self.requested)
    }
}

impl Subscriptions {
    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        let Some(all) = &self.0 else { return 0 };
        1 + all.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// Returns the subscription the client knows as `requested`.
    pub(crate) fn get(&self, requested: &SubscriptionFilter) -> Option<&Held> {
        let All { first, rest } = &**self.0.as_ref()?;
        if first.requested == *requested {
            return Some(first);
        }
        rest.as_ref()?.get(requested)
    }

    /// Holds `held` and returns what it replaces.
    pub(crate) fn insert(&mut self, held: Held) -> Option<Held> {
        let Some(all) = &mut self.0 else {
            self.0 = Some(Box::new(All {
                first: held,
                rest: None,
            }));
            return None;
        };
        if all.first.requested == held.requested {
            return Some(std::mem::replace(&mut all.first, held));
        }
        all.rest.get_or_insert_default().insert(held)
    }

    /// Gives up what the client knows as `requested`.
    pub(crate) fn remove(&mut self, requested: &SubscriptionFilter) -> Option<Held> {
        let all = self.0.as_mut()?;
        let removed = if all.first.requested == *requested {
            match all.rest.as_mut().and_then(|rest| rest.pop()) {
                Some(next) => std::mem::replace(&mut all.first, next),
                None => return self.0.take().map(|all| all.first),
            }
        } else {
            all.rest.as_mut()?.remove(requested)?
        };
        if all.rest.as_ref().is_some_and(|rest| rest.len() == 0) {
            all.rest = None;
        }
        Some(removed)
    }

    /// Returns all of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.0.iter().flat_map(|all| {
            let rest = all.rest.iter().flat_map(|rest| rest.iter());
            std::iter::once(&all.first).chain(rest)
        })
    }

    /// Returns the subscriber class for a message: that of the matching subscription with the highest QoS.
    pub(crate) fn class_for(&self, message: &Stored) -> u32 {
        if self.iter().all(|held| held.options.class == 0) {
            return 0;
        }
        let topic = message.message().topic;
        let matching = self.iter().filter(|held| held.routed().filter.matches(topic));
        matching
            .max_by_key(|held| held.options.qos)
            .map_or(0, |held| held.options.class)
    }

    /// Gives all of them up.
    pub(crate) fn take(&mut self) -> Vec<Held> {
        let Some(all) = self.0.take() else {
            return Vec::new();
        };
        let mut taken = vec![all.first];
        if let Some(rest) = all.rest {
            taken.extend(rest.few);
            taken.extend(rest.more.into_iter().flat_map(|more| more.held));
        }
        taken
    }
}

impl Rest {
    fn len(&self) -> usize {
        self.few.len() + self.more.as_ref().map_or(0, |more| more.held.len())
    }

    fn get(&self, requested: &SubscriptionFilter) -> Option<&Held> {
        let same = |held: &&Held| held.requested == *requested;
        self.few.iter().find(same).or_else(|| {
            let more = self.more.as_ref()?;
            more.held.find(more.hash(requested), |held| same(&held))
        })
    }

    fn insert(&mut self, held: Held) -> Option<Held> {
        let same = |other: &Held| other.requested == held.requested;
        if let Some(other) = self.few.iter_mut().find(|other| same(other)) {
            return Some(std::mem::replace(other, held));
        }
        if let Some(more) = &mut self.more
            && let Some(other) = more.held.find_mut(more.hasher.hash_one(&held.requested), same)
        {
            return Some(std::mem::replace(other, held));
        }
        if self.few.len() < FEW {
            self.few.push(held);
            return None;
        }
        let More { held: table, hasher } = self.more.get_or_insert_default();
        let hash = |held: &Held| hasher.hash_one(&held.requested);
        table.insert_unique(hash(&held), held, hash);
        None
    }

    fn remove(&mut self, requested: &SubscriptionFilter) -> Option<Held> {
        let same = |held: &Held| held.requested == *requested;
        if let Some(at) = self.few.iter().position(same) {
            return Some(self.few.swap_remove(at));
        }
        let more = self.more.as_mut()?;
        let (held, _) = more.held.find_entry(more.hash(requested), same).ok()?.remove();
        if more.held.is_empty() {
            self.more = None;
        }
        Some(held)
    }

    /// Takes any one out.
    fn pop(&mut self) -> Option<Held> {
        self.few.pop().or_else(|| {
            let any = self.more.as_ref()?.held.iter().next()?.requested.clone();
            self.remove(&any)
        })
    }

    fn iter(&self) -> impl Iterator<Item = &Held> {
        let more = self.more.iter().flat_map(|more| more.held.iter());
        self.few.iter().chain(more)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn held(name: u8, class: u32) -> Held {
        let filter = SubscriptionFilter::parse(&format!("filter/{name}")).unwrap();
        let options = SubscriptionOptions {
            class,
            ..SubscriptionOptions::default()
        };
        Held::new(filter.clone(), filter, options)
    }

    proptest! {
        /// More than are looked through, and fewer again.
        #[test]
        fn subscriptions_are_a_map(ops in prop::collection::vec((0u8..20, any::<bool>()), 0..200)) {
            let (mut subscriptions, mut model) = (Subscriptions::default(), BTreeMap::new());
            for (class, (name, add)) in ops.into_iter().enumerate() {
                let one = held(name, class as u32);
                let requested = one.requested.clone();
                let before = match add {
                    true => subscriptions.insert(one),
                    false => subscriptions.remove(&requested),
                };
                let expected = match add {
                    true => model.insert(name, class as u32),
                    false => model.remove(&name),
                };
                prop_assert_eq!(before.map(|held| held.options.class), expected);
                let found = subscriptions.get(&requested).map(|held| held.options.class);
                prop_assert_eq!(found, model.get(&name).copied());
                prop_assert_eq!(subscriptions.len(), model.len());
                let mut all: Vec<_> = subscriptions.iter().map(|held| held.options.class).collect();
                all.sort_unstable();
                let mut expected: Vec<_> = model.values().copied().collect();
                expected.sort_unstable();
                prop_assert_eq!(all, expected);
            }
            prop_assert_eq!(subscriptions.take().len(), model.len());
            prop_assert_eq!(subscriptions.len(), 0);
        }
    }
}

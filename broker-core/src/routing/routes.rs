//! The broker's one table of subscriptions.
//!
//! Reads and writes share an `RwLock` around the trie: a write changes one filter and takes about 0.1 µs, and busy topics
//! don't come here at all (see `cache`), so no snapshot scheme is needed that copies paths or keeps two tries. A
//! reader holds the lock while it clones the subscribers it found, never while anything is delivered. The longest
//! writes are those at which the hash table of one node's children doubles: 3 ms at 230,000 of them, 6 at 460,000, 12 at
//! 920,000.
//!
//! What a look-up costs: a random topic that matches one of n filters, clones included, no cache before it; release build,
//! one thread, the best of five rounds over 250,000 topics, on a shared machine with 1 MiB of L2 for each core.
//!
//! | filters | 100 | 10k | 100k | 1M |
//! |---|---|---|---|---|
//! | `dev{i}/+/x`, ns | 42 | 45 | 58 | 237 |
//! | `site/{i}/+/temp`, ns | 57 | 66 | 85 | 280 |
//! | `site/{i}/+/temp` and `site/{i}/cmd/#`, ns | 65 | 78 | 102 | 435 |
//! | the same by [`TopicCache`](super::TopicCache) (4,096 entries), ns | 9 | 96 | 111 | 442 |
//! | bytes a filter, without the subscriber | 95–204 | 120–144 | 96–206 | 78–176 |
//!
//! The growth is memory that isn't in a cache, two to four times; what is done is the same. Of the 2 µs that a message
//! costs the broker it is 2 % at 100k filters and 10 to 20 % at a million.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use broker_types::{SubscriptionFilter, TopicRef};

use super::crowd::Holders;
use super::trie::Trie;
use super::{Group, Matches, ShareStrategy, Subscriber, Subscription, SubscriptionOptions};

/// What a SUBSCRIBE did to the table; Retain Handling 1 depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscribed {
    /// The subscriber did not hold the filter.
    New,
    /// It did; the options are the new ones now `[MQTT-3.8.4-3]`.
    Replaced,
}

/// All subscriptions of the broker. Shared by all shards.
#[derive(Debug)]
pub(crate) struct Routes<S> {
    table: RwLock<Table<S>>,
    generation: AtomicU64,
    strategy: ShareStrategy,
}

#[derive(Debug)]
struct Table<S> {
    filters: Trie<Holders<S>>,
    plain: usize,
    shared: usize,
}

impl<S: Subscriber> Routes<S> {
    /// Returns an empty table whose shared groups choose by `strategy`.
    pub(crate) fn new(strategy: ShareStrategy) -> Self {
        Self {
            table: RwLock::new(Table {
                filters: Trie::default(),
                plain: 0,
                shared: 0,
            }),
            generation: AtomicU64::new(1),
            strategy,
        }
    }

    /// Subscribes `who` to `filter`, replacing all options if it holds it already. Cost: one step per level that other
    /// filters share with it.
    pub(crate) fn subscribe(
        &self,
        who: &S,
        filter: &SubscriptionFilter,
        options: SubscriptionOptions,
    ) -> Subscribed {
        let subscription = Subscription {
            who: who.clone(),
            options,
        };
        let mut table = self.write();
        let slot = table.filters.slot(filter.filter.as_str());
        let new = match &filter.share {
            None => {
                let new = Holders::insert(slot, subscription);
                table.plain += usize::from(new);
                self.changed(&table);
                new
            }
            Some(share) => {
                let groups = &mut Holders::many(slot).groups;
                // Who looked the group up sees it change.
                let known = groups.get(share).cloned();
                let group = known.clone().unwrap_or_else(|| {
                    let group = Arc::new(Group::new(share.clone(), filter.filter.clone(), self.strategy));
                    groups.insert(share.clone(), Arc::clone(&group));
                    group
                });
                let new = group.join(subscription);
                table.shared += usize::from(new);
                if known.is_none() {
                    self.changed(&table);
                }
                new
            }
        };
        if new {
            Subscribed::New
        } else {
            Subscribed::Replaced
        }
    }

    /// Ends the subscription of the subscriber `who_id` to `filter`. Tells whether there was one.
    pub(crate) fn unsubscribe(&self, who_id: u64, filter: &SubscriptionFilter) -> bool {
        // Dropped after the lock: it may be all that kept the subscriber alive.
        let mut removed = None;
        let mut table = self.write();
        match &filter.share {
            None => {
                table.filters.update(filter.filter.as_str(), |slot| {
                    removed = Holders::remove(slot, who_id);
                });
                if removed.is_some() {
                    table.plain -= 1;
                    self.changed(&table);
                }
            }
            Some(share) => {
                let mut dissolved = false;
                table.filters.update(filter.filter.as_str(), |slot| {
                    let Some(Holders::Many(many)) = slot else { return };
                    let Some(group) = many.groups.get(share) else {
                        return;
                    };
                    removed = group.leave(who_id);
                    dissolved = group.len() == 0;
                    if dissolved {
                        many.groups.remove(share);
                        Holders::tidy(slot);
                    }
                });
                table.shared -= usize::from(removed.is_some());
                if dissolved {
                    self.changed(&table);
                }
            }
        }
        drop(table);
        removed.is_some()
    }

    /// Fills `out` with everything `topic` matches.
    pub(crate) fn matches(&self, topic: TopicRef<'_>, out: &mut Matches<S>) {
        out.clear();
        let table = self.read();
        let mut filters = 0;
        table.filters.matches(topic, |holders| {
            let plain = holders.plain();
            filters += usize::from(!plain.is_empty());
            out.subscriptions.extend_from_slice(plain);
            if let Holders::Many(many) = holders {
                out.groups.extend(many.groups.values().cloned());
            }
        });
        drop(table);
        // One filter holds a subscriber once, so there is nothing to bring together.
        if filters > 1 {
            out.overlapping = true;
            out.subscriptions.sort_unstable_by_key(|s| s.who.id());
        }
    }

    /// Returns the group of a Shared Subscription; `None` for other filters and when nobody holds it.
    pub(crate) fn group(&self, filter: &SubscriptionFilter) -> Option<Arc<Group<S>>> {
        let share = filter.share.as_ref()?;
        match self.read().filters.get(filter.filter.as_str())? {
            Holders::Many(many) => many.groups.get(share).cloned(),
            Holders::One(_) => None,
        }
    }

    /// Returns a number that grows with every change. What was looked up under one number is right as long as it stands.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns how many subscriptions there are: without and with a Share Name.
    pub(crate) fn count(&self) -> (usize, usize) {
        let table = self.read();
        (table.plain, table.shared)
    }

    /// Returns how many trie nodes are in use.
    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        self.read().filters.nodes()
    }

    /// Takes the table as proof that the change is made under the lock, where a look-up can't fall between.
    fn changed(&self, _: &Table<S>) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn read(&self) -> RwLockReadGuard<'_, Table<S>> {
        // Only a subscriber's own methods can panic under the lock, and they are called between the trie's steps.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table<S>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Who holds one filter: the subscriptions of a trie node, and the members of a shared group. Finding one by its
//! subscriber is a scan while they are few and a hash look-up from then on, so that a filter with a million
//! subscribers costs the next one no more than the first.

use std::sync::Arc;

use broker_types::ShareName;
use hashbrown::HashMap;

use super::{Group, Subscriber, Subscription};

/// Above this many a crowd keeps an index.
const SCAN_MAX: usize = 16;

/// Subscriptions, at most one of each subscriber, in no order.
#[derive(Debug)]
pub(super) struct Crowd<S> {
    subscriptions: Vec<Subscription<S>>,
    /// Subscriber to position. `None` while a scan will do.
    index: Option<Box<HashMap<u64, usize, foldhash::fast::RandomState>>>,
}

impl<S: Subscriber> Crowd<S> {
    pub(super) const fn new() -> Self {
        Self {
            subscriptions: Vec::new(),
            index: None,
        }
    }

    pub(super) fn as_slice(&self) -> &[Subscription<S>] {
        &self.subscriptions
    }

    /// Adds `subscription`, or replaces that of the same subscriber. Tells whether it is a new one.
    pub(super) fn insert(&mut self, subscription: Subscription<S>) -> bool {
        let id = subscription.who.id();
        if let Some(at) = self.position(id) {
            self.subscriptions[at] = subscription;
            return false;
        }
        if let Some(index) = &mut self.index {
            index.insert(id, self.subscriptions.len());
        }
        self.subscriptions.push(subscription);
        if self.index.is_none() && self.subscriptions.len() > SCAN_MAX {
            let positions = self.subscriptions.iter().enumerate();
            self.index = Some(Box::new(positions.map(|(at, s)| (s.who.id(), at)).collect()));
        }
        true
    }

    /// Takes the subscription of the subscriber `id` out.
    pub(super) fn remove(&mut self, id: u64) -> Option<Subscription<S>> {
        let at = self.position(id)?;
        let removed = self.subscriptions.swap_remove(at);
        if let Some(index) = &mut self.index {
            index.remove(&id);
            if let Some(moved) = self.subscriptions.get(at) {
                index.insert(moved.who.id(), at);
            }
        }
        if self.subscriptions.len() <= SCAN_MAX / 2 && self.index.take().is_some() {
            self.subscriptions.shrink_to_fit();
        }
        Some(removed)
    }

    /// Returns where the subscription of `id` stands.
    pub(super) fn position(&self, id: u64) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(&id).copied(),
            None => self.subscriptions.iter().position(|s| s.who.id() == id),
        }
    }
}

/// What hangs on one Topic Filter. Nearly always that is one subscription, which then needs no allocation of its own.
#[derive(Debug)]
pub(super) enum Holders<S> {
    /// One subscription without Share Name.
    One(Subscription<S>),
    /// Anything else.
    Many(Box<Many<S>>),
}

/// The general case of [`Holders`].
#[derive(Debug)]
pub(super) struct Many<S> {
    pub(super) plain: Crowd<S>,
    pub(super) groups: HashMap<ShareName, Arc<Group<S>>, foldhash::fast::RandomState>,
}

impl<S: Subscriber> Holders<S> {
    /// Returns the general case, converting to it.
    pub(super) fn many(slot: &mut Option<Self>) -> &mut Many<S> {
        let many = match slot.take() {
            Some(Self::Many(many)) => many,
            one => {
                let mut many = Box::new(Many {
                    plain: Crowd::new(),
                    groups: HashMap::default(),
                });
                if let Some(Self::One(one)) = one {
                    many.plain.insert(one);
                }
                many
            }
        };
        match slot.insert(Self::Many(many)) {
            Self::Many(many) => many,
            Self::One(_) => unreachable!("just put there"),
        }
    }

    /// Adds or replaces a subscription without Share Name. Tells whether it is new.
    pub(super) fn insert(slot: &mut Option<Self>, subscription: Subscription<S>) -> bool {
        match slot {
            None => {
                *slot = Some(Self::One(subscription));
                true
            }
            Some(Self::One(one)) if one.who.id() == subscription.who.id() => {
                *one = subscription;
                false
            }
            Some(_) => Self::many(slot).plain.insert(subscription),
        }
    }

    /// Takes the subscription of `id` without Share Name out. Leaves `None` when it was the last thing here.
    pub(super) fn remove(slot: &mut Option<Self>, id: u64) -> Option<Subscription<S>> {
        if let Some(Self::Many(many)) = slot {
            let removed = many.plain.remove(id);
            Self::tidy(slot);
            return removed;
        }
        match slot.take_if(|holders| holders.plain().iter().any(|s| s.who.id() == id))? {
            Self::One(one) => Some(one),
            Self::Many(_) => None,
        }
    }

    /// Goes back to the smaller forms where they will do.
    pub(super) fn tidy(slot: &mut Option<Self>) {
        let Some(Self::Many(many)) = slot else { return };
        match many.plain.as_slice() {
            [] if many.groups.is_empty() => *slot = None,
            [one] if many.groups.is_empty() => *slot = Some(Self::One(one.clone())),
            _ => {}
        }
    }

    /// Returns the subscriptions without Share Name.
    pub(super) fn plain(&self) -> &[Subscription<S>] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many.plain.as_slice(),
        }
    }
}

//! A chain as it runs: flat, in order, one list of slots for each hook. Made once, when a listener starts or the
//! configuration is read again; swapped as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broker_types::{FilterError, TopicRef};
use plugin_api::{
    Accept, Authenticate, Authorize, Capabilities, Connect, Control, Deliver, Exchange, Plugin, Publish,
    Retain, Scoped, SharePick, Subscribe, Unsubscribe, Will,
};

use super::interest::Topics;
use super::trace::{Trace, Tracer};
use super::watched::watched;
use super::{AtWork, EventHub, EventSink, Guard, HookMask, Instance, Interest, SlotBits, Stamp, UseState};
use crate::chain::{Chain, Hook, HookSet, Use, address};

/// Why a chain can't be used. Each is the operator's mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A filter of a use is none.
    #[error("plugin `{plugin}`: {error}")]
    Filter {
        /// The plugin's name in the chain.
        plugin: Arc<str>,
        /// What is wrong.
        error: FilterError,
    },
    /// A use is narrowed to a hook that its plugin hasn't.
    #[error("plugin `{plugin}` has no hook `{hook}`; it has {has:?}")]
    NoSuchHook {
        /// The plugin's name in the chain.
        plugin: Arc<str>,
        /// What was asked for.
        hook: Hook,
        /// What there is.
        has: HookSet,
    },
    /// More plugins with one hook than a chain can have.
    #[error("more than {} plugins with the hook `{hook}` in one chain", SlotBits::MAX)]
    TooMany {
        /// The hook.
        hook: Hook,
    },
    /// Two plugins want to answer the same thing, and only one can.
    #[error("plugins `{first}` and `{second}` both own {what}")]
    TwoOwners {
        /// What they own: an Authentication Method, a control prefix, or the choice in Shared Subscriptions.
        what: String,
        /// The plugin that stands first in the chain.
        first: Arc<str>,
        /// The other.
        second: Arc<str>,
    },
}

/// A plugin's hook in a chain.
pub(super) struct Slot<H: ?Sized> {
    pub(super) hook: Arc<H>,
    pub(super) guard: Guard,
}

/// A hook that sees messages of some topics.
pub(super) struct MessageSlot<H: ?Sized> {
    pub(super) slot: Slot<H>,
    /// Larger messages pass by.
    pub(super) payload_bytes_max: usize,
}

/// An authorizer.
pub(super) struct AclSlot {
    pub(super) slot: Slot<dyn Authorize>,
    /// Whether it is asked at delivery too.
    pub(super) receive: bool,
}

/// A hook that answers for a name: an Authentication Method or a control prefix.
pub(super) struct Owned<H: ?Sized> {
    pub(super) name: String,
    pub(super) slot: Arc<Slot<H>>,
}

/// A compiled chain. See the module `hooks` for what it does with each hook.
#[derive(Default)]
pub(crate) struct ChainSet {
    generation: u64,
    /// Nobody may do anything.
    pub(super) closed: bool,
    mask: HookMask,
    uses: Vec<Arc<UseState>>,
    /// Of each use, in the same order.
    plugins: Vec<Arc<dyn Plugin>>,
    /// How often a plugin said that cached decisions no longer hold.
    invalidations: AtomicU64,
    pub(super) accept: Vec<Slot<dyn Accept>>,
    pub(super) connect: Vec<Slot<dyn Connect>>,
    pub(super) authenticate: Vec<Slot<dyn Authenticate>>,
    pub(super) authenticate_all: bool,
    pub(super) exchange: Vec<Owned<dyn Exchange>>,
    pub(super) authorize: Vec<AclSlot>,
    pub(super) authorize_all: bool,
    pub(super) subscribe: Vec<Slot<dyn Subscribe>>,
    pub(super) unsubscribe: Vec<Slot<dyn Unsubscribe>>,
    pub(super) publish: Vec<MessageSlot<dyn Publish>>,
    pub(super) publish_topics: Topics,
    pub(super) retain: Vec<Slot<dyn Retain>>,
    pub(super) deliver: Vec<MessageSlot<dyn Deliver>>,
    pub(super) deliver_topics: Topics,
    pub(super) will: Vec<Slot<dyn Will>>,
    pub(super) control: Vec<Owned<dyn Control>>,
    pub(super) share_pick: Option<Slot<dyn SharePick>>,
    events: EventSink,
    trace: Option<Arc<Trace>>,
}

impl std::fmt::Debug for ChainSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChainSet")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl ChainSet {
    /// Compiles `chain`. `instances` gives the instance of each plugin, with what it handed out when it was asked; `generation`
    /// tells this set from those before and after it and must never come twice; `hub` has the event queues, one for each
    /// plugin.
    ///
    /// # Errors
    /// What the operator has to change.
    pub(crate) fn compile(
        chain: &Chain,
        instances: &dyn Fn(&Arc<dyn Plugin>) -> Arc<Instance>,
        generation: u64,
        hub: &EventHub,
    ) -> Result<Self, ChainError> {
        let mut set = Self {
            generation,
            authenticate_all: chain.wants_all_authenticators(),
            authorize_all: chain.wants_all_authorizers(),
            trace: chain.trace().cloned(),
            ..Self::default()
        };
        for used in chain.uses() {
            set.add(used, &instances(&used.plugin), hub)?;
        }
        set.check_lengths()?;
        Ok(set)
    }

    /// Returns a chain that refuses everything: for what is left of a listener that is gone.
    pub(crate) fn closed(generation: u64) -> Self {
        Self {
            generation,
            mask: HookMask::AUTHORIZE,
            closed: true,
            ..Self::default()
        }
    }

    /// Tells whether messages must be looked at before they go out.
    pub(crate) const fn looks_at_deliveries(&self) -> bool {
        self.mask.has(HookMask::RECEIVE.or(HookMask::DELIVER))
    }

    /// Returns how often an instance was called in it.
    pub(crate) fn calls_of(&self, at_work: &Arc<AtWork>) -> u64 {
        let guards = self.guards().into_iter();
        guards
            .filter(|guard| Arc::ptr_eq(guard.state().at_work(), at_work))
            .map(Guard::calls)
            .sum()
    }

    /// Returns the number that tells this set from others.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns which hooks it has at all.
    pub(crate) const fn mask(&self) -> HookMask {
        self.mask
    }

    /// Returns where the events of this listener's clients go.
    pub(crate) const fn events(&self) -> &EventSink {
        &self.events
    }

    /// Returns where it is written down what its plugins say: only in a rehearsal.
    pub(crate) fn trace(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    /// Returns who wants messages with `topic`. Connections remember it: [`super::InterestCache`].
    pub(crate) fn interest(&self, topic: TopicRef<'_>) -> Interest {
        Interest {
            publish: self.publish_topics.slots(topic),
            deliver: self.deliver_topics.slots(topic),
        }
    }

    /// Returns the uses, in the order of the chain.
    pub(super) fn uses(&self) -> &[Arc<UseState>] {
        &self.uses
    }

    /// Returns every slot but those of events, whose calls are made elsewhere.
    pub(super) fn guards(&self) -> Vec<&Guard> {
        let mut guards = Vec::new();
        guards.extend(self.accept.iter().map(|slot| &slot.guard));
        guards.extend(self.connect.iter().map(|slot| &slot.guard));
        guards.extend(self.authenticate.iter().map(|slot| &slot.guard));
        guards.extend(owners(&self.exchange));
        guards.extend(self.authorize.iter().map(|acl| &acl.slot.guard));
        guards.extend(self.subscribe.iter().map(|slot| &slot.guard));
        guards.extend(self.unsubscribe.iter().map(|slot| &slot.guard));
        guards.extend(self.publish.iter().map(|message| &message.slot.guard));
        guards.extend(self.retain.iter().map(|slot| &slot.guard));
        guards.extend(self.deliver.iter().map(|message| &message.slot.guard));
        guards.extend(self.will.iter().map(|slot| &slot.guard));
        guards.extend(owners(&self.control));
        guards.extend(self.share_pick.iter().map(|slot| &slot.guard));
        guards
    }

    /// Makes all connections forget the decisions they cached of this chain, if `plugin` authorizes in it.
    pub(crate) fn invalidate(&self, plugin: &Arc<dyn Plugin>) {
        let mut authorizers = self.authorize.iter().map(|acl| acl.slot.guard.state().position);
        if authorizers.any(|position| address(&self.plugins[position]) == address(plugin)) {
            self.invalidations.fetch_add(1, Ordering::Release);
        }
    }

    /// Returns what cached decisions must be of to hold now. Take it before asking, and keep the answer under it.
    /// `client` counts what was invalidated for this connection alone.
    pub(crate) fn stamp(&self, client: u64) -> Stamp {
        Stamp {
            generation: self.generation,
            chain: self.invalidations.load(Ordering::Acquire),
            client,
        }
    }

    fn add(&mut self, used: &Use, instance: &Instance, hub: &EventHub) -> Result<(), ChainError> {
        let has = &instance.offered;
        if let Some(error) = &used.wrong {
            return Err(ChainError::Filter {
                plugin: used.name.clone(),
                error: error.clone(),
            });
        }
        let on = narrowed(used, HookSet::of(has))?;
        self.mask = on
            .iter()
            .fold(self.mask, |mask, hook| mask.or(HookMask::of(hook)));
        let position = self.uses.len();
        let tracer = self
            .trace
            .as_ref()
            .map(|trace| Tracer::new(trace, &used.name, position));
        let has = watched(has.clone(), used.condition.as_ref(), tracer.clone());
        let state = Arc::new(UseState::new(used, instance, position).traced(tracer));
        self.uses.push(state.clone());
        self.plugins.push(instance.plugin.clone());
        let plugin = address(&instance.plugin);
        let link = Link {
            used,
            plugin,
            on,
            state,
        };
        self.add_decisions(&link, &has);
        self.add_folds(&link, &has);
        self.add_providers(&link, &has)?;
        if let Some((mask, hook)) = link.on(Hook::Events, has.events.as_ref()) {
            let queue = hub.queue(used, instance, hook);
            self.events.add(queue, *mask, link.state.position);
        }
        Ok(())
    }

    fn add_decisions(&mut self, link: &Link<'_>, has: &Capabilities) {
        self.authenticate
            .extend(link.slot(Hook::Authenticate, &has.authenticate));
        if let Some(slot) = link.slot(Hook::Authorize, &has.authorize) {
            if has.authorize_receive {
                self.mask = self.mask.or(HookMask::RECEIVE);
            }
            self.authorize.push(AclSlot {
                slot,
                receive: has.authorize_receive,
            });
        }
    }

    fn add_folds(&mut self, link: &Link<'_>, has: &Capabilities) {
        self.accept.extend(link.slot(Hook::Accept, &has.accept));
        self.connect.extend(link.slot(Hook::Connect, &has.connect));
        self.subscribe.extend(link.slot(Hook::Subscribe, &has.subscribe));
        self.unsubscribe
            .extend(link.slot(Hook::Unsubscribe, &has.unsubscribe));
        self.retain.extend(link.slot(Hook::Retain, &has.retain));
        self.will.extend(link.slot(Hook::Will, &has.will));
        link.message_slot(
            Hook::Publish,
            &has.publish,
            &mut self.publish,
            &mut self.publish_topics,
        );
        link.message_slot(
            Hook::Deliver,
            &has.deliver,
            &mut self.deliver,
            &mut self.deliver_topics,
        );
    }

    fn add_providers(&mut self, link: &Link<'_>, has: &Capabilities) -> Result<(), ChainError> {
        if let Some((methods, hook)) = link.on(Hook::Exchange, has.exchange.as_ref()) {
            let slot = link.slot(Hook::Exchange, &Some(hook.clone()));
            self.own("the Authentication Method", link, methods, slot, |set| {
                &mut set.exchange
            })?;
        }
        if let Some((prefixes, hook)) = link.on(Hook::Control, has.control.as_ref()) {
            let slot = link.slot(Hook::Control, &Some(hook.clone()));
            self.own("the control prefix", link, prefixes, slot, |set| &mut set.control)?;
        }
        if let Some(slot) = link.slot(Hook::SharePick, &has.share_pick) {
            if let Some(first) = &self.share_pick {
                let first = first.guard.state().position;
                self.same_owner(link, first, || "the choice in Shared Subscriptions".to_owned())?;
            } else {
                self.share_pick = Some(slot);
            }
        }
        Ok(())
    }

    /// Makes the plugin of `link` the owner of `names`, unless it is already.
    fn own<H: ?Sized>(
        &mut self,
        what: &str,
        link: &Link<'_>,
        names: &[String],
        slot: Option<Slot<H>>,
        list: impl Fn(&mut Self) -> &mut Vec<Owned<H>>,
    ) -> Result<(), ChainError> {
        let Some(slot) = slot.map(Arc::new) else {
            return Ok(());
        };
        for name in names {
            let known = list(self).iter().find(|owned| owned.name == *name);
            match known.map(|owned| owned.slot.guard.state().position) {
                Some(first) => self.same_owner(link, first, || format!("{what} `{name}`"))?,
                None => list(self).push(Owned {
                    name: name.clone(),
                    slot: slot.clone(),
                }),
            }
        }
        Ok(())
    }

    /// Checks that the use at position `first` is of the same plugin as `link`.
    fn same_owner(
        &self,
        link: &Link<'_>,
        first: usize,
        what: impl FnOnce() -> String,
    ) -> Result<(), ChainError> {
        if address(&self.plugins[first]) == link.plugin {
            return Ok(());
        }
        Err(ChainError::TwoOwners {
            what: what(),
            first: self.uses[first].name().clone(),
            second: link.used.name.clone(),
        })
    }

    fn check_lengths(&self) -> Result<(), ChainError> {
        let lengths = [
            (Hook::Accept, self.accept.len()),
            (Hook::Connect, self.connect.len()),
            (Hook::Authenticate, self.authenticate.len()),
            (Hook::Authorize, self.authorize.len()),
            (Hook::Subscribe, self.subscribe.len()),
            (Hook::Unsubscribe, self.unsubscribe.len()),
            (Hook::Publish, self.publish.len()),
            (Hook::Retain, self.retain.len()),
            (Hook::Deliver, self.deliver.len()),
            (Hook::Will, self.will.len()),
            (Hook::Events, self.events.len()),
        ];
        match lengths.into_iter().find(|(_, length)| *length > SlotBits::MAX) {
            None => Ok(()),
            Some((hook, _)) => Err(ChainError::TooMany { hook }),
        }
    }
}

/// Returns each owner once, however many names it has; they stand side by side.
fn owners<H: ?Sized>(owned: &[Owned<H>]) -> impl Iterator<Item = &Guard> {
    owned
        .chunk_by(|a, b| Arc::ptr_eq(&a.slot, &b.slot))
        .map(|same| &same[0].slot.guard)
}

/// Returns the hooks of a use: what its plugin has, or the part of it that the use names.
fn narrowed(used: &Use, has: HookSet) -> Result<HookSet, ChainError> {
    let on = used.on.unwrap_or(has);
    match on.iter().find(|hook| !has.contains(*hook)) {
        None => Ok(on),
        Some(hook) => Err(ChainError::NoSuchHook {
            plugin: used.name.clone(),
            hook,
            has,
        }),
    }
}

/// One use while the chain is compiled.
struct Link<'a> {
    used: &'a Use,
    /// The address of the instance.
    plugin: usize,
    on: HookSet,
    state: Arc<UseState>,
}

impl Link<'_> {
    /// Returns `hook` if the use has it.
    fn on<T>(&self, name: Hook, hook: Option<T>) -> Option<T> {
        hook.filter(|_| self.on.contains(name))
    }

    fn guard(&self, name: Hook) -> Guard {
        Guard::new(name, self.used, self.state.clone())
    }

    fn slot<H: ?Sized>(&self, name: Hook, hook: &Option<Arc<H>>) -> Option<Slot<H>> {
        let hook = self.on(name, hook.as_ref())?.clone();
        let guard = self.guard(name);
        Some(Slot { hook, guard })
    }

    fn message_slot<H: ?Sized>(
        &self,
        name: Hook,
        scoped: &Option<Scoped<H>>,
        slots: &mut Vec<MessageSlot<H>>,
        topics: &mut Topics,
    ) {
        let Some(scoped) = self.on(name, scoped.as_ref()) else {
            return;
        };
        if slots.len() < SlotBits::MAX {
            topics.add(slots.len(), &scoped.filters, &self.used.topics);
        }
        slots.push(MessageSlot {
            slot: Slot {
                hook: scoped.hook.clone(),
                guard: self.guard(name),
            },
            payload_bytes_max: scoped.needs.payload_bytes_max,
        });
    }
}

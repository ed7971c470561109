//! Exchanging the present for what was planned. Nothing in here can fail; what is no longer needed ends behind.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker_types::ReasonCode;
use tokio::sync::oneshot;

use super::plan::{PlannedBridge, PlannedListener, Way};
use super::plugins::Member;
use super::steward::{Lingering, Pair, Prepared, Steward, Trial};
use super::{Altered, Reauthorize, Reload, Reloaded, check};
use crate::bridge::{self, Bridges};
use crate::builder::BrokerBuilder;
use crate::chain::address;
use crate::engine::core::Core;
use crate::engine::listener::Entrance;
use crate::engine::session::Kick;
use crate::engine::shard::{Job, Shard};
use crate::hooks::ChainSet;
use crate::listener::ChainRef;

/// How long shards may take to notice: one that a plugin blocks doesn't hold up the rest.
const NOTICE_MAX: Duration = Duration::from_secs(5);

impl Steward {
    /// Exchanges everything. Of the members those from `added` on are new.
    pub(super) async fn commit(&mut self, reload: &Reload, prepared: Prepared, added: usize) -> Reloaded {
        let (builder, options) = (&reload.builder, &reload.options);
        let Prepared { plan, pairs, gates } = prepared;
        let mut done = Reloaded::default();
        let wanted = self.wanted(builder, &plan);
        let bridges_before = self.core.bridges.get();
        let first = self.is_first();
        for (at, chain, set) in plan.lingering {
            self.lingering[at].state.chain.store(set);
            self.lingering[at].chain = chain;
        }
        let closed = match first {
            true => {
                let listeners = plan.listeners.into_iter();
                listeners.for_each(|listener| listener.state.chain.store(listener.set));
                Vec::new()
            }
            false => self.exchange_listeners(plan.listeners, &mut done),
        };
        for planned in &plan.bridges {
            if let (Some(cell), Some(set)) = (&planned.bridge.chain, &planned.set) {
                cell.store(set.clone());
            }
        }
        done.limits = self.exchange_settings(builder);
        self.core.chains_changed();
        self.spawn_runners();
        for pair in pairs.iter().filter(|pair| pair.is_new) {
            pair.after.instance.at_work.begin_trial(self.news.clone());
        }
        for (gate, instance) in gates {
            gate.open(&instance);
        }
        self.exchange_bridges(bridges_before.as_deref(), plan.bridges, &mut done)
            .await;
        let mut builder = BrokerBuilder::clone(builder);
        // What it leaves open stays.
        builder.store = builder.store.or_else(|| self.builder.store.clone());
        self.builder = Arc::new(builder);
        if first {
            return Reloaded::default();
        }
        self.follow().await;
        close(closed).await;
        self.dismiss(&wanted, pairs, added, options.drain, &mut done);
        if options.drop_clients {
            done.clients_dropped = self.drop_lingering_clients();
        }
        self.look_at_lingering(options.drain);
        if options.reauthorize == Reauthorize::Now {
            done.subscriptions_dropped = super::reauthorize::reauthorize(&self.shard).await;
        }
        done
    }

    /// Gives the listeners their chains and terms, and opens and closes doors. Returns the entrances that are to be closed.
    fn exchange_listeners(&mut self, planned: Vec<PlannedListener>, done: &mut Reloaded) -> Vec<Entrance> {
        let before = self.core.listeners();
        let is_planned = |name: &Arc<str>| planned.iter().any(|listener| listener.state.name == *name);
        let left: Vec<_> = { before.iter() }
            .filter(|listener| !is_planned(&listener.name))
            .collect();
        for state in left {
            let Some(chain) = self.chain_before(&state.name).cloned() else {
                continue;
            };
            done.listeners.push((state.name.to_string(), Altered::Removed));
            let named = self.chain_name(&state.name);
            self.lingering.push(Lingering {
                state: state.clone(),
                chain,
                named,
            });
        }
        self.lingering
            .retain(|lingering| !is_planned(&lingering.state.name));
        let mut entrances = self.core.entrances();
        let mut old: Vec<_> = entrances.drain(..).map(Some).collect();
        let mut states = Vec::new();
        for listener in planned {
            let state = listener.state;
            state.chain.store(listener.set);
            let changes = listener.changes.into_iter();
            done.listeners
                .extend(changes.map(|change| (state.name.to_string(), change)));
            let entrance = match listener.entrance {
                Way::Kept(at) => old[at].take().expect("an entrance is handed on once"),
                Way::New(entrance) => entrance,
            };
            entrance.door.terms.store(state.clone());
            entrance.door.open();
            entrances.push(entrance);
            states.push(state);
        }
        self.core.set_listeners(states);
        old.into_iter().flatten().collect()
    }

    /// Returns the name of the chain of a listener, if it has one.
    fn chain_name(&self, listener: &str) -> Option<String> {
        let listeners = self.builder.listeners.iter().enumerate();
        let mut named = listeners.filter(|(at, known)| check::name_of(known, *at) == listener);
        match &named.next()?.1.chain {
            ChainRef::Named(name) => Some(name.clone()),
            ChainRef::Inline(_) => None,
        }
    }

    /// Sets the limits of the whole broker. False: they are as they were.
    fn exchange_settings(&self, builder: &BrokerBuilder) -> bool {
        let (settings, before) = (check::settings(builder, self.seed), self.core.settings());
        if settings == *before {
            return false;
        }
        if settings.sys_interval != before.sys_interval {
            self.shard.set_sys_interval(settings.sys_interval);
        }
        self.core.set_settings(settings);
        true
    }

    /// Lets the bridges carry that are to be. One that is to be otherwise begins when the one before has ended.
    async fn exchange_bridges(
        &mut self,
        before: Option<&Bridges>,
        planned: Vec<PlannedBridge>,
        done: &mut Reloaded,
    ) {
        let before: Vec<_> = before.map(|bridges| bridges.all().to_vec()).unwrap_or_default();
        let names: Vec<_> = { planned.iter() }
            .map(|planned| planned.bridge.name.clone())
            .collect();
        let all = planned.iter().map(|planned| planned.bridge.clone()).collect();
        self.core.bridges.set(all);
        for (planned, jobs) in planned.into_iter().zip(self.core.clone().jobs.iter().cycle()) {
            let PlannedBridge {
                bridge,
                carrier,
                changes,
                ..
            } = planned;
            let changes = changes.into_iter();
            done.bridges
                .extend(changes.map(|change| (bridge.name.to_string(), change)));
            let Some((carrier, in_use)) = carrier else {
                continue;
            };
            let old = before.iter().find(|old| old.name == bridge.name).cloned();
            let job: Job = Box::new(move |shard: &Rc<Shard>| bridge::spawn(shard, &bridge, carrier, in_use));
            // An error means that the broker ends.
            match old {
                None => _ = jobs.send(job).await,
                Some(old) => {
                    let jobs = jobs.clone();
                    self.ending.spawn_local(async move {
                        old.end().await;
                        let _ = jobs.send(job).await;
                    });
                }
            }
        }
        for gone in before.into_iter().filter(|gone| !names.contains(&gone.name)) {
            done.bridges.push((gone.name.to_string(), Altered::Removed));
            self.ending.spawn_local(async move {
                gone.end().await;
                let lost = gone.give_up();
                if lost > 0 {
                    tracing::warn!(bridge = %gone.name, lost, "messages are lost: they waited for a bridge that is gone");
                }
            });
        }
    }

    /// Has the events told of new queues.
    pub(super) fn spawn_runners(&self) {
        let runners = self.hub.take_runners();
        runners
            .into_iter()
            .for_each(|runner| _ = tokio::task::spawn_local(runner));
    }

    /// Gives every connection the present chain of its listener, and waits until no shard is in the middle of something that
    /// it began before. Packets that a plugin has at the moment are finished by the chain they began with.
    pub(super) async fn follow(&self) {
        let core = self.core.clone();
        let walk = tokio::task::spawn_blocking(move || core.follow_chains());
        if walk.await.is_err() {
            self.shard.metrics.panics.one();
        }
        if tokio::time::timeout(NOTICE_MAX, passed_by_all(&self.core))
            .await
            .is_err()
        {
            tracing::warn!("a shard doesn't answer: a plugin blocks it");
        }
    }

    /// Lets go of the instances that are no longer needed, but for those that wait for the outcome of a trial.
    fn dismiss(
        &mut self,
        wanted: &[usize],
        pairs: Vec<Pair>,
        added: usize,
        drain: Duration,
        done: &mut Reloaded,
    ) {
        let is_wanted = |member: &Member| wanted.contains(&address(&member.instance.plugin));
        for trial in std::mem::take(&mut self.trials) {
            match (is_wanted(&trial.after), is_wanted(&trial.before)) {
                (true, false) => self.trials.push(trial),
                (_, before) => {
                    trial.after.instance.at_work.end_trial();
                    if !before {
                        self.retire(trial.before, drain);
                    }
                }
            }
        }
        let named = |member: &Member| member.name.to_string();
        let swapped = |member: &Member| {
            let plugin = &member.instance.plugin;
            pairs
                .iter()
                .any(|pair| pair.before.is(plugin) || pair.after.is(plugin))
        };
        let fresh = self.members[added..].iter().filter(|member| !swapped(member));
        done.plugins
            .extend(fresh.map(|member| (named(member), Altered::Added)));
        let (stay, leave): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.members).into_iter().partition(is_wanted);
        self.members = stay;
        let gone = leave.iter().filter(|member| !swapped(member));
        done.plugins
            .extend(gone.map(|member| (named(member), Altered::Removed)));
        let waits = |member: &Member| {
            pairs
                .iter()
                .any(|pair| pair.is_new && pair.before.is(&member.instance.plugin))
        };
        for member in leave.iter().filter(|member| !waits(member)) {
            self.retire(member.clone(), drain);
        }
        for pair in pairs {
            done.plugins.push((named(&pair.after), Altered::Swapped));
            self.core
                .reloads
                .swaps
                .fetch_add(u64::from(pair.is_new), Ordering::Relaxed);
            if pair.is_new {
                self.trials.push(Trial::begin(pair));
            }
        }
    }

    /// Ends the connections of listeners that are gone. Returns how many.
    fn drop_lingering_clients(&self) -> usize {
        let mut dropped = 0;
        self.core.sessions.for_each(|session| {
            let mut state = session.lock();
            let gone = { self.lingering.iter() }
                .any(|lingering| Arc::ptr_eq(&lingering.state.chain, &state.listener.chain));
            if let Some(link) = state.link.as_deref_mut().filter(|_| gone) {
                link.kick(Kick::because(ReasonCode::AdministrativeAction));
                dropped += 1;
            }
        });
        dropped
    }

    /// Forgets listeners that are gone and have no clients any more. What their Sessions still had to say, nobody can allow.
    pub(super) fn look_at_lingering(&mut self, drain: Duration) {
        let all = std::mem::take(&mut self.lingering);
        let (empty, lingering): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|lingering| lingering.state.connections() == 0);
        self.lingering = lingering;
        if empty.is_empty() {
            return;
        }
        for lingering in empty {
            let closed = ChainSet::closed(self.core.new_generation());
            lingering.state.chain.store(Arc::new(closed));
        }
        let plugins = self.builder.plugins();
        let mut wanted: Vec<_> = plugins.iter().map(|(_, plugin)| address(plugin)).collect();
        for lingering in &self.lingering {
            wanted.extend(lingering.chain.plugins().map(address));
        }
        let is_wanted = |member: &Member| wanted.contains(&address(&member.instance.plugin));
        let (stay, leave): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.members).into_iter().partition(is_wanted);
        self.members = stay;
        for member in leave {
            self.retire(member, drain);
        }
    }
}

/// Waits until each shard has done something that it was told now.
async fn passed_by_all(core: &Core) {
    let mut passed = Vec::new();
    for jobs in &core.jobs {
        let (done, reached) = oneshot::channel();
        let job: Job = Box::new(move |_: &Rc<Shard>| _ = done.send(()));
        // An error means that the broker ends.
        let _ = jobs.send(job).await;
        passed.push(reached);
    }
    for reached in passed {
        let _ = reached.await;
    }
}

/// Closes entrances, and waits until nobody accepts there any more.
async fn close(entrances: Vec<Entrance>) {
    entrances.iter().for_each(|entrance| entrance.door.close());
    for entrance in &entrances {
        if tokio::time::timeout(NOTICE_MAX, entrance.door.abandoned())
            .await
            .is_err()
        {
            tracing::warn!(bind = %entrance.wanted, "a shard still accepts connections: a plugin blocks it");
        }
    }
}

//! The one task that carries changes out, one after the other. It owns what is known of the present beside what the shards
//! need: the builder it was made from, the plugin instances, and who is on trial. It runs on the first shard, like everything
//! that plugins do by themselves.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use plugin_api::{Durability, Fault, FaultKind, Plugin};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::plan::{Plan, Way};
use super::plugins::{self, Member};
use super::{Options, Order, PluginInUse, Reload, ReloadError, Reloaded, check};
use crate::builder::BrokerBuilder;
use crate::chain::{Chain, address};
use crate::connection;
use crate::engine::core::Core;
use crate::engine::listener::{Door, ListenerState};
use crate::engine::shard::{Job, Shard};
use crate::error::{StartError, StartProblem};
use crate::hooks::{EventHub, Gate, Instance, TRIAL_CALLS};
use crate::net::Shared;

/// How often those on trial, and listeners that are gone but still have clients, are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The longest trial: an instance that is called so seldom is trusted then.
const TRIAL_MAX: Duration = Duration::from_secs(3600);

/// See the module.
pub(crate) struct Steward {
    pub(super) shard: Rc<Shard>,
    pub(super) core: Arc<Core>,
    /// What the store promises at most.
    strongest: Durability,
    /// For choices that are made by chance.
    pub(super) seed: u64,
    /// What the broker was made from: what it is now.
    pub(super) builder: Arc<BrokerBuilder>,
    /// The plugin instances in use.
    pub(super) members: Vec<Member>,
    /// The event queues of plugins.
    pub(super) hub: EventHub,
    /// Listeners that are gone but whose clients aren't.
    pub(super) lingering: Vec<Lingering>,
    pub(super) trials: Vec<Trial>,
    /// Hears of those who failed their trial.
    pub(super) news: Arc<Notify>,
    /// Instances that were stopped, as long as somebody has them: they can't be started again.
    gone: Vec<Weak<dyn Plugin>>,
    /// What ends behind a change.
    pub(super) ending: JoinSet<()>,
}

/// A listener that is gone but whose clients aren't.
pub(super) struct Lingering {
    pub(super) state: Arc<ListenerState>,
    pub(super) chain: Chain,
    /// The name of its chain, if it has one: it follows the chain of that name.
    pub(super) named: Option<String>,
}

/// An instance that has to show that it works.
pub(super) struct Trial {
    pub(super) before: Member,
    pub(super) after: Member,
    since: Instant,
    looks: u32,
}

impl Trial {
    /// Begins one; `news` hears when it fails.
    pub(super) fn begin(pair: Pair) -> Self {
        Self {
            before: pair.before,
            after: pair.after,
            since: Instant::now(),
            looks: 0,
        }
    }
}

/// A change that can't fail any more.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) pairs: Vec<Pair>,
    /// Where those wait who called an instance whose state is handed on, and who answers them.
    pub(super) gates: Vec<(Gate, Arc<Instance>)>,
}

impl Steward {
    /// Returns the steward of a broker that has nothing yet but `core`, and listeners whose doors are shut.
    pub(crate) fn new(shard: &Rc<Shard>, strongest: Durability, seed: u64) -> Self {
        Self {
            shard: shard.clone(),
            core: shard.core.clone(),
            strongest,
            seed,
            builder: Arc::default(),
            members: Vec::new(),
            hub: EventHub::new(),
            lingering: Vec::new(),
            trials: Vec::new(),
            news: Arc::default(),
            gone: Vec::new(),
            ending: JoinSet::new(),
        }
    }

    /// Puts the broker together for the first time. After an error all plugins are stopped.
    pub(crate) async fn begin(&mut self, builder: Arc<BrokerBuilder>) -> Result<(), StartError> {
        let reload = Reload {
            builder,
            options: Options::default(),
        };
        self.change(&reload).await.map(drop)
    }

    /// Carries out orders until it is told to stop.
    pub(crate) async fn serve(mut self, mut orders: mpsc::Receiver<Order>) {
        let core = self.core.clone();
        let mut look_at = Instant::now() + LOOK;
        loop {
            // Whoever asked may have gone.
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    None => return,
                    Some(Order::Stop(deadline, done)) => {
                        let late = self.stop(deadline).await;
                        // Whoever asked may have gone.
                        let _ = done.send(late);
                        return;
                    }
                    Some(Order::Reload(reload, done)) => _ = done.send(self.reload(&core, reload).await),
                    Some(Order::Swap([old, new], done)) => _ = done.send(self.swap(&core, &old, &new).await),
                    Some(Order::Plugins(done)) => _ = done.send(self.plugins()),
                },
                () = self.news.notified() => unless_stopping(&core, self.judge()).await.unwrap_or_default(),
                () = tokio::time::sleep_until(look_at), if self.has_to_look() => {
                    unless_stopping(&core, self.look()).await.unwrap_or_default();
                    look_at = Instant::now() + LOOK;
                }
            }
        }
    }

    async fn reload(&mut self, core: &Core, reload: Reload) -> Result<Reloaded, ReloadError> {
        let changed = unless_stopping(core, async {
            let mut problems = Vec::new();
            self.check_fixed(&reload.builder, &mut problems);
            match problems.is_empty() {
                true => self.change(&reload).await,
                false => {
                    // Everything at once, also what would be found later.
                    problems.extend(check::Checked::new(&reload.builder, self.strongest).problems);
                    Err(StartError { problems })
                }
            }
        });
        let result = match changed.await {
            None => return Err(ReloadError::Stopped),
            Some(result) => result,
        };
        let reloads = &self.core.reloads;
        match &result {
            Ok(done) => {
                reloads.done.fetch_add(1, Ordering::Relaxed);
                tracing::info!("reloaded: {done}");
            }
            Err(error) => {
                reloads.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!("not reloaded, everything goes on as it was: {error}");
            }
        }
        Ok(result?)
    }

    async fn swap(
        &mut self,
        core: &Core,
        old: &Arc<dyn Plugin>,
        new: &Arc<dyn Plugin>,
    ) -> Result<Reloaded, ReloadError> {
        let mut builder = BrokerBuilder::clone(&self.builder);
        if !builder.replace(old, new) {
            return Err(StartError::from(StartProblem::Swap {
                plugin: old.info().id,
                why: "no chain and no bridge uses this instance".to_owned(),
            })
            .into());
        }
        self.reload(core, builder.into()).await
    }

    fn plugins(&self) -> Vec<PluginInUse> {
        let members = self.members.iter();
        members
            .map(|member| PluginInUse {
                name: member.name.clone(),
                plugin: member.instance.plugin.clone(),
                on_trial: self
                    .trials
                    .iter()
                    .any(|trial| trial.after.is(&member.instance.plugin)),
            })
            .collect()
    }

    /// Notes what can't change while the broker runs.
    fn check_fixed(&self, builder: &BrokerBuilder, problems: &mut Vec<StartProblem>) {
        let present = &self.builder;
        let same_store = match (&builder.store, &present.store) {
            (Some(store), Some(present)) => store.is_same(present),
            (Some(_), None) => false,
            (None, _) => true,
        };
        let facts = [
            ("the store", same_store),
            (
                "the clock",
                builder
                    .clock
                    .as_ref()
                    .is_none_or(|clock| clock.is_same(&self.core.clock)),
            ),
            (
                "the number of shards",
                builder.shards.is_none() || builder.shards == Some(self.core.jobs.len()),
            ),
            (
                "the strategy of Shared Subscriptions",
                builder.shared_strategy == present.shared_strategy,
            ),
        ];
        let changed = facts.into_iter().filter(|(_, same)| !same);
        problems.extend(changed.map(|(what, _)| StartProblem::Restart { what }));
    }

    /// Makes the broker as `reload` says, or leaves everything as it is.
    async fn change(&mut self, reload: &Reload) -> Result<Reloaded, StartError> {
        let (builder, options) = (&reload.builder, &reload.options);
        while self.ending.try_join_next().is_some() {}
        let check::Checked {
            listeners,
            mut problems,
        } = check::Checked::new(builder, self.strongest);
        let states = self.in_place(listeners);
        let ways = match self.is_first() {
            true => (0..states.len()).map(Way::Kept).collect(),
            false => self.entrances(builder, &states, &mut problems),
        };
        if !problems.is_empty() {
            return Err(StartError { problems });
        }
        let before = self.members.len();
        let newly = self.enlist(builder, options.start_max, &mut problems).await;
        match self
            .prepare(builder, options, states, ways, before, &newly, problems)
            .await
        {
            Ok(prepared) => Ok(self.commit(reload, prepared, before).await),
            Err(problems) => {
                self.members.truncate(before);
                // Queues whose chains are not to be.
                drop(self.hub.take_runners());
                for member in newly {
                    self.gone.push(Arc::downgrade(&member.instance.plugin));
                    plugins::stop(&self.core, &member.instance.plugin, options.drain).await;
                }
                Err(StartError { problems })
            }
        }
    }

    /// Starts the plugins that are new, and returns them.
    async fn enlist(
        &mut self,
        builder: &BrokerBuilder,
        most: Duration,
        problems: &mut Vec<StartProblem>,
    ) -> Vec<Member> {
        self.gone.retain(|gone| gone.strong_count() > 0);
        let mut newly = Vec::new();
        for (name, plugin) in builder.plugins() {
            if self.members.iter().any(|member| member.is(&plugin)) {
                continue;
            }
            // One that waits for the outcome of a trial is ready.
            if let Some(trial) = self.trials.iter().find(|trial| trial.before.is(&plugin)) {
                self.members.push(trial.before.clone());
                continue;
            }
            let gone = |gone: &&Weak<dyn Plugin>| std::ptr::addr_eq(gone.as_ptr(), Arc::as_ptr(&plugin));
            let started = match self.gone.iter().find(gone) {
                Some(_) => Err(Fault::new(
                    FaultKind::Protocol,
                    "this instance was stopped, and can't be started again; make another",
                )),
                None => Member::start(&self.core, name.clone(), plugin.clone(), most).await,
            };
            match started {
                Ok(member) => {
                    self.members.push(member.clone());
                    newly.push(member);
                }
                Err(source) => problems.push(StartProblem::Plugin {
                    plugin: name.to_string(),
                    source,
                }),
            }
        }
        newly
    }

    /// Does everything that can still fail.
    #[allow(
        clippy::too_many_arguments,
        reason = "what was found so far, each by its name"
    )]
    async fn prepare(
        &mut self,
        builder: &BrokerBuilder,
        options: &Options,
        states: Vec<Arc<ListenerState>>,
        ways: Vec<Way>,
        before: usize,
        newly: &[Member],
        mut problems: Vec<StartProblem>,
    ) -> Result<Prepared, Vec<StartProblem>> {
        if !problems.is_empty() {
            return Err(problems);
        }
        let plan = self.plan(builder, states, ways, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        for listener in &plan.listeners {
            if let Way::New(entrance) = &listener.entrance {
                let handles = entrance.handles(self.core.jobs.len());
                let handles = handles.map_err(|error| vec![StartProblem::Worker(error)])?;
                let accepting = accept_at(&self.core, handles, &entrance.door);
                accepting.await.map_err(|error| error.problems)?;
            }
        }
        let wanted = self.wanted(builder, &plan);
        let pairs = self.pairs(&wanted, before, newly);
        match self.hand_over(&pairs, options.swap_pause).await {
            Ok(gates) => Ok(Prepared { plan, pairs, gates }),
            Err(problem) => Err(vec![problem]),
        }
    }

    /// Returns the addresses of all instances that are to be.
    pub(super) fn wanted(&self, builder: &BrokerBuilder, plan: &Plan) -> Vec<usize> {
        let plugins = builder.plugins();
        let mut wanted: Vec<_> = plugins.iter().map(|(_, plugin)| address(plugin)).collect();
        let names: Vec<_> = { plan.listeners.iter() }
            .map(|listener| &listener.state.name)
            .collect();
        let mut keep = |chain: &Chain| wanted.extend(chain.plugins().map(address));
        for (at, lingering) in self.lingering.iter().enumerate() {
            let changed = plan.lingering.iter().find(|(changed, ..)| *changed == at);
            keep(changed.map_or(&lingering.chain, |(_, chain, _)| chain));
        }
        // Listeners that go leave their clients behind.
        for listener in self
            .core
            .listeners()
            .iter()
            .filter(|listener| !names.contains(&&listener.name))
        {
            if let Some(chain) = self.chain_before(&listener.name) {
                keep(chain);
            }
        }
        wanted
    }

    /// Returns who takes whose place: a new instance that of one of the same name that isn't needed any more.
    fn pairs(&self, wanted: &[usize], before: usize, newly: &[Member]) -> Vec<Pair> {
        let (old, added) = self.members.split_at(before);
        let of_name = |members: &[Member], name: &Arc<str>| -> Vec<Member> {
            members
                .iter()
                .filter(|member| member.name == *name)
                .cloned()
                .collect()
        };
        let mut pairs = Vec::new();
        for after in added {
            let name = &after.name;
            let leaving: Vec<_> = { of_name(old, name).into_iter() }
                .filter(|member| !wanted.contains(&address(&member.instance.plugin)))
                .collect();
            if let ([before], [_]) = (&*leaving, &*of_name(added, name)) {
                pairs.push(Pair {
                    before: before.clone(),
                    after: after.clone(),
                    // One that was there before has nothing to show.
                    is_new: newly.iter().any(|member| member.is(&after.instance.plugin)),
                });
            }
        }
        pairs
    }

    /// Tells whether the broker is being put together for the first time: then its listeners are there, with doors that whoever
    /// starts it opens.
    pub(super) fn is_first(&self) -> bool {
        self.builder.listeners.is_empty()
    }

    /// Tells whether somebody is on trial or left behind.
    fn has_to_look(&self) -> bool {
        !self.trials.is_empty() || !self.lingering.is_empty()
    }

    /// Looks after those on trial, and listeners that are gone but still had clients.
    async fn look(&mut self) {
        for trial in &mut self.trials {
            trial.looks += 1;
            // Often at first, then more and more seldom.
            if trial.looks.is_power_of_two()
                && let Err(fault) = plugins::health(&trial.after.instance.plugin).await
            {
                trial.after.instance.at_work.fail(format!("health: {fault}"));
            }
        }
        self.judge().await;
        let drain = Options::default().drain;
        let trials = std::mem::take(&mut self.trials).into_iter();
        let (passed, trials): (Vec<_>, _) = trials.partition(|trial| {
            self.calls_of(&trial.after.instance) >= TRIAL_CALLS || trial.since.elapsed() >= TRIAL_MAX
        });
        self.trials = trials;
        for trial in passed {
            trial.after.instance.at_work.end_trial();
            self.retire(trial.before, drain);
        }
        self.look_at_lingering(drain);
    }

    /// Puts back what stood before those who failed their trial.
    async fn judge(&mut self) {
        let failed = |trial: &Trial| trial.after.instance.at_work.failure();
        while let Some((trial, why)) = { self.trials.iter() }.find_map(|trial| Some((trial, failed(trial)?)))
        {
            let (name, before, after) = (
                trial.after.name.clone(),
                trial.before.clone(),
                trial.after.clone(),
            );
            tracing::warn!(plugin = %name, "the new instance fails, so the one before is put back: {why}");
            let mut builder = BrokerBuilder::clone(&self.builder);
            builder.replace(&after.instance.plugin, &before.instance.plugin);
            match self.change(&builder.into()).await {
                Ok(_) => _ = self.core.reloads.swaps_back.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    tracing::error!(plugin = %name, "the instance before can't be put back: {error}");
                    after.instance.at_work.end_trial();
                    self.trials
                        .retain(|trial| !trial.after.is(&after.instance.plugin));
                    self.retire(before, Options::default().drain);
                }
            }
        }
    }

    /// Returns how often an instance was called in the chains that hold now.
    fn calls_of(&self, instance: &Instance) -> u64 {
        let present = self.core.listeners();
        let bridges = self.core.bridges.get();
        let listeners = present
            .iter()
            .chain(self.lingering.iter().map(|lingering| &lingering.state));
        let bridges = bridges.iter().flat_map(|bridges| bridges.all());
        let cells = listeners.map(|listener| &listener.chain);
        cells
            .chain(bridges.filter_map(|bridge| bridge.chain.as_ref()))
            .map(|cell| cell.load_full().calls_of(&instance.at_work))
            .sum()
    }

    /// Lets go of an instance when nobody uses it any more.
    pub(super) fn retire(&mut self, member: Member, drain: Duration) {
        self.gone.push(Arc::downgrade(&member.instance.plugin));
        self.ending.spawn_local(member.retire(self.core.clone(), drain));
    }

    /// Stops all plugins, and returns those that took longer.
    async fn stop(&mut self, deadline: Duration) -> Vec<Arc<str>> {
        let until = Instant::now() + deadline;
        let mut late = Vec::new();
        let waiting = self.trials.drain(..).map(|trial| trial.before);
        let mut stopped = Vec::new();
        for member in self.members.drain(..).chain(waiting) {
            let plugin = &member.instance.plugin;
            if !stopped.contains(&address(plugin)) {
                stopped.push(address(plugin));
                let left = until.saturating_duration_since(Instant::now());
                if !plugins::stop(&self.core, plugin, left).await {
                    late.push(member.name.clone());
                }
            }
        }
        // What isn't over by then is cut.
        let ended = async { while self.ending.join_next().await.is_some() {} };
        let _ = tokio::time::timeout_at(until, ended).await;
        late
    }

    /// Returns the listener that had a name until now, gone or not.
    pub(super) fn listener_before(&self, name: &str) -> Option<Arc<ListenerState>> {
        let present = self.core.listeners();
        let mut all = present
            .iter()
            .chain(self.lingering.iter().map(|lingering| &lingering.state));
        all.find(|listener| *listener.name == *name).cloned()
    }

    /// Returns the chain of the listener that had a name until now, gone or not.
    pub(super) fn chain_before(&self, name: &str) -> Option<&Chain> {
        let listeners = self.builder.listeners.iter().enumerate();
        let mut present = listeners.filter(|(at, listener)| check::name_of(listener, *at) == name);
        match present.next() {
            Some((_, listener)) => self.builder.chain_of(listener),
            None => { self.lingering.iter() }
                .find(|lingering| *lingering.state.name == *name)
                .map(|lingering| &lingering.chain),
        }
    }
}

/// An instance that takes the place of another.
pub(super) struct Pair {
    pub(super) before: Member,
    pub(super) after: Member,
    /// It was started for this.
    pub(super) is_new: bool,
}

/// Does something unless the broker stops meanwhile: then it is left undone.
async fn unless_stopping<T>(core: &Core, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = core.stopping() => None,
        done = work => Some(done),
    }
}

/// Lets every shard accept from a socket, of which each has a handle, as soon as its door is open.
pub(crate) async fn accept_at(core: &Core, handles: Vec<Shared>, door: &Arc<Door>) -> Result<(), StartError> {
    for (jobs, listening) in core.jobs.iter().zip(handles) {
        let (door, keeper) = (door.clone(), door.keeper());
        let (done, accepting) = oneshot::channel();
        let job: Job = Box::new(move |shard: &Rc<Shard>| {
            let result = listening.acceptor().map(|acceptor| {
                tokio::task::spawn_local(connection::accept(shard.clone(), door, keeper, acceptor));
            });
            // The starter may have been dropped.
            let _ = done.send(result);
        });
        if jobs.send(job).await.is_err() {
            return Err(StartProblem::worker_gone().into());
        }
        match accepting.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(StartProblem::Worker(error).into()),
            Err(_) => return Err(StartProblem::worker_gone().into()),
        }
    }
    Ok(())
}

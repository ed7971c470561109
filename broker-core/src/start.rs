//! From a builder to a broker that runs, and back to nothing.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use broker_types::TopicName;
use plugin_api::{Capabilities, Durability, Fault, FaultKind, Plugin, SessionStore};
use tokio::sync::{mpsc, oneshot, watch};

use crate::blocking::BlockingPool;
use crate::bridge::{self, BRIDGES_MAX, Bridge, Bridges, Rule};
use crate::broker::{Broker, Shutdown};
use crate::builder::BrokerBuilder;
use crate::chain::{Chain, address};
use crate::connection;
use crate::engine::core::{Core, JOBS};
use crate::engine::listener::ListenerState;
use crate::engine::memory::memory_max_default;
use crate::engine::seats::Seats;
use crate::engine::shard::{Job, Shard};
use crate::error::{StartError, StartProblem};
use crate::hooks::{ChainSet, EventHub, HookMask};
use crate::host::PluginHost;
use crate::listener::{ChainRef, Listener};
use crate::net::{Bound, Poller};
use crate::settings::Settings;
use crate::store::{self, CHUNK, Journal, OVERHEAD, Recovered, Recovering};

/// How long a plugin may take to start.
const START_MAX: Duration = Duration::from_secs(30);
/// The batches that a store must take: eight messages of two MiB.
const STORE_BATCH_BYTES: usize = 16 * 1024 * 1024;
/// File descriptors that are not for connections.
const OWN_FILES: u64 = 100;

/// The parts of a running broker.
pub(crate) struct Running {
    pub(crate) core: Arc<Core>,
    pub(crate) bound: Vec<Bound>,
    plugins: Vec<Arc<dyn Plugin>>,
    shards: Vec<ShardThread>,
    /// The thread that commits, if there is a durable store.
    store: Option<JoinHandle<()>>,
}

struct ShardThread {
    thread: Option<JoinHandle<()>>,
    ended: oneshot::Receiver<()>,
}

/// Starts a broker.
pub(crate) async fn start(builder: Arc<BrokerBuilder>) -> Result<Broker, StartError> {
    let mut problems = Vec::new();
    let listeners = states(&builder, &mut problems);
    check_bridges(&builder, &mut problems);
    let mut bound = Vec::new();
    for (listener, state) in builder.listeners.iter().zip(&listeners) {
        let Ok(bind) = &listener.bind else { continue };
        match Bound::open(bind) {
            Ok(open) => bound.push(open),
            Err(source) => problems.push(StartProblem::Bind {
                listener: state.name.to_string(),
                bind: bind.to_string(),
                source,
            }),
        }
    }
    if !problems.is_empty() {
        return Err(StartError { problems });
    }
    let (running, recovering) = Running::launch(&builder, listeners, bound)?;
    let recovered = match recovering {
        None => Recovered::default(),
        Some(recovering) => match recovering.await {
            Ok(recovered) => recovered.map_err(StartProblem::Store)?,
            Err(_) => return Err(worker_gone()),
        },
    };
    match running.prepare(&builder).await {
        Ok(running) => {
            running.resume(recovered).await?;
            running.accept().await?;
            Ok(Broker { running })
        }
        Err(error) => Err(error),
    }
}

/// Starts plugins and puts chains together, behind listeners that nobody can reach.
pub(crate) async fn rehearse(builder: Arc<BrokerBuilder>) -> Result<Running, StartError> {
    let mut problems = Vec::new();
    let listeners = states(&builder, &mut problems);
    if !problems.is_empty() {
        return Err(StartError { problems });
    }
    // There is no durable store, so nothing is recovered.
    let (running, _) = Running::launch(&builder, listeners, Vec::new())?;
    running.prepare(&builder).await
}

/// Checks the listeners and returns them without chains.
fn states(builder: &BrokerBuilder, problems: &mut Vec<StartProblem>) -> Vec<Arc<ListenerState>> {
    if builder.listeners.is_empty() {
        problems.push(StartProblem::NoListener);
    }
    if builder.shards == Some(0) {
        problems.push(StartProblem::Setting {
            what: "shards",
            why: "at least one is needed".to_owned(),
        });
    }
    let mut names = HashSet::new();
    let listeners = builder.listeners.iter().enumerate();
    listeners
        .map(|(index, listener)| {
            let name = listener
                .name
                .clone()
                .unwrap_or_else(|| format!("listener-{index}"));
            if !names.insert(name.clone()) {
                problems.push(StartProblem::TwiceNamed(name.clone()));
            }
            if let Err(why) = &listener.bind {
                problems.push(StartProblem::Address {
                    listener: name.clone(),
                    why: why.clone(),
                });
            }
            if !listener.mount.is_empty()
                && let Err(error) = TopicName::new(listener.mount.as_str())
            {
                let (mount, why) = (listener.mount.clone(), error.to_string());
                problems.push(StartProblem::Mount {
                    listener: name.clone(),
                    mount,
                    why,
                });
            }
            if let ChainRef::Named(chain) = &listener.chain
                && !builder.chains.contains_key(chain)
            {
                problems.push(StartProblem::UnknownChain {
                    listener: name.clone(),
                    chain: chain.clone(),
                });
            }
            let limits = Arc::new(listener.limits.clone().unwrap_or_else(|| builder.limits.clone()));
            // Nothing would ever be read with one of these at zero.
            for (what, limit) in [
                ("receive_maximum", usize::from(limits.receive_maximum)),
                ("outbox_bytes_max", limits.outbox_bytes_max),
            ] {
                if limit == 0 {
                    let why = "at least one is needed".to_owned();
                    problems.push(StartProblem::Setting { what, why });
                }
            }
            let connections_max = limits.connections_max.unwrap_or_else(files_for_connections);
            let strongest = builder.store.0.caps().strongest;
            let durability = listener.durability.unwrap_or(strongest);
            if durability > strongest {
                problems.push(StartProblem::Durability {
                    listener: name.clone(),
                    wanted: durability,
                    strongest,
                });
            }
            Arc::new(ListenerState::new(
                name.into(),
                limits,
                Arc::default(),
                listener.anonymous,
                listener.protocols.clone(),
                listener.mount.as_str().into(),
                listener.shared_sessions,
                durability,
                connections_max,
            ))
        })
        .collect()
}

/// Checks what can be wrong with bridges before a plugin runs.
fn check_bridges(builder: &BrokerBuilder, problems: &mut Vec<StartProblem>) {
    if builder.bridges.len() > BRIDGES_MAX {
        problems.push(StartProblem::Setting {
            what: "bridges",
            why: format!(
                "there are {}, at most {BRIDGES_MAX} may be",
                builder.bridges.len()
            ),
        });
    }
    let mut names = HashSet::new();
    for spec in &builder.bridges {
        let mut wrong = |why| {
            let bridge = spec.name.to_string();
            problems.push(StartProblem::Bridge { bridge, why });
        };
        if !names.insert(&spec.name) {
            wrong("another bridge has the same name".to_owned());
        }
        if let Some(chain) = spec
            .chain
            .as_ref()
            .filter(|chain| !builder.chains.contains_key(*chain))
        {
            wrong(format!("there is no chain `{chain}`"));
        }
        let rules = spec.outgoing.iter().chain(&spec.incoming);
        rules
            .filter_map(|rule| rule.compile().err())
            .for_each(|error| wrong(error.to_string()));
    }
}

/// Returns how many connections the process may have by its file descriptors.
fn files_for_connections() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = limit.unwrap_or(u64::MAX).saturating_sub(OWN_FILES).max(1);
    usize::try_from(files).unwrap_or(usize::MAX)
}

fn chain_of<'b>(builder: &'b BrokerBuilder, listener: &'b Listener) -> Option<&'b Chain> {
    match &listener.chain {
        ChainRef::Inline(chain) => Some(chain),
        ChainRef::Named(name) => builder.chains.get(name),
    }
}

impl Running {
    /// Starts the threads. They serve nobody yet.
    fn launch(
        builder: &BrokerBuilder,
        listeners: Vec<Arc<ListenerState>>,
        bound: Vec<Bound>,
    ) -> Result<(Self, Option<Recovering>), StartError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = builder.shards.unwrap_or(cores);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel::<Job>(JOBS)).unzip();
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).expect("the system has random numbers");
        let settings = Settings {
            share_strategy: builder.shared_strategy.with_seed(u64::from_ne_bytes(seed)),
            queue_full: builder.queue_full,
            sessions_max: builder.sessions_max,
            retained_max: builder.retained_max,
            retained_bytes_max: builder.retained_bytes_max,
            memory_max: builder
                .memory_max
                .or_else(memory_max_default)
                .and_then(|bytes| i64::try_from(bytes).ok())
                .unwrap_or(i64::MAX),
            sys_interval: builder.sys_interval,
        };
        let blocking = BlockingPool::start(cores.clamp(2, 8)).map_err(StartProblem::Worker)?;
        let journal = journal_of(&builder.store.0)?;
        let core = Arc::new(Core::new(
            builder.clock.clone(),
            settings,
            listeners,
            senders,
            blocking,
            builder.store.0.clone(),
            journal.clone(),
        ));
        let mut running = Self {
            core,
            bound,
            plugins: Vec::new(),
            shards: Vec::new(),
            store: None,
        };
        let mut recovering = None;
        if let Some(journal) = journal {
            let (thread, recovered) = store::spawn(running.core.clone(), builder.store.0.clone(), journal)
                .map_err(StartProblem::Worker)?;
            running.store = Some(thread);
            recovering = Some(recovered);
        }
        for (index, jobs) in receivers.into_iter().enumerate() {
            let shard = spawn_shard(running.core.clone(), index, jobs).map_err(StartProblem::Worker)?;
            running.shards.push(shard);
        }
        Ok((running, recovering))
    }

    /// Starts the plugins and puts the chains together.
    async fn prepare(mut self, builder: &Arc<BrokerBuilder>) -> Result<Self, StartError> {
        let mut seen = HashSet::new();
        let mut uses = Vec::new();
        for listener in &builder.listeners {
            for used in chain_of(builder, listener).into_iter().flat_map(Chain::uses) {
                if seen.insert(address(&used.plugin)) {
                    uses.push((used.name.clone(), used.plugin.clone()));
                }
            }
        }
        for spec in &builder.bridges {
            let chain = spec.chain.as_ref().and_then(|name| builder.chains.get(name));
            let passed = chain.into_iter().flat_map(Chain::uses);
            let passed = passed.map(|used| (used.name.clone(), used.plugin.clone()));
            let all = passed.chain([(spec.name.clone(), spec.plugin.clone())]);
            uses.extend(all.filter(|(_, plugin)| seen.insert(address(plugin))));
        }
        let core = self.core.clone();
        let (done, started) = oneshot::channel();
        let job: Job = Box::new(move |_: &Rc<Shard>| {
            tokio::task::spawn_local(async move {
                let mut outcomes = Vec::new();
                for (name, plugin) in uses {
                    let host = PluginHost::new(name.clone(), &core, &plugin);
                    let started = tokio::time::timeout(START_MAX, plugin.start(host)).await;
                    let result = match started {
                        Ok(Ok(())) => Ok(plugin.capabilities()),
                        Ok(Err(fault)) => Err(fault),
                        Err(_) => Err(Fault::new(FaultKind::Timeout, "it didn't start within 30 s")),
                    };
                    outcomes.push((name, plugin, result));
                }
                // The starter may have been dropped.
                let _ = done.send(outcomes);
            });
        });
        if self.core.jobs[0].send(job).await.is_err() {
            return Err(worker_gone());
        }
        let Ok(outcomes) = started.await else {
            return Err(worker_gone());
        };
        let mut problems = Vec::new();
        let mut capabilities: Vec<(usize, Capabilities)> = Vec::new();
        for (name, plugin, outcome) in outcomes {
            match outcome {
                Ok(offered) => {
                    capabilities.push((address(&plugin), offered));
                    self.plugins.push(plugin);
                }
                Err(source) => problems.push(StartProblem::Plugin {
                    plugin: name.to_string(),
                    source,
                }),
            }
        }
        if problems.is_empty() {
            let hub = EventHub::new();
            let offered = |plugin: &Arc<dyn Plugin>| {
                let found = capabilities.iter().find(|(at, _)| *at == address(plugin));
                found.map(|(_, offered)| offered.clone()).unwrap_or_default()
            };
            for (listener, state) in builder.listeners.iter().zip(&self.core.listeners) {
                let Some(chain) = chain_of(builder, listener) else {
                    continue;
                };
                let generation = self.core.new_generation();
                match ChainSet::compile(chain, &offered, generation, &hub) {
                    Ok(set) => {
                        let decides = HookMask::AUTHENTICATE.or(HookMask::EXCHANGE);
                        if !state.anonymous && !set.mask().has(decides) {
                            problems.push(StartProblem::NoAuthenticator(state.name.to_string()));
                        }
                        state.chain.store(Arc::new(set));
                    }
                    Err(source) => {
                        problems.push(StartProblem::Chain {
                            listener: state.name.to_string(),
                            source,
                        });
                    }
                }
            }
            self.bridge(builder, &offered, &hub, &mut problems).await?;
            self.core.chains_changed();
            let runners = hub.take_runners();
            let job: Job = Box::new(move |_: &Rc<Shard>| {
                runners
                    .into_iter()
                    .for_each(|runner| _ = tokio::task::spawn_local(runner));
            });
            if self.core.jobs[0].send(job).await.is_err() {
                return Err(worker_gone());
            }
        }
        if problems.is_empty() {
            return Ok(self);
        }
        self.stop(Duration::ZERO).await;
        Err(StartError { problems })
    }

    /// Puts the bridges together and starts their tasks, by turns on the shards.
    async fn bridge(
        &self,
        builder: &BrokerBuilder,
        offered: &dyn Fn(&Arc<dyn Plugin>) -> Capabilities,
        hub: &EventHub,
        problems: &mut Vec<StartProblem>,
    ) -> Result<(), StartError> {
        let mut made = Vec::new();
        for spec in &builder.bridges {
            let mut wrong = |why| {
                let bridge = spec.name.to_string();
                problems.push(StartProblem::Bridge { bridge, why });
            };
            let Some(carrier) = offered(&spec.plugin).bridge else {
                wrong("its plugin has no hook `bridge`".to_owned());
                continue;
            };
            let chain = match spec.chain.as_ref().and_then(|name| builder.chains.get(name)) {
                None => None,
                Some(chain) => match ChainSet::compile(chain, offered, self.core.new_generation(), hub) {
                    Ok(set) => Some(Arc::new(set)),
                    Err(error) => {
                        wrong(error.to_string());
                        continue;
                    }
                },
            };
            // What doesn't compile was told before.
            let rules = |rules: &[bridge::BridgeRule]| -> Vec<Rule> {
                rules.iter().filter_map(|rule| rule.compile().ok()).collect()
            };
            let (outgoing, incoming) = (rules(&spec.outgoing), rules(&spec.incoming));
            let session = self.core.new_session_id();
            made.push((Bridge::new(spec, session, outgoing, incoming, chain), carrier));
        }
        if made.is_empty() || !problems.is_empty() {
            return Ok(());
        }
        let all = made.iter().map(|(bridge, _)| bridge.clone()).collect();
        assert!(
            self.core.bridges.set(Bridges::new(all)).is_ok(),
            "bridges are put together once"
        );
        for ((bridge, carrier), jobs) in made.into_iter().zip(self.core.jobs.iter().cycle()) {
            let job: Job = Box::new(move |shard: &Rc<Shard>| bridge::spawn(shard, &bridge, carrier));
            if jobs.send(job).await.is_err() {
                return Err(worker_gone());
            }
        }
        Ok(())
    }

    /// Does what was due while the broker wasn't there.
    async fn resume(&self, recovered: Recovered) -> Result<(), StartError> {
        let (done, resumed) = oneshot::channel();
        let job: Job = Box::new(move |shard: &Rc<Shard>| {
            let now = shard.read_clock();
            let core = shard.core.clone();
            core.sessions
                .for_each(|session| shard.count_held(session, &mut session.lock()));
            for late in recovered.wills {
                shard.fire_will(late.will, late.listener.chain.load_full(), late.session, now);
            }
            core.tick(shard, now);
            // The starter may have been dropped.
            let _ = done.send(());
        });
        if self.core.jobs[0].send(job).await.is_err() || resumed.await.is_err() {
            return Err(worker_gone());
        }
        Ok(())
    }

    /// Lets every shard accept from every listener.
    async fn accept(&self) -> Result<(), StartError> {
        for jobs in &self.core.jobs {
            for (bound, state) in self.bound.iter().zip(&self.core.listeners) {
                let (listening, state) = (bound.share().map_err(StartProblem::Worker)?, state.clone());
                let (done, accepting) = oneshot::channel();
                let job: Job = Box::new(move |shard: &Rc<Shard>| {
                    let result = listening.acceptor().map(|acceptor| {
                        tokio::task::spawn_local(connection::accept(shard.clone(), state, acceptor));
                    });
                    // The starter may have been dropped.
                    let _ = done.send(result);
                });
                if jobs.send(job).await.is_err() {
                    return Err(worker_gone());
                }
                match accepting.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(StartProblem::Worker(error).into()),
                    Err(_) => return Err(worker_gone()),
                }
            }
        }
        Ok(())
    }

    /// Stops in order.
    pub(crate) async fn stop(mut self, deadline: Duration) -> Shutdown {
        let (done, stopped) = oneshot::channel();
        let (core, plugins) = (self.core.clone(), std::mem::take(&mut self.plugins));
        let job: Job = Box::new(move |_: &Rc<Shard>| {
            tokio::task::spawn_local(async move {
                core.stop();
                let cut = core.drained(deadline).await;
                core.bridges_drained(deadline).await;
                for plugin in plugins {
                    let _ = tokio::time::timeout(deadline, plugin.stop(deadline)).await;
                }
                if let Some(journal) = &core.journal {
                    // What isn't durable by then is as if the broker had been killed.
                    let _ = tokio::time::timeout(deadline, journal.settled()).await;
                }
                // Whoever waited may have gone.
                let _ = done.send(cut);
            });
        });
        let cut = match self.core.jobs[0].send(job).await {
            Ok(()) => stopped.await.unwrap_or_default(),
            Err(_) => 0,
        };
        self.core.end.send_replace(true);
        for mut shard in std::mem::take(&mut self.shards) {
            // An error is as good: the thread has ended, by a panic.
            let _ = (&mut shard.ended).await;
            shard.join();
        }
        if let Some(store) = self.store.take() {
            // Its panic was reported when it happened.
            let _ = store.join();
        }
        Shutdown { cut }
    }
}

impl Drop for Running {
    /// Ends the threads. Connections are cut.
    fn drop(&mut self) {
        self.core.end.send_replace(true);
        self.core.timers.clear();
    }
}

impl ShardThread {
    fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // Its panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// Returns the journal of a store that survives something.
fn journal_of(store: &Arc<dyn SessionStore>) -> Result<Option<Arc<Journal>>, StartError> {
    let caps = store.caps();
    if caps.strongest == Durability::Memory {
        return Ok(None);
    }
    let value_bytes = CHUNK + OVERHEAD;
    if caps.value_bytes_max < value_bytes || caps.batch_bytes_max < STORE_BATCH_BYTES {
        let why = format!("it must take values of {value_bytes} bytes and batches of {STORE_BATCH_BYTES}");
        return Err(StartProblem::Setting { what: "store", why }.into());
    }
    Ok(Some(Arc::new(Journal::new(caps.strongest, caps.batch_bytes_max))))
}

fn worker_gone() -> StartError {
    StartProblem::Worker(std::io::Error::other("a worker has ended")).into()
}

fn spawn_shard(core: Arc<Core>, index: usize, jobs: mpsc::Receiver<Job>) -> std::io::Result<ShardThread> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let (done, ended) = oneshot::channel();
    let end: watch::Receiver<bool> = core.end.subscribe();
    let thread = std::thread::Builder::new()
        .name(format!("jackfield-{index}"))
        .spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                match Poller::new() {
                    Ok((poller, registrar)) => {
                        let shard = Shard::new(core, index, Seats::new(registrar));
                        shard.run(poller, jobs, end).await;
                    }
                    // Whoever has work for it finds out.
                    Err(error) => tracing::error!(%error, "a worker cannot watch sockets"),
                }
            });
            drop(local);
            drop(runtime);
            let _ = done.send(());
        })?;
    Ok(ShardThread {
        thread: Some(thread),
        ended,
    })
}

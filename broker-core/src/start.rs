//! From a builder to a broker that runs, and back to nothing.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use plugin_api::{Durability, SessionStore};
use tokio::sync::{mpsc, oneshot, watch};

use crate::blocking::BlockingPool;
use crate::broker::Broker;
use crate::builder::{BrokerBuilder, Store};
use crate::clock::Clock;
use crate::engine::core::{Core, JOBS};
use crate::engine::listener::{Entrance, ListenerState};
use crate::engine::seats::Seats;
use crate::engine::shard::{Job, Shard};
use crate::error::{StartError, StartProblem};
use crate::hooks::watchdog::{self, Desk};
use crate::net::Poller;
use crate::reload::{Checked, ORDERS, Order, Steward, accept_at, settings};
use crate::store::{self, CHUNK, Journal, Keeper, MemoryStore, OVERHEAD, Recovered, Recovering};

/// The batches that a store must take: eight messages of two MiB.
const STORE_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// The parts of a running broker.
pub(crate) struct Running {
    pub(crate) core: Arc<Core>,
    /// For choices that are made by chance.
    seed: u64,
    pub(crate) shards: Vec<ShardThread>,
    /// The thread that commits, if there is a durable store.
    pub(crate) store: Option<JoinHandle<()>>,
    /// Keeps the watchdog awake.
    watchdog: Option<Sender<()>>,
    /// The plugin that is the store, if one is.
    pub(crate) keeper: Option<Keeper>,
}

pub(crate) struct ShardThread {
    thread: Option<JoinHandle<()>>,
    /// Resolves when it has ended, or nearly.
    pub(crate) ended: oneshot::Receiver<()>,
}

/// Starts a broker.
pub(crate) async fn start(builder: Arc<BrokerBuilder>) -> Result<Broker, StartError> {
    let (keeper, store) = match &builder.store {
        None => (None, Arc::new(MemoryStore::new()) as Arc<dyn SessionStore>),
        Some(Store::Given(store)) => (None, store.clone()),
        Some(Store::Plugin(name, plugin)) => {
            let (keeper, store) = Keeper::start(name, plugin).await?;
            (Some(keeper), store)
        }
    };
    match start_with(&builder, store).await {
        Ok(mut running) => {
            running.keeper = keeper;
            Ok(Broker { running })
        }
        Err(error) => {
            if let Some(keeper) = keeper {
                keeper.stop(Duration::ZERO).await;
            }
            Err(error)
        }
    }
}

/// Starts a broker whose store is there.
async fn start_with(
    builder: &Arc<BrokerBuilder>,
    store: Arc<dyn SessionStore>,
) -> Result<Running, StartError> {
    let Checked {
        listeners,
        mut problems,
    } = Checked::new(builder, store.caps().strongest);
    let listeners: Vec<_> = listeners.into_iter().map(Arc::new).collect();
    let mut entrances = Vec::new();
    for (listener, state) in builder.listeners.iter().zip(&listeners) {
        let Ok(bind) = &listener.bind else { continue };
        match Entrance::open(bind, state) {
            Ok(entrance) => entrances.push(entrance),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(StartError { problems });
    }
    let (running, recovering, orders) = Running::launch(builder, &store, listeners, entrances)?;
    let recovered = match recovering {
        None => Recovered::default(),
        Some(recovering) => match recovering.await {
            Ok(recovered) => recovered.map_err(StartProblem::Store)?,
            Err(_) => return Err(StartProblem::worker_gone().into()),
        },
    };
    if let Err(error) = running.prepare(builder, store.caps().strongest, orders).await {
        running.stop(Duration::ZERO).await;
        return Err(error);
    }
    running.resume(recovered).await?;
    running.accept().await?;
    Ok(running)
}

/// Starts plugins and puts chains together, behind listeners that nobody can reach.
pub(crate) async fn rehearse(builder: Arc<BrokerBuilder>) -> Result<Running, StartError> {
    let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::new());
    let strongest = store.caps().strongest;
    let Checked { listeners, problems } = Checked::new(&builder, strongest);
    if !problems.is_empty() {
        return Err(StartError { problems });
    }
    let listeners = listeners.into_iter().map(Arc::new).collect();
    // The store isn't durable, so nothing is recovered.
    let (running, _, orders) = Running::launch(&builder, &store, listeners, Vec::new())?;
    match running.prepare(&builder, strongest, orders).await {
        Ok(()) => Ok(running),
        Err(error) => {
            running.stop(Duration::ZERO).await;
            Err(error)
        }
    }
}

impl Running {
    /// Starts the threads. They serve nobody yet.
    fn launch(
        builder: &BrokerBuilder,
        store: &Arc<dyn SessionStore>,
        listeners: Vec<Arc<ListenerState>>,
        entrances: Vec<Entrance>,
    ) -> Result<(Self, Option<Recovering>, mpsc::Receiver<Order>), StartError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = builder.shards_wanted();
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel::<Job>(JOBS)).unzip();
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).expect("the system has random numbers");
        let seed = u64::from_ne_bytes(seed);
        let blocking = BlockingPool::start(cores.clamp(2, 8)).map_err(StartProblem::Worker)?;
        let journal = journal_of(store)?;
        let (orders, ordered) = mpsc::channel(ORDERS);
        let core = Arc::new(Core::new(
            builder.clock.clone().unwrap_or_else(Clock::system),
            settings(builder, seed),
            listeners,
            senders,
            blocking,
            store.clone(),
            journal.clone(),
            orders,
        ));
        *core.entrances() = entrances;
        let mut running = Self {
            core,
            seed,
            shards: Vec::new(),
            store: None,
            watchdog: None,
            keeper: None,
        };
        let mut recovering = None;
        if let Some(journal) = journal {
            let (thread, recovered) =
                store::spawn(running.core.clone(), store.clone(), journal).map_err(StartProblem::Worker)?;
            running.store = Some(thread);
            recovering = Some(recovered);
        }
        let desks: Vec<Arc<Desk>> = receivers.iter().map(|_| Arc::default()).collect();
        for (index, jobs) in receivers.into_iter().enumerate() {
            let desk = desks[index].clone();
            let shard = spawn_shard(running.core.clone(), index, desk, jobs).map_err(StartProblem::Worker)?;
            running.shards.push(shard);
        }
        let watchdog = watchdog::start(Arc::downgrade(&running.core), desks);
        running.watchdog = Some(watchdog.map_err(StartProblem::Worker)?);
        Ok((running, recovering, ordered))
    }

    /// Starts the plugins, puts chains and bridges together, and has the steward wait for orders.
    async fn prepare(
        &self,
        builder: &Arc<BrokerBuilder>,
        strongest: Durability,
        orders: mpsc::Receiver<Order>,
    ) -> Result<(), StartError> {
        let (builder, seed) = (builder.clone(), self.seed);
        let (done, prepared) = oneshot::channel();
        let job: Job = Box::new(move |shard: &Rc<Shard>| {
            let mut steward = Steward::new(shard, strongest, seed);
            tokio::task::spawn_local(async move {
                let begun = steward.begin(builder).await;
                let has_begun = begun.is_ok();
                // The starter may have been dropped.
                let _ = done.send(begun);
                if has_begun {
                    steward.serve(orders).await;
                }
            });
        });
        if self.core.jobs[0].send(job).await.is_err() {
            return Err(StartProblem::worker_gone().into());
        }
        prepared
            .await
            .unwrap_or_else(|_| Err(StartProblem::worker_gone().into()))
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
            return Err(StartProblem::worker_gone().into());
        }
        Ok(())
    }

    /// Lets every shard accept from every listener.
    async fn accept(&self) -> Result<(), StartError> {
        let mut shared = Vec::new();
        for entrance in self.core.entrances().iter() {
            let handles = entrance.handles(self.core.jobs.len());
            shared.push((handles.map_err(StartProblem::Worker)?, entrance.door.clone()));
        }
        for (handles, door) in shared {
            accept_at(&self.core, handles, &door).await?;
            door.open();
        }
        Ok(())
    }
}

impl Drop for Running {
    /// Ends the threads. Connections are cut.
    fn drop(&mut self) {
        self.core.end.send_replace(true);
        self.core.timers.clear();
        // Whoever starts the next broker finds the addresses free, and no file of a unix socket vanishes later.
        self.core.entrances().clear();
    }
}

impl ShardThread {
    /// Returns what the system calls it.
    pub(crate) fn name(&self) -> String {
        let name = self.thread.as_ref().and_then(|thread| thread.thread().name());
        name.unwrap_or_default().to_owned()
    }

    /// Waits for its end.
    pub(crate) fn join(mut self) {
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

fn spawn_shard(
    core: Arc<Core>,
    index: usize,
    desk: Arc<Desk>,
    jobs: mpsc::Receiver<Job>,
) -> std::io::Result<ShardThread> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let (done, ended) = oneshot::channel();
    let end: watch::Receiver<bool> = core.end.subscribe();
    let thread = std::thread::Builder::new()
        .name(format!("jackfield-{index}"))
        .spawn(move || {
            watchdog::take(desk);
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

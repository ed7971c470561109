//! A listener at run time: what its connections share, and the door through which they come. A reload gives it other terms
//! for connections to come; its chain changes for those that are there too.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use broker_types::{Limits, ProtocolVersion};
use plugin_api::Durability;
use tokio::sync::watch;

use crate::error::StartProblem;
use crate::hooks::ChainSet;
use crate::listener::Bind;
use crate::net::{Bound, Shared};

/// The chain of a listener or bridge, which a reload changes under those who use it.
#[derive(Debug, Default)]
pub(crate) struct ChainCell {
    chain: ArcSwap<ChainSet>,
    /// That of the chain: whoever has one compares it, which costs one load.
    generation: AtomicU64,
}

impl ChainCell {
    /// Returns the chain that holds now; whoever begins something with it ends it with it.
    pub(crate) fn load_full(&self) -> Arc<ChainSet> {
        self.chain.load_full()
    }

    /// Returns the number of the chain that holds now.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Lets `chain` hold from now on.
    pub(crate) fn store(&self, chain: Arc<ChainSet>) {
        let generation = chain.generation();
        self.chain.store(chain);
        self.generation.store(generation, Ordering::Release);
    }
}

/// What a connection is served by. It keeps the terms that it began with; the chain is the listener's present one.
#[derive(Debug)]
pub(crate) struct ListenerState {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its limits.
    pub(crate) limits: Arc<Limits>,
    /// Its chain; a connection keeps the one it began a packet with.
    pub(crate) chain: Arc<ChainCell>,
    /// Whether clients without credentials come in when nobody decides about them.
    pub(crate) anonymous: bool,
    /// The versions it speaks.
    pub(crate) protocols: Vec<ProtocolVersion>,
    /// The prefix before all topics of its clients.
    pub(crate) mount: Arc<str>,
    /// Whether any identity may resume any Session.
    pub(crate) shared_sessions: bool,
    /// How safe its Sessions and what its clients publish must be before that is acknowledged.
    pub(crate) durability: Durability,
    /// Connections it may have.
    pub(crate) connections_max: usize,
    /// Connections it has, whatever their terms.
    pub(crate) connections: Arc<AtomicUsize>,
}

impl ListenerState {
    /// Returns the same terms for the listener that had `before` until now.
    pub(crate) fn in_place_of(self, before: &Self) -> Self {
        Self {
            chain: before.chain.clone(),
            connections: before.connections.clone(),
            ..self
        }
    }

    /// Tells whether a new connection finds the same here as with `other`, but for the chain.
    pub(crate) fn has_terms_of(&self, other: &Self) -> bool {
        self.limits == other.limits
            && self.anonymous == other.anonymous
            && self.protocols == other.protocols
            && self.mount == other.mount
            && self.shared_sessions == other.shared_sessions
            && self.durability == other.durability
            && self.connections_max == other.connections_max
    }

    /// Takes a place for one connection; `None` when all are taken.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Admission> {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let admission = Admission(self.clone());
        (before < self.connections_max).then_some(admission)
    }

    /// Returns how many connections it has.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A connection's place; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Admission(Arc<ListenerState>);

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where connections come in: a listening socket, and what they are let in by.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// Where it was told to listen; port 0 stays 0 here.
    pub(crate) wanted: Bind,
    pub(crate) bound: Bound,
    pub(crate) door: Arc<Door>,
}

impl Entrance {
    /// Opens a way in to a listener. Its door is closed.
    pub(crate) fn open(bind: &Bind, listener: &Arc<ListenerState>) -> Result<Self, StartProblem> {
        match Bound::open(bind) {
            Ok(bound) => Ok(Self {
                wanted: bind.clone(),
                bound,
                door: Door::new(listener.clone()),
            }),
            Err(source) => Err(StartProblem::Bind {
                listener: listener.name.to_string(),
                bind: bind.to_string(),
                source,
            }),
        }
    }

    /// Returns a handle of the socket for each of so many shards; none if there is no socket.
    pub(crate) fn handles(&self, shards: usize) -> io::Result<Vec<Shared>> {
        (0..shards)
            .filter_map(|_| self.bound.share().transpose())
            .collect()
    }
}

impl Drop for Entrance {
    /// Whoever accepts there lets go of the socket.
    fn drop(&mut self) {
        self.door.close();
    }
}

/// What those who accept have of an entrance.
#[derive(Debug)]
pub(crate) struct Door {
    /// What new connections find.
    pub(crate) terms: ArcSwap<ListenerState>,
    stage: watch::Sender<Stage>,
}

/// How far a door is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Shut,
    Open,
    Closed,
}

impl Door {
    /// Returns a door through which nobody comes yet.
    pub(crate) fn new(terms: Arc<ListenerState>) -> Arc<Self> {
        Arc::new(Self {
            terms: ArcSwap::new(terms),
            stage: watch::Sender::new(Stage::Shut),
        })
    }

    /// Returns a doorkeeper's view of it.
    pub(crate) fn keeper(&self) -> Keeper {
        Keeper(self.stage.subscribe())
    }

    /// Lets connections in.
    pub(crate) fn open(&self) {
        self.stage.send_replace(Stage::Open);
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.stage.send_replace(Stage::Closed);
    }

    /// Waits until all doorkeepers have gone.
    pub(crate) async fn abandoned(&self) {
        self.stage.closed().await;
    }
}

/// One who accepts at a door, for as long as this lives.
pub(crate) struct Keeper(watch::Receiver<Stage>);

impl Keeper {
    /// Waits until the door opens. False: it never will.
    pub(crate) async fn opened(&mut self) -> bool {
        let stage = self.0.wait_for(|stage| *stage != Stage::Shut).await;
        stage.is_ok_and(|stage| *stage == Stage::Open)
    }

    /// Waits until the door closes.
    pub(crate) async fn closed(&mut self) {
        // An error means that it is gone altogether.
        let _ = self.0.wait_for(|stage| *stage == Stage::Closed).await;
    }
}

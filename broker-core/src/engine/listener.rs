//! A listener at run time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use broker_types::{Limits, ProtocolVersion};

use plugin_api::Durability;

use crate::hooks::ChainSet;

/// What the connections of a listener share.
#[derive(Debug)]
pub(crate) struct ListenerState {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its limits.
    pub(crate) limits: Arc<Limits>,
    /// Its chain; a connection keeps the one it began a packet with.
    pub(crate) chain: ArcSwap<ChainSet>,
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
    connections: AtomicUsize,
}

impl ListenerState {
    /// Returns a listener without connections.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is one setting, named where it is called"
    )]
    pub(crate) fn new(
        name: Arc<str>,
        limits: Arc<Limits>,
        chain: Arc<ChainSet>,
        anonymous: bool,
        protocols: Vec<ProtocolVersion>,
        mount: Arc<str>,
        shared_sessions: bool,
        durability: Durability,
        connections_max: usize,
    ) -> Self {
        let chain = ArcSwap::new(chain);
        let connections = AtomicUsize::new(0);
        Self {
            name,
            limits,
            chain,
            anonymous,
            protocols,
            mount,
            shared_sessions,
            durability,
            connections_max,
            connections,
        }
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

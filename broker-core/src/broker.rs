//! A broker that runs, and the handle to it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use broker_types::{Message, QoS, ReasonCode};
use plugin_api::ClientInfo;
use tokio::sync::oneshot;

use crate::bridge::BridgeCounts;
use crate::builder::BrokerBuilder;
use crate::engine::core::Core;
use crate::engine::session::Kick;
use crate::engine::shard::Shard;
use crate::error::HandleError;
use crate::hooks::PluginCounts;
use crate::listener::Bind;
use crate::metrics::Counts;
use crate::start::Running;
use crate::stop::Shutdown;

/// A broker that runs. Dropping it stops it at once, without goodbye; [`Self::shutdown`] stops it in order.
#[must_use = "a broker that is dropped stops"]
pub struct Broker {
    pub(crate) running: Running,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("listeners", &self.listeners())
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// Starts to put a broker together.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Returns a handle, to be cloned and used from any thread and runtime.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            core: self.running.core.clone(),
        }
    }

    /// Returns the TCP address of a listener, with the port that the system chose; `None` for a unix socket and for a name
    /// that no listener has.
    #[must_use]
    pub fn addr(&self, listener: &str) -> Option<SocketAddr> {
        self.listeners().into_iter().find_map(|(name, bind)| match bind {
            Bind::Tcp(address) if name == listener => Some(address),
            _ => None,
        })
    }

    /// Returns the listeners with where they listen, in order.
    #[must_use]
    pub fn listeners(&self) -> Vec<(String, Bind)> {
        let core = &self.running.core;
        // In this order: a reload has the entrances locked while it exchanges both.
        let entrances = core.entrances();
        let listeners = core.listeners();
        let names = listeners.iter().map(|listener| listener.name.to_string());
        names
            .zip(entrances.iter().map(|entrance| entrance.bound.bind().clone()))
            .collect()
    }

    /// Stops in order: no new connection; every client is told (DISCONNECT 0x8B) and its Will Message published; what waits to be
    /// written is written; what waits for a bridge or the store goes there; plugins are stopped. Takes at most `deadline`, as long
    /// again for plugins, and up to ten seconds for threads that a plugin blocks. Says what it waited for and what it left.
    pub async fn shutdown(self, deadline: Duration) -> Shutdown {
        self.running.stop(deadline).await
    }
}

/// What a program may do with its broker while it runs. Cloning is cheap.
#[derive(Clone)]
pub struct Handle {
    pub(crate) core: Arc<Core>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// Publishes an Application Message and returns how many Sessions it went to. It passes no chain: the program is trusted.
    /// With QoS 1 and 2 and if it is retained, it is as safe as the store makes it when this returns.
    ///
    /// # Errors
    /// The broker has stopped, or the store failed.
    pub async fn publish(&self, message: Message) -> Result<usize, HandleError> {
        let must_be_safe = message.qos > QoS::AtMostOnce || message.retain;
        let receivers = self.on_a_shard(move |shard| shard.publish_own(&message)).await?;
        match &self.core.journal {
            Some(journal) if must_be_safe && !journal.settled().await => Err(HandleError::Store),
            _ => Ok(receivers),
        }
    }

    /// Ends the connection of a client, which is told `reason` if it speaks 5.0. False: it isn't connected.
    pub fn kick(&self, client_id: &str, reason: ReasonCode) -> bool {
        self.core.kick(client_id, Kick::because(reason))
    }

    /// Returns the Session of a Client Identifier.
    #[must_use]
    pub fn client(&self, client_id: &str) -> Option<ClientInfo> {
        Some(self.core.sessions.get(client_id)?.info())
    }

    /// Returns all Sessions. Costs a look at each.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientInfo> {
        let mut all = Vec::with_capacity(self.core.sessions.len());
        self.core.sessions.for_each(|session| all.push(session.info()));
        all
    }

    /// Returns the Retained Message of a topic.
    #[must_use]
    pub fn retained(&self, topic: &broker_types::TopicName) -> Option<Message> {
        let kept = self.core.retained.get(topic.as_ref(), self.core.clock.now())?;
        Some(kept.message().to_message())
    }

    /// Returns the counters since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.core.counts()
    }

    /// Returns what there is at the moment.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.core.gauges()
    }

    /// Returns what the plugins of each listener's chain did since it was compiled: listener, plugins in the chain's order.
    #[must_use]
    pub fn plugin_counts(&self) -> Vec<(Arc<str>, Vec<PluginCounts>)> {
        self.core.plugin_counts()
    }

    /// Returns what each bridge did and what waits for it.
    #[must_use]
    pub fn bridges(&self) -> Vec<BridgeCounts> {
        self.core.bridge_counts()
    }

    /// Returns each listener with the connections it has and may have.
    #[must_use]
    pub fn listeners(&self) -> Vec<(Arc<str>, usize, usize)> {
        let listeners = self.core.listeners();
        { listeners.iter() }
            .map(|listener| {
                (
                    listener.name.clone(),
                    listener.connections(),
                    listener.connections_max,
                )
            })
            .collect()
    }

    /// Returns counters and gauges that plugins keep: plugin, name, value.
    #[must_use]
    pub fn plugin_metrics(&self) -> Vec<(Arc<str>, String, f64)> {
        self.core.plugin_metrics.all()
    }

    pub(crate) async fn on_a_shard<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Rc<Shard>) -> T + Send + 'static,
    ) -> Result<T, HandleError> {
        // A shard may live a little longer than the broker that was dropped.
        if *self.core.end.borrow() {
            return Err(HandleError::Stopped);
        }
        let (done, result) = oneshot::channel();
        let job = Box::new(move |shard: &Rc<Shard>| {
            // Whoever asked may have gone.
            let _ = done.send(job(shard));
        });
        self.core
            .any_shard()
            .send(job)
            .await
            .map_err(|_| HandleError::Stopped)?;
        result.await.map_err(|_| HandleError::Stopped)
    }
}

/// What there is at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gauges {
    /// Network Connections that are open.
    pub connections: usize,
    /// Sessions, with and without a connection.
    pub sessions: usize,
    /// Subscriptions without Share Name.
    pub subscriptions: usize,
    /// Subscriptions with Share Name.
    pub shared_subscriptions: usize,
    /// Sessions with a connection.
    pub sessions_connected: usize,
    /// Retained Messages.
    pub retained: usize,
    /// Bytes of their topics, payloads and properties.
    pub retained_bytes: u64,
    /// Changes that are not durable yet; 0 without a durable store.
    pub store_pending: usize,
    /// The store takes nothing any more: what must be durable is not acknowledged.
    pub store_failed: bool,
    /// PUBLISH packets with QoS 1 and 2 under way to clients.
    pub inflight: u64,
    /// Messages that wait, counted for each Session.
    pub queued: u64,
    /// Bytes of topic, payload and properties that wait, counted for each Session.
    pub queued_bytes: u64,
    /// Bytes of frames that wait to be written, shared payloads not included.
    pub output_bytes: u64,
    /// Bytes of packets that aren't complete yet.
    pub partial_bytes: u64,
    /// Bytes of messages that somebody keeps (queues, under way, retained), each counted once.
    pub kept_bytes: u64,
    /// All memory that counts against `memory_max`.
    pub memory_bytes: u64,
    /// The ceiling; `None`: there is none.
    pub memory_max: Option<u64>,
}

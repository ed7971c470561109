//! What the broker gives a plugin.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use broker_types::{ClientHandle, ProtocolVersion, ReasonCode};
use bytes::Bytes;

use crate::{Fault, FaultKind, HttpClient, NewMessage, Peer};

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// What a developer wants to see.
    Debug,
    /// What an operator wants to see.
    Info,
    /// Something is odd but goes on.
    Warn,
    /// Something failed.
    Error,
}

/// Names a timer that a plugin started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId(pub u64);

/// The broker's services, bound to one configured plugin. All methods may be called from any thread and from inside
/// hooks; none calls back into a plugin on the same stack.
pub trait Host: Send + Sync {
    /// Writes a log line under the plugin's name.
    fn log(&self, level: Level, text: &str);

    /// Publishes an Application Message; only enqueued when this returns.
    ///
    /// # Errors
    /// `Protocol` when the plugin may not publish there, `Backend` when the broker is stopping or its queue is full.
    fn publish(&self, message: NewMessage) -> Result<(), Fault>;

    /// Ends a client's Network Connection. Returns false when it is gone already.
    fn kick(&self, client: ClientHandle, reason: ReasonCode, with_will: bool) -> bool;

    /// Starts a timer: [`crate::Plugin::on_timer`] is called after `first`, and then again and again if `every` is given.
    fn timer(&self, first: Duration, every: Option<Duration>) -> TimerId;

    /// Stops a timer. A call that is under way goes on.
    fn cancel_timer(&self, timer: TimerId);

    /// Adds to a counter that is shown in the metrics under the plugin's name.
    fn counter(&self, name: &str, add: u64);

    /// Sets a gauge that is shown in the metrics under the plugin's name.
    fn gauge(&self, name: &str, value: f64);

    /// Drops decisions of this plugin's uses that connections have cached: one client's, or everybody's.
    fn invalidate(&self, client: Option<ClientHandle>);

    /// Runs `job` on the broker's bounded pool for blocking work; see [`crate::run_blocking`].
    ///
    /// # Errors
    /// `Backend` when the pool's queue is full or the broker is stopping.
    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault>;

    /// Returns the plugin's own key-value records, which survive a swap of the plugin. `None` unless granted.
    fn kv(&self) -> Option<Arc<dyn KeyValue>> {
        None
    }

    /// Returns a client for HTTP that asks where this plugin may ask. `None` unless granted.
    fn http(&self) -> Option<Arc<dyn HttpClient>> {
        None
    }

    /// Returns read-only look-ups of connected clients. `None` unless granted.
    fn clients(&self) -> Option<Arc<dyn Clients>> {
        None
    }
}

/// Why a key-value operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// Key or value is larger than allowed.
    #[error("key or value is too large")]
    TooLarge,
    /// The plugin holds as much as it may.
    #[error("quota is used up")]
    Quota,
    /// The store can't be reached.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// Key-value records of one configured plugin, in the broker's store under the plugin's name.
#[async_trait]
pub trait KeyValue: Send + Sync {
    /// Returns the value of `key`.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, KvError>;
    /// Sets `key`; after `ttl` it is gone.
    async fn set(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), KvError>;
    /// Removes `key`.
    async fn delete(&self, key: &str) -> Result<(), KvError>;
    /// Sets `key` to `new` if it holds `old` (`None`: if it is absent). Returns whether it did.
    async fn compare_and_set(&self, key: &str, old: Option<Bytes>, new: Bytes) -> Result<bool, KvError>;
    /// Returns records whose keys begin with `prefix`, in key order, behind `after`, at most `max`.
    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<(String, Bytes)>, KvError>;
}

/// What a look-up tells about a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its present Network Connection; `None` for a Session without one.
    pub handle: Option<ClientHandle>,
    /// The Client Identifier.
    pub id: String,
    /// The user name it was let in with.
    pub username: Option<String>,
    /// The listener it came through.
    pub listener: String,
    /// The other end; `None` without a connection.
    pub peer: Option<Peer>,
    /// The version it speaks.
    pub version: ProtocolVersion,
    /// Number of its subscriptions.
    pub subscriptions: usize,
    /// Messages waiting for it.
    pub queued: usize,
}

/// Read-only look-ups.
pub trait Clients: Send + Sync {
    /// Returns the Session of a Client Identifier.
    fn get(&self, client_id: &str) -> Option<ClientInfo>;
    /// Returns the Session that has this Network Connection.
    fn by_handle(&self, client: ClientHandle) -> Option<ClientInfo>;
    /// Returns the number of Network Connections.
    fn connected(&self) -> usize;
}

/// A host that gives nothing: for tests of plugins, and for calls before a broker runs. It runs blocking jobs at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn log(&self, _level: Level, _text: &str) {}
    fn publish(&self, _message: NewMessage) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Protocol, "no broker to publish to"))
    }
    fn kick(&self, _client: ClientHandle, _reason: ReasonCode, _with_will: bool) -> bool {
        false
    }
    fn timer(&self, _first: Duration, _every: Option<Duration>) -> TimerId {
        TimerId(0)
    }
    fn cancel_timer(&self, _timer: TimerId) {}
    fn counter(&self, _name: &str, _add: u64) {}
    fn gauge(&self, _name: &str, _value: f64) {}
    fn invalidate(&self, _client: Option<ClientHandle>) {}
    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
        job();
        Ok(())
    }
}

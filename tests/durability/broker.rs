//! A broker on a store that outlives it.

use std::net::SocketAddr;
use std::time::Duration;

use broker_core::{Broker, BrokerBuilder, Clock, Handle, Listener, MemoryStore, StartError};
use broker_types::Limits;
use jackfield_tests::wire::{Connect, Version};
use plugin_api::Durability;
use tokio::runtime::Runtime;

/// Returns an empty disk.
pub(crate) fn disk() -> MemoryStore {
    MemoryStore::claiming(Durability::Fsync)
}

/// How a broker ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// In order.
    Shutdown,
    /// Killed: only what is committed stays.
    Crash,
}

impl End {
    pub(crate) const BOTH: [Self; 2] = [Self::Shutdown, Self::Crash];
}

/// A broker and its disk.
pub(crate) struct Durable {
    pub(crate) clock: Clock,
    disk: MemoryStore,
    broker: Broker,
    runtime: Runtime,
    addr: SocketAddr,
}

impl Durable {
    /// Starts a broker on `disk`.
    #[track_caller]
    pub(crate) fn on(disk: &MemoryStore) -> Self {
        Self::with(disk, |listener| listener, |builder| builder)
    }

    /// Starts a broker with other limits.
    #[track_caller]
    pub(crate) fn limited(disk: &MemoryStore, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        Self::with(disk, |listener| listener.limits(limits), |builder| builder)
    }

    /// Starts a broker after its listener and builder were changed.
    #[track_caller]
    pub(crate) fn with(
        disk: &MemoryStore,
        listener: impl FnOnce(Listener) -> Listener,
        builder: impl FnOnce(BrokerBuilder) -> BrokerBuilder,
    ) -> Self {
        Self::start(disk, Clock::manual(), listener, builder).expect("the broker starts")
    }

    /// Starts a broker on a disk that may not be good, at a time that may not be now.
    pub(crate) fn start(
        disk: &MemoryStore,
        clock: Clock,
        listener: impl FnOnce(Listener) -> Listener,
        builder: impl FnOnce(BrokerBuilder) -> BrokerBuilder,
    ) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let test = Listener::tcp("127.0.0.1:0").name("test").anonymous(true);
        let start = Broker::builder()
            .listener(listener(test))
            .clock(clock.clone())
            .shards(2)
            .store(std::sync::Arc::new(disk.clone()));
        let broker = runtime.block_on(builder(start).start())?;
        Ok(Self {
            clock,
            disk: disk.clone(),
            addr: broker.addr("test").expect("the listener has an address"),
            broker,
            runtime,
        })
    }

    /// Ends the broker and returns the disk it leaves.
    pub(crate) fn end(self, how: End) -> MemoryStore {
        match how {
            End::Shutdown => {
                let shutdown = self.broker.shutdown(Duration::from_secs(5));
                assert_eq!(self.runtime.block_on(shutdown).cut, 0);
                self.disk
            }
            End::Crash => self.disk.crash(),
        }
    }

    /// Ends the broker in order, in this time or twice of it.
    pub(crate) fn shut_down_within(self, deadline: Duration) {
        let broker = self.broker;
        let shutdown =
            async { tokio::time::timeout(Duration::from_secs(10), broker.shutdown(deadline)).await };
        assert!(self.runtime.block_on(shutdown).is_ok());
    }

    /// Ends the broker and starts another on what it leaves, `later`.
    #[track_caller]
    pub(crate) fn again_after(self, how: End, later: Duration) -> Self {
        let clock = Clock::manual();
        clock.advance(later);
        let disk = self.end(how);
        Self::start(&disk, clock, |listener| listener, |builder| builder).expect("the broker starts again")
    }

    /// Ends the broker and starts another on what it leaves.
    #[track_caller]
    pub(crate) fn again(self, how: End) -> Self {
        self.again_after(how, Duration::ZERO)
    }

    /// Waits until everything is committed.
    pub(crate) fn settle(&self) {
        let handle = self.broker.handle();
        self.wait_until(|| handle.gauges().store_pending == 0);
    }

    /// Waits until something has happened that no client is told of.
    pub(crate) fn wait_until(&self, happened: impl Fn() -> bool) {
        let happens = async {
            while !happened() {
                tokio::task::yield_now().await;
            }
        };
        let in_time = async { tokio::time::timeout(Duration::from_secs(10), happens).await };
        self.runtime.block_on(in_time).expect("it happens in time");
    }

    /// Waits until the store has been asked for a commit after `before`.
    pub(crate) fn commit_after(&self, before: u64) {
        self.runtime.block_on(self.disk.asked(before + 1));
    }

    /// Runs something of the broker's handle.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(crate) fn disk(&self) -> &MemoryStore {
        &self.disk
    }

    pub(crate) fn handle(&self) -> Handle {
        self.broker.handle()
    }

    /// Returns where another listener listens.
    pub(crate) fn addr_of(&self, listener: &str) -> SocketAddr {
        self.broker.addr(listener).expect("there is such a listener")
    }

    /// Starts a CONNECT with a Session that stays.
    pub(crate) fn durable(&self, version: Version, client_id: &str) -> Connect {
        Connect::new(self.addr, version, client_id).durable()
    }

    /// Starts a CONNECT with a Session that ends with its connection.
    pub(crate) fn clean(&self, version: Version, client_id: &str) -> Connect {
        Connect::new(self.addr, version, client_id)
    }
}

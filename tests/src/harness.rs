//! Starts a broker for one test, with its own clock, on a port of its own. The only file that touches the embedding API.
//!
//! With `JACKFIELD_TEST_BROKER=/usr/sbin/mosquitto` the tests run against that program instead: a check of the tests
//! themselves, not of the program. See `harness/foreign.rs`.

mod foreign;
mod plugged;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use broker_core::{Broker, BrokerBuilder, Chain, Clock, Handle, Listener, StartError};
use broker_types::Limits;
use plugin_api::{
    AclVerdict, Action, AuthRequest, AuthVerdict, ConnectEdit, ConnectFlow, ExchangeRequest, ExchangeVerdict,
};

use crate::wire::{Client, Connect, DEADLINE, Version};
use foreign::Foreign;
use plugged::Plugged;

/// What a test may change before the broker starts.
#[derive(Debug)]
pub struct Setup {
    /// Limits of the listener.
    pub limits: Limits,
    chain: Chain,
    builder: BrokerBuilder,
}

impl Default for Setup {
    /// Two shards, so that connections meet across them on every machine.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            chain: Chain::new(),
            builder: Broker::builder().shards(2),
        }
    }
}

impl Setup {
    /// Adds to the listener's chain.
    pub fn chain(&mut self, add: impl FnOnce(Chain) -> Chain) {
        self.chain = add(std::mem::take(&mut self.chain));
    }

    /// Decides who may connect.
    pub fn authenticate(&mut self, decide: impl Fn(&AuthRequest<'_>) -> AuthVerdict + Send + Sync + 'static) {
        self.chain(|chain| chain.authenticate(decide));
    }

    /// Decides who may do what: Client Identifier, action, topic.
    pub fn authorize(&mut self, decide: impl Fn(&str, Action, &str) -> AclVerdict + Send + Sync + 'static) {
        self.chain(|chain| {
            chain.authorize(move |client, action, item| decide(client.id.as_str(), action, item.topic))
        });
    }

    /// Sees and changes each CONNECT.
    pub fn on_connect(&mut self, edit: impl Fn(&mut ConnectEdit) -> ConnectFlow + Send + Sync + 'static) {
        self.chain(|chain| chain.on_connect(move |_, connect| edit(connect)));
    }

    /// Runs the challenges of an Authentication Method.
    pub fn exchange(
        &mut self,
        method: &'static str,
        step: impl Fn(&ExchangeRequest<'_>) -> ExchangeVerdict + Send + Sync + 'static,
    ) {
        self.chain(|chain| chain.plugin(Plugged::exchange(method, step)));
    }

    /// Decides as [`Setup::authorize`], and at delivery too.
    pub fn authorize_receive(
        &mut self,
        decide: impl Fn(&str, Action, &str) -> AclVerdict + Send + Sync + 'static,
    ) {
        self.chain(|chain| chain.plugin(Plugged::authorize_receive(decide)));
    }

    /// Changes the broker around the listener.
    pub fn broker(&mut self, change: impl FnOnce(BrokerBuilder) -> BrokerBuilder) {
        self.builder = change(self.builder.clone());
    }

    /// Opens another listener beside the first, with a set-up of its own.
    pub fn listener(&mut self, name: &str, change: impl FnOnce(&mut Self)) {
        let mut other = Self::default();
        change(&mut other);
        self.broker(|builder| builder.listener(other.listens(name)));
    }

    fn listens(&self, name: &str) -> Listener {
        Listener::tcp("127.0.0.1:0")
            .name(name)
            .anonymous(true)
            .limits(self.limits.clone())
            .with_chain(self.chain.clone())
    }
}

/// A broker of one test. Dropping it ends it.
#[derive(Debug)]
pub struct TestBroker {
    addr: SocketAddr,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Ours(Broker, Clock),
    Foreign(#[expect(dead_code, reason = "held for its drop")] Foreign),
}

impl TestBroker {
    /// Starts a broker with default limits that lets everybody in.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Starts a broker after `change` had its way with the set-up.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_with(change: impl FnOnce(&mut Setup)) -> Self {
        Self::try_start_with(change).expect("the broker starts")
    }

    /// Starts a broker whose set-up may be wrong.
    ///
    /// # Errors
    /// It says what is wrong.
    pub fn try_start_with(change: impl FnOnce(&mut Setup)) -> Result<Self, StartError> {
        let mut setup = Setup::default();
        change(&mut setup);
        match std::env::var_os("JACKFIELD_TEST_BROKER") {
            Some(program) => {
                let foreign = Foreign::start(&program, &setup.limits);
                Ok(Self {
                    addr: foreign.addr(),
                    running: Running::Foreign(foreign),
                })
            }
            None => Self::ours(setup),
        }
    }

    fn ours(setup: Setup) -> Result<Self, StartError> {
        let clock = Clock::manual();
        let listener = setup.listens("test");
        let start = setup.builder.listener(listener).clock(clock.clone()).start();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let broker = runtime.block_on(start)?;
        Ok(Self {
            addr: broker.addr("test").expect("the listener has an address"),
            running: Running::Ours(broker, clock),
        })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns where another listener listens.
    ///
    /// # Panics
    /// If there is none of this name.
    #[must_use]
    pub fn addr_of(&self, listener: &str) -> SocketAddr {
        match &self.running {
            Running::Ours(broker, _) => broker.addr(listener).expect("this listener was set up"),
            Running::Foreign(_) => panic!("another program has one listener here"),
        }
    }

    /// Returns the handle of our own broker.
    ///
    /// # Panics
    /// If it is another program.
    #[must_use]
    pub fn handle(&self) -> Handle {
        match &self.running {
            Running::Ours(broker, _) => broker.handle(),
            Running::Foreign(_) => panic!("this test looks inside, and the broker is another program"),
        }
    }

    /// Lets the broker's clock advance. What falls due happens soon after, not before this returns.
    pub fn advance(&self, by: Duration) {
        match &self.running {
            Running::Ours(_, clock) => clock.advance(by),
            Running::Foreign(_) => foreign::wait(by),
        }
    }

    /// Starts a CONNECT of this version.
    pub fn client(&self, version: Version, client_id: impl AsRef<[u8]>) -> Connect {
        Connect::new(self.addr, version, client_id)
    }

    /// Starts a CONNECT of MQTT 5.0.
    pub fn v5(&self, client_id: impl AsRef<[u8]>) -> Connect {
        Connect::new(self.addr, Version::V5, client_id)
    }

    /// Starts a CONNECT of MQTT 3.1.1.
    pub fn v311(&self, client_id: impl AsRef<[u8]>) -> Connect {
        Connect::new(self.addr, Version::V311, client_id)
    }

    /// Starts a CONNECT of MQTT 3.1.
    pub fn v31(&self, client_id: impl AsRef<[u8]>) -> Connect {
        Connect::new(self.addr, Version::V31, client_id)
    }

    /// Opens a Network Connection and sends nothing; what comes is read as this version.
    #[must_use]
    pub fn open(&self, version: Version) -> Client {
        Client::open(self.addr, version)
    }
}

impl Drop for TestBroker {
    /// A panic in the broker costs one connection and no test would notice.
    fn drop(&mut self) {
        if let Running::Ours(broker, _) = &self.running
            && !std::thread::panicking()
        {
            assert_eq!(
                broker.handle().counts().panics,
                0,
                "a task of the broker panicked"
            );
        }
    }
}

/// Returns `count` seconds.
#[must_use]
pub fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Waits until `condition` holds.
///
/// # Panics
/// If it doesn't within [`DEADLINE`].
#[track_caller]
pub fn eventually(condition: impl Fn() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < until, "it did not come true within {DEADLINE:?}");
        std::thread::yield_now();
    }
}

//! A broker for the tests of a program that has one inside: in memory, on ports that the system chooses, with a clock that
//! stands still until the test lets time pass. Clients in it are links: no socket, the same chain.
//!
//! ```
//! use std::time::Duration;
//!
//! use jackfield::testkit::TestBroker;
//! use jackfield::types::{Message, TopicName};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let broker = TestBroker::start().await;
//! let mut watcher = broker.client("watcher").await;
//! watcher.subscribe("w/#").await;
//! let will = Message::new(TopicName::new("w/x").expect("a Topic Name"), "gone");
//! let hour = Duration::from_secs(3600);
//! let sensor = broker.handle().link("sensor").resume(hour).will(will, Duration::from_secs(60));
//! drop(sensor.connect().await);
//!
//! watcher.expect_nothing().await;
//! broker.advance(Duration::from_secs(60));
//! watcher.expect("w/x", "gone").await;
//! # }
//! ```

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use broker_core::{Broker, BrokerBuilder, Chain, Clock, Link, LinkBuilder, LinkError, Listener, Received};
use broker_types::{Message, QoS, TopicName};

/// How long what must come may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The name of the listener that [`TestBroker::start`] and [`TestBroker::with_chain`] make.
pub const LISTENER: &str = "test";

/// A broker that a test has for itself.
#[derive(Debug)]
#[must_use = "a broker that is dropped stops"]
pub struct TestBroker {
    broker: Broker,
    clock: Clock,
}

impl TestBroker {
    /// Starts a broker with one listener, [`LISTENER`], on a free port of loopback, that lets everybody in and do everything.
    ///
    /// # Panics
    /// It doesn't start.
    pub async fn start() -> Self {
        Self::with_chain(Chain::new()).await
    }

    /// Starts one whose listener has this chain. Who shows no credentials comes in when no plugin decides about that.
    ///
    /// # Panics
    /// It doesn't start: a plugin refuses, say.
    pub async fn with_chain(chain: Chain) -> Self {
        let listener = Listener::tcp("127.0.0.1:0").name(LISTENER).anonymous(true);
        Self::with(Broker::builder().listener(listener.with_chain(chain))).await
    }

    /// Starts what `builder` says, with one thread and a clock that stands still.
    ///
    /// # Panics
    /// It doesn't start; the panic says everything that is wrong.
    pub async fn with(builder: BrokerBuilder) -> Self {
        let clock = Clock::manual();
        let started = builder.clock(clock.clone()).shards(1).start().await;
        match started {
            Ok(broker) => Self { broker, clock },
            Err(error) => panic!("the broker doesn't start: {error}"),
        }
    }

    /// Lets time pass: Keep Alives, expiry and delays are due as if it had. It returns at once; what is due happens soon.
    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Returns the address of [`LISTENER`], for clients that come through a socket.
    ///
    /// # Panics
    /// There is no such listener.
    #[must_use]
    pub fn test_addr(&self) -> SocketAddr {
        self.broker.addr(LISTENER).expect("it has the listener `test`")
    }

    /// Connects a client to the first listener. It is let in without being asked who it is.
    ///
    /// # Panics
    /// A plugin refuses it.
    pub async fn client(&self, client_id: &str) -> TestClient {
        match self.connect(|link| link, client_id).await {
            Ok(client) => client,
            Err(error) => panic!("client `{client_id}`: {error}"),
        }
    }

    /// Connects a client as `how` says, also with credentials ([`LinkBuilder::login`]).
    ///
    /// # Errors
    /// It is refused.
    pub async fn connect(
        &self,
        how: impl FnOnce(LinkBuilder) -> LinkBuilder,
        client_id: &str,
    ) -> Result<TestClient, LinkError> {
        let link = how(self.broker.handle().link(client_id)).connect().await?;
        Ok(TestClient { link })
    }

    /// Stops it in order.
    ///
    /// # Panics
    /// Something is left behind.
    pub async fn stop(self) {
        let left = self.broker.shutdown(PATIENCE).await;
        assert!(left.is_clean(), "{left}");
    }
}

impl Deref for TestBroker {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

/// A client in a test. What must come is waited for at most [`PATIENCE`]; every message is acknowledged.
#[derive(Debug)]
#[must_use = "a client that is dropped is gone, and its Will Message published"]
pub struct TestClient {
    link: Link,
}

impl TestClient {
    /// Subscribes with QoS 2.
    ///
    /// # Panics
    /// It is refused.
    pub async fn subscribe(&mut self, filter: &str) {
        if let Err(error) = self.link.subscribe(filter, QoS::ExactlyOnce).await {
            panic!("SUBSCRIBE {filter}: {error}");
        }
    }

    /// Publishes with QoS 1.
    ///
    /// # Errors
    /// A plugin refuses it.
    ///
    /// # Panics
    /// `topic` is no Topic Name.
    pub async fn publish(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> Result<(), LinkError> {
        let topic = TopicName::new(topic).expect("a Topic Name");
        let payload = payload.as_ref().to_vec();
        let message = Message {
            qos: QoS::AtLeastOnce,
            ..Message::new(topic, payload)
        };
        self.link.publish(message).await
    }

    /// Returns the next message.
    ///
    /// # Panics
    /// None comes.
    pub async fn next(&mut self) -> Message {
        let received = match tokio::time::timeout(PATIENCE, self.link.recv()).await {
            Ok(Some(received)) => received,
            Ok(None) => panic!("the connection has ended"),
            Err(_) => panic!("no message came within {PATIENCE:?}"),
        };
        taken(received)
    }

    /// Expects this message next.
    ///
    /// # Panics
    /// Another comes, or none.
    pub async fn expect(&mut self, topic: &str, payload: impl AsRef<[u8]>) {
        let message = self.next().await;
        let came = (message.topic.as_str(), String::from_utf8_lossy(&message.payload));
        assert_eq!(came, (topic, String::from_utf8_lossy(payload.as_ref())));
    }

    /// Makes sure that nothing has come, and that the broker has handled all that this client sent before.
    ///
    /// # Panics
    /// A message came.
    pub async fn expect_nothing(&mut self) {
        // The answer comes behind everything that was on its way.
        let asked = self.link.unsubscribe("a/filter/that/nobody/subscribed/to").await;
        assert!(asked.is_ok(), "{asked:?}");
        if let Some(received) = self.link.try_recv() {
            panic!("unexpected: {:?}", taken(received));
        }
    }

    /// Returns the link, for everything else.
    pub const fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// Ends the connection in order.
    pub async fn close(self) {
        self.link.close().await;
    }
}

fn taken(received: Received) -> Message {
    let message = received.message.clone();
    received.ack();
    message
}

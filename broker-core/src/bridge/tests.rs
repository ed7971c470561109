//! Bridges in a broker that runs, with a plugin whose other side is the test.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_types::{Message, QoS, TopicName};
use plugin_api::{
    AclVerdict, Action, Bridge as Carrier, Capabilities, Denial, Fault, Flow, NewMessage, Plugin, PluginInfo,
    async_trait,
};
use tokio::sync::{Notify, mpsc};

use super::{BridgeCounts, BridgeRule, BridgeSpec};
use crate::testing::{Client, DEADLINE, V5};
use crate::{Broker, BrokerBuilder, Chain, Listener, StartProblem};

/// What the other side does with a batch.
enum Mood {
    Take(usize),
    Fail,
    Panic,
    /// Takes all, but not before it is told to.
    Wait,
}

/// The other side.
#[derive(Clone)]
struct Side(Arc<State>);

struct State {
    moods: Mutex<VecDeque<Mood>>,
    out: mpsc::UnboundedSender<Vec<NewMessage>>,
    incoming: Mutex<VecDeque<Result<Vec<NewMessage>, Fault>>>,
    came: Notify,
    waits: Notify,
    go: Notify,
}

impl Side {
    fn new() -> (Self, mpsc::UnboundedReceiver<Vec<NewMessage>>) {
        let (out, taken) = mpsc::unbounded_channel();
        let state = State {
            moods: Mutex::default(),
            out,
            incoming: Mutex::default(),
            came: Notify::new(),
            waits: Notify::new(),
            go: Notify::new(),
        };
        (Self(Arc::new(state)), taken)
    }

    fn moods(self, moods: impl IntoIterator<Item = Mood>) -> Self {
        self.0.moods.lock().unwrap().extend(moods);
        self
    }

    fn sends(&self, messages: Result<Vec<NewMessage>, Fault>) {
        self.0.incoming.lock().unwrap().push_back(messages);
        self.0.came.notify_one();
    }
}

#[async_trait]
impl Carrier for Side {
    async fn egress(&self, batch: &[NewMessage]) -> Result<usize, Fault> {
        let mood = self.0.moods.lock().unwrap().pop_front();
        let taken = match mood {
            None => batch.len(),
            Some(Mood::Take(count)) => count.min(batch.len()),
            Some(Mood::Fail) => return Err(Fault::backend("the other side is away")),
            Some(Mood::Panic) => panic!("a bug in the plugin"),
            Some(Mood::Wait) => {
                self.0.waits.notify_one();
                self.0.go.notified().await;
                batch.len()
            }
        };
        if taken > 0 {
            self.0.out.send(batch[..taken].to_vec()).unwrap();
        }
        Ok(taken)
    }

    async fn ingress(&self) -> Result<Vec<NewMessage>, Fault> {
        loop {
            if let Some(next) = self.0.incoming.lock().unwrap().pop_front() {
                return next;
            }
            self.0.came.notified().await;
        }
    }
}

#[async_trait]
impl Plugin for Side {
    fn info(&self) -> PluginInfo {
        PluginInfo::default()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            bridge: Some(Arc::new(self.clone())),
            ..Capabilities::default()
        }
    }
}

fn builder() -> BrokerBuilder {
    Broker::builder()
        .listener(Listener::tcp("127.0.0.1:0").anonymous(true))
        .shards(2)
}

fn spec(name: &str, side: &Side) -> BridgeSpec {
    BridgeSpec::new(name, Arc::new(side.clone()))
}

fn message(topic: &str, payload: &str) -> Message {
    Message::new(TopicName::new(topic).unwrap(), payload.to_owned())
}

fn connect(broker: &Broker, id: &str) -> Client {
    Client::connect(broker.addr("listener-0").unwrap(), V5, id)
}

/// Collects what the other side took until it has `count` messages: topic and payload of each.
async fn taken(from: &mut mpsc::UnboundedReceiver<Vec<NewMessage>>, count: usize) -> Vec<(String, String)> {
    let mut all = Vec::new();
    while all.len() < count {
        let batch = tokio::time::timeout(DEADLINE, from.recv())
            .await
            .expect("more comes")
            .unwrap();
        all.extend(batch.into_iter().map(|message| {
            let payload = String::from_utf8(message.payload.to_vec()).unwrap();
            (message.topic.to_string(), payload)
        }));
    }
    all
}

fn pairs(topic: &str, range: std::ops::Range<usize>) -> Vec<(String, String)> {
    range.map(|n| (topic.to_owned(), n.to_string())).collect()
}

fn counts(broker: &Broker) -> BridgeCounts {
    broker.handle().bridges().remove(0)
}

#[tokio::test]
async fn messages_go_out_under_their_new_names_and_in_order() {
    let (side, mut out) = Side::new();
    let bridge = spec("cloud", &side).outgoing(BridgeRule::new("plant/+/state/#").to("acme/+/#"));
    let broker = builder().bridge(bridge).start().await.unwrap();
    let mut client = connect(&broker, "c");
    for n in 0..1000 {
        client.publish("plant/7/state/temp", n.to_string().as_bytes(), false);
        client.publish("plant/7/other", b"stays here", false);
    }
    assert_eq!(taken(&mut out, 1000).await, pairs("acme/7/temp", 0..1000));
    assert_eq!(
        client.publish_qos1("plant/8/state", b"x"),
        Some(0),
        "a bridge is a receiver"
    );
    assert_eq!(taken(&mut out, 1).await, [("acme/8".to_owned(), "x".to_owned())]);
    broker.shutdown(DEADLINE).await;
    assert!(out.try_recv().is_err(), "nothing else was carried");
}

#[tokio::test]
async fn what_the_other_side_did_not_take_comes_again_in_order() {
    let (side, mut out) = Side::new();
    let side = side.moods([
        Mood::Fail,
        Mood::Panic,
        Mood::Take(3),
        Mood::Take(0),
        Mood::Take(1),
    ]);
    let bridge = spec("b", &side).outgoing(BridgeRule::new("t"));
    let broker = builder().bridge(bridge).start().await.unwrap();
    let mut client = connect(&broker, "c");
    for n in 0..20 {
        client.publish("t", n.to_string().as_bytes(), false);
    }
    assert_eq!(taken(&mut out, 20).await, pairs("t", 0..20));
    let counted = counts(&broker);
    assert_eq!((counted.faults, counted.dropped), (3, 0));
    broker.shutdown(DEADLINE).await;
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_and_counts() {
    let (side, mut out) = Side::new();
    // The first message is in hand while the others come.
    let side = side.moods([Mood::Wait]);
    let bridge = spec("b", &side).outgoing(BridgeRule::new("t")).queue_max(5, 1000);
    let broker = builder().bridge(bridge).start().await.unwrap();
    let mut client = connect(&broker, "c");
    client.publish("t", b"first", false);
    side.0.waits.notified().await;
    for n in 0..10 {
        client.publish("t", n.to_string().as_bytes(), false);
    }
    client.sync();
    side.0.go.notify_one();
    let all = taken(&mut out, 5).await;
    assert_eq!(all[0].1, "first");
    assert_eq!(all[1..], pairs("t", 6..10));
    assert_eq!(counts(&broker).dropped, 6);
    broker.shutdown(DEADLINE).await;
}

#[tokio::test]
async fn what_comes_in_passes_the_chain_and_is_not_carried_out_again() {
    let (side, mut out) = Side::new();
    let (other_side, mut other_out) = Side::new();
    let chain = Chain::new()
        .authorize(|client, action, item| {
            assert_eq!((client.id.as_str(), action), ("cloud", Action::Publish));
            match item.topic.ends_with("secret") {
                true => AclVerdict::Deny(Denial::not_authorized()),
                false => AclVerdict::Allow,
            }
        })
        .on_publish("local/#", |_, edit| {
            assert_eq!(edit.source(), broker_types::Source::Bridge);
            let marked = [edit.payload(), b" seen"].concat();
            edit.set_payload(marked);
            Flow::Continue
        });
    let cloud = spec("cloud", &side)
        .chain("from-cloud")
        .outgoing(BridgeRule::new("local/#"))
        .incoming(BridgeRule::new("remote/#").to("local/#"));
    let other = spec("other", &other_side).outgoing(BridgeRule::new("local/#").to("copy/#"));
    let broker = builder()
        .chain("from-cloud", chain)
        .bridge(cloud)
        .bridge(other)
        .start()
        .await
        .unwrap();
    let mut client = connect(&broker, "c");
    client.subscribe("local/#", QoS::AtLeastOnce);
    side.sends(Err(Fault::backend("not yet")));
    side.sends(Ok(vec![
        message("remote/secret", "no"),
        message("elsewhere", "no rule is for it"),
        message("remote/a", "1"),
        Message {
            retain: true,
            qos: QoS::ExactlyOnce,
            ..message("remote/b", "2")
        },
    ]));
    assert_eq!(
        client.message(),
        ("local/a".to_owned(), "1 seen".to_owned(), false)
    );
    assert_eq!(
        client.message(),
        ("local/b".to_owned(), "2 seen".to_owned(), false)
    );
    let copied = taken(&mut other_out, 2).await;
    assert_eq!(copied[1], ("copy/b".to_owned(), "2 seen".to_owned()));
    let kept = broker.handle().retained(&TopicName::new("local/b").unwrap());
    assert_eq!(&kept.unwrap().payload[..], b"2 seen");
    let counted = counts(&broker);
    assert_eq!(
        (counted.received, counted.dropped, counted.faults, counted.up),
        (2, 2, 1, true)
    );
    // Only what a client says goes out by the bridge that also brings in.
    client.publish("local/c", b"3", false);
    assert_eq!(taken(&mut out, 1).await, [("local/c".to_owned(), "3".to_owned())]);
    broker.shutdown(DEADLINE).await;
    assert!(out.try_recv().is_err());
}

#[tokio::test]
async fn a_shutdown_carries_out_what_waits() {
    let (side, mut out) = Side::new();
    let side = side.moods([Mood::Fail]);
    let bridge = spec("b", &side).outgoing(BridgeRule::new("t"));
    let broker = builder().bridge(bridge).start().await.unwrap();
    let mut client = connect(&broker, "c");
    client.publish("t", b"0", false);
    client.publish("t", b"1", false);
    client.sync();
    broker.shutdown(DEADLINE).await;
    assert_eq!(taken(&mut out, 2).await, pairs("t", 0..2));
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let (side, _out) = Side::new();
    let wrong = spec("a", &side)
        .chain("missing")
        .outgoing(BridgeRule::new("a/#/b"))
        .incoming(BridgeRule::new("a").to("+"));
    let error = builder()
        .bridge(wrong)
        .bridge(spec("a", &side))
        .start()
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(error.problems.len(), 4, "{error}");
    let of_a =
        |problem: &StartProblem| matches!(problem, StartProblem::Bridge { bridge, .. } if bridge == "a");
    assert!(error.problems.iter().all(of_a), "{error}");
}

#[tokio::test]
async fn a_plugin_that_is_no_bridge_is_refused() {
    struct Nothing;
    #[async_trait]
    impl Plugin for Nothing {
        fn info(&self) -> PluginInfo {
            PluginInfo::default()
        }
        fn capabilities(&self) -> Capabilities {
            Capabilities::default()
        }
        async fn stop(&self, _: Duration) {}
    }
    let bridge = BridgeSpec::new("b", Arc::new(Nothing));
    let error = builder().bridge(bridge).start().await.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "bridge `b`: its plugin has no hook `bridge`");
}

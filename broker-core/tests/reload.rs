//! A broker that is changed while it runs: who is connected stays, and the next packet finds the new order.
#![forbid(unsafe_code)]

mod common;

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::{
    Altered, BridgeRule, BridgeSpec, Broker, BrokerBuilder, Chain, Clock, Listener, Reauthorize, Reload,
    ReloadError, Reloaded, StartProblem, Use,
};
use broker_types::{Limits, Message, TopicName};
use common::{Client, Connect, PATIENCE, Running, open, with_chain};
use plugin_api::{
    AclVerdict, Action, Bridge, Capabilities, DeliverFlow, Denial, Fault, Flow, Host, NewMessage, Plugin,
    PluginInfo, async_trait,
};
use tokio::sync::Notify;

/// A chain that puts `mark` before each payload.
fn marks(mark: &'static str) -> Chain {
    Chain::new().on_publish("#", move |_, message| {
        let payload = [mark.as_bytes(), message.payload()].concat();
        message.set_payload(payload);
        Flow::Continue
    })
}

/// A chain that puts `mark` before what goes out.
fn marks_outgoing(mark: &'static str) -> Chain {
    Chain::new().on_deliver("#", move |_, message| {
        let payload = [mark.as_bytes(), message.payload()].concat();
        message.set_payload(payload);
        DeliverFlow::Continue
    })
}

fn listener(name: &str) -> Listener {
    Listener::tcp("127.0.0.1:0").anonymous(true).name(name)
}

fn problems(result: Result<Reloaded, ReloadError>) -> Vec<String> {
    match result {
        Err(ReloadError::Refused(error)) => error.problems.iter().map(ToString::to_string).collect(),
        other => panic!("not refused: {other:?}"),
    }
}

fn name(name: &str, change: Altered) -> (String, Altered) {
    (name.to_owned(), change)
}

#[test]
fn the_next_packet_passes_the_new_chain_and_nobody_is_disconnected() {
    let mut broker = Running::start(with_chain(marks("1")).shards(2));
    let mut receiver = broker.connect(&Connect::v5("receiver"));
    receiver.subscribe("#", 0);
    let mut sender = broker.connect(&Connect::v4("sender"));
    sender.publish("t", b"a", 0, 0);
    assert_eq!(receiver.message().1, "1a");
    for (chain, expected) in [
        (marks("2"), "2a"),
        (marks("3").chain(marks_outgoing("out ")), "out 3a"),
        (Chain::new(), "a"),
        (marks_outgoing("only "), "only a"),
        (marks("4"), "4a"),
    ] {
        let done = broker.reload(with_chain(chain)).unwrap();
        assert_eq!(done.listeners, [name("listener-0", Altered::Chain)]);
        sender.publish("t", b"a", 0, 0);
        assert_eq!(receiver.message().1, expected);
    }
    let counts = broker.handle().counts();
    assert_eq!((counts.connections_opened, counts.connections_closed), (2, 0));
    broker.shutdown(PATIENCE);
}

#[test]
fn what_is_the_same_stays_as_it_is() {
    let chain = marks("1");
    let builder = with_chain(chain);
    let mut broker = Running::start(builder.clone());
    let mut client = broker.connect(&Connect::v5("a"));
    client.publish("t", b"", 1, 1);
    client.expect(4);
    let before = broker.handle().plugin_counts();
    let done = broker.reload(builder).unwrap();
    assert!(done.is_nothing(), "{done}");
    assert_eq!(done.to_string(), "nothing changed");
    assert_eq!(
        broker.handle().plugin_counts(),
        before,
        "the chain wasn't compiled again"
    );
    assert_eq!(broker.handle().reloads().done, 1);
    broker.shutdown(PATIENCE);
}

#[test]
fn listeners_come_and_go_and_their_clients_stay() {
    let mut broker = Running::start(
        Broker::builder()
            .listener(listener("a"))
            .listener(listener("b"))
            .shards(2),
    );
    let addr = |broker: &Running, name| broker.broker.as_ref().unwrap().addr(name);
    let (a, b) = (addr(&broker, "a").unwrap(), addr(&broker, "b").unwrap());
    let mut at_a = Client::connect(a, &Connect::v5("at a"));
    let mut at_b = Client::connect(b, &Connect::v5("at b"));
    at_b.subscribe("t", 0);
    let done = broker
        .reload(Broker::builder().listener(listener("c")).listener(listener("a")))
        .unwrap();
    assert_eq!(
        done.listeners,
        [name("b", Altered::Removed), name("c", Altered::Added)]
    );
    assert_eq!(addr(&broker, "a"), Some(a), "its socket stayed");
    assert_eq!(addr(&broker, "b"), None);
    assert!(TcpStream::connect(b).is_err(), "nobody listens there any more");
    Client::connect(a, &Connect::v5("late"));
    Client::connect(addr(&broker, "c").unwrap(), &Connect::v5("at c"));
    // Its client is there, and served.
    at_a.publish("t", b"still", 0, 0);
    assert_eq!(at_b.message().1, "still");
    // A listener of the same name has the clients of before.
    let again = Broker::builder().listener(listener("b").with_chain(marks_outgoing("b: ")));
    let again = Reload::from(again.listener(listener("d"))).drop_clients(true);
    let done = broker.reload(again).unwrap();
    assert_eq!(done.clients_dropped, 1, "who is at a; the others have gone");
    assert_eq!(at_a.expect_end(), Some(0x98));
    Client::connect(addr(&broker, "d").unwrap(), &Connect::v5("x")).publish("t", b"hi", 0, 0);
    assert_eq!(at_b.message().1, "b: hi");
    broker.shutdown(PATIENCE);
}

#[test]
fn a_listener_moves_and_one_of_another_name_takes_its_socket() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let fixed = port.local_addr().unwrap();
    drop(port);
    let at = |address, name| Listener::tcp(address).anonymous(true).name(name);
    let mut broker = Running::start(open());
    broker
        .reload(
            Broker::builder()
                .listener(at(fixed, "a"))
                .listener(listener("listener-0")),
        )
        .unwrap();
    let mut client = Client::connect(fixed, &Connect::v5("x"));
    let renamed = Broker::builder()
        .listener(at(fixed, "b"))
        .listener(listener("listener-0"));
    let done = broker.reload(renamed).unwrap();
    assert_eq!(
        done.listeners,
        [name("a", Altered::Removed), name("b", Altered::Added)]
    );
    Client::connect(fixed, &Connect::v5("y"));
    let moved = Broker::builder()
        .listener(listener("b"))
        .listener(listener("listener-0"));
    assert_eq!(
        broker.reload(moved).unwrap().listeners,
        [name("b", Altered::Moved)]
    );
    assert!(TcpStream::connect(fixed).is_err());
    client.expect_quiet();
    broker.shutdown(PATIENCE);
}

#[test]
fn terms_are_for_connections_to_come() {
    let limited = |receive_maximum| {
        let mut limits = Limits::default();
        limits.receive_maximum = receive_maximum;
        Broker::builder().listener(listener("listener-0").limits(limits))
    };
    let receive_maximum = |addr| {
        let mut client = Client::open(addr, 5);
        client.send(&Connect::v5("x").bytes());
        let ack = client.expect(2);
        let at = ack
            .body
            .iter()
            .position(|byte| *byte == 0x21)
            .expect("Receive Maximum");
        u16::from_be_bytes([ack.body[at + 1], ack.body[at + 2]])
    };
    let mut broker = Running::start(limited(7));
    assert_eq!(receive_maximum(broker.addr), 7);
    let done = broker.reload(limited(9)).unwrap();
    assert_eq!(done.listeners, [name("listener-0", Altered::Changed)]);
    assert_eq!(receive_maximum(broker.addr), 9);
    // The mount, and who is let in.
    let strict = Broker::builder().listener(
        Listener::tcp("127.0.0.1:0")
            .with_chain(Chain::new().authenticate(|_| plugin_api::AuthVerdict::bad_credentials())),
    );
    broker.reload(strict).unwrap();
    let mut refused = Client::open(broker.addr, 5);
    refused.send(&Connect::v5("y").bytes());
    assert_eq!(refused.expect(2).body[1], 0x86);
    broker.shutdown(PATIENCE);
}

#[test]
fn limits_of_the_whole_broker_change() {
    let mut broker = Running::start(open());
    broker.connect(&Connect::v5("one"));
    assert!(broker.reload(open().sessions_max(1)).unwrap().limits);
    let mut keeper = broker.connect(&Connect {
        expiry: 60,
        ..Connect::v5("keeper")
    });
    broker.until("the first Session has ended", |handle| {
        handle.gauges().sessions == 1
    });
    let mut more = Client::open(broker.addr, 5);
    more.send(&Connect::v5("more").bytes());
    assert_eq!(more.expect(2).body[1], 0x97);
    broker.reload(open().memory_max(64 << 20)).unwrap();
    assert_eq!(broker.handle().gauges().memory_max, Some(64 << 20));
    broker.connect(&Connect::v5("more"));
    keeper.expect_quiet();
    broker.shutdown(PATIENCE);
}

#[test]
fn everything_that_is_wrong_is_told_and_nothing_has_changed() {
    let mut broker = Running::start(with_chain(marks("1")));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = broker.connect(&Connect::v5("x"));
    client.subscribe("#", 0);
    let wrong = Broker::builder()
        .listener(listener("listener-0").chain("nowhere"))
        .listener(
            Listener::tcp(taken.local_addr().unwrap())
                .anonymous(true)
                .name("b"),
        )
        .listener(listener("c").mount("a/+"))
        .listener(listener("c"));
    let told = problems(broker.reload(wrong));
    assert_eq!(told.len(), 4, "{told:#?}");
    let closed = Broker::builder().listener(Listener::tcp("127.0.0.1:0").name("listener-0"));
    let told = problems(broker.reload(closed));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("no authenticator"), "{told:?}");
    let store = Arc::new(broker_core::MemoryStore::new());
    let fixed = open().store(store).shards(17).clock(Clock::manual());
    let told = problems(broker.reload(fixed));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().all(|text| text.contains("restart")), "{told:?}");
    assert_eq!(
        problems(broker.reload(Broker::builder())),
        ["there is no listener"]
    );
    client.publish("t", b"a", 0, 0);
    assert_eq!(client.message().1, "1a");
    broker.connect(&Connect::v5("y"));
    let counts = broker.handle().reloads();
    assert_eq!((counts.done, counts.refused), (0, 4));
    broker.shutdown(PATIENCE);
}

/// Counts how often it was started and stopped.
#[derive(Default)]
struct Lived {
    started: AtomicUsize,
    stopped: AtomicUsize,
    wrong: bool,
}

#[async_trait]
impl Plugin for Lived {
    fn info(&self) -> PluginInfo {
        PluginInfo::default()
    }

    async fn start(&self, host: Arc<dyn Host>) -> Result<(), Fault> {
        host.timer(Duration::from_secs(1), Some(Duration::from_secs(1)));
        self.started.fetch_add(1, Ordering::SeqCst);
        match self.wrong {
            true => Err(Fault::backend("out of order")),
            false => Ok(()),
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn stop(&self, _: Duration) {
        self.stopped.fetch_add(1, Ordering::SeqCst);
    }
}

impl Lived {
    fn lives(&self) -> (usize, usize) {
        (
            self.started.load(Ordering::SeqCst),
            self.stopped.load(Ordering::SeqCst),
        )
    }
}

#[test]
fn a_plugin_is_started_once_and_stopped_once() {
    let [a, b, c] = [(); 3].map(|()| Arc::new(Lived::default()));
    let wrong = Arc::new(Lived {
        wrong: true,
        ..Lived::default()
    });
    let with = |plugins: &[(&str, &Arc<Lived>)]| {
        let chain = plugins.iter().fold(Chain::new(), |chain, (name, plugin)| {
            chain.plugin(Use::new(*name, Arc::clone(plugin) as Arc<dyn Plugin>))
        });
        with_chain(chain)
    };
    let mut broker = Running::start(with(&[("a", &a), ("b", &b)]));
    assert_eq!((a.lives(), b.lives()), ((1, 0), (1, 0)));
    // One that doesn't start takes the others with it that were started for this.
    let told = problems(broker.reload(with(&[("c", &c), ("wrong", &wrong)])));
    assert_eq!(told, ["plugin `wrong`: backend: out of order"]);
    assert_eq!((c.lives(), wrong.lives()), ((1, 1), (1, 1)));
    // That one is spent.
    assert!(problems(broker.reload(with(&[("c", &c)])))[0].contains("can't be started again"));
    let d = Arc::new(Lived::default());
    let done = broker.reload(with(&[("d", &d), ("b", &b)])).unwrap();
    assert_eq!(
        done.plugins,
        [name("d", Altered::Added), name("a", Altered::Removed)]
    );
    broker.until("a is stopped", |_| a.lives() == (1, 1));
    assert_eq!((b.lives(), d.lives()), ((1, 0), (1, 0)));
    // The same name: one takes the other's place, and the old one waits in case.
    let e = Arc::new(Lived::default());
    let done = broker.reload(with(&[("d", &e), ("b", &b)])).unwrap();
    assert_eq!(done.plugins, [name("d", Altered::Swapped)]);
    assert_eq!((d.lives(), e.lives()), ((1, 0), (1, 0)));
    let plugins = broker.block_on(broker.handle().plugins());
    let on_trial = |wanted: &str| {
        plugins
            .iter()
            .find(|plugin| *plugin.name == *wanted)
            .unwrap()
            .on_trial
    };
    assert!(on_trial("d") && !on_trial("b"));
    broker.shutdown(PATIENCE);
    for plugin in [&a, &b, &d, &e] {
        assert_eq!(plugin.lives(), (1, 1));
    }
}

#[test]
fn subscriptions_are_asked_about_again_when_that_is_wanted() {
    let allows = |filter: &'static str| {
        let chain = Chain::new().authorize(move |_, action, item| match action {
            Action::Subscribe if item.topic == filter => AclVerdict::Allow,
            Action::Subscribe => AclVerdict::Deny(Denial::not_authorized()),
            _ => AclVerdict::Allow,
        });
        with_chain(chain)
    };
    let mut broker = Running::start(open());
    let connect = |id, level| {
        let mut client = broker.connect(&Connect {
            level,
            ..Connect::v5(id)
        });
        client.subscribe("a", 0);
        client.subscribe("b", 0);
        client
    };
    let (mut five, mut four) = (connect("five", 5), connect("four", 4));
    // Lazily nothing is given up.
    assert_eq!(broker.reload(allows("a")).unwrap().subscriptions_dropped, 0);
    five.publish("b", b"1", 0, 0);
    assert_eq!((five.message().1, four.message().1), ("1".into(), "1".into()));
    let now = Reload::from(allows("a")).reauthorize(Reauthorize::Now);
    assert_eq!(broker.reload(now).unwrap().subscriptions_dropped, 2);
    assert_eq!(five.expect_end(), Some(0x87));
    four.publish("b", b"2", 0, 0);
    four.publish("a", b"3", 0, 0);
    assert_eq!(four.message(), ("a".into(), "3".into()));
    broker.shutdown(PATIENCE);
}

#[test]
fn a_will_passes_the_chain_that_holds_when_it_is_due() {
    let clock = Clock::manual();
    let mut broker = Running::start(with_chain(marks("1")).clock(clock.clone()));
    let mut receiver = broker.connect(&Connect::v5("receiver"));
    receiver.subscribe("will", 0);
    let leaving = Connect {
        expiry: 600,
        will: Some(("will", b"gone", 60)),
        ..Connect::v5("leaving")
    };
    broker.connect(&leaving).cut();
    broker.until("it has gone", |handle| handle.gauges().sessions_connected == 1);
    broker.reload(with_chain(marks("2"))).unwrap();
    clock.advance(Duration::from_secs(61));
    assert_eq!(receiver.message().1, "2gone");
    broker.shutdown(PATIENCE);
}

#[test]
fn a_listener_that_is_gone_lets_nothing_through_any_more() {
    let clock = Clock::manual();
    let both = Broker::builder()
        .listener(listener("stays"))
        .listener(listener("goes").with_chain(Chain::new().authorize(|_, _, _| AclVerdict::Allow)));
    let mut broker = Running::start(both.clock(clock.clone()).shards(1));
    let addr = |name| broker.broker.as_ref().unwrap().addr(name).unwrap();
    let mut receiver = Client::connect(addr("stays"), &Connect::v5("receiver"));
    receiver.subscribe("#", 0);
    let leaving = Connect {
        expiry: 600,
        will: Some(("will", b"gone", 60)),
        ..Connect::v5("leaving")
    };
    Client::connect(addr("goes"), &leaving).cut();
    broker.until("it has gone", |handle| handle.gauges().connections == 1);
    broker
        .reload(Broker::builder().listener(listener("stays")))
        .unwrap();
    clock.advance(Duration::from_secs(61));
    let message = Message::new(TopicName::new("after").unwrap(), "");
    broker.block_on(broker.handle().publish(message)).unwrap();
    assert_eq!(
        receiver.message().0,
        "after",
        "nobody could say whether the Will Message may be published"
    );
    broker.shutdown(PATIENCE);
}

/// Carries messages to a list, when it may.
struct Carrier {
    carried: Mutex<Vec<String>>,
    open: AtomicUsize,
    opened: Notify,
}

impl Carrier {
    fn new(open: bool) -> Arc<Self> {
        Arc::new(Self {
            carried: Mutex::default(),
            open: AtomicUsize::new(usize::from(open)),
            opened: Notify::new(),
        })
    }

    fn carried(&self) -> Vec<String> {
        self.carried.lock().expect("whole").clone()
    }
}

#[async_trait]
impl Bridge for Carrier {
    async fn egress(&self, batch: &[NewMessage]) -> Result<usize, Fault> {
        if self.open.load(Ordering::SeqCst) == 0 {
            return Err(Fault::backend("nobody there"));
        }
        let text = |message: &NewMessage| {
            format!("{}: {}", message.topic, String::from_utf8_lossy(&message.payload))
        };
        self.carried.lock().expect("whole").extend(batch.iter().map(text));
        Ok(batch.len())
    }

    async fn ingress(&self) -> Result<Vec<NewMessage>, Fault> {
        self.opened.notified().await;
        Ok(Vec::new())
    }
}

struct Carries(Arc<Carrier>);

impl Plugin for Carries {
    fn info(&self) -> PluginInfo {
        PluginInfo::default()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            bridge: Some(self.0.clone()),
            ..Capabilities::default()
        }
    }
}

#[test]
fn a_bridge_that_changes_keeps_what_waits() {
    let with = |plugin: &Arc<dyn Plugin>, to: &str| {
        let spec = BridgeSpec::new("cloud", plugin.clone()).outgoing(BridgeRule::new("out/#").to(to));
        open().bridge(spec)
    };
    let (down, up) = (Carrier::new(false), Carrier::new(true));
    let plugins = [&down, &up].map(|carrier| Arc::new(Carries(carrier.clone())) as Arc<dyn Plugin>);
    let mut broker = Running::start(with(&plugins[0], "old/#"));
    let publish = |payload: &'static str| {
        let message = Message::new(TopicName::new("out/x").unwrap(), payload);
        broker.block_on(broker.handle().publish(message)).unwrap();
    };
    publish("1");
    publish("2");
    broker.until("it failed", |handle| handle.bridges()[0].faults > 0);
    let done = broker.reload(with(&plugins[1], "new/#")).unwrap();
    assert_eq!(done.bridges, [name("cloud", Altered::Changed)]);
    publish("3");
    broker.until("all is carried", |_| up.carried().len() == 3);
    assert_eq!(
        up.carried(),
        ["old/x: 1", "old/x: 2", "new/x: 3"],
        "in order, each as it was meant"
    );
    assert_eq!(down.carried(), [] as [String; 0]);
    let counts = broker.handle().bridges();
    assert_eq!((counts[0].sent, counts[0].queued, counts[0].dropped), (3, 0, 0));
    // By hand, and away.
    let done = broker.block_on(
        broker
            .handle()
            .swap(&plugins[1], Arc::new(Carries(Carrier::new(true)))),
    );
    assert_eq!(done.unwrap().bridges, [name("cloud", Altered::Changed)]);
    assert_eq!(
        broker.reload(open()).unwrap().bridges,
        [name("cloud", Altered::Removed)]
    );
    assert_eq!(broker.handle().bridges(), []);
    publish("4");
    broker.shutdown(PATIENCE);
}

#[test]
fn a_chain_of_a_bridge_changes_too() {
    let refuses = |refuses: bool| -> BrokerBuilder {
        let chain =
            Chain::new().on_publish("#", move |_, _| if refuses { Flow::Drop } else { Flow::Continue });
        open().chain("in", chain)
    };
    let plugin: Arc<dyn Plugin> = Arc::new(Carries(Carrier::new(true)));
    let spec = BridgeSpec::new("cloud", plugin).chain("in");
    let mut broker = Running::start(refuses(false).bridge(spec.clone()));
    let done = broker.reload(refuses(true).bridge(spec)).unwrap();
    assert_eq!(done.bridges, [name("cloud", Altered::Chain)]);
    broker.shutdown(PATIENCE);
}

#[test]
fn a_broker_that_stops_says_so() {
    let mut broker = Running::start(open());
    let handle = broker.handle();
    broker.shutdown(PATIENCE);
    let result = broker.block_on(handle.reload(open()));
    assert!(matches!(result, Err(ReloadError::Stopped)), "{result:?}");
    assert!(broker.block_on(handle.plugins()).is_empty());
    let told = StartProblem::Restart { what: "the store" }.to_string();
    assert_eq!(
        told,
        "the store can't be changed while the broker runs; restart it"
    );
}

/// Idle connections, offline Sessions, counters of timers: nothing keeps an instance that was replaced.
#[test]
fn nothing_of_a_thousand_reloads_stays_behind() {
    let mut broker = Running::start(open().shards(2));
    let mut idle = broker.connect(&Connect::v5("idle"));
    idle.subscribe("#", 0);
    let away = Connect {
        expiry: 600,
        ..Connect::v4("away")
    };
    broker.connect(&away).cut();
    let mut weak = Vec::new();
    for n in 0..1000 {
        let plugin = Arc::new(Lived::default());
        weak.push(Arc::downgrade(&plugin));
        let used = Use::new(format!("p{}", n % 3), plugin as Arc<dyn Plugin>);
        let chain = marks_outgoing("x").plugin(used);
        let mut builder = Broker::builder().listener(listener("listener-0").with_chain(chain));
        if n % 2 == 0 {
            builder = builder.listener(listener(&format!("l{n}")).with_chain(marks("m")));
        }
        broker.reload(builder).unwrap();
    }
    broker.reload(open()).unwrap();
    broker.until("all are gone", |_| {
        weak.iter().all(|weak| weak.strong_count() == 0)
    });
    idle.expect_quiet();
    assert_eq!(broker.handle().reloads().done, 1001);
    broker.shutdown(PATIENCE);
}

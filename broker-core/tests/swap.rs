//! One instance of a plugin takes another's place while clients send as fast as they can: nothing is lost, doubled or out of
//! order, nobody is disconnected, and state is counted on without a gap. And how it goes back when the new one is no good.
#![forbid(unsafe_code)]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::{Altered, BrokerBuilder, Chain, OnFault, Reload, ReloadError, Reloaded, Use};
use broker_types::Limits;
use common::{Client, Connect, PATIENCE, Running, frame, text, with_chain};
use plugin_api::{
    Answer, Capabilities, Cx, Exchange, ExchangePhase, ExchangeRequest, ExchangeVerdict, Fault, Flow, Host,
    MessageEdit, Patch, Plugin, PluginInfo, Publish, Scoped, async_trait,
};
use tokio::sync::Semaphore;

/// Swaps in the runs under load; more with `JACKFIELD_SWAPS`.
fn swaps() -> usize {
    let wanted = std::env::var("JACKFIELD_SWAPS").ok();
    wanted.and_then(|wanted| wanted.parse().ok()).unwrap_or(300)
}

/// What an instance does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Well,
    /// Every second call answers later.
    Late,
    /// Calls wait for a permit.
    Gated,
    Panics,
    HangsInStart,
    IsIll,
    /// Refuses the state of the one before.
    LoadsNothing,
}

/// Numbers messages: what it has to hand on is how far it has come.
struct Numbering {
    way: Way,
    has_state: bool,
    tag: &'static str,
    last: AtomicU64,
    gate: Semaphore,
    began: AtomicUsize,
    stopped: AtomicBool,
    phases: Mutex<Vec<ExchangePhase>>,
}

impl Numbering {
    fn new(way: Way, has_state: bool, tag: &'static str) -> Arc<Self> {
        Arc::new(Self {
            way,
            has_state,
            tag,
            last: AtomicU64::new(0),
            gate: Semaphore::new(0),
            began: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            phases: Mutex::default(),
        })
    }

    fn number(&self, payload: &[u8]) -> Vec<u8> {
        let number = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        [payload, format!(" {}{number}", self.tag).as_bytes()].concat()
    }
}

/// What a broker is given: hooks need the `Arc`.
struct Given(Arc<Numbering>);

#[async_trait]
impl Plugin for Given {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            version: "1".into(),
            ..PluginInfo::default()
        }
    }

    async fn start(&self, _: Arc<dyn Host>) -> Result<(), Fault> {
        match self.0.way {
            Way::HangsInStart => std::future::pending().await,
            _ => Ok(()),
        }
    }

    async fn health(&self) -> Result<(), Fault> {
        match self.0.way {
            Way::IsIll => Err(Fault::backend("ill")),
            _ => Ok(()),
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            publish: Some(Scoped::everywhere(Arc::new(Given(self.0.clone())))),
            exchange: Some((vec!["M".to_owned()], Arc::new(Given(self.0.clone())))),
            ..Capabilities::default()
        }
    }

    async fn save_state(&self) -> Option<Vec<u8>> {
        let last = self.0.last.load(Ordering::SeqCst);
        self.0.has_state.then(|| last.to_be_bytes().to_vec())
    }

    async fn load_state(&self, from: &str, state: &[u8]) -> Result<(), Fault> {
        if self.0.way == Way::LoadsNothing {
            return Err(Fault::backend("never heard of it"));
        }
        assert_eq!(from, "1");
        let state = state.try_into().map_err(|_| Fault::backend("eight bytes"))?;
        self.0.last.store(u64::from_be_bytes(state), Ordering::SeqCst);
        Ok(())
    }

    async fn stop(&self, _: Duration) {
        self.0.stopped.store(true, Ordering::SeqCst);
    }
}

impl Publish for Given {
    fn publish(&self, _: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        let count = self.0.began.fetch_add(1, Ordering::SeqCst);
        let late = match self.0.way {
            Way::Panics => panic!("as it should"),
            Way::Gated => true,
            Way::Late => count % 2 == 1,
            _ => false,
        };
        if !late {
            let numbered = self.0.number(message.payload());
            message.set_payload(numbered);
            return Answer::now(Flow::Continue);
        }
        let (plugin, payload) = (self.0.clone(), message.payload().to_vec());
        Answer::later(async move {
            match plugin.way {
                Way::Gated => plugin.gate.acquire().await.expect("open").forget(),
                _ => tokio::task::yield_now().await,
            }
            let payload = plugin.number(&payload);
            let patch = Patch {
                payload: Some(payload.into()),
                ..Patch::default()
            };
            Ok((Flow::Continue, patch))
        })
    }
}

/// Says yes after one question.
#[async_trait]
impl Exchange for Given {
    async fn exchange(&self, _: &Cx<'_>, request: &ExchangeRequest<'_>) -> Result<ExchangeVerdict, Fault> {
        self.0.phases.lock().expect("whole").push(request.phase);
        Ok(match request.phase {
            ExchangePhase::Continue => ExchangeVerdict::Success {
                grant: Box::default(),
                data: Some(self.0.tag.as_bytes().to_vec()),
            },
            _ => ExchangeVerdict::Challenge(b"who?".to_vec()),
        })
    }
}

fn with(plugin: &Arc<Numbering>) -> BrokerBuilder {
    let plugin: Arc<dyn Plugin> = Arc::new(Given(plugin.clone()));
    let used = Use::new("numbering", plugin)
        .on_error(OnFault::Skip)
        .timeout(PATIENCE);
    roomy(Chain::new().plugin(used))
}

/// A broker whose queues hold all that the senders are quicker than the receiver.
fn roomy(chain: Chain) -> BrokerBuilder {
    let mut limits = Limits::default();
    limits.queued_messages_max = usize::MAX;
    limits.queued_bytes_max = usize::MAX;
    with_chain(chain).limits(limits).shards(2)
}

fn why(result: Result<Reloaded, ReloadError>) -> String {
    match result {
        Err(ReloadError::Refused(error)) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Publishes numbered messages of one QoS until it is told to stop, and returns how many.
fn sender(addr: SocketAddr, id: String, qos: u8, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut client = Client::connect(addr, &Connect::v5(&id));
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            let batch: Vec<u8> = (1..=16)
                .flat_map(|n| client.publish_bytes(&id, (sent + u64::from(n)).to_string().as_bytes(), qos, n))
                .collect();
            client.send(&batch);
            let (mut acked, ends) = (0, if qos == 1 { 4 } else { 7 });
            while acked < 16 {
                let ack = client.next().expect("nobody is disconnected");
                assert!(ack.body.get(2).is_none_or(|reason| *reason < 0x80), "{ack:?}");
                match ack.kind() {
                    5 => client.ack(6, ack.id()),
                    kind => {
                        assert_eq!(kind, ends, "{ack:?}");
                        acked += 1;
                    }
                }
            }
            sent += 16;
        }
        client.publish(&id, b"end", 1, 99);
        client.expect(4);
        sent
    })
}

/// What came of each topic, in order.
type Came = BTreeMap<String, Vec<u64>>;

/// Takes everything until so many senders have ended. Returns for each sender what came, in order, and the numbers of the
/// plugins.
fn receive(mut client: Client, senders: usize) -> (Came, Vec<(char, u64)>) {
    let (mut came, mut numbers) = (Came::new(), Vec::new());
    let mut ended = 0;
    while ended < senders {
        let packet = client.next().expect("nobody is disconnected");
        if packet.kind() == 6 {
            client.ack(7, packet.id());
            continue;
        }
        let (topic, id, payload) = packet.publish(5);
        match packet.qos() {
            1 => client.ack(4, id),
            _ => client.ack(5, id),
        }
        let payload = String::from_utf8(payload).expect("text");
        let (payload, number) = payload.split_once(' ').expect("numbered");
        let tag = number.chars().next().expect("a tag");
        numbers.push((tag, number[1..].parse().expect("a number")));
        match payload {
            "end" => ended += 1,
            count => came
                .entry(topic)
                .or_default()
                .push(count.parse().expect("a number")),
        }
    }
    (came, numbers)
}

/// Lets four senders send while `change` is called again and again, and checks what came. Returns the numbers of the plugins.
fn under_load(broker: &Running, change: impl Fn(usize)) -> Vec<(char, u64)> {
    let mut client = broker.connect(&Connect::v5("receiver"));
    client.subscribe("#", 2);
    let receiver = std::thread::spawn(move || receive(client, 4));
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4)
        .map(|n| {
            (
                format!("s{n}"),
                sender(broker.addr, format!("s{n}"), 1 + n % 2, stop.clone()),
            )
        })
        .collect();
    (0..swaps()).for_each(change);
    stop.store(true, Ordering::Relaxed);
    let mut sent = BTreeMap::new();
    for (id, sender) in senders {
        sent.insert(id, sender.join().expect("a sender that is served"));
    }
    let (came, numbers) = receiver.join().expect("a receiver that is served");
    for (id, count) in sent {
        let expected: Vec<_> = (1..=count).collect();
        let wrong = came[&id]
            .iter()
            .zip(&expected)
            .find(|(came, expected)| came != expected);
        let (came, dropped) = (came[&id].len(), broker.handle().counts().dropped());
        assert!(
            wrong.is_none() && came == expected.len(),
            "{id}: of {count} came {came}, {dropped} were dropped; the first wrong one: {wrong:?}"
        );
    }
    numbers
}

#[test]
fn state_is_counted_on_over_swaps_under_load() {
    let mut broker = Running::start(with(&Numbering::new(Way::Late, true, "-")));
    let mut numbers: Vec<_> = under_load(&broker, |_| {
        broker
            .reload_in_time(with(&Numbering::new(Way::Late, true, "-")))
            .expect("swapped");
    })
    .into_iter()
    .map(|(_, number)| number)
    .collect();
    numbers.sort_unstable();
    let expected: Vec<_> = (1..=numbers.len() as u64).collect();
    assert!(
        numbers == expected,
        "a number is missing or there twice: state was lost"
    );
    let counts = broker.handle().reloads();
    assert_eq!((counts.swaps, counts.swaps_back), (swaps() as u64, 0));
    broker.shutdown(PATIENCE);
}

#[test]
fn swaps_without_state_lose_nothing_under_load() {
    let mut broker = Running::start(with(&Numbering::new(Way::Well, false, "-")));
    under_load(&broker, |n| {
        let way = if n % 2 == 0 { Way::Late } else { Way::Well };
        broker
            .reload_in_time(with(&Numbering::new(way, false, "-")))
            .expect("swapped");
    });
    broker.shutdown(PATIENCE);
}

#[test]
fn reloads_of_chains_and_listeners_and_bad_ones_between_lose_nothing() {
    let numbering = Numbering::new(Way::Late, false, "-");
    let plugin: Arc<dyn Plugin> = Arc::new(Given(numbering));
    let chain = |n: usize| {
        let used = Use::new("numbering", plugin.clone()).timeout(PATIENCE);
        let chain = Chain::new().plugin(used);
        match n % 4 {
            0 => chain,
            1 => chain.on_deliver("#", |_, _| plugin_api::DeliverFlow::Continue),
            2 => Chain::new()
                .authorize(|_, _, _| plugin_api::AclVerdict::Allow)
                .chain(chain),
            _ => chain.on_publish("other/#", |_, _| Flow::Drop),
        }
    };
    let mut broker = Running::start(roomy(chain(0)));
    under_load(&broker, |n| {
        let extra = broker_core::Listener::tcp("127.0.0.1:0").name("extra");
        let builder = roomy(chain(n));
        match n % 3 {
            0 => {
                _ = broker
                    .reload(builder.listener(extra.anonymous(true)))
                    .expect("good")
            }
            1 => _ = broker.reload(builder).expect("good"),
            // Nobody could come in there.
            _ => _ = why(broker.reload(builder.listener(extra))),
        }
    });
    broker.shutdown(PATIENCE);
}

#[test]
fn one_that_fails_its_first_calls_is_swapped_back() {
    let (old, new) = (
        Numbering::new(Way::Well, true, "old"),
        Numbering::new(Way::Panics, true, "new"),
    );
    let mut broker = Running::start(with(&old));
    let mut client = broker.connect(&Connect::v5("x"));
    client.subscribe("#", 0);
    let done = broker.reload_in_time(with(&new)).unwrap();
    assert_eq!(done.plugins, [("numbering".to_owned(), Altered::Swapped)]);
    client.publish("t", b"a", 0, 0);
    assert_eq!(client.message().1, "a", "skipped, as its use says");
    broker.until("it is swapped back", |handle| handle.reloads().swaps_back == 1);
    broker.until("it is stopped", |_| new.stopped.load(Ordering::SeqCst));
    client.publish("t", b"b", 0, 0);
    assert_eq!(client.message().1, "b old1");
    assert!(!old.stopped.load(Ordering::SeqCst));
    let plugins = broker.block_on(broker.handle().plugins());
    assert_eq!((plugins.len(), plugins[0].on_trial), (1, false));
    broker.shutdown(PATIENCE);
}

#[test]
fn one_that_is_no_good_never_takes_the_place() {
    let old = Numbering::new(Way::Well, true, "old");
    let mut broker = Running::start(with(&old));
    let mut client = broker.connect(&Connect::v5("x"));
    client.subscribe("#", 0);
    for (n, (way, expected)) in [
        (Way::IsIll, "plugin `numbering`: backend: ill"),
        (
            Way::LoadsNothing,
            "plugin `numbering` can't be swapped: backend: never heard of it",
        ),
        (
            Way::HangsInStart,
            "plugin `numbering`: timeout: it didn't start within 50ms",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let new = Numbering::new(way, true, "new");
        let reload = Reload::from(with(&new)).start_max(match way {
            Way::HangsInStart => Duration::from_millis(50),
            _ => PATIENCE,
        });
        assert_eq!(why(broker.reload(reload.swap_pause(PATIENCE))), expected);
        assert!(new.stopped.load(Ordering::SeqCst), "{way:?}");
        client.publish("t", b"a", 0, 0);
        assert_eq!(client.message().1, format!("a old{}", n + 1));
    }
    assert_eq!(broker.handle().reloads().swaps, 0);
    broker.shutdown(PATIENCE);
}

#[test]
fn a_swap_with_state_waits_for_calls_but_not_for_ever() {
    let (old, new) = (
        Numbering::new(Way::Gated, true, "old"),
        Numbering::new(Way::Well, true, "new"),
    );
    let mut broker = Running::start(with(&old));
    let mut client = broker.connect(&Connect::v5("x"));
    client.subscribe("#", 0);
    client.publish("t", b"a", 1, 1);
    broker.until("the call runs", |_| old.began.load(Ordering::SeqCst) == 1);
    // It is given up, and the call ends where it began.
    let short = Reload::from(with(&new)).swap_pause(Duration::from_millis(20));
    assert!(why(broker.reload(short)).contains("20ms"));
    old.gate.add_permits(1);
    let mut seen = [client.next().unwrap(), client.next().unwrap()];
    seen.sort_by_key(|packet| packet.kind());
    assert_eq!(seen[0].publish(5).2, b"a old1");
    // While one waits for the call, the next message waits for the swap.
    let next = Numbering::new(Way::Well, true, "next");
    client.publish("t", b"b", 0, 0);
    broker.until("the call runs", |_| old.began.load(Ordering::SeqCst) == 2);
    let mut other = broker.connect(&Connect::v5("other"));
    let (handle, reload) = (broker.handle(), Reload::from(with(&next)).swap_pause(PATIENCE));
    let swapping = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(handle.reload(reload)).unwrap();
    });
    other.publish("t", b"c", 1, 1);
    // Whether it came to the old one or to the gate, it must be let through.
    old.gate.add_permits(2);
    swapping.join().unwrap();
    other.expect(4);
    let mut came = [client.message().1, client.message().1];
    came.sort();
    // Two calls of the old one may end in any order.
    let right = [["b old2", "c old3"], ["b old3", "c old2"], ["b old2", "c next3"]];
    assert!(right.iter().any(|right| came == *right), "{came:?}");
    broker.shutdown(PATIENCE);
}

#[test]
fn without_state_a_call_ends_where_it_began() {
    let (old, new) = (
        Numbering::new(Way::Gated, false, "old"),
        Numbering::new(Way::Well, false, "new"),
    );
    let mut broker = Running::start(with(&old));
    let mut client = broker.connect(&Connect::v5("x"));
    client.subscribe("#", 0);
    let mut other = broker.connect(&Connect::v5("other"));
    client.publish("t", b"a", 0, 0);
    broker.until("the call runs", |_| old.began.load(Ordering::SeqCst) == 1);
    broker.reload_in_time(with(&new)).unwrap();
    other.publish("t", b"b", 0, 0);
    assert_eq!(client.message().1, "b new1");
    broker.reload(roomy(Chain::new())).unwrap();
    assert!(!old.stopped.load(Ordering::SeqCst), "it has a call");
    other.publish("t", b"c", 0, 0);
    assert_eq!(client.message().1, "c");
    old.gate.add_permits(1);
    assert_eq!(client.message().1, "a old1");
    broker.until("both are stopped", |_| {
        old.stopped.load(Ordering::SeqCst) && new.stopped.load(Ordering::SeqCst)
    });
    broker.shutdown(PATIENCE);
}

/// CONNECT with an Authentication Method.
fn connect_with_method(id: &str) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([5, 2, 0, 0]);
    let properties = [&[0x15][..], &text("M")].concat();
    body.push(u8::try_from(properties.len()).expect("few"));
    body.extend(properties);
    body.extend(text(id));
    frame(0x10, &body)
}

/// AUTH with the method.
fn auth(reason: u8) -> Vec<u8> {
    let properties = [&[0x15][..], &text("M")].concat();
    let mut body = vec![reason, u8::try_from(properties.len()).expect("few")];
    body.extend(properties);
    frame(0xF0, &body)
}

#[test]
fn an_enhanced_authentication_ends_with_the_generation_that_began_it() {
    let (old, new) = (
        Numbering::new(Way::Well, true, "old"),
        Numbering::new(Way::Well, true, "new"),
    );
    let mut broker = Running::start(with(&old));
    let begin = |id| {
        let mut client = Client::open(broker.addr, 5);
        client.send(&connect_with_method(id));
        client.expect(15);
        client
    };
    let mut connected = begin("connected");
    connected.send(&auth(0x18));
    assert_eq!(connected.expect(2).body[1], 0);
    connected.send(&auth(0x19));
    connected.expect(15);
    let mut connecting = begin("connecting");
    let leaving = begin("leaving");
    broker.reload_in_time(with(&new)).unwrap();
    connecting.send(&auth(0x18));
    let ack = connecting.expect(2);
    assert!(ack.body.windows(3).any(|window| window == b"old"), "{ack:?}");
    connected.send(&auth(0x18));
    let ack = connected.expect(15);
    assert!(ack.body.windows(3).any(|window| window == b"old"), "{ack:?}");
    leaving.cut();
    broker.until("it is told", |_| {
        old.phases
            .lock()
            .expect("whole")
            .contains(&ExchangePhase::Abandoned)
    });
    // The next ones are for the new one.
    connected.send(&auth(0x19));
    connected.expect(15);
    connected.send(&auth(0x18));
    let ack = connected.expect(15);
    assert!(ack.body.windows(3).any(|window| window == b"new"), "{ack:?}");
    broker.shutdown(PATIENCE);
}

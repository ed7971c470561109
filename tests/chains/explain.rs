//! What a rehearsal explains is what happens: random requests on random chains, once explained and once on the wire, by two
//! copies of the same broker. Then what the explanation says besides: who was asked, who wasn't, and why.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_core::{
    Act, Actor, Broker, BrokerBuilder, Chain, Explained, Fate, Hook, Listener, Moment, OnFault, Outcome,
    Rehearsal, Said, Use,
};
use jackfield_tests::wire::{Client, Connect, Kind, Packet, Version, disconnect, publish, subscribe};
use plugin_api::{
    AclDecision, AclRequest, AclVerdict, Action, Answer, AuthRequest, AuthVerdict, Authenticate, Authorize,
    Capabilities, ConnectEdit, ConnectFlow, Cx, Fault, Flow, Grant, MessageEdit, Patch, Publish, Scoped,
    Subscribe, SubscribeEdit, SubscribeFlow, async_trait,
    types::{Message, ProtocolVersion, QoS, ReasonCode, SubscriptionFilter, TopicFilter, TopicName},
};

use crate::plugin::{Made, denial};

/// Chains, and requests to each: some thousands of comparisons.
const CHAINS: u64 = 40;
const REQUESTS: usize = 60;
/// A plugin fails this often, one time less than opens its breaker, which goes by the clock.
const FAULTS_MAX: usize = 4;

const TOPICS: [&str; 5] = ["a", "b/c", "b/d/e", "$x/y", "plant/7/raw"];
const FILTERS: [&str; 5] = ["#", "b/#", "+", "$x/+", "plant/+/raw"];
const USERS: [Option<&str>; 4] = [None, Some("ann"), Some("bob"), Some("eve")];

/// SplitMix64: what it gives depends on nothing but the seed.
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn of<T: Copy, const N: usize>(&mut self, all: [T; N]) -> T {
        all[self.below(N as u64) as usize]
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Decides everything by a hash of what it is asked, so that two copies of it agree.
struct Whim {
    seed: u64,
    faults: AtomicUsize,
    /// Every call it got.
    called: Arc<Mutex<Vec<String>>>,
}

impl Whim {
    fn mood(&self, hook: Hook, about: &str) -> Chance {
        self.called
            .lock()
            .expect("it fits")
            .push(format!("{} {hook} {about}", self.seed));
        chance_of(self.seed, &format!("{hook} {about}"))
    }

    /// Fails now and then.
    fn fails(&self, mood: &mut Chance) -> Result<(), Fault> {
        if mood.one_in(6) && self.faults.fetch_add(1, Ordering::Relaxed) < FAULTS_MAX {
            assert!(!mood.one_in(2), "a plugin's bug, wanted by a test");
            return Err(Fault::backend("down"));
        }
        Ok(())
    }
}

fn chance_of(seed: u64, about: &str) -> Chance {
    let hash = about.bytes().fold(seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    let mut chance = Chance(hash);
    chance.next();
    chance
}

#[async_trait]
impl plugin_api::Connect for Whim {
    async fn connect(&self, _: &Cx<'_>, edit: &mut ConnectEdit) -> Result<ConnectFlow, Fault> {
        let mut mood = self.mood(Hook::Connect, edit.username.as_deref().unwrap_or("-"));
        if mood.one_in(4) {
            edit.username = Some("bob".into());
        }
        if mood.one_in(4) {
            edit.mount = "m/".into();
        }
        self.fails(&mut mood)?;
        Ok(match mood.below(8) {
            0 => ConnectFlow::Stop,
            1 => ConnectFlow::Reject(denial()),
            _ => ConnectFlow::Continue,
        })
    }
}

#[async_trait]
impl Authenticate for Whim {
    async fn authenticate(&self, _: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        let mut mood = self.mood(Hook::Authenticate, request.username.unwrap_or("-"));
        self.fails(&mut mood)?;
        if mood.one_in(3) {
            tokio::task::yield_now().await;
        }
        Ok(match mood.below(8) {
            0..3 => AuthVerdict::Skip,
            3 => AuthVerdict::Deny(denial()),
            4 => AuthVerdict::allow_as("ann"),
            5 => AuthVerdict::Allow(Box::new(Grant {
                client_id: Some("renamed".into()),
                ..Grant::default()
            })),
            _ => AuthVerdict::allow(),
        })
    }
}

impl Authorize for Whim {
    fn authorize(
        &self,
        cx: &Cx<'_>,
        request: &AclRequest<'_>,
        out: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>> {
        let user = cx.client.username.as_deref().unwrap_or("-");
        let mut later = false;
        let mut given = Vec::new();
        for item in request.items {
            let mut mood = self.mood(
                Hook::Authorize,
                &format!("{user} {:?} {}", request.action, item.topic),
            );
            if let Err(fault) = self.fails(&mut mood) {
                return Answer::fault(fault);
            }
            later |= mood.one_in(4);
            given.push(AclDecision::fixed(match mood.below(6) {
                0..2 => AclVerdict::Skip,
                2 => AclVerdict::Deny(denial()),
                3 => AclVerdict::AllowMaxQos(QoS::AtMostOnce),
                _ => AclVerdict::Allow,
            }));
        }
        if later {
            return Answer::later(async move {
                tokio::task::yield_now().await;
                Ok(given)
            });
        }
        out.clone_from_slice(&given);
        Answer::now(())
    }
}

#[async_trait]
impl Subscribe for Whim {
    async fn subscribe(&self, _: &Cx<'_>, edit: &mut SubscribeEdit) -> Result<SubscribeFlow, Fault> {
        let mut mood = self.mood(Hook::Subscribe, edit.filter.filter.as_str());
        if mood.one_in(3) {
            edit.filter = SubscriptionFilter::parse(mood.of(FILTERS)).expect("it fits");
        }
        if mood.one_in(3) {
            edit.max_qos = QoS::AtMostOnce;
        }
        self.fails(&mut mood)?;
        Ok(match mood.below(6) {
            0 => SubscribeFlow::Stop,
            1 => SubscribeFlow::Reject(denial()),
            _ => SubscribeFlow::Continue,
        })
    }
}

impl Publish for Whim {
    fn publish(&self, _: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        let payload = String::from_utf8_lossy(message.payload()).into_owned();
        let mut mood = self.mood(Hook::Publish, &format!("{} {payload}", message.topic()));
        let mut patch = Patch::default();
        if mood.one_in(3) {
            patch.payload = Some(format!("{payload}+").into());
        }
        if mood.one_in(4) {
            patch.topic = Some(TopicName::new(mood.of(TOPICS)).expect("it fits"));
        }
        if mood.one_in(5) {
            patch.emitted.push(Message::new(
                TopicName::new(mood.of(TOPICS)).expect("it fits"),
                format!("{payload}!"),
            ));
        }
        if let Err(fault) = self.fails(&mut mood) {
            message.apply(patch);
            return Answer::fault(fault);
        }
        let flow = match mood.below(12) {
            0 => Flow::Stop,
            1 => Flow::Drop,
            2 => Flow::Reject(denial()),
            3 => Flow::Disconnect(denial()),
            _ => Flow::Continue,
        };
        if mood.one_in(4) {
            return Answer::later(async move {
                tokio::task::yield_now().await;
                Ok((flow, patch))
            });
        }
        message.apply(patch);
        Answer::now(flow)
    }
}

/// A chain of up to five whims, each with some of the hooks, under random policies and conditions.
fn chain(seed: u64, called: &Arc<Mutex<Vec<String>>>) -> Chain {
    let mut chance = Chance(seed);
    let mut chain = Chain::new();
    for at in 0..=chance.below(5) {
        let whim = Arc::new(Whim {
            seed: seed * 100 + at,
            faults: AtomicUsize::new(0),
            called: called.clone(),
        });
        let hooks = if at == 0 { 0b111 } else { chance.next() };
        let has = |bit: u64| hooks >> bit & 1 == 1;
        let capabilities = Capabilities {
            authenticate: has(0).then(|| whim.clone() as Arc<dyn Authenticate>),
            publish: has(1).then(|| Scoped {
                filters: match chance.one_in(2) {
                    true => vec![TopicFilter::new(chance.of(FILTERS)).expect("it fits")],
                    false => Vec::new(),
                },
                ..Scoped::everywhere(whim.clone() as Arc<dyn Publish>)
            }),
            subscribe: has(2).then(|| whim.clone() as Arc<dyn Subscribe>),
            authorize: has(3).then(|| whim.clone() as Arc<dyn Authorize>),
            connect: has(4).then(|| whim.clone() as Arc<dyn plugin_api::Connect>),
            ..Capabilities::default()
        };
        let policies = [
            OnFault::Skip,
            OnFault::Skip,
            OnFault::Allow,
            OnFault::Deny,
            OnFault::Drop,
            OnFault::Disconnect,
        ];
        let mut link =
            Use::new(format!("whim{at}"), Arc::new(Made(capabilities))).on_error(chance.of(policies));
        if chance.one_in(4) {
            link = link.topics(chance.of(FILTERS));
        }
        if chance.one_in(3) {
            let seed = chance.next();
            link = link.when(move |moment: &Moment<'_>| {
                let about = format!("{} {:?} {:?}", moment.hook, moment.topic, moment.qos);
                !chance_of(seed, &about).one_in(3)
            });
        }
        chain = chain.plugin(link);
    }
    if chance.one_in(4) {
        chain = chain.authenticate_all();
    }
    if chance.one_in(4) {
        chain = chain.authorize_all();
    }
    chain
}

/// A broker with this chain, and what its plugins were called with.
fn builder(seed: u64) -> (BrokerBuilder, Arc<Mutex<Vec<String>>>) {
    let called = Arc::new(Mutex::new(Vec::new()));
    let anonymous = seed.is_multiple_of(3);
    let listener = |name: &str| Listener::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).name(name);
    let builder = Broker::builder()
        .shards(1)
        .chain("chain", chain(seed, &called))
        .listener(listener("main").chain("chain").anonymous(anonymous))
        .listener(listener("watch").anonymous(true));
    (builder, called)
}

#[derive(Clone, Debug)]
struct Request {
    user: Option<&'static str>,
    version: Version,
    act: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    Connect,
    Publish(&'static str, u8, String),
    Subscribe(Vec<&'static str>, u8),
}

fn request(chance: &mut Chance, number: usize) -> Request {
    Request {
        user: chance.of(USERS),
        version: chance.of([Version::V5, Version::V5, Version::V311]),
        act: match chance.below(5) {
            0 => Wanted::Connect,
            1 => Wanted::Subscribe(
                vec![chance.of(FILTERS), chance.of(FILTERS)],
                chance.below(3) as u8,
            ),
            _ => Wanted::Publish(
                chance.of(TOPICS),
                chance.below(2) as u8,
                format!("p{}", number % 7),
            ),
        },
    }
}

/// What both sides say in the same words: CONNACK, answer, and what everybody else got.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// The code of a refusal; `None`: closed; 0: let in.
    connack: Option<u8>,
    /// PUBACK or SUBACK.
    answer: Option<Vec<u8>>,
    messages: Vec<(String, Vec<u8>)>,
}

async fn explain(rehearsal: &mut Rehearsal, request: &Request) -> (Explained, Seen) {
    let version = if request.version.is_v5() {
        ProtocolVersion::V5
    } else {
        ProtocolVersion::V311
    };
    let mut actor = Actor::new("main").version(version).client_id("client");
    if let Some(user) = request.user {
        actor = actor.username(user);
    }
    let act = match &request.act {
        Wanted::Connect => Act::Connect,
        Wanted::Publish(topic, qos, payload) => Act::Publish(Message {
            qos: QoS::from_bits(*qos).expect("it fits"),
            ..Message::new(TopicName::new(*topic).expect("it fits"), payload.clone())
        }),
        Wanted::Subscribe(filters, qos) => {
            let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
            Act::Subscribe(filters, QoS::from_bits(*qos).expect("it fits"))
        }
    };
    let explained = rehearsal.explain(actor, act).await.expect("it fits");
    let mut seen = Seen {
        connack: explained.connack.map(|reason| code_of(request.version, reason)),
        answer: None,
        messages: Vec::new(),
    };
    match &explained.outcome {
        Outcome::Subscribed(codes) => seen.answer = Some(codes.iter().map(|code| code.byte()).collect()),
        Outcome::Published(delivery) => {
            // Nobody is subscribed in a rehearsal.
            let puback = |reason: ReasonCode| if reason.is_error() { reason.byte() } else { 0 };
            seen.answer = delivery.reason.map(|reason| vec![puback(reason)]);
            let mount = if explained.turns.iter().any(|turn| {
                turn.hook == Hook::Connect && turn.changes.iter().any(|change| change.what == "mount")
            }) {
                "m/"
            } else {
                ""
            };
            let shown = |message: &Message, mount: &str| {
                (format!("{mount}{}", message.topic), message.payload.to_vec())
            };
            seen.messages
                .extend(delivery.emitted.iter().map(|message| shown(message, "")));
            if delivery.fate == Fate::Routed {
                seen.messages.push(shown(&delivery.message, mount));
            }
        }
        _ => {}
    }
    (explained, seen)
}

/// The code that the version has for a refusal of CONNECT.
fn code_of(version: Version, reason: ReasonCode) -> u8 {
    match version.is_v5() {
        true => reason.byte(),
        false => plugin_api::types::ConnectReturnCode::from(reason) as u8,
    }
}

fn on_the_wire(addr: SocketAddr, observer: &mut Client, number: usize, request: &Request) -> Seen {
    let mut connect = Connect::new(addr, request.version, "client");
    if let Some(user) = request.user {
        connect = connect.username(user);
    }
    let mut client = connect.sent();
    let mut seen = Seen {
        connack: None,
        answer: None,
        messages: Vec::new(),
    };
    match client.next_packet() {
        Some(Packet::Connack(connack)) => seen.connack = Some(connack.code),
        None => return seen,
        other => panic!("{other:?}"),
    }
    if seen.connack != Some(0) {
        return seen;
    }
    let waits = match &request.act {
        Wanted::Connect => false,
        Wanted::Publish(topic, 0, payload) => {
            client.send(publish(topic, payload));
            false
        }
        Wanted::Publish(topic, qos, payload) => {
            client.send(publish(topic, payload).qos(*qos, 7));
            true
        }
        Wanted::Subscribe(filters, qos) => {
            client.send(
                filters
                    .iter()
                    .fold(subscribe(8), |packet, filter| packet.filter(filter, *qos)),
            );
            true
        }
    };
    if !waits {
        client.send(disconnect());
    }
    while let Some(packet) = client.next_packet() {
        match packet {
            Packet::Ack(ack) if ack.kind == Kind::Puback => {
                seen.answer = Some(vec![if ack.code < 0x80 { 0 } else { ack.code }]);
            }
            Packet::Suback(suback) => seen.answer = Some(suback.codes),
            _ => continue,
        }
        client.send(disconnect());
    }
    let end = format!("end/{number}");
    observer.send(publish(&end, ""));
    loop {
        match observer.recv() {
            Packet::Publish(received) if received.topic == end => return seen,
            Packet::Publish(received) => seen.messages.push((received.topic, received.payload)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_explained_is_what_happens() {
    let mut compared = 0;
    let mut asked = 0;
    for seed in 0..CHAINS {
        let (rehearsed, called_there) = builder(seed);
        let (running, called_here) = builder(seed);
        let mut rehearsal = rehearsed.rehearse().await.expect("it fits");
        let broker = running.start().await.expect("it fits");
        let mut observer =
            Connect::new(broker.addr("watch").expect("it fits"), Version::V311, "observer").connect();
        observer.subscribe("#", 0);
        observer.subscribe("$x/#", 0);
        let mut chance = Chance(seed ^ 0x5EED);
        for number in 0..REQUESTS {
            let request = request(&mut chance, number);
            let (explained, expected) = explain(&mut rehearsal, &request).await;
            let got = on_the_wire(
                broker.addr("main").expect("it fits"),
                &mut observer,
                number,
                &request,
            );
            assert_eq!(
                got, expected,
                "chain {seed}, request {number}: {request:?}\n{explained:#?}"
            );
            let there = std::mem::take(&mut *called_there.lock().expect("it fits"));
            let here = std::mem::take(&mut *called_here.lock().expect("it fits"));
            assert_eq!(there, here, "chain {seed}, request {number}: {request:?}");
            let turns = explained.turns.iter().filter(|turn| turn.said != Said::PassedBy);
            // An authorizer is one call for all filters, but is seen once for each.
            let calls = turns.filter(|turn| turn.hook != Hook::Authorize).count();
            let seen = there.iter().filter(|call| !call.contains(" authorize ")).count();
            assert_eq!(
                calls, seen,
                "chain {seed}, request {number}: {request:?}\n{explained:#?}\n{there:#?}"
            );
            compared += 1;
            asked += calls;
        }
        rehearsal.end().await;
        broker.shutdown(Duration::from_secs(5)).await;
    }
    assert!(
        compared >= 2_000 && asked > compared,
        "{compared} requests, {asked} calls"
    );
}

/// What each plugin said, in order: name, hook, verdict.
fn said(explained: &Explained) -> Vec<String> {
    let turn = |turn: &broker_core::Turn| {
        let said = match &turn.said {
            Said::Verdict(verdict) => verdict.clone(),
            Said::PassedBy => "passed by".to_owned(),
            Said::Assumed => "assumed".to_owned(),
            Said::Fault { kind, policy, .. } => format!("{} {policy:?}", kind.as_str()),
            other => format!("{other:?}"),
        };
        let changes: Vec<_> = turn
            .changes
            .iter()
            .map(|change| format!("{}={}", change.what, change.value))
            .collect();
        format!("{} {} {said} {}", turn.plugin, turn.hook, changes.join(" "))
            .trim_end()
            .to_owned()
    };
    explained.turns.iter().map(turn).collect()
}

async fn rehearse(chain: Chain) -> Rehearsal {
    let listener = Listener::tcp("127.0.0.1:0").name("main").with_chain(chain);
    Broker::builder()
        .listener(listener)
        .rehearse()
        .await
        .expect("it fits")
}

fn message(topic: &str) -> Act {
    Act::Publish(Message {
        qos: QoS::AtLeastOnce,
        ..Message::new(TopicName::new(topic).expect("it fits"), "21.5")
    })
}

#[tokio::test]
async fn each_call_is_told_with_its_verdict_and_its_changes() {
    let chain = Chain::new()
        .authenticate(|request| match request.password {
            Some(b"secret") => AuthVerdict::allow_as("dev7"),
            _ => AuthVerdict::bad_credentials(),
        })
        .authorize(
            |_, action, item| match (action, item.topic.starts_with("ours/")) {
                (Action::Publish, true) => AclVerdict::Allow,
                _ => AclVerdict::Deny(denial()),
            },
        )
        .on_publish("ours/#", |_, message| {
            message.set_payload("70.7");
            message.emit(Message::new(TopicName::new("log").expect("it fits"), "seen"));
            Flow::Continue
        });
    let mut rehearsal = rehearse(chain).await;
    let who = || Actor::new("main").username("x").password("secret");
    let explained = rehearsal
        .explain(who(), message("ours/temp"))
        .await
        .expect("it fits");
    assert_eq!(
        said(&explained),
        [
            "authenticate_1 authenticate allow username=dev7",
            "authorize_2 authorize allow",
            "on_publish_3 publish continue payload=70.7 emitted=log seen",
        ]
    );
    assert_eq!(
        explained
            .client
            .as_ref()
            .and_then(|client| client.username.as_deref()),
        Some("dev7")
    );
    let Outcome::Published(delivery) = &explained.outcome else {
        panic!("{explained:?}")
    };
    assert_eq!(
        (delivery.fate, &delivery.message.payload[..]),
        (Fate::Routed, &b"70.7"[..])
    );
    assert_eq!(delivery.emitted.len(), 1);

    let explained = rehearsal
        .explain(who(), message("theirs/temp"))
        .await
        .expect("it fits");
    let Outcome::Published(delivery) = &explained.outcome else {
        panic!("{explained:?}")
    };
    assert_eq!(
        (delivery.fate, delivery.reason),
        (Fate::Refused, Some(denial().reason))
    );

    let explained = rehearsal
        .explain(who().password("wrong"), message("ours/temp"))
        .await
        .expect("it fits");
    assert!(matches!(explained.outcome, Outcome::Refused), "{explained:?}");
    assert_eq!(explained.connack, Some(ReasonCode::BadUserNameOrPassword));
    rehearsal.end().await;
}

#[tokio::test]
async fn a_client_can_be_taken_for_who_it_says_it_is() {
    let chain = Chain::new()
        .authenticate(|_| AuthVerdict::bad_credentials())
        .authenticate(|_| AuthVerdict::bad_credentials())
        .authenticate_all()
        .authorize(
            |client, _, _| match (client.username.as_deref(), client.attribute("role")) {
                (Some("dev7"), Some("sensor")) => AclVerdict::Allow,
                _ => AclVerdict::Deny(denial()),
            },
        );
    let mut rehearsal = rehearse(chain).await;
    let assumed = Actor::new("main")
        .username("dev7")
        .assumed(vec![("role".into(), "sensor".into())]);
    let explained = rehearsal.explain(assumed, message("a")).await.expect("it fits");
    assert_eq!(
        said(&explained),
        [
            "authenticate_1 authenticate assumed",
            "authenticate_2 authenticate assumed",
            "authorize_3 authorize allow",
        ]
    );
    assert!(matches!(&explained.outcome, Outcome::Published(delivery) if delivery.fate == Fate::Routed));
    let nobody = rehearsal.explain(Actor::new("nowhere"), Act::Connect).await;
    assert!(nobody.is_err_and(|error| error.to_string().contains("`nowhere`")));
    rehearsal.end().await;
}

#[tokio::test]
async fn who_fails_or_is_passed_by_is_told_too() {
    let failing = Capabilities {
        publish: Some(Scoped::everywhere(Arc::new(Whim {
            seed: 0,
            faults: AtomicUsize::new(0),
            called: Arc::default(),
        }) as Arc<dyn Publish>)),
        ..Capabilities::default()
    };
    let broken =
        Use::new("broken", Arc::new(Made(crate::plugin::Failing::Panic.publish()))).on_error(OnFault::Skip);
    let slow = Use::new("slow", Arc::new(Made(crate::plugin::Failing::Never.publish())))
        .timeout(Duration::from_millis(1))
        .on_timeout(OnFault::Drop);
    let never =
        Use::new("never", Arc::new(Made(failing))).when(|moment: &Moment<'_>| moment.topic != Some("a"));
    let chain = Chain::new()
        .authenticate(|_| AuthVerdict::allow())
        .plugin(never)
        .plugin(broken)
        .plugin(slow);
    let mut rehearsal = rehearse(chain).await;
    let explained = rehearsal
        .explain(Actor::new("main"), message("a"))
        .await
        .expect("it fits");
    assert_eq!(
        said(&explained),
        [
            "authenticate_1 authenticate allow",
            "never publish passed by",
            "broken publish panic Skip",
            "slow publish timeout Drop",
        ]
    );
    assert!(matches!(&explained.outcome, Outcome::Published(delivery) if delivery.fate == Fate::Dropped));
    rehearsal.end().await;
}

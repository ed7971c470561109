//! The hot path in pieces, without sockets: each case does one thing over and over, the same every time. `tests/counts` counts
//! the instructions of one, under valgrind, and holds them against a record. For people, who want nanoseconds:
//!
//! ```text
//! JACKFIELD_MICRO=time cargo test --profile counted -p broker-core --lib micro -- --nocapture
//! ```

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use broker_proto::{
    Decoder, Delivery, DropPolicy, MessageRef, Outbound, OutboundLimits, Outgoing, OutgoingScratch, Packet,
    Payload, Peer, Publish, WriteBuf,
};
use broker_types::{
    ClientHandle, Message, PacketId, Properties, PropertiesBuilder, ProtocolVersion, QoS, Source,
    SubscriptionFilter, Timestamp, TopicFilter, TopicName, TopicRef,
};
use plugin_api::{ClientView, Flow, MessageEdit, MessageParts};

use crate::chain::Chain;
use crate::hooks::{ChainSet, EventHub, Instance, InterestCache, Step};
use crate::retained::{Cursor, Retained};
use crate::routing::{Matches, Routes, ShareStrategy, Subscriber, SubscriptionOptions, TopicCache};

/// What a case does once.
type Work = Box<dyn FnMut()>;

/// A name, and how its work is prepared.
type Case = (&'static str, fn() -> Work);

/// Every case.
const CASES: [Case; 18] = [
    ("decode-publish-311-q0", || {
        decode(ProtocolVersion::V311, QoS::AtMostOnce)
    }),
    ("decode-publish-5-q1", || {
        decode(ProtocolVersion::V5, QoS::AtLeastOnce)
    }),
    ("encode-publish-311-q0", || {
        encode(ProtocolVersion::V311, QoS::AtMostOnce)
    }),
    ("encode-publish-5-q1", || {
        encode(ProtocolVersion::V5, QoS::AtLeastOnce)
    }),
    ("routes-of-100", || routes(100)),
    ("routes-of-10000", || routes(10_000)),
    ("routes-remembered", remembered),
    ("retained-one-of-10000", retained_one),
    ("retained-wildcard-10", retained_wildcard),
    ("interest-of-5", interest),
    ("chain-empty", || chain(0)),
    ("chain-1", || chain(1)),
    ("chain-5", || chain(5)),
    ("chain-other-topic", other_topic),
    ("deliver-q0", || deliver(1, QoS::AtMostOnce)),
    ("deliver-q0-to-100", || deliver(100, QoS::AtMostOnce)),
    ("deliver-q1", || deliver(1, QoS::AtLeastOnce)),
    ("deliver-q1-to-100", || deliver(100, QoS::AtLeastOnce)),
];

const TOPIC: &str = "plant/7/line/3/temperature";
const PAYLOAD: [u8; 256] = [b'x'; 256];

fn topic(text: &str) -> TopicRef<'_> {
    TopicRef::new(text).expect("a Topic Name")
}

fn properties(version: ProtocolVersion) -> Properties {
    let builder = PropertiesBuilder::new();
    let builder = if version.is_v5() {
        builder.content_type("text").user("unit", "kelvin")
    } else {
        builder
    };
    builder.build().expect("properties")
}

fn publish(version: ProtocolVersion, qos: QoS, then: impl FnOnce(&Publish<'_>)) {
    let properties = properties(version);
    then(&Publish {
        qos,
        packet_id: PacketId::new(7).filter(|_| qos != QoS::AtMostOnce),
        properties: (&properties).into(),
        ..Publish::new(topic(TOPIC), &PAYLOAD)
    });
}

fn decode(version: ProtocolVersion, qos: QoS) -> Work {
    let mut decoder = Decoder::server(1 << 20, 1 << 16);
    decoder.set_version(version);
    let mut bytes = Vec::new();
    publish(version, qos, |publish| {
        Packet::Publish(publish.clone())
            .encode(version, &mut bytes)
            .expect("encoded");
    });
    Box::new(move || {
        let frame = black_box(&bytes[..]);
        let len = decoder.frame_len(frame).expect("sound").expect("complete");
        black_box(&decoder.decode(&frame[..len]).expect("sound"));
    })
}

fn encode(version: ProtocolVersion, qos: QoS) -> Work {
    let properties = properties(version);
    let mut out = Vec::new();
    Box::new(move || {
        let publish = Publish {
            qos,
            packet_id: PacketId::new(7).filter(|_| qos != QoS::AtMostOnce),
            properties: (&properties).into(),
            ..Publish::new(topic(TOPIC), &PAYLOAD)
        };
        out.clear();
        black_box(&publish).encode(version, &mut out).expect("encoded");
        black_box(&out);
    })
}

/// A subscriber that is a number.
#[derive(Clone, Debug)]
struct Who(u64);

impl Subscriber for Who {
    fn id(&self) -> u64 {
        self.0
    }

    fn available(&self) -> bool {
        true
    }

    fn inflight(&self) -> usize {
        0
    }
}

/// So many filters `plant/N/+/#`; each look-up is for another `N` and finds one.
fn many_routes(count: u64) -> (Routes<Who>, Vec<TopicName>) {
    let routes = Routes::new(ShareStrategy::default());
    let mut topics = Vec::new();
    for number in 0..count {
        let filter = SubscriptionFilter::parse(&format!("plant/{number}/+/#")).expect("a filter");
        routes.subscribe(&Who(number), &filter, SubscriptionOptions::default());
        topics.push(TopicName::new(format!("plant/{number}/line/3/temperature")).expect("a Topic Name"));
    }
    (routes, topics)
}

fn routes(count: u64) -> Work {
    let (routes, topics) = many_routes(count);
    let mut matches = Matches::new();
    let mut at = 0;
    Box::new(move || {
        // A step without a common divisor comes to all of them.
        at = (at + 37) % topics.len();
        routes.matches(black_box(topics[at].as_ref()), &mut matches);
        assert_eq!(black_box(&matches).len(), 1);
    })
}

/// A topic that the shard remembers.
fn remembered() -> Work {
    let (routes, topics) = many_routes(100);
    let mut cache = TopicCache::new(1024, 1024);
    Box::new(move || {
        let found = cache.get(&routes, black_box(topics[7].as_ref()));
        assert_eq!(black_box(&found).len(), 1);
    })
}

/// Ten thousand Retained Messages, ten for each `N` of `plant/N/M`.
fn retained() -> Retained<u64> {
    let retained = Retained::new();
    for number in 0..10_000_u64 {
        let name = TopicName::new(format!("plant/{}/{}", number / 10, number % 10)).expect("a Topic Name");
        retained.put(&name, number, 64, Timestamp::NEVER);
    }
    retained
}

fn retained_one() -> Work {
    let retained = retained();
    Box::new(move || {
        let found = retained.get(black_box(topic("plant/777/7")), Timestamp::ZERO);
        assert_eq!(black_box(found), Some(7777));
    })
}

fn retained_wildcard() -> Work {
    let retained = retained();
    let filter = TopicFilter::new("plant/777/+").expect("a filter");
    let mut found = Vec::new();
    Box::new(move || {
        found.clear();
        let mut cursor = Cursor::new(black_box(&filter).clone());
        while !cursor.is_done() {
            retained.page(&mut cursor, Timestamp::ZERO, &mut found);
        }
        assert_eq!(black_box(&found).len(), 10);
    })
}

fn client() -> Arc<ClientView> {
    Arc::new(ClientView {
        handle: ClientHandle(1),
        id: "client".into(),
        username: None,
        authenticated: false,
        listener: "main".into(),
        peer: plugin_api::Peer::Local,
        version: ProtocolVersion::V5,
        clean_start: true,
        mount: "".into(),
        attributes: Arc::new([]),
        certificate: None,
        unrestricted: false,
    })
}

fn compiled(chain: &Chain) -> Arc<ChainSet> {
    let instance =
        |plugin: &Arc<dyn plugin_api::Plugin>| Instance::new(plugin.clone(), plugin.capabilities());
    Arc::new(ChainSet::compile(chain, &instance, 1, &EventHub::new()).expect("a chain"))
}

/// A message through a chain, as a connection does it that has published to the topic before: from the question whom it
/// interests to the verdict.
fn through(chain: &Chain) -> Work {
    let set = compiled(chain);
    let (client, message) = (
        client(),
        Message::new(TopicName::new(TOPIC).expect("a Topic Name"), PAYLOAD.to_vec()),
    );
    let mut interest = InterestCache::default();
    Box::new(move || {
        let parts = MessageParts::of(black_box(&message), Source::Client);
        let slots = interest.get(&set, parts.topic).publish;
        if slots.is_empty() {
            return;
        }
        let mut edit = MessageEdit::new(parts);
        match set.publish(&client, slots, &mut edit) {
            Step::Now(published) => drop(black_box(published)),
            Step::Later(_) => unreachable!("these plugins answer at once"),
        }
    })
}

fn chain(plugins: usize) -> Work {
    let nothing = |chain: Chain, _| chain.on_publish("#", |_, _| Flow::Continue);
    through(&(0..plugins).fold(Chain::new(), nothing))
}

/// Five plugins that want other topics.
fn others() -> Chain {
    let nothing =
        |chain: Chain, at| chain.on_publish(format!("other/{at}/#").as_str(), |_, _| Flow::Continue);
    (0..5).fold(Chain::new(), nothing)
}

fn other_topic() -> Work {
    through(&others())
}

/// Whom a topic interests, when the connection doesn't know yet.
fn interest() -> Work {
    let set = compiled(&others());
    Box::new(move || {
        black_box(set.interest(black_box(topic(TOPIC))));
    })
}

const LIMITS: OutboundLimits = OutboundLimits {
    inflight_max: 1000,
    queued_messages_max: 1000,
    queued_bytes_max: 1 << 20,
    window: usize::MAX,
    drop: DropPolicy::Oldest,
    queue_qos0: false,
    recorded: false,
};

const PEER: Peer = Peer {
    version: ProtocolVersion::V311,
    receive_maximum: u16::MAX,
    packet_size_max: None,
    topic_alias_maximum: 0,
    outbox_bytes_max: 1 << 20,
    resumable: false,
};

/// One message to so many Sessions, and their acknowledgements.
fn deliver(sessions: usize, qos: QoS) -> Work {
    let now = Timestamp::from_millis(1_000_000);
    let mut sessions: Vec<_> = (0..sessions)
        .map(|_| {
            let (mut outbound, mut out) = (Outbound::new(LIMITS), WriteBuf::new());
            outbound.connect(now, &PEER, &mut out);
            (outbound, out)
        })
        .collect();
    let mut scratch = OutgoingScratch::new();
    let how = Delivery {
        qos,
        retain: false,
        ids: &[],
        shared: false,
    };
    let mut number = 0_u16;
    Box::new(move || {
        let message = MessageRef {
            topic: topic(TOPIC),
            payload: Payload::Borrowed(black_box(&PAYLOAD)),
            qos,
            retain: false,
            properties: &[],
            expiry: None,
        };
        // Packet Identifiers come in order.
        number = number % u16::MAX + 1;
        let id = PacketId::new(number).expect("not 0");
        let mut outgoing = Outgoing::new(message, now, &mut scratch);
        for (outbound, out) in &mut sessions {
            outbound.deliver(now, &mut outgoing, &how, out);
            black_box(&*out);
            out.clear();
            if qos != QoS::AtMostOnce {
                outbound.handle_puback(id).expect("it was under way");
            }
        }
    })
}

/// `JACKFIELD_MICRO` says what to do: nothing, a case so many times (`NAME:COUNT`), the names of all (`list`), or how long
/// each takes (`time`).
#[test]
fn work() {
    let wanted = std::env::var("JACKFIELD_MICRO").unwrap_or_default();
    match wanted.split_once(':') {
        Some((name, count)) => {
            let (_, make) = CASES.iter().find(|(case, _)| *case == name).expect("a case");
            let count: u64 = count.parse().expect("a number");
            let mut work = make();
            (0..count).for_each(|_| work());
        }
        // Each on a line of its own: the harness has begun one.
        None if wanted == "list" => CASES.iter().for_each(|(name, _)| print!("\ncase {name}\n")),
        None if wanted == "time" => CASES.iter().for_each(|(name, make)| {
            print!("\n{:>9.1} ns  {name}", nanos(&mut make()));
        }),
        None => {}
    }
}

/// The least of several means: what disturbs makes it longer.
fn nanos(work: &mut Work) -> f64 {
    let rounds = (0..20).map(|_| {
        let began = Instant::now();
        (0..5000).for_each(|_| work());
        began.elapsed().as_secs_f64() * 1e9 / 5000.0
    });
    rounds.fold(f64::INFINITY, f64::min)
}

/// A case that does the wrong thing would be counted all the same.
#[test]
fn every_case_does_its_work() {
    for (_, make) in CASES {
        let mut work = make();
        (0..3).for_each(|_| work());
    }
}

//! Rules that only the engine can keep: Will Messages, Sessions that end, mounts, shared groups, hooks that take their time.
#![forbid(unsafe_code)]

mod common;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use broker_core::{Broker, BrokerBuilder, Chain, Clock, Listener, Use};
use broker_types::{Limits, ReasonCode};
use common::{Client, Connect, DISCONNECT, PATIENCE, Running, frame, gated, open, with_chain};
use plugin_api::{
    Answer, Capabilities, ConnectFlow, Deliver, DeliverFlow, Flow, MessageEdit, Needs, Patch, Plugin,
    PluginInfo, Scoped,
};
use tokio::sync::Semaphore;

/// A broker whose time passes when the test says so, and somebody who listens to `will/#`.
fn with_watcher(builder: BrokerBuilder) -> (Running, Clock, Client) {
    let clock = Clock::manual();
    let broker = Running::start(builder.clock(clock.clone()));
    let mut watcher = broker.connect(&Connect::v4("watcher"));
    watcher.subscribe("will/#", 0);
    (broker, clock, watcher)
}

const fn with_will(id: &str, delay: u32, expiry: u32) -> Connect<'_> {
    Connect {
        will: Some(("will/x", b"gone", delay)),
        clean: false,
        expiry,
        ..Connect::v5(id)
    }
}

fn gone(watcher: &mut Client) {
    assert_eq!(watcher.message(), ("will/x".into(), "gone".into()));
    watcher.expect_quiet();
}

fn disconnect(reason: u8, expiry: Option<u32>) -> Vec<u8> {
    let mut body = vec![reason];
    match expiry {
        None => body.push(0),
        Some(expiry) => {
            body.extend([5, 0x11]);
            body.extend(expiry.to_be_bytes());
        }
    }
    frame(0xE0, &body)
}

#[test]
fn v5_3_1_2_8_a_will_is_published_at_each_abnormal_end_and_at_no_other() {
    let (broker, clock, mut watcher) = with_watcher(open());
    // The network fails.
    broker.connect(&with_will("c", 0, 0)).cut();
    gone(&mut watcher);
    // Keep Alive.
    let mut client = broker.connect(&Connect {
        keep_alive: 2,
        ..with_will("c", 0, 0)
    });
    client.expect_quiet();
    clock.advance(Duration::from_secs(10));
    assert_eq!(client.expect_end(), Some(0x8D));
    gone(&mut watcher);
    // The protocol is broken, in different ways.
    for bytes in [&[0xF7u8, 0][..], &[0x90, 0], &[0x30, 3, 0, 1, b'#']] {
        let mut client = broker.connect(&with_will("c", 0, 0));
        client.send(bytes);
        client.expect_end();
        gone(&mut watcher);
    }
    // DISCONNECT with Will Message.
    broker.connect(&with_will("c", 0, 0)).send(&disconnect(4, None));
    gone(&mut watcher);
    // The broker ends it.
    let mut client = broker.connect(&with_will("c", 0, 0));
    assert!(broker.handle().kick("c", ReasonCode::AdministrativeAction));
    assert_eq!(client.expect_end(), Some(0x98));
    gone(&mut watcher);
    // Another takes over.
    let mut old = broker.connect(&with_will("c", 0, 100));
    let mut new = broker.connect(&Connect {
        will: None,
        ..with_will("c", 0, 0)
    });
    assert_eq!(old.expect_end(), Some(0x8E));
    gone(&mut watcher);
    // And at no other.
    new.send(&DISCONNECT);
    new.expect_end();
    let mut client = broker.connect(&with_will("c", 0, 0));
    client.send(&DISCONNECT);
    client.expect_end();
    watcher.expect_quiet();
}

#[test]
fn v5_3_1_3_9_a_will_waits_for_its_delay_unless_the_session_goes_on_or_ends() {
    let (broker, clock, mut watcher) = with_watcher(open());
    let alone = |broker: &Running| broker.until("one is left", |h| h.gauges().connections == 1);
    // It waits.
    broker.connect(&with_will("c", 10, 100)).cut();
    alone(&broker);
    clock.advance(Duration::from_secs(9));
    watcher.expect_quiet();
    clock.advance(Duration::from_secs(2));
    gone(&mut watcher);
    // The Session goes on.
    broker.connect(&with_will("c", 10, 100)).cut();
    alone(&broker);
    let mut client = broker.connect(&with_will("c", 10, 100));
    client.send(&DISCONNECT);
    client.expect_end();
    clock.advance(Duration::from_secs(200));
    broker.until("it ends", |handle| handle.gauges().sessions == 1);
    watcher.expect_quiet();
    // The Session ends first, by its expiry.
    broker.connect(&with_will("c", 100, 10)).cut();
    alone(&broker);
    clock.advance(Duration::from_secs(11));
    gone(&mut watcher);
    // Or because another begins a new one.
    broker.connect(&with_will("c", 100, 100)).cut();
    alone(&broker);
    let mut client = broker.connect(&Connect::v5("c"));
    gone(&mut watcher);
    client.send(&DISCONNECT);
    client.expect_end();
    clock.advance(Duration::from_secs(200));
    watcher.expect_quiet();
}

/// What the broker says of itself could be said by a client, with its will.
#[test]
fn a_will_says_nothing_in_the_name_of_the_broker() {
    let broker = Running::start(open());
    for (level, code) in [(4, 5), (5, 0x87)] {
        let mut client = Client::open(broker.addr, level);
        let connect = Connect {
            level,
            will: Some(("$SYS/broker/version", b"mine", 0)),
            ..Connect::v5("liar")
        };
        client.send(&connect.bytes());
        assert_eq!(client.expect(2).body[1], code);
        assert_eq!(client.next(), None);
    }
}

#[test]
fn v5_3_14_2_2_the_session_expiry_interval_changes_at_disconnect() {
    let (broker, clock, _watcher) = with_watcher(open());
    let connect = |expiry| Connect {
        clean: false,
        expiry,
        ..Connect::v5("c")
    };
    let present = |expiry| Client::connect_present(broker.addr, &connect(expiry));
    // Sooner.
    let (mut client, _) = present(100);
    client.send(&disconnect(0, Some(0)));
    client.expect_end();
    let (mut client, resumed) = present(10);
    assert!(!resumed);
    // Later.
    client.send(&disconnect(0, Some(1000)));
    client.expect_end();
    clock.advance(Duration::from_secs(500));
    let (mut client, resumed) = present(0);
    assert!(resumed);
    // Not any more.
    client.send(&disconnect(0, Some(5)));
    assert_eq!(client.expect_end(), Some(0x82));
    let (_client, resumed) = present(0);
    assert!(!resumed);
}

/// A Session lived as long as the client wished, whatever a plugin had allowed.
#[test]
fn a_disconnect_gets_no_longer_expiry_than_a_plugin_allows() {
    let chain = Chain::new().on_connect(|_, edit| {
        edit.session_expiry_cap = Some(Duration::from_secs(60));
        ConnectFlow::Continue
    });
    let (broker, clock, _watcher) = with_watcher(with_chain(chain));
    let connect = Connect {
        clean: false,
        expiry: 100,
        ..Connect::v5("c")
    };
    let mut client = broker.connect(&connect);
    client.send(&disconnect(0, Some(u32::MAX)));
    client.expect_end();
    clock.advance(Duration::from_secs(61));
    broker.until("it ends", |handle| handle.gauges().sessions == 1);
}

#[test]
fn v311_a_session_without_clean_session_stays_and_with_it_goes() {
    let (broker, clock, _watcher) = with_watcher(open());
    let connect = |clean| Connect {
        clean,
        ..Connect::v4("c")
    };
    let present = |clean| Client::connect_present(broker.addr, &connect(clean));
    assert!(!present(false).1);
    broker.until("cut", |handle| handle.gauges().connections == 1);
    clock.advance(Duration::from_secs(1_000_000));
    assert!(present(false).1);
    assert!(!present(true).1);
    assert!(!present(false).1);
}

/// Retained Messages went on to come after UNSUBACK.
#[test]
fn v5_3_10_4_2_retained_messages_stop_with_the_subscription() {
    let broker = Running::start(open());
    let mut publisher = broker.connect(&Connect::v4("p"));
    for n in 0..20_000 {
        let mut packet = publisher.publish_bytes(&format!("r/{n}"), &[7; 1000], 0, 0);
        packet[0] |= 1;
        publisher.send(&packet);
    }
    publisher.expect_quiet();
    let mut client = broker.connect(&Connect::v4("c"));
    let mut bytes = client.subscribe_bytes(&["r/#"], 0);
    bytes.extend(frame(0xA2, &[&[0, 10][..], &common::text("r/#")].concat()));
    bytes.extend(common::PINGREQ);
    client.send(&bytes);
    client.expect(9);
    let mut before = 0;
    while client.next().unwrap().kind() == 3 {
        before += 1;
    }
    // The rest of what was in the output already isn't there any more: UNSUBACK stands behind it.
    client.expect(13);
    client.expect_quiet();
    assert!(before < 20_000, "the feed was over before UNSUBSCRIBE came");
}

/// Each wake sent one more, room or not.
#[test]
fn retained_messages_fit_a_queue_that_is_small() {
    let mut limits = Limits::default();
    limits.queued_messages_max = 5;
    limits.inflight_max = 3;
    let broker = Running::start(open().limits(limits));
    let mut publisher = broker.connect(&Connect::v4("p"));
    for n in 0..100u16 {
        let mut packet = publisher.publish_bytes(&format!("r/{n}"), b"x", 1, n + 1);
        packet[0] |= 1;
        publisher.send(&packet);
        publisher.expect(4);
    }
    let mut client = broker.connect(&Connect::v4("c"));
    client.subscribe("r/#", 1);
    for _ in 0..100 {
        let id = client.expect(3).publish(4).1;
        client.ack(4, id);
    }
    client.expect_quiet();
}

fn mounted() -> BrokerBuilder {
    open().listener(
        Listener::tcp("127.0.0.1:0")
            .name("mounted")
            .anonymous(true)
            .mount("m/"),
    )
}

#[test]
fn a_mount_is_before_everything_and_nobody_behind_it_sees_it() {
    let (broker, _, _watcher) = with_watcher(mounted());
    let inside = broker.broker.as_ref().unwrap().addr("mounted").unwrap();
    let mut outside = broker.connect(&Connect::v4("outside"));
    outside.subscribe("#", 1);
    for level in [4, 5] {
        let connect = Connect {
            level,
            ..Connect::v5("in")
        };
        let mut client = Client::connect(inside, &connect);
        client.subscribe("a/+", 1);
        client.subscribe("$share/g/s", 0);
        // In and out again.
        client.publish("a/b", b"1", 1, 1);
        assert_eq!(outside.message(), ("m/a/b".into(), "1".into()));
        let packets = [client.next().unwrap(), client.next().unwrap()];
        let publish = packets.iter().find(|packet| packet.kind() == 3).unwrap();
        assert_eq!(publish.publish(level).0, "a/b");
        // From outside, and what is beside it.
        outside.publish("a/b", b"2", 0, 0);
        outside.publish("m/a/c", b"3", 0, 0);
        outside.publish("m/s", b"4", 0, 0);
        assert_eq!(client.message(), ("a/c".into(), "3".into()));
        assert_eq!(client.message(), ("s".into(), "4".into()));
        for topic in ["a/b", "m/a/c", "m/s"] {
            assert_eq!(outside.message().0, topic);
        }
        // Retained.
        let mut kept = client.publish_bytes("kept", b"5", 0, 0);
        kept[0] |= 1;
        client.send(&kept);
        assert_eq!(outside.message().0, "m/kept");
        client.subscribe("kept", 0);
        assert_eq!(client.message(), ("kept".into(), "5".into()));
        let mut clear = client.publish_bytes("kept", b"", 0, 0);
        clear[0] |= 1;
        client.send(&clear);
        assert_eq!(client.message(), ("kept".into(), String::new()));
        assert_eq!(outside.message().0, "m/kept");
        // Will.
        Client::connect(
            inside,
            &Connect {
                level,
                will: Some(("a/will", b"6", 0)),
                ..Connect::v5("dying")
            },
        )
        .cut();
        assert_eq!(client.message(), ("a/will".into(), "6".into()));
        assert_eq!(outside.message().0, "m/a/will");
        // Unsubscribed.
        let mut body = vec![0, 7];
        if level == 5 {
            body.push(0);
        }
        body.extend(common::text("a/+"));
        client.send(&frame(0xA2, &body));
        client.expect(11);
        client.publish("a/b", b"7", 0, 0);
        assert_eq!(outside.message().1, "7");
        client.expect_quiet();
    }
}

#[test]
fn v5_4_8_2_what_a_member_of_a_group_leaves_goes_to_the_others() {
    let broker = Running::start(open().shards(2));
    let member = |id: &'static str| {
        let mut client = broker.connect(&Connect {
            receive_maximum: 5,
            ..Connect::v5(id)
        });
        client.subscribe("$share/g/t", 1);
        client
    };
    let mut leaves = member("leaves");
    let mut publisher = broker.connect(&Connect::v4("p"));
    for n in 0..40u16 {
        publisher.publish("t", n.to_string().as_bytes(), 1, n + 1);
        publisher.expect(4);
    }
    for _ in 0..5 {
        assert_eq!(leaves.expect(3).qos(), 1);
    }
    let mut stays = member("stays");
    leaves.cut();
    let mut came = Vec::new();
    for _ in 0..40 {
        let (_, id, payload) = stays.expect(3).publish(5);
        came.push(String::from_utf8(payload).unwrap().parse::<u16>().unwrap());
        stays.ack(4, id);
    }
    assert_eq!(came, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_session_is_taken_over_while_a_plugin_thinks() {
    let gate = Arc::new(Semaphore::new(0));
    let broker = Running::start(with_chain(gated(&gate)));
    let mut watcher = broker.connect(&Connect::v4("w"));
    watcher.subscribe("#", 2);
    let connect = Connect {
        clean: false,
        expiry: 100,
        ..Connect::v5("c")
    };
    let mut old = broker.connect(&connect);
    old.publish("slow", b"x", 2, 7);
    old.expect_quiet();
    let (mut new, present) = Client::connect_present(broker.addr, &connect);
    assert!(present);
    assert_eq!(old.expect_end(), Some(0x8E));
    // Nobody took the first one; the second is no duplicate.
    gate.add_permits(1);
    let mut again = new.publish_bytes("slow", b"x", 2, 7);
    again[0] |= 8;
    new.send(&again);
    assert_eq!(new.expect(5).id(), 7);
    assert_eq!(watcher.message().1, "x");
    watcher.expect_quiet();
}

#[test]
fn a_panic_in_a_plugin_costs_the_message_and_nothing_else() {
    let chain = Chain::new().on_publish("bad", |_, _| panic!("on purpose"));
    let broker = Running::start(with_chain(chain));
    let mut client = broker.connect(&Connect::v5("c"));
    client.publish("bad", b"", 1, 1);
    let ack = client.expect(4);
    assert_eq!(ack.body, [0, 1, 0x83]);
    client.publish("good", b"", 1, 2);
    client.expect(4);
    let mut old = broker.connect(&Connect::v4("o"));
    old.publish("bad", b"", 1, 1);
    assert_eq!(old.expect_end(), None);
    broker.until("given back", |handle| handle.gauges().connections == 1);
}

/// Delivers what it is asked about after others had their turn, every other time.
struct Hesitant;

impl Plugin for Hesitant {
    fn info(&self) -> PluginInfo {
        PluginInfo::default()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            deliver: Some(Scoped {
                hook: Arc::new(Self),
                filters: Vec::new(),
                needs: Needs::default(),
            }),
            ..Capabilities::default()
        }
    }
}

impl Deliver for Hesitant {
    fn deliver(&self, _: u32, message: &mut MessageEdit<'_>) -> Answer<DeliverFlow, (DeliverFlow, Patch)> {
        if message.payload().last().is_some_and(|byte| byte % 2 == 0) {
            return Answer::now(DeliverFlow::Continue);
        }
        Answer::later(async {
            tokio::task::yield_now().await;
            Ok((DeliverFlow::Continue, Patch::default()))
        })
    }
}

#[test]
fn messages_that_plugins_look_at_keep_their_order_and_none_stays_behind() {
    const EACH: u16 = 300;
    let chain = Chain::new().plugin(Use::new("hesitant", Arc::new(Hesitant)).timeout(PATIENCE));
    let broker = Running::start(with_chain(chain).shards(2));
    let mut kept = broker.connect(&Connect::v4("kept"));
    for n in 0..200u16 {
        let mut packet = kept.publish_bytes(&format!("kept/{n}"), n.to_string().as_bytes(), 1, 1);
        packet[0] |= 1;
        kept.send(&packet);
        kept.expect(4);
    }
    for qos in [0, 1, 2] {
        let mut client = broker.connect(&Connect {
            receive_maximum: 3,
            ..Connect::v5("looked-at")
        });
        client.subscribe("t/+", qos);
        let publishers: Vec<_> = (0..3)
            .map(|n| {
                let addr = broker.addr;
                std::thread::spawn(move || {
                    let mut client = Client::connect(addr, &Connect::v4(&format!("p{n}")));
                    for i in 0..EACH {
                        client.publish(&format!("t/{n}"), i.to_string().as_bytes(), 2, i + 1);
                        client.expect(5);
                        client.ack(6, i + 1);
                        client.expect(7);
                    }
                })
            })
            .collect();
        let mut next = [0; 3];
        let receive = |client: &mut Client| loop {
            let packet = client.next().unwrap();
            if packet.kind() == 6 {
                client.ack(7, packet.id());
                continue;
            }
            let (topic, id, payload) = packet.publish(5);
            match packet.qos() {
                0 => {}
                1 => client.ack(4, id),
                _ => client.ack(5, id),
            }
            return (topic, String::from_utf8(payload).unwrap().parse::<u16>().unwrap());
        };
        for _ in 0..3 * EACH {
            let (topic, number) = receive(&mut client);
            let publisher = usize::from(topic.as_bytes()[2] - b'0');
            assert_eq!(number, next[publisher], "{topic}");
            next[publisher] += 1;
        }
        publishers
            .into_iter()
            .for_each(|publisher| publisher.join().unwrap());
        if qos < 2 {
            client.subscribe("kept/#", qos);
            let mut came: Vec<u16> = (0..200).map(|_| receive(&mut client).1).collect();
            came.sort_unstable();
            assert_eq!(came, (0..200).collect::<Vec<_>>());
            client.expect_quiet();
        }
        client.send(&DISCONNECT);
        client.expect_end();
    }
}

#[test]
fn a_pause_that_a_plugin_wants_is_not_shortened_by_the_rate_limit() {
    let chain = Chain::new().on_publish("pause", |_, _| Flow::Throttle(Duration::from_millis(400)));
    let mut limits = Limits::default();
    limits.rate_bytes = Some(1000);
    let broker = Running::start(with_chain(chain).limits(limits));
    let mut client = broker.connect(&Connect::v4("c"));
    client.publish("pause", b"", 1, 1);
    client.expect(4);
    let begin = std::time::Instant::now();
    client.publish("a", &[0; 1000], 1, 2);
    client.expect(4);
    assert!(begin.elapsed() > Duration::from_millis(350));
}

#[test]
fn a_unix_socket_serves_and_its_file_comes_and_goes() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.sock", std::process::id()));
    // What a process left behind that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let unix = Listener::unix(&path).name("unix").anonymous(true);
    let mut broker = Running::start(open().listener(unix.clone()));
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&Connect::v4("u").bytes()).unwrap();
    let mut ack = [0; 4];
    stream.read_exact(&mut ack).unwrap();
    assert_eq!(ack, [0x20, 2, 0, 0]);
    // Somebody listens there: another broker doesn't start.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(
        runtime
            .block_on(Broker::builder().listener(unix).start())
            .is_err()
    );
    assert!(path.exists());
    broker.shutdown(PATIENCE);
    assert!(!path.exists());
    assert_eq!(stream.read(&mut ack).unwrap(), 0);
}

#[test]
fn a_broker_that_is_dropped_cuts_its_connections_and_frees_its_port() {
    let chain = Chain::new().on_publish("#", |_, _| Flow::Continue);
    let mut broker = Running::start(with_chain(chain).shards(2));
    let addr = broker.addr;
    let mut clients: Vec<_> = (0..20)
        .map(|n| {
            broker.connect(&Connect {
                will: Some(("w", b"", 0)),
                ..Connect::v5(&format!("c{n}"))
            })
        })
        .collect();
    for client in &mut clients {
        client.subscribe("w", 0);
    }
    drop(broker.broker.take());
    for mut client in clients {
        client.expect_end();
    }
    let begin = std::time::Instant::now();
    while std::net::TcpListener::bind(addr).is_err() {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

#[test]
fn more_connections_than_allowed_are_closed_at_once() {
    let mut limits = Limits::default();
    limits.connections_max = Some(2);
    let broker = Running::start(open().limits(limits));
    let _first = broker.connect(&Connect::v4("1"));
    let second = broker.connect(&Connect::v4("2"));
    let mut third = Client::open(broker.addr, 4);
    assert_eq!(third.next(), None);
    second.cut();
    broker.until("a place is free", |handle| handle.gauges().connections == 1);
    broker.connect(&Connect::v4("3"));
}

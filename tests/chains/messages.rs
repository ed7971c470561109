//! Verdicts about a message that comes in: authorize and publish, as publisher and subscriber see them.

use std::time::{Duration, Instant};

use broker_core::Chain;
use jackfield_tests::harness::TestBroker;
use jackfield_tests::wire::{Acked, Client, Kind, Packet, Version, prop, publish, pubrel};
use plugin_api::{
    AclVerdict, Action, Denial, Flow, MessageEdit,
    types::{QoS, ReasonCode},
};

use crate::plugin::{Calls, DENIED, WHY, denial, message, topic};
use crate::{VERSIONS, told};

/// How long a throttled publisher is not read. Real time: a plugin's wish isn't measured with the broker's clock.
const PAUSE: Duration = Duration::from_millis(300);

/// A broker whose publish chain decides by the last level of the topic; behind it a second plugin marks what it sees.
fn broker() -> TestBroker {
    TestBroker::start_with(|setup| {
        setup.authorize(|_, action, topic| match (action, topic) {
            (Action::Publish, "t/forbidden") => AclVerdict::Deny(denial()),
            (Action::Publish, "t/at-most-once") => AclVerdict::AllowMaxQos(QoS::AtMostOnce),
            _ => AclVerdict::Allow,
        });
        setup.chain(|chain: Chain| {
            chain
                .on_publish("t/#", |_, message| decide(message))
                .on_publish("t/#", |_, message| {
                    let marked = [message.payload(), b"+"].concat();
                    message.set_payload(marked);
                    Flow::Continue
                })
        });
    })
}

fn decide(edit: &mut MessageEdit<'_>) -> Flow {
    let name = edit.topic().as_str().to_owned();
    match name.trim_start_matches("t/") {
        "changed" => {
            edit.set_topic(topic("t/other"));
            edit.set_payload("new");
            Flow::Continue
        }
        "lower" => {
            edit.lower_qos(QoS::AtMostOnce);
            Flow::Continue
        }
        "stop" => {
            edit.set_payload("mine");
            Flow::Stop
        }
        "drop" => Flow::Drop,
        "reject" => Flow::Reject(denial()),
        "disconnect" => Flow::Disconnect(denial()),
        "throttle" => Flow::Throttle(PAUSE),
        "emit" => {
            edit.emit(message("t/emitted", "besides"));
            Flow::Continue
        }
        "instead" => {
            edit.emit(message("t/emitted", "instead"));
            Flow::Drop
        }
        _ => Flow::Continue,
    }
}

/// A publisher, and a subscriber of the other version to everything under `t`.
fn pair(broker: &TestBroker, version: Version) -> (Client, Client) {
    let other = if version.is_v5() {
        Version::V311
    } else {
        Version::V5
    };
    let mut subscriber = broker.client(other, "subscriber").connect();
    subscriber.subscribe("t/#", 2);
    (broker.client(version, "publisher").connect(), subscriber)
}

/// Publishes at a QoS and returns the first acknowledgement; QoS 2 is completed unless it was refused.
#[track_caller]
fn send(client: &mut Client, name: &str, qos: u8) -> Option<Acked> {
    let id = if qos == 0 { 0 } else { client.id() };
    client.send(publish(format!("t/{name}"), "x").qos(qos, id));
    match qos {
        0 => {
            client.sync();
            None
        }
        1 => Some(match client.recv() {
            Packet::Ack(acked) if acked.kind == Kind::Puback && acked.id == id => acked,
            other => panic!("{name}: {other:?}"),
        }),
        _ => {
            let acked = match client.recv() {
                Packet::Ack(acked) if acked.kind == Kind::Pubrec && acked.id == id => acked,
                other => panic!("{name}: {other:?}"),
            };
            if acked.code < 0x80 {
                client.send(pubrel(id));
                client.expect_ack(Kind::Pubcomp, id, 0);
            }
            Some(acked)
        }
    }
}

/// What goes on arrives as the plugins left it; the publisher gets plain success.
#[test]
fn what_goes_on_arrives_changed() {
    for version in VERSIONS {
        let broker = broker();
        let (mut publisher, mut subscriber) = pair(&broker, version);
        for qos in 0..3 {
            for (name, topic, payload, most) in [
                ("plain", "t/plain", "x+", 2),
                ("changed", "t/other", "new+", 2),
                ("lower", "t/lower", "x+", 0),
                ("stop", "t/stop", "mine", 2),
            ] {
                let acked = send(&mut publisher, name, qos);
                assert!(acked.is_none_or(|acked| acked.code == 0), "{name}");
                let received = subscriber.take(topic, payload);
                assert_eq!(received.qos, qos.min(most), "{name}");
            }
        }
        subscriber.expect_silence();
    }
}

#[test]
fn what_is_emitted_goes_beside_or_instead() {
    for version in VERSIONS {
        let broker = broker();
        let (mut publisher, mut subscriber) = pair(&broker, version);
        for qos in 0..3 {
            let acked = send(&mut publisher, "emit", qos);
            assert!(acked.is_none_or(|acked| acked.code == 0));
            // it passes the plugins behind the one that emitted it, and is of its own QoS
            let mut both = [subscriber.recv_message(), subscriber.recv_message()];
            both.sort();
            assert_eq!(
                both,
                [
                    ("t/emit".into(), "x+".into()),
                    ("t/emitted".into(), "besides+".into())
                ]
            );
            let acked = send(&mut publisher, "instead", qos);
            assert!(acked.is_none_or(|acked| acked.code == 0));
            assert_eq!(subscriber.recv_message(), ("t/emitted".into(), "instead+".into()));
        }
        subscriber.expect_silence();
    }
}

trait RecvMessage {
    fn recv_message(&mut self) -> (String, String);
}

impl RecvMessage for Client {
    #[track_caller]
    fn recv_message(&mut self) -> (String, String) {
        let received = self.expect_any_publish();
        self.acknowledge(&received);
        (
            received.topic,
            String::from_utf8_lossy(&received.payload).into_owned(),
        )
    }
}

/// `Drop`: a success that goes nowhere.
#[test]
fn what_is_dropped_is_acknowledged() {
    for version in VERSIONS {
        let broker = broker();
        let (mut publisher, mut subscriber) = pair(&broker, version);
        for qos in 0..3 {
            let acked = send(&mut publisher, "drop", qos);
            assert!(acked.is_none_or(|acked| acked.code == 0 && acked.props.is_empty()));
            subscriber.expect_silence();
        }
    }
}

/// A denial of authorize and a `Reject` of publish look the same: the reason and its words in 5.0; 3.1.1 has no negative
/// acknowledgement.
#[test]
fn what_is_refused_says_why() {
    for version in VERSIONS {
        let broker = broker();
        let (mut publisher, mut subscriber) = pair(&broker, version);
        for name in ["forbidden", "reject"] {
            for qos in 0..3 {
                let acked = send(&mut publisher, name, qos);
                if version.is_v5()
                    && let Some(acked) = acked
                {
                    assert_eq!(acked.code, DENIED, "{name}");
                    assert_eq!(acked.props, [prop::reason_string(WHY)], "{name}");
                }
                subscriber.expect_silence();
            }
        }
        publisher.expect_silence();
    }
}

#[test]
fn a_qos_above_what_is_allowed_is_refused() {
    for version in VERSIONS {
        let broker = broker();
        let (mut publisher, mut subscriber) = pair(&broker, version);
        send(&mut publisher, "at-most-once", 0);
        subscriber.take("t/at-most-once", "x+");
        for qos in 1..3 {
            let acked = send(&mut publisher, "at-most-once", qos).expect("an acknowledgement");
            // 0x9B says it better and may stand in a CONNACK or DISCONNECT only
            assert_eq!(acked.code, told(version, 0x87, 0));
        }
        subscriber.expect_silence();
    }
}

/// No acknowledgement: the connection's end is the answer.
#[test]
fn a_publisher_is_disconnected_with_the_reason() {
    for version in VERSIONS {
        for qos in 0..3 {
            let broker = broker();
            let (mut publisher, mut subscriber) = pair(&broker, version);
            publisher.send(publish("t/disconnect", "x").qos(qos, 1));
            if version.is_v5() {
                assert_eq!(publisher.expect_disconnect(DENIED), [prop::reason_string(WHY)]);
            }
            publisher.expect_closed();
            subscriber.expect_silence();
        }
    }
}

/// A throttled publisher is not read for a while; its message goes on, and so does everybody else.
#[test]
fn a_throttled_publisher_waits_and_nobody_else() {
    for version in VERSIONS {
        let broker = broker();
        let (mut publisher, mut subscriber) = pair(&broker, version);
        let mut other = broker.v5("other").connect();
        let begin = Instant::now();
        publisher.send(publish("t/throttle", "x").qos(1, 1));
        publisher.expect_ack(Kind::Puback, 1, 0);
        subscriber.take("t/throttle", "x+");
        publisher.send(publish("t/behind", "x").qos(1, 2));
        other.publish("t/other", "x", 1);
        subscriber.take("t/other", "x+");
        publisher.expect_ack(Kind::Puback, 2, 0);
        assert!(begin.elapsed() >= PAUSE);
        subscriber.take("t/behind", "x+");
    }
}

/// The Reason String is for those who want problem information [MQTT-3.1.2-29].
#[test]
fn words_are_kept_from_who_does_not_want_them() {
    let broker = broker();
    let mut client = broker.v5("quiet").prop(prop::request_problem(0)).connect();
    client.send(publish("t/reject", "x").qos(1, 1));
    let acked = client.expect_ack(Kind::Puback, 1, DENIED);
    assert!(acked.props.is_empty());
}

/// A code that a PUBACK can't carry becomes one that it can.
#[test]
fn a_reason_that_does_not_fit_becomes_one_that_does() {
    let broker = TestBroker::start_with(|setup| {
        setup.chain(|c| c.on_publish("#", |_, _| Flow::Reject(Denial::new(ReasonCode::Banned))));
    });
    let mut client = broker.v5("a").connect();
    client.send(publish("t", "x").qos(1, 1));
    let code = match client.recv() {
        Packet::Ack(acked) => acked.code,
        other => panic!("{other:?}"),
    };
    assert!(matches!(code, 0x80 | 0x87), "{code:#x}");
}

/// Plugins are asked in the order of the chain, each about what the one before left.
#[test]
fn the_order_is_that_of_the_chain() {
    let calls = Calls::default();
    let seen = calls.clone();
    let broker = TestBroker::start_with(move |setup| {
        for mark in ["a", "b", "c"] {
            setup.chain(|chain| {
                chain.on_publish("t", move |_, message| {
                    let marked = [message.payload(), mark.as_bytes()].concat();
                    message.set_payload(marked);
                    Flow::Continue
                })
            });
        }
        setup.chain(|chain| {
            chain.on_publish("t", move |_, _| {
                seen.add();
                Flow::Continue
            })
        });
    });
    let mut client = broker.v5("a").connect();
    client.subscribe("t", 0).publish("t", "", 1);
    assert_eq!(client.pending(), ["abc"]);
    assert_eq!(calls.count(), 1);
}

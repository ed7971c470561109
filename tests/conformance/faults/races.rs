//! Races of take-over, reconnection and unsubscribing between connections of different shards.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::prelude::*;

/// Eight connections at a time fight for one Client Identifier: one is left, with one Session, and it works.
#[test]
fn a_storm_of_take_overs() {
    let broker = TestBroker::start();
    let mut connections = 0;
    for connect in [
        broker.v5("c"),
        broker.v5("c").durable(),
        broker.v311("c").durable(),
    ] {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for round in 0..25 {
                        let mut client = connect.sent();
                        if round % 3 > 0 {
                            client.next_packet();
                        }
                        if round % 5 == 0 {
                            client.send(subscribe(1).filter("a/#", 1)).send(disconnect());
                        }
                    }
                });
            }
        });
        // some closed before they were accepted; the last must be the last
        connections += 8 * 25;
        eventually(|| {
            let counts = broker.handle().counts();
            (counts.connections_opened, counts.connections_closed) == (connections, connections)
        });
        connections += 2;
        let mut last = connect.connect();
        last.subscribe("a/#", 1).publish("a/b", "x", 1).take("a/b", "x");
        let gauges = broker.handle().gauges();
        assert_eq!((gauges.sessions, gauges.subscriptions), (1, 1));
        last.disconnect();
        broker.v5("c").connect().disconnect();
        eventually(|| broker.handle().gauges().sessions == 0);
    }
}

/// What is acknowledged to the publisher reaches a durable subscriber, however often that reconnects, taken over or not.
#[test]
fn nothing_is_lost_to_reconnections() {
    const MESSAGES: u32 = 300;
    let broker = TestBroker::start();
    let connect = broker.v5("subscriber").durable();
    connect.connect().subscribe("a", 2).disconnect();
    let mut seen = BTreeSet::new();
    let mut twice_at_qos_2 = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = broker.v5("publisher").connect();
            for number in 0..MESSAGES {
                publisher.publish("a", number.to_string(), 1 + (number % 2) as u8);
            }
        });
        let mut connection = connect.connect();
        while seen.len() < MESSAGES as usize {
            let Some(packet) = connection.next_packet() else {
                panic!("ended by the broker")
            };
            match packet {
                Packet::Publish(received) => {
                    let number: u32 = String::from_utf8_lossy(&received.payload)
                        .parse()
                        .expect("a number");
                    if !seen.insert(number) && received.qos == 2 && !received.dup {
                        twice_at_qos_2 += 1;
                    }
                    connection.send(if received.qos == 1 {
                        puback(received.id)
                    } else {
                        pubrec(received.id)
                    });
                    if number.is_multiple_of(13) {
                        // the new connection takes over before the old one is gone
                        connection = connect.connect();
                    }
                }
                Packet::Ack(Acked {
                    kind: Kind::Pubrel,
                    id,
                    ..
                }) => {
                    connection.send(pubcomp(id));
                }
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!(twice_at_qos_2, 0, "QoS 2 under a new Packet Identifier");
}

/// Subscribing and unsubscribing while others publish: what comes after UNSUBACK is nothing, what comes after SUBACK is all.
#[test]
fn unsubscribing_under_fire() {
    let broker = TestBroker::start();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for id in ["p", "q"] {
            let (broker, done) = (&broker, &done);
            scope.spawn(move || {
                let mut publisher = broker.v5(id).connect();
                while !done.load(Ordering::Relaxed) {
                    publisher.publish("a", "noise", 1);
                }
            });
        }
        // Also when an assertion fails: the publishers must not go on for ever.
        let _end = SetOnDrop(&done);
        let mut client = broker.v5("c").connect();
        for _ in 0..100 {
            client.subscribe("a", 0).unsubscribe("a").pending();
            client.expect_silence();
            // QoS 0, because nobody acknowledges the noise here.
            client.subscribe("a", 0).publish("a", "mine", 1);
            assert!(client.sync().pending().contains(&"mine".to_owned()));
            client.unsubscribe("a").pending();
        }
    });
}

/// Ends those who look at the flag, whatever happens.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Members of a shared group come and go while messages flow: each acknowledged message is seen.
#[test]
fn a_shared_group_in_motion() {
    let broker = TestBroker::start();
    let mut steady = broker.v5("steady").connect();
    steady.subscribe("$share/g/a", 1);
    let done = AtomicBool::new(false);
    let mut seen = BTreeSet::new();
    thread::scope(|scope| {
        let restless = scope.spawn(|| {
            let _end = SetOnDrop(&done);
            let mut seen = Vec::new();
            for round in 0..40 {
                let mut client = broker.v5("restless").connect();
                client.subscribe("$share/g/a", 1);
                if let Some(Packet::Publish(received)) = client.next_packet() {
                    client.send(puback(received.id)).sync();
                    seen.extend(client.pending());
                    seen.push(String::from_utf8_lossy(&received.payload).into_owned());
                }
                if round % 2 == 0 {
                    client.send(disconnect()).drain();
                }
            }
            seen
        });
        let publisher = scope.spawn(|| {
            let mut publisher = broker.v5("p").connect();
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                publisher.publish("a", number.to_string(), 1);
                number += 1;
            }
            number
        });
        let published: u32 = publisher.join().expect("the publisher ends");
        seen.extend(restless.join().expect("the member ends"));
        // what the restless one left unacknowledged goes to the steady one
        while seen.len() < published as usize {
            let received = steady.expect_any_publish();
            steady.acknowledge(&received);
            seen.insert(String::from_utf8_lossy(&received.payload).into_owned());
        }
    });
}

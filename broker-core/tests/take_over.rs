//! Sessions that change hands while everybody talks at once: one connection has a Session, no packet is torn, nothing comes
//! twice that must come once.
#![forbid(unsafe_code)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use common::{Client, Connect, PATIENCE, Running, open};

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// An output that was on another shard's list when its Session changed hands was written by two at once.
#[test]
fn two_hundred_take_overs_by_eight_while_messages_come() {
    const THREADS: usize = 8;
    const EACH: usize = 25;
    let mut broker = Running::start(open().shards(4));
    let connect = Connect {
        clean: false,
        expiry: 600,
        ..Connect::v5("wanted")
    };
    broker.connect(&connect).subscribe("#", 0);
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..3)
        .map(|n| {
            let (addr, stop) = (broker.addr, stop.clone());
            std::thread::spawn(move || {
                let id = format!("flood-{n}");
                let mut client = Client::connect(addr, &Connect::v4(&id));
                let batch: Vec<u8> = (0..20)
                    .flat_map(|i| client.publish_bytes("t", &vec![b'a' + i; 200 * usize::from(i)], 0, 0))
                    .collect();
                while !stop.load(Ordering::Relaxed) {
                    client.send(&batch);
                    client.expect_quiet();
                }
            })
        })
        .collect();
    let start = Arc::new(Barrier::new(THREADS));
    let storms: Vec<_> = (0..THREADS)
        .map(|_| {
            let (addr, start) = (broker.addr, start.clone());
            std::thread::spawn(move || {
                start.wait();
                let mut old: Vec<Client> = Vec::new();
                for _ in 0..EACH {
                    let (mut client, present) = Client::connect_present(addr, &connect);
                    assert!(present);
                    for _ in 0..5 {
                        match client.next() {
                            Some(packet) if packet.kind() == 3 => whole(&packet),
                            Some(packet) => assert_eq!((packet.kind(), packet.body[0]), (14, 0x8E)),
                            None => break,
                        }
                    }
                    old.push(client);
                }
                old
            })
        })
        .collect();
    let clients: Vec<_> = storms
        .into_iter()
        .flat_map(|storm| storm.join().unwrap())
        .collect();
    stop.store(true, Ordering::Relaxed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    broker.until("one is left", |handle| handle.gauges().connections == 1);
    assert_eq!(broker.handle().gauges().sessions, 1);
    let mut open = 0;
    for mut client in clients {
        client
            .stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        while let Some(packet) = client.try_next() {
            match packet {
                Some(packet) if packet.kind() == 3 => whole(&packet),
                Some(packet) => assert_eq!((packet.kind(), packet.body[0]), (14, 0x8E)),
                None => {
                    open += 1;
                    break;
                }
            }
        }
    }
    assert_eq!(open, 1, "connections that are still open");
    assert_eq!(broker.handle().counts().panics, 0);
    assert_eq!(broker.shutdown(PATIENCE).cut, 0);
}

fn whole(packet: &common::Packet) {
    let (topic, _, payload) = packet.publish(5);
    assert_eq!(topic, "t");
    let first = payload.first().copied().unwrap_or(b'a');
    assert_eq!(payload.len(), 200 * usize::from(first - b'a'));
    assert!(payload.iter().all(|byte| *byte == first));
}

/// A publisher with QoS 2 as it should be: it knows what it must send again.
struct Publisher {
    under_way: BTreeMap<u16, (String, bool)>,
    next: u16,
}

impl Publisher {
    fn again(&self, client: &mut Client) {
        for (id, (payload, released)) in &self.under_way {
            if *released {
                client.ack(6, *id);
            } else {
                let mut bytes = client.publish_bytes("t", payload.as_bytes(), 2, *id);
                bytes[0] |= 8;
                client.send(&bytes);
            }
        }
    }

    fn publish(&mut self, client: &mut Client) {
        self.next += 1;
        let payload = self.next.to_string();
        client.publish("t", payload.as_bytes(), 2, self.next);
        self.under_way.insert(self.next, (payload, false));
    }

    fn take(&mut self, client: &mut Client) -> bool {
        let Some(packet) = client.next() else { return false };
        match packet.kind() {
            5 => {
                if let Some(message) = self.under_way.get_mut(&packet.id()) {
                    message.1 = true;
                }
                client.ack(6, packet.id());
            }
            7 => _ = self.under_way.remove(&packet.id()),
            kind => panic!("packet type {kind}"),
        }
        true
    }
}

#[test]
fn exactly_once_over_hundreds_of_broken_connections() {
    const MESSAGES: u16 = 600;
    let broker = Running::start(open().shards(2));
    let addr = broker.addr;
    let persistent = |id: &'static str| Connect {
        clean: false,
        ..Connect::v4(id)
    };
    Client::connect(addr, &persistent("receiver")).subscribe("t", 2);
    let receiver = std::thread::spawn(move || {
        let mut random = Random(0x5EED_0001);
        let (mut all, mut known) = (Vec::new(), BTreeSet::new());
        while all.len() < MESSAGES.into() || !known.is_empty() {
            let mut client = Client::connect(addr, &persistent("receiver"));
            // What it didn't acknowledge comes again only with the next connection.
            client
                .stream
                .set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            for _ in 0..random.below(25) {
                if all.len() == usize::from(MESSAGES) && known.is_empty() {
                    break;
                }
                let Some(Some(packet)) = client.try_next() else {
                    break;
                };
                match packet.kind() {
                    3 => {
                        let (_, id, payload) = packet.publish(4);
                        if known.insert(id) {
                            all.push(String::from_utf8(payload).unwrap());
                        }
                        if random.below(4) > 0 {
                            client.ack(5, id);
                        }
                    }
                    6 => {
                        known.remove(&packet.id());
                        client.ack(7, packet.id());
                    }
                    kind => panic!("packet type {kind}"),
                }
            }
            client.cut();
        }
        all
    });
    let mut random = Random(0x5EED_0002);
    let mut publisher = Publisher {
        under_way: BTreeMap::new(),
        next: 0,
    };
    while publisher.next < MESSAGES || !publisher.under_way.is_empty() {
        let mut client = Client::connect(addr, &persistent("publisher"));
        publisher.again(&mut client);
        for _ in 0..random.below(25) {
            if publisher.next < MESSAGES && random.below(2) == 0 {
                publisher.publish(&mut client);
            } else if publisher.under_way.is_empty() || !publisher.take(&mut client) {
                break;
            }
        }
        client.cut();
    }
    let expected: Vec<_> = (1..=MESSAGES).map(|n| n.to_string()).collect();
    assert_eq!(receiver.join().unwrap(), expected);
}

/// A Session without an expiry ended with its connection, but who came between the two had it.
#[test]
fn a_session_that_ends_with_its_connection_is_never_resumed() {
    const ROUNDS: usize = 300;
    let broker = Running::start(open().shards(4));
    let addr = broker.addr;
    // Whoever has much to do between the end of the connection and that of the Session: its will goes to many.
    let _many: Vec<_> = (0..50)
        .map(|n| {
            let mut client = broker.connect(&Connect::v4(&format!("many-{n}")));
            client.subscribe("will", 0);
            client
        })
        .collect();
    for _ in 0..ROUNDS {
        let connect = Connect {
            clean: true,
            will: Some(("will", b"x", 0)),
            ..Connect::v5("short")
        };
        let client = Client::connect(addr, &connect);
        let others: Vec<_> = (0..2)
            .map(|_| {
                std::thread::spawn(move || {
                    let connect = Connect {
                        clean: false,
                        ..Connect::v5("short")
                    };
                    Client::connect_present(addr, &connect)
                })
            })
            .collect();
        client.cut();
        for other in others {
            assert!(!other.join().unwrap().1, "the session is gone");
        }
    }
}

#[test]
fn two_shards_publish_to_one_that_reads_slowly() {
    const EACH: usize = 400;
    let broker = Running::start(open().shards(2));
    let mut slow = broker.connect(&Connect {
        receive_maximum: 7,
        ..Connect::v5("slow")
    });
    slow.subscribe("t/#", 1);
    let publishers: Vec<_> = (0..6)
        .map(|n| {
            let addr = broker.addr;
            std::thread::spawn(move || {
                let mut client = Client::connect(addr, &Connect::v4(&format!("p{n}")));
                for i in 0..EACH {
                    let mut payload = format!("{i}:").into_bytes();
                    payload.resize(2000, b'.');
                    client.publish(&format!("t/{n}"), &payload, 1, 1);
                    client.expect(4);
                }
            })
        })
        .collect();
    let mut next: BTreeMap<String, usize> = BTreeMap::new();
    for count in 0..6 * EACH {
        let (topic, id, payload) = slow.expect(3).publish(5);
        let text = String::from_utf8(payload).unwrap();
        let expected = next.entry(topic).or_default();
        assert_eq!(text.split_once(':').unwrap().0, expected.to_string());
        *expected += 1;
        if count % 50 == 0 {
            (0..1000).for_each(|_| std::thread::yield_now());
        }
        slow.ack(4, id);
    }
    publishers
        .into_iter()
        .for_each(|publisher| publisher.join().unwrap());
    slow.expect_quiet();
}

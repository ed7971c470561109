//! Kills at hundreds of random moments, under traffic with QoS 1 and 2. What was acknowledged arrives, and no QoS 2
//! message arrives twice. Publisher and subscriber are the test's own and remember what MQTT asks them to.

use std::collections::{BTreeMap, HashSet};

use crate::prelude::*;

/// A random number generator of a few lines, so that a seed says everything (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

/// What a publisher has under way.
#[derive(Clone, Debug)]
struct Sent {
    payload: String,
    qos: u8,
    released: bool,
}

/// A publisher with a Session that stays.
#[derive(Default)]
struct Publisher {
    under_way: BTreeMap<u16, Sent>,
    next_id: u16,
    count: u32,
    acknowledged: HashSet<String>,
}

impl Publisher {
    fn publish(&mut self, client: &mut Client, qos: u8) {
        self.next_id = self.next_id % 1000 + 1;
        if self.under_way.contains_key(&self.next_id) {
            return;
        }
        self.count += 1;
        let payload = format!("{qos}-{}", self.count);
        client.send(publish("a", &payload).qos(qos, self.next_id));
        let released = false;
        self.under_way.insert(
            self.next_id,
            Sent {
                payload,
                qos,
                released,
            },
        );
    }

    fn resume(&self, client: &mut Client) {
        for (id, sent) in &self.under_way {
            match sent.released {
                true => client.send(pubrel(*id)),
                false => client.send(publish("a", &sent.payload).qos(sent.qos, *id).dup()),
            };
        }
    }

    fn handle(&mut self, client: &mut Client, acked: &Acked) {
        let Some(sent) = self.under_way.get_mut(&acked.id) else {
            return;
        };
        match acked.kind {
            Kind::Pubrec => {
                sent.released = true;
                client.send(pubrel(acked.id));
                // From here on the broker alone is responsible.
                self.acknowledged.insert(sent.payload.clone());
            }
            Kind::Puback | Kind::Pubcomp => {
                self.acknowledged.insert(sent.payload.clone());
                self.under_way.remove(&acked.id);
            }
            Kind::Pubrel => panic!("PUBREL to a publisher"),
        }
    }
}

/// A subscriber with a Session that stays.
#[derive(Default)]
struct Subscriber {
    received: HashSet<u16>,
    got: BTreeMap<String, u32>,
    /// Answers that it hasn't sent yet.
    late: Vec<(u8, u16)>,
}

impl Subscriber {
    fn handle(&mut self, packet: Packet) {
        match packet {
            Packet::Publish(received) => {
                if received.qos == 1 || self.received.insert(received.id) {
                    let payload = String::from_utf8(received.payload).expect("text");
                    *self.got.entry(payload).or_default() += 1;
                }
                self.late.push((received.qos, received.id));
            }
            Packet::Ack(acked) if acked.kind == Kind::Pubrel => {
                self.received.remove(&acked.id);
                self.late.push((3, acked.id));
            }
            other => panic!("{other:?} to a subscriber"),
        }
    }

    fn answer(&mut self, client: &mut Client, most: usize) {
        let most = most.min(self.late.len());
        for (what, id) in self.late.drain(..most) {
            match what {
                1 => client.send(puback(id)),
                2 => client.send(pubrec(id)),
                _ => client.send(pubcomp(id)),
            };
        }
    }
}

/// Takes what has come by now.
fn come(client: &mut Client) -> Vec<Packet> {
    client.send(pingreq());
    let mut packets = Vec::new();
    loop {
        match client.recv() {
            Packet::Pingresp => return packets,
            packet => packets.push(packet),
        }
    }
}

fn run(seed: u64, kills: u32) {
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let (mut publisher, mut subscriber) = (Publisher::default(), Subscriber::default());
    let mut broker = Durable::on(&disk());
    broker.durable(V5, "s").connect().subscribe("a", 2).disconnect();
    broker.durable(V311, "p").connect().disconnect();
    for _ in 0..kills {
        let mut out = broker.durable(V311, "p").connect();
        assert!(out.connack.session_present, "seed {seed}");
        publisher.resume(&mut out);
        let mut input = (dice.roll(4) > 0).then(|| broker.durable(V5, "s").connect());
        if let Some(client) = &input {
            assert!(client.connack.session_present, "seed {seed}");
        }
        // Answers that were not sent are not owed any more: the messages come again.
        subscriber.late.clear();
        for _ in 0..dice.roll(30) {
            match dice.roll(10) {
                0..3 => {
                    let qos = 1 + dice.roll(2) as u8;
                    publisher.publish(&mut out, qos);
                }
                3 => {
                    for packet in come(&mut out) {
                        let Packet::Ack(acked) = packet else {
                            panic!("{packet:?} to a publisher")
                        };
                        publisher.handle(&mut out, &acked);
                    }
                }
                4 => {
                    for packet in input.iter_mut().flat_map(come) {
                        subscriber.handle(packet);
                    }
                }
                5 => {
                    if let Some(client) = &mut input {
                        subscriber.answer(client, dice.roll(10) as usize);
                    }
                }
                6 => broker.disk().hold(),
                7 => broker.disk().release(),
                8 => {
                    // It leaves without a word and comes back; its CONNACK waits for the store.
                    broker.disk().release();
                    out.lose();
                    out = broker.durable(V311, "p").connect();
                    assert!(out.connack.session_present, "seed {seed}");
                    publisher.resume(&mut out);
                }
                _ => {
                    broker.disk().release();
                    if let Some(client) = &mut input {
                        client.lose();
                    }
                    let client = broker.durable(V5, "s").connect();
                    assert!(client.connack.session_present, "seed {seed}");
                    subscriber.late.clear();
                    input = Some(client);
                }
            }
        }
        let mut how = End::Crash;
        if dice.roll(8) == 0 {
            how = End::Shutdown;
            broker.disk().release();
        }
        broker = broker.again(how);
    }
    finish(&broker, &mut publisher, &mut subscriber);
    for payload in &publisher.acknowledged {
        let times = subscriber.got.get(payload).copied().unwrap_or(0);
        assert!(times > 0, "seed {seed}: {payload} was acknowledged and is lost");
    }
    for (payload, times) in &subscriber.got {
        let once = *times == 1 || !payload.starts_with('2');
        assert!(once, "seed {seed}: {payload} came {times} times");
    }
    broker.settle();
    let kinds = crate::sessions::keys(&broker.end(End::Crash));
    assert_eq!(kinds, ["m", "s", "u"], "seed {seed}");
}

/// Goes on until both have finished everything.
fn finish(broker: &Durable, publisher: &mut Publisher, subscriber: &mut Subscriber) {
    let mut out = broker.durable(V311, "p").connect();
    publisher.resume(&mut out);
    subscriber.late.clear();
    let mut input = broker.durable(V5, "s").connect();
    let handle = broker.handle();
    for _ in 0..100_000 {
        for packet in come(&mut out) {
            let Packet::Ack(acked) = packet else {
                panic!("{packet:?} to a publisher")
            };
            publisher.handle(&mut out, &acked);
        }
        for packet in come(&mut input) {
            subscriber.handle(packet);
        }
        subscriber.answer(&mut input, usize::MAX);
        let gauges = handle.gauges();
        if publisher.under_way.is_empty() && gauges.inflight == 0 && gauges.queued == 0 {
            return;
        }
    }
    panic!("it doesn't come to an end: {:?}", publisher.under_way);
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_doubled() {
    // What happens between two kills depends on the scheduler too, so each run tries something else.
    for seed in 1..=20 {
        run(seed, 25);
    }
}

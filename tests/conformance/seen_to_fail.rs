//! Where other brokers were seen to fail on the wire, as far as no statement's test covers it.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::faults::{alone, grown_mib};
use crate::prelude::*;

/// Writes `packet` again and again, reading nothing, until the broker reads no more; returns how many bytes it took.
fn stuff(client: &Client, packet: &[u8], most: usize) -> usize {
    let mut socket = client.socket();
    socket
        .set_write_timeout(Some(Duration::from_millis(500)))
        .expect("a write timeout can be set");
    let batch = packet.repeat((64 * 1024 / packet.len()).max(1));
    let mut written = 0;
    while written < most {
        // what was written in part is continued where it was cut
        let Ok(count) = socket.write(&batch[written % batch.len()..]) else {
            break;
        };
        written += count;
    }
    written
}

alone! {
    /// PINGRESP and acknowledgements that nobody reads: the broker stops reading.
    fn answers_that_nobody_reads() {
        const MOST: usize = 512 << 20;
        for packet in [pingreq().wire(V5), pubrel(7).wire(V5)] {
            let broker = TestBroker::start_with(|setup| setup.limits.outbox_bytes_max = 1 << 20);
            let client = broker.v5("c").connect();
            let mut written = 0;
            let grown = grown_mib(|| written = stuff(&client, &packet, MOST));
            assert!(written < MOST, "the broker reads on");
            assert!(grown < 16, "{grown} MiB for {:02x?}", packet[0]);
            let waiting = broker.handle().gauges().output_bytes;
            assert!(waiting < 2 << 20, "{waiting} bytes wait for {:02x?}", packet[0]);
            assert_eq!(broker.handle().gauges().connections, 1, "it is not closed so soon");
            broker.v5("other").connect().expect_silence();
        }
    }

    /// Ten subscribers that never read, at each QoS: memory is bounded, the publisher and the others go on.
    fn subscribers_that_never_read() {
        let broker = TestBroker::start_with(|setup| setup.limits.queued_bytes_max = 1 << 20);
        let mut deaf: Vec<_> = (0..10).map(|id| broker.v5(format!("{id}")).connect()).collect();
        for (number, client) in deaf.iter_mut().enumerate() {
            client.subscribe("a", (number % 3) as u8);
        }
        let mut lively = broker.v5("lively").connect();
        lively.subscribe("a", 1);
        let mut publisher = broker.v5("p").connect();
        let payload = vec![b'x'; 100_000];
        let grown = grown_mib(|| {
            for _ in 0..400 {
                publisher.publish("a", &payload, 2);
                lively.take("a", &payload);
            }
        });
        // an output of 4 MiB each, a queue of 1 MiB each, and what allocators keep
        assert!(grown < 128, "{grown} MiB");
    }

    /// The largest packet that the protocol has, to two subscribers: one copy and a tenth.
    fn the_largest_packet_is_kept_once() {
        const LARGEST: usize = 268_435_455;
        let broker = TestBroker::start_with(|setup| setup.limits.packet_size_max = LARGEST as u32 + 5);
        let mut readers: Vec<_> = (0..2).map(|id| broker.v311(format!("{id}")).connect()).collect();
        for reader in &mut readers {
            reader.subscribe("a", 0);
        }
        let publisher = broker.v311("p").connect();
        let before = jackfield_tests::alone::resident().unwrap_or(0);
        std::thread::scope(|scope| {
            for reader in &readers {
                scope.spawn(move || {
                    let (mut left, mut chunk) = (LARGEST + 5, vec![0; 1 << 20]);
                    while left > 0 {
                        left -= reader.socket().read(&mut chunk).expect("the rest comes");
                    }
                });
            }
            let head = Frame::new(0x30).text("a").claim(LARGEST).encode();
            let chunk = vec![b'x'; 1 << 20];
            let mut socket = publisher.socket();
            socket.write_all(&head).expect("the broker reads");
            let mut left = LARGEST - 3;
            while left > 0 {
                let count = left.min(chunk.len());
                socket.write_all(&chunk[..count]).expect("the broker reads");
                left -= count;
            }
        });
        let grown = jackfield_tests::alone::resident_peak().unwrap_or(0).saturating_sub(before) >> 20;
        assert!(grown <= 256 + 26, "{grown} MiB");
    }
}

/// A connection that takes nothing of what waits for it is closed after a while.
#[test]
fn a_connection_that_takes_nothing_is_closed() {
    let broker = TestBroker::start_with(|setup| setup.limits.write_stall_max = Duration::from_millis(200));
    let mut client = broker.v5("c").connect();
    client.subscribe("a", 0);
    let mut publisher = broker.v5("p").connect();
    for _ in 0..200 {
        publisher.publish("a", vec![b'x'; 100_000], 0);
    }
    eventually(|| broker.handle().gauges().connections == 1);
    assert_eq!(broker.handle().counts().write_stalls, 1);
}

/// One slow subscriber among others stalls nobody.
#[test]
fn a_slow_subscriber_stalls_nobody() {
    let broker = TestBroker::start();
    let mut slow = broker.v5("slow").connect();
    let mut quick = broker.v5("quick").connect();
    for client in [&mut slow, &mut quick] {
        client.subscribe("a", 1);
    }
    let mut publisher = broker.v5("p").connect();
    let payload = vec![b'x'; 50_000];
    for _ in 0..500 {
        publisher.publish("a", &payload, 1);
        quick.take("a", &payload);
    }
}

/// A message that expires while it waits for quota makes way for the next.
#[test]
fn an_expired_message_behind_flow_control() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").prop(prop::receive_maximum(1)).connect();
    client.subscribe("a", 1).publish("a", "1", 1);
    client.publish_packet(publish("a", "short").prop(prop::message_expiry(10)), 1);
    client.publish("a", "3", 1);
    let first = client.expect_publish("a", "1");
    broker.advance(secs(12));
    client.send(puback(first.id));
    client.take("a", "3");
    client.expect_silence();
}

/// Not one property byte of 5.0 reaches a 3.1.1 subscriber: live, retained, queued, or from a Will.
#[test]
fn properties_never_reach_older_subscribers() {
    let all = [
        prop::payload_format(1),
        prop::message_expiry(1000),
        prop::content_type("t"),
        prop::response_topic("r"),
        prop::correlation_data(b"c"),
        prop::user("n", "v"),
    ];
    for version in [V31, V311] {
        let broker = TestBroker::start();
        let offline = broker.client(version, "offline").durable();
        offline.connect().subscribe("+", 2).disconnect();
        let mut live = broker.client(version, "live").connect();
        live.subscribe("+", 2);
        let packet = all
            .iter()
            .cloned()
            .fold(publish("a", "payload").retain(), Publish::prop);
        for qos in 0..3 {
            broker.v5("p").connect().publish_packet(packet.clone(), qos);
            live.take("a", "payload");
        }
        let last = all.iter().cloned().fold(will("w", "gone").qos(1), Will::prop);
        broker.v5("p").will(last).connect().abort();
        live.take("w", "gone");
        broker
            .client(version, "late")
            .connect()
            .subscribe("a", 1)
            .take("a", "payload");
        let mut offline = offline.connect();
        offline.take("a", "payload");
        offline.take("a", "payload");
        offline.take("w", "gone");
    }
}

/// A thousand connections that say nothing: others are served, and they are closed when their time is up.
#[test]
fn half_open_connections_by_the_thousand() {
    let broker = TestBroker::start_with(|setup| setup.limits.connect_timeout = Duration::from_secs(2));
    let silent: Vec<_> = (0..2000).map(|_| broker.open(V5)).collect();
    let mut half: Vec<_> = (0..100).map(|_| broker.open(V5)).collect();
    for client in &mut half {
        client.send([0x10, 0x20]);
    }
    broker.v5("c").connect().expect_silence();
    for mut client in silent.into_iter().chain(half) {
        client.expect_closed();
    }
    broker.v5("c").connect().expect_silence();
}

/// A CONNECT that comes byte by byte is a CONNECT; one that comes too slowly is not waited for.
#[test]
fn a_connect_byte_by_byte() {
    let broker = TestBroker::start_with(|setup| setup.limits.connect_timeout = Duration::from_secs(2));
    let mut client = broker.open(V5);
    for byte in broker.v5("c").will(will("w", "x")).username("u").wire(V5) {
        client.send([byte]);
    }
    client.expect_accepted();
    for byte in publish("a", "x").qos(1, 1).wire(V5) {
        client.send([byte]);
    }
    client.expect_some_ack(Kind::Puback, 1);
    broker
        .open(V5)
        .send(&broker.v5("d").wire(V5)[..5])
        .expect_closed();
}

/// TCP_NODELAY: a message that follows another doesn't wait for the 40 ms of a delayed acknowledgement. The fastest of
/// twenty pairs counts, so that a busy machine doesn't matter. The subscriber answers at QoS 1, since systems delay only the
/// acknowledgements of those who send.
#[test]
fn the_second_message_does_not_wait_for_an_acknowledgement() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    client.subscribe("a", 1);
    let mut publisher = broker.v5("p").connect();
    let mut pair = || {
        publisher.publish("a", "1", 1).publish("a", "2", 1);
        let began = Instant::now();
        let both = ["1", "2"].map(|payload| client.expect_publish("a", payload));
        let waited = began.elapsed();
        both.iter().for_each(|received| client.acknowledge(received));
        waited
    };
    let fastest = (0..20).map(|_| pair()).min();
    assert!(fastest < Some(Duration::from_millis(20)), "{fastest:?}");
}

/// What a member of a shared group left unacknowledged at QoS 1 goes to another when its Session ends.
#[test]
fn a_shared_message_is_delivered_again_elsewhere() {
    let broker = TestBroker::start();
    let mut first = broker.v5("first").connect();
    first.subscribe("$share/g/a", 1).publish("a", "x", 1);
    first.expect_publish("a", "x");
    let mut second = broker.v5("second").connect();
    second.subscribe("$share/g/a", 1);
    first.lose();
    second.take("a", "x");
    second.expect_silence();
}

//! When the broker reads and goes on: nothing that has arrived may lie there until more arrives.
#![forbid(unsafe_code)]

mod common;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_core::{Chain, Clock};
use broker_types::Limits;
use common::{Client, Connect, DISCONNECT, PATIENCE, PINGREQ, Running, frame, gated, open, with_chain};
use plugin_api::Flow;
use tokio::sync::Semaphore;

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// A client that didn't wait for CONNACK got no SUBACK: what came with the CONNECT was looked at only when more came.
#[test]
fn packets_that_come_together_with_the_connect_are_served() {
    let broker = Running::start(open());
    for level in [4, 5] {
        let mut client = Client::open(broker.addr, level);
        let mut bytes = Connect {
            level,
            ..Connect::v5("hasty")
        }
        .bytes();
        bytes.extend(client.subscribe_bytes(&["a"], 1));
        bytes.extend(client.publish_bytes("a", b"x", 1, 1));
        client.send(&bytes);
        client.expect(2);
        client.expect(9);
        let mut kinds = [client.next().unwrap().kind(), client.next().unwrap().kind()];
        kinds.sort_unstable();
        assert_eq!(kinds, [3, 4]);
    }
}

/// A client over its rate limit waited for its PUBACKs for ever: after the pause only new bytes were looked at.
#[test]
fn after_a_pause_for_the_rate_limit_the_rest_is_served() {
    for change in [
        (|limits| limits.rate_messages = Some(20)) as fn(&mut Limits),
        |limits| limits.rate_bytes = Some(200),
    ] {
        let broker = Running::start(open().limits(limits(change)));
        let mut client = broker.connect(&Connect::v4("fast"));
        let mut bytes = Vec::new();
        for id in 1..=30 {
            bytes.extend(client.publish_bytes("a", b"x", 1, id));
        }
        client.send(&bytes);
        for id in 1..=30 {
            assert_eq!(client.expect(4).id(), id);
        }
    }
}

/// A client that stays below its rate limit was made to wait: the bucket was never filled again by the time that passed.
#[test]
fn a_client_below_its_rate_limit_is_not_slowed() {
    let broker = Running::start(open().limits(limits(|limits| limits.rate_messages = Some(1000))));
    let mut client = broker.connect(&Connect::v4("calm"));
    let begin = Instant::now();
    for id in 1..=3000u16 {
        client.publish("a", b"x", 1, id);
        client.expect(4);
        while begin.elapsed() < Duration::from_micros(1100) * id.into() {
            std::thread::yield_now();
        }
    }
    assert_eq!(broker.handle().counts().rate_limited, 0);
}

/// A limit on bytes held no client back further than one read a second.
#[test]
fn a_limit_on_bytes_holds_on_the_average() {
    let broker = Running::start(open().limits(limits(|limits| limits.rate_bytes = Some(20_000))));
    let mut client = broker.connect(&Connect::v4("fast"));
    let begin = Instant::now();
    let bytes: Vec<u8> = (1..=50)
        .flat_map(|id| client.publish_bytes("a", &[0; 1000], 1, id))
        .collect();
    client.send(&bytes);
    (0..50).for_each(|_| _ = client.expect(4));
    assert!(
        begin.elapsed() > Duration::from_millis(1400),
        "{:?}",
        begin.elapsed()
    );
}

/// The connection panicked: a buffer with more room than the large packet needs was filled beyond the packet's end.
#[test]
fn a_large_packet_behind_another_takes_no_byte_of_the_next() {
    let broker = Running::start(open());
    let mut subscriber = broker.connect(&Connect::v4("sub"));
    subscriber.subscribe("#", 0);
    let mut client = broker.connect(&Connect::v4("pub"));
    let first = client.publish_bytes("1", &[1; 31_000], 1, 1);
    let second = client.publish_bytes("2", &[2; 33_000], 1, 2);
    let third = client.publish_bytes("3", &[3; 20_000], 1, 3);
    // Each piece must be read on its own; what makes sure of that is that the broker says how much it has read.
    let bytes = [first, second, third].concat();
    let before = broker.handle().counts().bytes_received;
    for (from, to) in [
        (0, 20_000),
        (20_000, 31_010 + 25_000),
        (31_010 + 25_000, bytes.len()),
    ] {
        client.send(&bytes[from..to]);
        broker.until("read", |handle| {
            handle.counts().bytes_received - before >= to as u64
        });
    }
    for id in 1..=3 {
        assert_eq!(client.expect(4).id(), id);
    }
    for (topic, byte, len) in [("1", 1, 31_000), ("2", 2, 33_000), ("3", 3, 20_000)] {
        let (name, _, payload) = subscriber.expect(3).publish(4);
        assert_eq!((name.as_str(), payload), (topic, vec![byte; len]));
    }
    assert_eq!(broker.handle().counts().panics, 0);
}

/// The same behind a packet that waited for a plugin, whose rest keeps the room of a whole read.
#[test]
fn a_large_packet_behind_one_that_waited_is_read_to_its_end_only() {
    let gate = Arc::new(Semaphore::new(0));
    let broker = Running::start(with_chain(gated(&gate)));
    let mut client = broker.connect(&Connect::v4("pub"));
    let mut bytes = client.publish_bytes("slow", b"", 1, 1);
    bytes.extend(client.publish_bytes("fast", &[0; 30_000], 1, 2));
    let large = client.publish_bytes("large", &[0; 40_000], 1, 3);
    bytes.extend(&large[..10_000]);
    let before = broker.handle().counts().bytes_received;
    client.send(&bytes);
    broker.until("read", |handle| {
        handle.counts().bytes_received - before >= bytes.len() as u64
    });
    gate.add_permits(1);
    client.expect(4);
    client.expect(4);
    let mut rest = large[10_000..].to_vec();
    for id in 4..=10 {
        rest.extend(client.publish_bytes("fast", &[0; 5000], 1, id));
    }
    client.send(&rest);
    for id in 3..=10 {
        assert_eq!(client.expect(4).id(), id);
    }
}

/// A client that let its answers lie for a while was never read again after it took them.
#[test]
fn a_client_that_takes_its_answers_late_is_read_on() {
    let broker = Running::start(open().limits(limits(|limits| limits.outbox_bytes_max = 10_000)));
    let mut client = broker.connect(&Connect::v4("late"));
    // Write until nothing more is taken: then answers fill everything between us.
    client
        .stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let pings = PINGREQ.repeat(8192);
    let mut sent = 0;
    while let Ok(n) = client.stream.write(&pings[sent % 2..]) {
        sent += n;
    }
    if sent % 2 == 1 {
        sent += 1;
        // As soon as there is room.
        let mut other = client.stream.try_clone().unwrap();
        other.set_write_timeout(Some(PATIENCE)).unwrap();
        std::thread::spawn(move || other.write_all(&PINGREQ[1..]));
    }
    for _ in 0..sent / 2 {
        client.expect(13);
    }
    client.expect_quiet();
}

/// `mosquitto_pub` behind a slow plugin: the message was lost, and the Will Message published.
#[test]
fn a_client_that_publishes_and_leaves_has_published() {
    let gate = Arc::new(Semaphore::new(0));
    let broker = Running::start(with_chain(gated(&gate)));
    let mut subscriber = broker.connect(&Connect::v4("sub"));
    subscriber.subscribe("#", 0);
    let mut client = broker.connect(&Connect {
        will: Some(("will", b"", 0)),
        ..Connect::v4("pub")
    });
    let before = broker.handle().counts().bytes_received;
    client.publish("slow", b"1", 0, 0);
    client.publish("fast", b"2", 0, 0);
    client.send(&DISCONNECT);
    drop(client);
    // The plugin still thinks when all that has been read.
    let all = before + 9 + 9 + 2;
    broker.until("read", |handle| handle.counts().bytes_received >= all);
    gate.add_permits(1);
    assert_eq!(subscriber.message(), ("slow".into(), "1".into()));
    assert_eq!(subscriber.message(), ("fast".into(), "2".into()));
    broker.until("gone", |handle| handle.gauges().connections == 1);
    subscriber.expect_quiet();
}

#[test]
fn a_client_whose_packet_waits_still_gets_pingresp() {
    let gate = Arc::new(Semaphore::new(0));
    let broker = Running::start(with_chain(gated(&gate)));
    let mut client = broker.connect(&Connect::v4("c"));
    let mut bytes = client.publish_bytes("slow", b"", 1, 1);
    bytes.extend(PINGREQ);
    client.send(&bytes);
    client.expect(13);
    client.send(&PINGREQ);
    client.expect(13);
    client.publish("fast", b"", 1, 2);
    gate.add_permits(1);
    assert_eq!(client.expect(4).id(), 1);
    assert_eq!(client.expect(4).id(), 2);
    client.expect_quiet();
}

/// A client that a plugin made wait longer than its Keep Alive was taken for dead, though its PINGREQs had come.
#[test]
fn a_client_that_is_made_to_wait_is_not_taken_for_dead() {
    let clock = Clock::manual();
    let chain = Chain::new().on_publish("a", |_, _| Flow::Throttle(Duration::from_millis(300)));
    let broker = Running::start(with_chain(chain).clock(clock.clone()));
    let mut client = broker.connect(&Connect {
        keep_alive: 10,
        ..Connect::v4("c")
    });
    client.publish("a", b"", 1, 1);
    client.expect(4);
    for _ in 0..3 {
        client.expect_quiet();
        clock.advance(Duration::from_secs(8));
    }
    client.expect_quiet();
}

#[test]
fn a_client_that_says_nothing_is_taken_for_dead() {
    let clock = Clock::manual();
    let broker = Running::start(open().clock(clock.clone()));
    let mut client = broker.connect(&Connect {
        keep_alive: 10,
        ..Connect::v5("c")
    });
    client.expect_quiet();
    clock.advance(Duration::from_secs(13));
    client.expect_quiet();
    clock.advance(Duration::from_secs(17));
    assert_eq!(client.expect_end(), Some(0x8D));
    assert_eq!(broker.handle().counts().keep_alive_timeouts, 1);
}

#[test]
fn a_connect_in_single_bytes_is_understood() {
    let broker = Running::start(open());
    let mut client = Client::open(broker.addr, 5);
    let bytes = Connect {
        will: Some(("w", &[7; 500], 1)),
        expiry: 5,
        ..Connect::v5("slow")
    }
    .bytes();
    let before = broker.handle().counts().connects_accepted;
    for byte in bytes {
        client.send(&[byte]);
    }
    client.expect(2);
    assert_eq!(broker.handle().counts().connects_accepted - before, 1);
}

#[test]
fn a_packet_in_single_bytes_is_understood() {
    let broker = Running::start(open());
    let mut client = broker.connect(&Connect::v4("slow"));
    client.subscribe("#", 0);
    for byte in client.publish_bytes("a", &[b'x'; 300], 0, 0) {
        client.send(&[byte]);
    }
    assert_eq!(client.message().1.len(), 300);
}

#[test]
fn a_frame_that_promises_too_much_is_refused_at_its_header() {
    let broker = Running::start(open());
    let mut client = broker.connect(&Connect::v5("big"));
    client.send(&frame(0x30, &vec![0; 2 * 1024 * 1024])[..5]);
    assert_eq!(client.expect_end(), Some(0x95));
}

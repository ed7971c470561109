//! What a client can make grow, with its bound. One test, because it looks at the memory of the whole process.
#![forbid(unsafe_code)]

mod common;

use std::io::Write;
use std::time::{Duration, Instant};

use broker_types::Limits;
use common::{Client, Connect, PATIENCE, PINGREQ, Running, open};

const MIB: usize = 1024 * 1024;

#[allow(clippy::unwrap_used, reason = "a test's helper")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("linux");
    let pages: usize = status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("pages");
    pages * 4096
}

/// Calls `load` and fails if it costs more memory than `most`.
#[track_caller]
fn costs_at_most(most: usize, what: &str, load: impl FnOnce()) {
    let before = resident();
    load();
    let grown = resident().saturating_sub(before);
    println!("{what}: {} KiB", grown / 1024);
    assert!(grown <= most, "{what}: {} MiB", grown / MIB);
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.outbox_bytes_max = MIB;
    limits.queued_bytes_max = 4 * MIB;
    limits.write_stall_max = Duration::from_secs(1);
    limits.subscriptions_max = 100_000;
    limits.packet_size_max = 16 * MIB as u32;
    limits
}

#[test]
fn what_a_client_can_make_grow_has_a_bound() {
    let broker = Running::start(
        open()
            .shards(2)
            .limits(limits())
            .retained_max(1000, 2 * MIB as u64),
    );
    warm_up(&broker);
    costs_at_most(16 * MIB, "2,000 half-open connections", || {
        let half: Vec<_> = (0..2000).map(|_| Client::open(broker.addr, 4)).collect();
        broker.until("accepted", |handle| handle.gauges().connections >= half.len());
    });
    for qos in [0, 1] {
        costs_at_most(24 * MIB, "a subscriber that never reads", || {
            let mut deaf = broker.connect(&Connect {
                clean: qos == 0,
                ..Connect::v4("deaf")
            });
            deaf.subscribe("flood", qos);
            flood(&broker, qos, 100 * MIB);
        });
    }
    costs_at_most(16 * MIB, "PINGREQ for ever", || {
        write_until_cut(&broker, &PINGREQ.repeat(4096))
    });
    costs_at_most(16 * MIB, "PUBLISH for ever, no PUBACK taken", || {
        let client = broker.connect(&Connect::v4("x"));
        write_until_cut(&broker, &client.publish_bytes("nobody", b"", 1, 1).repeat(1000));
    });
    let mut publisher = broker.connect(&Connect::v4("kept"));
    // Large, so that a few SUBSCRIBE packets fill what the system takes, however slow the machine is.
    publisher.send(&common::frame(
        0x31,
        &[&[0, 1, b'k'], &[b'x'; 100_000][..]].concat(),
    ));
    publisher.expect_quiet();
    costs_at_most(64 * MIB, "SUBSCRIBE for ever, no Retained Message taken", || {
        let client = broker.connect(&Connect::v4("x"));
        write_until_cut(&broker, &client.subscribe_bytes(&["k"; 5000], 0));
    });
    costs_at_most(24 * MIB, "Retained Messages that grow", || {
        let mut client = broker.connect(&Connect::v5("grow"));
        for len in [1, 100_000] {
            for n in 0..200u8 {
                let mut packet = client.publish_bytes(&format!("grow/{n}"), &vec![0; len], 1, 1);
                packet[0] |= 1;
                client.send(&packet);
                client.expect(4);
            }
        }
        assert!(broker.handle().gauges().retained_bytes <= 2 * MIB as u64);
    });
}

/// What the first of its kind makes is no growth.
fn warm_up(broker: &Running) {
    let mut client = broker.connect(&Connect::v4("warm"));
    client.subscribe("flood", 1);
    flood(broker, 0, MIB);
}

fn flood(broker: &Running, qos: u8, bytes: usize) {
    let mut client = broker.connect(&Connect::v4("flood"));
    for _ in 0..bytes / (10 * 1000) {
        for id in 1..=10 {
            client.publish("flood", &[7; 1000], qos, id);
        }
        if qos == 0 {
            client.expect_quiet();
        } else {
            (0..10).for_each(|_| _ = client.expect(4));
        }
    }
}

/// Writes and never reads, until the broker has enough of it.
fn write_until_cut(broker: &Running, bytes: &[u8]) {
    let before = broker.handle().counts().write_stalls;
    let mut client = broker.connect(&Connect::v4("greedy"));
    let begin = Instant::now();
    while client.stream.write_all(bytes).is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it goes on for ever");
    }
    broker.until("cut", |handle| handle.counts().write_stalls > before);
}

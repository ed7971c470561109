//! Many of something: half-open connections, filters, receivers of something large.
#![forbid(unsafe_code)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use broker_types::Limits;
use common::{Client, Connect, PATIENCE, Running, gated, open, with_chain};
use tokio::sync::Semaphore;

#[test]
fn two_thousand_half_open_connections_hinder_nobody_and_are_cut_at_the_end() {
    let mut broker = Running::start(open().shards(2));
    let mut half: Vec<_> = (0..2000).map(|_| Client::open(broker.addr, 5)).collect();
    for (n, client) in half.iter_mut().enumerate() {
        client.send(&Connect::v5("never-complete").bytes()[..n % 20]);
    }
    broker.until("accepted", |handle| handle.gauges().connections == 2000);
    let mut client = broker.connect(&Connect::v5("whole"));
    client.subscribe("a", 0);
    client.publish("a", b"x", 0, 0);
    assert_eq!(client.message().1, "x");
    let begin = Instant::now();
    assert_eq!(broker.shutdown(PATIENCE).cut, 0);
    assert!(begin.elapsed() < PATIENCE / 2);
    assert_eq!(client.expect_end(), Some(0x8B));
    assert_eq!(half[7].next(), None);
}

#[test]
fn a_half_open_connection_is_given_up_in_time() {
    let mut limits = Limits::default();
    limits.connect_timeout = Duration::from_millis(200);
    let broker = Running::start(open().limits(limits));
    let mut client = Client::open(broker.addr, 5);
    client.send(&[0x10, 100, 0]);
    assert_eq!(client.next(), None);
    broker.until("gone", |handle| handle.gauges().connections == 0);
}

#[test]
fn a_shutdown_does_not_wait_for_plugins_that_think() {
    let gate = Arc::new(Semaphore::new(0));
    let mut broker = Running::start(with_chain(gated(&gate)));
    let mut client = broker.connect(&Connect {
        will: Some(("will", b"", 0)),
        ..Connect::v5("c")
    });
    client.publish("slow", b"", 1, 1);
    client.expect_quiet();
    let begin = Instant::now();
    assert_eq!(broker.shutdown(PATIENCE).cut, 0);
    assert!(begin.elapsed() < PATIENCE / 2);
    assert_eq!(client.expect_end(), Some(0x8B));
}

/// The rows of Retained Messages were moved up one by one: a client could stop a shard for minutes.
#[test]
fn sixty_thousand_filters_in_one_subscribe() {
    let mut limits = Limits::default();
    limits.subscriptions_max = 100_000;
    let broker = Running::start(open().shards(1).limits(limits));
    let mut kept = broker.connect(&Connect::v4("kept"));
    kept.send(&common::frame(0x31, &[0, 1, b'f', b'x']));
    kept.expect_quiet();
    let different: Vec<String> = (0..60_000).map(|n| format!("f/{n}")).collect();
    let different: Vec<&str> = different.iter().map(String::as_str).collect();
    for (filters, retained) in [(different, 0), (vec!["f"; 60_000], 1)] {
        let mut client = broker.connect(&Connect::v4("many"));
        let bytes = client.subscribe_bytes(&filters, 0);
        let mut slowest = Duration::ZERO;
        let begin = Instant::now();
        client.send(&bytes);
        let reader = std::thread::spawn(move || {
            assert_eq!(client.expect(9).body.len(), 2 + 60_000);
            (0..retained).for_each(|_| _ = client.expect(3));
            client.expect_quiet();
        });
        while !reader.is_finished() {
            let asked = Instant::now();
            kept.expect_quiet();
            slowest = slowest.max(asked.elapsed());
        }
        reader.join().unwrap();
        println!("{:?} in all, others waited {slowest:?} at most", begin.elapsed());
        assert!(slowest < Duration::from_secs(2), "others waited {slowest:?}");
    }
}

#[test]
fn ten_megabytes_to_ten_receivers() {
    const BYTES: usize = 10 * 1024 * 1024;
    let mut limits = Limits::default();
    limits.packet_size_max = 16 * 1024 * 1024;
    let broker = Running::start(open().shards(2).limits(limits));
    let mut receivers: Vec<_> = (0..10)
        .map(|n| {
            let mut client = broker.connect(&Connect::v5(&format!("r{n}")));
            client.subscribe("big", n % 2);
            client
        })
        .collect();
    let mut publisher = broker.connect(&Connect::v4("p"));
    let payload: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    publisher.publish("big", &payload, 1, 1);
    publisher.publish("big", b"small", 1, 2);
    for client in &mut receivers {
        let (_, id, came) = client.expect(3).publish(5);
        assert!(came == payload);
        if id > 0 {
            client.ack(4, id);
            assert_eq!(client.message().1, "small");
        }
    }
    publisher.expect(4);
    publisher.expect(4);
}

/// A look-up that finds nothing among very many went on until it was through, and the shard with it.
#[test]
fn a_long_search_for_retained_messages_holds_up_nobody() {
    let broker = Running::start(open().shards(1));
    let mut publisher = broker.connect(&Connect::v4("p"));
    let mut bytes = Vec::new();
    for n in 0..60_000u32 {
        let mut packet = publisher.publish_bytes(&format!("{}/a/{n}", n % 7), b"x", 0, 0);
        packet[0] |= 1;
        bytes.extend(packet);
    }
    publisher.send(&bytes);
    publisher.expect_quiet();
    let mut searcher = broker.connect(&Connect::v4("s"));
    let search = searcher.subscribe_bytes(&["+/+/+/nothing"; 40], 0);
    searcher.send(&search);
    let done = std::thread::spawn(move || {
        searcher.expect(9);
        searcher.expect_quiet();
        searcher.subscribe("#", 0);
        (0..60_000).for_each(|_| _ = searcher.expect(3));
    });
    let mut slowest = Duration::ZERO;
    while !done.is_finished() {
        let asked = Instant::now();
        publisher.expect_quiet();
        slowest = slowest.max(asked.elapsed());
    }
    done.join().unwrap();
    println!("others waited {slowest:?} at most");
    assert!(slowest < Duration::from_secs(2), "others waited {slowest:?}");
}

#[test]
fn a_flood_leaves_time_for_a_trickle() {
    let broker = Running::start(open().shards(1));
    let mut subscriber = broker.connect(&Connect::v4("sub"));
    subscriber.subscribe("flood", 0);
    let stop = Arc::new(AtomicBool::new(false));
    let mut floods: Vec<_> = (0..4)
        .map(|n| {
            let (addr, stop) = (broker.addr, stop.clone());
            std::thread::spawn(move || {
                let mut client = Client::connect(addr, &Connect::v4(&format!("flood-{n}")));
                let batch = client.publish_bytes("flood", b"x", 0, 0).repeat(20_000);
                while !stop.load(Ordering::Relaxed) {
                    client.send(&batch);
                }
            })
        })
        .collect();
    floods.push({
        let stop = stop.clone();
        std::thread::spawn(move || {
            let patience = Some(Duration::from_millis(100));
            subscriber.stream.set_read_timeout(patience).unwrap();
            while !stop.load(Ordering::Relaxed) {
                assert!(subscriber.try_next().is_some());
            }
        })
    });
    let mut trickle = broker.connect(&Connect::v4("trickle"));
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let asked = Instant::now();
        trickle.expect_quiet();
        slowest = slowest.max(asked.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    println!("the trickle waited {slowest:?} at most");
    assert!(slowest < PATIENCE / 4, "the trickle waited {slowest:?}");
}

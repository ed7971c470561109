//! Wills that outlive their Session, and Sessions that never let go of what waits for them.

use crate::prelude::*;

/// A Will Message whose delay is longer than the Session goes out when that ends, once, and is forgotten.
#[test]
fn a_will_delay_beyond_the_session() {
    let broker = TestBroker::start();
    let mut watcher = broker.v5("w").connect();
    watcher.subscribe("w", 1);
    let connect = broker
        .v5("c")
        .resume()
        .prop(prop::session_expiry(5))
        .will(will("w", "gone").delay(u32::MAX));
    for _ in 0..3 {
        connect.connect().lose();
        broker.advance(secs(7));
        watcher.take("w", "gone");
        broker.advance(secs(10_000_000_000));
        watcher.expect_silence();
    }
}

/// A DISCONNECT that ends the Session at once takes the delay with it.
#[test]
fn a_will_delay_and_a_disconnect_that_ends_the_session() {
    let broker = TestBroker::start();
    let mut watcher = broker.v5("w").connect();
    watcher.subscribe("w", 1);
    let connect = broker.v5("c").durable().will(will("w", "gone").delay(100));
    connect
        .connect()
        .send(disconnect().code(0x04).prop(prop::session_expiry(0)))
        .expect_closed();
    watcher.take("w", "gone");
    connect
        .connect()
        .send(disconnect().prop(prop::session_expiry(0)))
        .expect_closed();
    broker.advance(secs(1000));
    watcher.expect_silence();
}

/// A will that was cancelled by a return stays cancelled when the second connection has one of its own.
#[test]
fn a_returning_client_replaces_its_will() {
    let broker = TestBroker::start();
    let mut watcher = broker.v5("w").connect();
    watcher.subscribe("w", 1);
    let connect = broker.v5("c").durable();
    connect
        .clone()
        .will(will("w", "first").delay(10))
        .connect()
        .lose();
    connect
        .clone()
        .will(will("w", "second").delay(20))
        .connect()
        .lose();
    broker.advance(secs(12));
    watcher.expect_silence();
    broker.advance(secs(10));
    watcher.take("w", "second");
    broker.advance(secs(1000));
    watcher.expect_silence();
}

/// Messages that waited are gone once they are acknowledged, expired, unwanted or their Session is.
#[test]
fn what_waited_is_let_go() {
    let broker = TestBroker::start();
    let connect = broker.v5("c").durable();
    connect.connect().subscribe("a", 1).disconnect();
    let mut publisher = broker.v5("p").connect();
    let fill = |publisher: &mut Client| {
        for number in 0..100 {
            publisher.publish("a", number.to_string().repeat(1000), 1);
        }
        assert_eq!(broker.handle().gauges().queued, 100);
    };
    let empty = || {
        let gauges = broker.handle().gauges();
        (
            gauges.queued,
            gauges.queued_bytes,
            gauges.inflight,
            gauges.kept_bytes,
        ) == (0, 0, 0, 0)
    };
    fill(&mut publisher);
    let mut client = connect.connect();
    (0..100).for_each(|number| drop(client.take("a", number.to_string().repeat(1000))));
    client.sync().disconnect();
    eventually(empty);
    fill(&mut publisher);
    broker.v5("c").connect().disconnect();
    eventually(empty);
    connect.connect().subscribe("a", 1).disconnect();
    fill(&mut publisher);
    broker.advance(secs(4000));
    eventually(empty);
}

/// A Session that nobody comes back for is bounded, and the newest messages are the ones that wait.
#[test]
fn a_full_queue_drops_the_oldest() {
    let broker = TestBroker::start_with(|setup| setup.limits.queued_messages_max = 10);
    let connect = broker.v5("c").durable();
    connect.connect().subscribe("a", 1).disconnect();
    let mut publisher = broker.v5("p").connect();
    for number in 0..25 {
        publisher.publish("a", number.to_string(), 1);
    }
    assert_eq!(broker.handle().gauges().queued, 10);
    let mut client = connect.connect();
    (15..25).for_each(|number| drop(client.take("a", number.to_string())));
    client.expect_silence();
}

#[test]
fn a_queue_is_bounded_in_bytes_too() {
    let broker = TestBroker::start_with(|setup| setup.limits.queued_bytes_max = 100_000);
    let connect = broker.v5("c").durable();
    connect.connect().subscribe("a", 1).disconnect();
    let mut publisher = broker.v5("p").connect();
    for _ in 0..100 {
        publisher.publish("a", "x".repeat(10_000), 1);
    }
    assert!(broker.handle().gauges().queued_bytes <= 100_000);
    connect.connect().take("a", "x".repeat(10_000));
}

//! Sessions: kept, resumed, discarded; and section 4.4, delivery retry.

use crate::prelude::*;

pub(crate) fn discarded_by_a_clean_start(version: Version) {
    let broker = TestBroker::start();
    let durable = broker.client(version, "c").durable();
    let mut client = durable.connect();
    client.subscribe("a", 1).publish("a", "in flight", 1);
    client.expect_publish("a", "in flight");
    client.disconnect();
    broker.client(version, "p").connect().publish("a", "queued", 1);
    let mut client = broker.client(version, "c").connect();
    client.publish("a", "to nobody", 1).expect_silence();
    client.disconnect();
    // and what replaced it is not kept
    assert!(!durable.connect().connack.session_present);
}

pub(crate) fn resumed(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "c").durable();
    connect.connect().subscribe("a", 2).disconnect();
    broker
        .client(version, "p")
        .connect()
        .publish("a", "1", 1)
        .publish("a", "2", 2);
    let mut client = connect.connect();
    assert!(client.connack.session_present);
    client.take("a", "1");
    client.take("a", "2");
    client
        .publish("a", "still subscribed", 0)
        .take("a", "still subscribed");
    client.expect_silence();
}

pub(crate) fn created(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").resume().connect();
    assert!(!client.connack.session_present);
    client.expect_silence();
}

pub(crate) fn offline_messages_are_stored(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "c").durable();
    connect.connect().subscribe("a", 1).subscribe("b", 2).disconnect();
    let mut publisher = broker.client(version, "p").connect();
    for number in 0..20 {
        publisher.publish(["a", "b"][number % 2], number.to_string(), 2);
    }
    let mut client = connect.connect();
    for number in 0..20 {
        let topic = ["a", "b"][number % 2];
        assert_eq!(
            usize::from(client.take(topic, number.to_string()).qos),
            1 + number % 2
        );
    }
    client.expect_silence();
}

pub(crate) fn kept_while_connected(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("a", 1);
    broker.advance(secs(1_000_000));
    client.publish("a", "x", 1).take("a", "x");
}

/// The client has seen PUBLISH 1, 2 and 3, has answered 2 with PUBREC, and comes back.
pub(crate) fn resent_in_order(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "c").durable();
    let mut client = connect.connect();
    client
        .subscribe("a", 2)
        .publish("a", "1", 1)
        .publish("a", "2", 2)
        .publish("a", "3", 2)
        .publish("a", "4", 1);
    let seen: Vec<_> = ["1", "2", "3", "4"]
        .map(|payload| client.expect_publish("a", payload))
        .into();
    client
        .send(pubrec(seen[1].id))
        .expect_ack(Kind::Pubrel, seen[1].id, 0);
    client.abort();
    for _ in 0..2 {
        client = connect.connect();
        let again = client.expect_publish("a", "1");
        assert!(again.dup && again.id == seen[0].id, "{again:?}");
        client.expect_ack(Kind::Pubrel, seen[1].id, 0);
        for earlier in &seen[2..] {
            let again = client.expect_publish("a", &earlier.payload);
            assert!(
                again.dup && (again.id, again.qos) == (earlier.id, earlier.qos),
                "{again:?}"
            );
        }
        client.expect_silence();
        // not again while the connection lasts
        broker.advance(secs(3600));
        client.expect_silence();
    }
}

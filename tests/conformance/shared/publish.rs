//! Section 3.3, PUBLISH, Retained Messages apart.

use crate::prelude::*;

pub(crate) fn dup_is_set_on_redelivery(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "c").durable();
    let mut client = connect.connect();
    client.subscribe("a", 2).publish("a", "1", 1).publish("a", "2", 2);
    let first: Vec<_> = ["1", "2"]
        .map(|payload| client.expect_publish("a", payload))
        .into();
    client.abort();
    let mut client = connect.connect();
    for received in &first {
        let again = client.expect_publish("a", &received.payload);
        assert!(!received.dup && again.dup && again.id == received.id, "{again:?}");
        client.acknowledge(&again);
    }
}

pub(crate) fn dup_at_qos_0(version: Version) {
    let broker = TestBroker::start();
    broker
        .client(version, "c")
        .connect()
        .send(publish("a", "x").dup())
        .expect_error(0x81);
}

pub(crate) fn dup_is_not_passed_on(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("a", 2);
    for qos in 1..3 {
        client.publish_packet(publish("a", "x").dup(), qos);
        assert!(!client.take("a", "x").dup);
    }
}

pub(crate) fn qos_3(version: Version) {
    let broker = TestBroker::start();
    broker
        .client(version, "c")
        .connect()
        .send(publish("a", "x").qos_bits(3).id(1))
        .expect_error(0x81);
}

pub(crate) fn topic_name_first(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "c");
    // a length that runs beyond the packet
    connect
        .connect()
        .send(Frame::new(0x30).u16(5).bytes("a/b"))
        .expect_error(0x81);
    connect.connect().send(Frame::new(0x30)).expect_error(0x81);
}

pub(crate) fn topic_name_with_wildcards(version: Version) {
    let broker = TestBroker::start();
    for topic in ["#", "+", "a/#", "a/+/b", "a+", "#a"] {
        broker
            .client(version, "c")
            .connect()
            .send(publish(topic, "x"))
            .expect_error(0x90);
    }
}

pub(crate) fn topic_name_matches_the_filter(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("a/+/c", 0);
    for topic in ["a/b", "a/b/c", "a/b/c/d", "a/b/d", "A/b/c", "b/b/c", "a//c"] {
        client.publish(topic, topic, 0);
    }
    client.take("a/b/c", "a/b/c");
    client.take("a//c", "a//c");
    client.expect_silence();
}

pub(crate) fn answer_by_qos(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("b", 0);
    client.send(publish("a", "x")).expect_silence();
    client
        .send(publish("a", "x").qos(1, 7))
        .expect_some_ack(Kind::Puback, 7);
    client
        .send(publish("a", "x").qos(2, 7))
        .expect_some_ack(Kind::Pubrec, 7);
    client.expect_silence();
}

pub(crate) fn overlapping_subscriptions(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("a/#", 1).subscribe("a/+", 2).subscribe("a/b", 0);
    client.publish("a/b", "x", 2);
    assert_eq!(client.take("a/b", "x").qos, 2);
    // one copy, the house's choice
    client.expect_silence();
}

//! Section 3.3.1.3, RETAIN.

use crate::prelude::*;

/// Subscribes a newcomer to everything and returns it.
fn late(broker: &TestBroker, version: Version, filter: &str) -> Client {
    let mut client = broker.client(version, "late").connect();
    client.subscribe(filter, 2);
    client
}

pub(crate) fn stored_and_replaced(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client
        .retain("a", "old", 1)
        .retain("a", "new", 1)
        .retain("b", "other", 0);
    let mut late = late(&broker, version, "a");
    let received = late.take("a", "new");
    assert!(received.retain && received.qos == 1, "{received:?}");
    late.expect_silence();
}

pub(crate) fn last_message_of_each_matching_topic(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    for topic in ["a/1", "a/2", "a/2/3", "b/1"] {
        client.retain(topic, "old", 0).retain(topic, topic, 0);
    }
    let mut late = late(&broker, version, "a/+");
    let mut topics = [late.expect_any_publish().topic, late.expect_any_publish().topic];
    topics.sort();
    assert_eq!(topics, ["a/1", "a/2"]);
    late.expect_silence();
}

pub(crate) fn qos_0_replaces(version: Version) {
    let broker = TestBroker::start();
    broker
        .client(version, "c")
        .connect()
        .retain("a", "old", 2)
        .retain("a", "new", 0);
    let mut late = late(&broker, version, "#");
    assert_eq!(late.take("a", "new").qos, 0);
    late.expect_silence();
}

pub(crate) fn flag_is_set_for_a_new_subscription(version: Version) {
    let broker = TestBroker::start();
    broker.client(version, "c").connect().retain("a", "x", 0);
    assert!(late(&broker, version, "a").take("a", "x").retain);
}

pub(crate) fn flag_is_clear_for_an_established_subscription(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("a", 0).retain("a", "x", 0);
    assert!(!client.take("a", "x").retain);
}

pub(crate) fn cleared_by_an_empty_payload(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("a", 1).retain("a", "x", 1);
    client.take("a", "x");
    client.retain("a", "", 1);
    client.take("a", "");
    late(&broker, version, "a").expect_silence();
}

pub(crate) fn empty_payload_is_not_stored(version: Version) {
    let broker = TestBroker::start();
    broker
        .client(version, "c")
        .connect()
        .retain("a", "", 0)
        .retain("b", "", 1);
    late(&broker, version, "#").expect_silence();
}

pub(crate) fn left_alone_without_the_flag(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client
        .retain("a", "kept", 0)
        .publish("a", "passing", 1)
        .publish("a", "", 0)
        .publish("b", "not stored", 1);
    let mut late = late(&broker, version, "#");
    late.take("a", "kept");
    late.expect_silence();
}

pub(crate) fn outlives_the_session(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.retain("a", "kept", 1);
    client.disconnect();
    broker.client(version, "c").connect().disconnect();
    late(&broker, version, "a").take("a", "kept");
}

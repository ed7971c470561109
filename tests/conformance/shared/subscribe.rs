//! Sections 3.8 to 3.11: SUBSCRIBE, UNSUBSCRIBE and their answers.

use broker_types::QoS;
use plugin_api::{AclVerdict, Denial};

use crate::prelude::*;
use crate::shared::data::success;

pub(crate) fn needs_a_filter(version: Version) {
    TestBroker::start()
        .client(version, "c")
        .connect()
        .send(subscribe(1))
        .expect_error(0x82);
}

pub(crate) fn reserved_options(version: Version) {
    let broker = TestBroker::start();
    for bit in if version.is_v5() { 6..8 } else { 2..8 } {
        let packet = subscribe(1).filter("a", 0).filter("b", 1 << bit);
        broker
            .client(version, "c")
            .connect()
            .send(packet)
            .expect_error(0x81);
    }
}

pub(crate) fn is_answered(version: Version) {
    let broker = TestBroker::start();
    broker
        .client(version, "c")
        .connect()
        .send(subscribe(3).filter("a", 1))
        .expect_suback(3, &[1]);
}

/// The same filter again replaces the Subscription: one copy, at the new QoS.
pub(crate) fn replaced(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client
        .subscribe("a/+", 2)
        .subscribe("a/+", 0)
        .publish("a/b", "x", 2);
    assert_eq!(client.take("a/b", "x").qos, 0);
    client.expect_silence();
    client.unsubscribe("a/+").publish("a/b", "x", 2).expect_silence();
}

/// Retained Messages come again, and nothing that is published meanwhile is lost.
pub(crate) fn replacing_resends_retained_and_loses_nothing(version: Version) {
    let broker = TestBroker::start();
    let mut publisher = broker.client(version, "p").connect();
    publisher.retain("r", "kept", 1);
    let mut client = broker.client(version, "c").connect();
    client.subscribe("+", 1).take("r", "kept");
    for number in 0..50 {
        publisher.send(publish("a", number.to_string()).qos(1, number + 1));
        client.subscribe("+", 1);
    }
    publisher.sync();
    let (mut live, mut retained) = (Vec::new(), 0);
    while live.len() < 50 || retained < 50 {
        let received = client.expect_any_publish();
        client.acknowledge(&received);
        match received.topic.as_str() {
            "r" => retained += 1,
            _ => live.push(String::from_utf8(received.payload).expect("a number")),
        }
    }
    assert_eq!(live, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
    client.expect_silence();
}

pub(crate) fn several_filters_are_as_several_packets(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client
        .send(subscribe(1).filter("a", 0).filter("b", 1).filter("a", 2))
        .expect_suback(1, &[0, 1, 2]);
    client.publish("a", "x", 2).publish("b", "y", 2);
    assert_eq!(client.take("a", "x").qos, 2);
    assert_eq!(client.take("b", "y").qos, 1);
    client.expect_silence();
}

pub(crate) fn a_code_for_each_filter(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    let packet = (0..200_u8).fold(subscribe(9), |packet, number| {
        packet.filter(format!("a/{number}"), number % 3)
    });
    let codes: Vec<u8> = (0..200).map(|number| number % 3).collect();
    client.send(packet).expect_suback(9, &codes);
}

pub(crate) fn granted_or_failed(version: Version) {
    let broker = TestBroker::start_with(|setup| {
        setup.authorize(|_, _, topic| match topic {
            "secret" => AclVerdict::Deny(Denial::not_authorized()),
            "slow" => AclVerdict::AllowMaxQos(QoS::AtMostOnce),
            _ => AclVerdict::Allow,
        });
    });
    let failed = if version.is_v5() { 0x87 } else { 0x80 };
    let mut client = broker.client(version, "c").connect();
    client.send(subscribe(1).filter("secret", 1).filter("a", 1).filter("slow", 2));
    client.expect_suback(1, &[failed, 1, 0]);
}

/// QoS is the lower one of what was published and what was granted, for each of nine pairs.
pub(crate) fn effective_qos(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    for granted in 0..3 {
        client.subscribe("a", granted);
        for published in 0..3 {
            client.publish("a", "x", published);
            assert_eq!(client.take("a", "x").qos, granted.min(published));
        }
    }
}

pub(crate) fn unsubscribe_needs_a_filter(version: Version) {
    TestBroker::start()
        .client(version, "c")
        .connect()
        .send(unsubscribe(1))
        .expect_error(0x82);
}

pub(crate) fn unsubscribed_character_by_character(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("a/+", 0).subscribe("a/b", 0);
    client
        .unsubscribe_missing("a/#")
        .unsubscribe_missing("A/+")
        .unsubscribe_missing("a/")
        .unsubscribe("a/+");
    client.publish("a/c", "x", 0).publish("a/b", "y", 0);
    client.take("a/b", "y");
    client.expect_silence();
    client.unsubscribe("a/b").publish("a/b", "y", 0).expect_silence();
}

pub(crate) fn unsubscribed_gets_nothing_new(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client
        .subscribe("a", 1)
        .unsubscribe("a")
        .publish("a", "x", 1)
        .publish("a", "y", 0)
        .expect_silence();
}

pub(crate) fn delivery_that_began_is_completed(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "c").durable();
    let mut client = connect.connect();
    client.subscribe("a", 2).publish("a", "1", 1).publish("a", "2", 2);
    let [first, second] = ["1", "2"].map(|payload| client.expect_publish("a", payload));
    client.unsubscribe("a");
    client
        .send(pubrec(second.id))
        .expect_ack(Kind::Pubrel, second.id, 0);
    client.abort();
    let mut client = connect.connect();
    assert_eq!(client.take("a", "1").id, first.id);
    client.expect_ack(Kind::Pubrel, second.id, 0);
    client.send(pubcomp(second.id)).expect_silence();
}

pub(crate) fn unsubscribe_is_answered(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client
        .subscribe("a", 0)
        .send(unsubscribe(3).filter("a"))
        .expect_unsuback(3, success(version));
}

pub(crate) fn unsubscribe_is_answered_where_nothing_was(version: Version) {
    let broker = TestBroker::start();
    let codes: &[u8] = if version.is_v5() { &[0x11] } else { &[] };
    broker
        .client(version, "c")
        .connect()
        .send(unsubscribe(3).filter("a"))
        .expect_unsuback(3, codes);
}

pub(crate) fn several_filters_are_unsubscribed(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("a", 0).subscribe("b", 0).subscribe("c", 0);
    let codes: &[u8] = if version.is_v5() { &[0, 0x11, 0, 0x11] } else { &[] };
    client
        .send(unsubscribe(3).filter("a").filter("x").filter("b").filter("a"))
        .expect_unsuback(3, codes);
    client
        .publish("a", "x", 0)
        .publish("b", "x", 0)
        .publish("c", "x", 0);
    client.take("c", "x");
    client.expect_silence();
}

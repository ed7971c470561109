//! 4.9 Flow control.

use crate::prelude::*;

/// Without a Receive Maximum it is 65,535; what the server uses itself may be less.
#[test]
fn v5_4_9_0_1__the_quota_begins_within_receive_maximum() {
    let broker = TestBroker::start();
    for maximum in [1, 2, 10] {
        let mut client = broker.v5("c").prop(prop::receive_maximum(maximum)).connect();
        client.subscribe("a", 2);
        for _ in 0..20 {
            client.publish("a", "x", 2);
        }
        for _ in 0..maximum {
            client.expect_publish("a", "x");
        }
        client.expect_silence();
    }
}

/// PUBACK, PUBCOMP and a refusing PUBREC give back, a PUBREC alone does not.
#[test]
fn v5_4_9_0_2__the_quota_goes_down_and_up() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").prop(prop::receive_maximum(1)).connect();
    client.subscribe("a", 2);
    client
        .publish("a", "1", 1)
        .publish("a", "2", 2)
        .publish("a", "3", 2)
        .publish("a", "4", 1);
    let first = client.expect_publish("a", "1");
    client.expect_silence();
    client.send(puback(first.id));
    let second = client.expect_publish("a", "2");
    client
        .send(pubrec(second.id))
        .expect_ack(Kind::Pubrel, second.id, 0);
    client.expect_silence();
    client.send(pubcomp(second.id));
    let third = client.expect_publish("a", "3");
    client.send(pubrec(third.id).code(0x80)).expect_publish("a", "4");
    client.expect_silence();
}

/// The same packet twice does not give back twice.
#[test]
fn v5_4_9_0_2__the_quota_does_not_grow() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").prop(prop::receive_maximum(1)).connect();
    client
        .subscribe("a", 1)
        .publish("a", "1", 1)
        .publish("a", "2", 1)
        .publish("a", "3", 1);
    let first = client.expect_publish("a", "1");
    client
        .send(puback(first.id))
        .send(puback(first.id))
        .expect_publish("a", "2");
    client.expect_silence();
}

#[test]
fn v5_4_9_0_3__other_packets_are_answered_at_quota_zero() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").prop(prop::receive_maximum(1)).connect();
    client
        .subscribe("a", 1)
        .publish("a", "1", 1)
        .publish("a", "2", 1)
        .expect_publish("a", "1");
    client.expect_silence();
    client.send(subscribe(5).filter("b", 0)).expect_suback(5, &[0]);
    client
        .send(publish("x", "y").qos(1, 5))
        .expect_some_ack(Kind::Puback, 5);
    client.send(unsubscribe(6).filter("b")).expect_unsuback(6, &[0]);
}

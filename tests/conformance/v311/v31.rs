//! MQTT 3.1, the specification of 2010: the same service under another protocol name.

use crate::prelude::*;

#[test]
fn v31_messages_at_each_qos() {
    let broker = TestBroker::start();
    let mut client = broker.v31("c").connect();
    client.subscribe("a/+", 2);
    for qos in 0..3 {
        client.publish("a/b", [qos], qos);
        assert_eq!(client.take("a/b", [qos]).qos, qos);
    }
    client.unsubscribe("a/+").expect_silence();
    client.disconnect();
}

/// The fixed header of SUBSCRIBE, UNSUBSCRIBE and PUBREL has a DUP flag in 3.1.
#[test]
fn v31_dup_in_more_packets() {
    let broker = TestBroker::start();
    let mut client = broker.v31("c").connect();
    client
        .send(subscribe(1).filter("a", 0).frame(V31).first(0x8a))
        .expect_suback(1, &[0]);
    client.send(publish("a", "x").qos(2, 2)).sync();
    client.send(pubrel(2).frame(V31).first(0x6a)).sync();
    client
        .send(unsubscribe(3).filter("a").frame(V31).first(0xaa))
        .sync();
}

#[test]
fn v31_refusals() {
    let broker = TestBroker::start();
    broker.v31("").refused(2);
    broker.v31("c").protocol("MQIsdp", 4).sent().drain();
}

#[test]
fn v31_a_session_is_resumed() {
    let broker = TestBroker::start();
    let connect = broker.v31("c").durable();
    connect.connect().subscribe("a", 1).disconnect();
    broker.v5("p").connect().publish("a", "x", 1);
    connect.connect().take("a", "x");
}

#[test]
fn the_three_versions_understand_each_other() {
    let broker = TestBroker::start();
    for from in [V31, V311, V5] {
        for to in [V31, V311, V5] {
            let mut subscriber = broker.client(to, "to").connect();
            subscriber.subscribe("a", 2);
            broker.client(from, "from").connect().publish("a", "x", 2);
            assert_eq!(subscriber.take("a", "x").qos, 2);
        }
    }
}

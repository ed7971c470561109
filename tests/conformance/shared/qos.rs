//! Section 4.3, Quality of Service, and 4.6, message ordering.

use crate::prelude::*;

pub(crate) fn qos_0_delivery(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client
        .subscribe("a", 0)
        .publish("a", "0", 0)
        .publish("a", "1", 1)
        .publish("a", "2", 2);
    for payload in ["0", "1", "2"] {
        let received = client.take("a", payload);
        assert!(received.qos == 0 && !received.dup);
    }
}

/// QoS 1, the server sends: not repeated, and not forgotten before the PUBACK.
pub(crate) fn qos_1_sender(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "c").durable();
    let mut client = connect.connect();
    client.subscribe("a", 1).publish("a", "1", 1).publish("a", "2", 1);
    let [first, second] = ["1", "2"].map(|payload| client.expect_publish("a", payload));
    assert!(first.qos == 1 && !first.dup && first.id != second.id);
    client.send(puback(second.id)).sync();
    client.abort();
    let mut client = connect.connect();
    assert_eq!(client.take("a", "1").id, first.id);
    client.expect_silence();
    client.disconnect();
    connect.connect().expect_silence();
}

pub(crate) fn qos_1_receiver_answers(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("a", 0);
    client.send(publish("a", "x").qos(1, 77)).sync();
    client.take("a", "x");
    client.expect_ack(Kind::Puback, 77, 0);
}

pub(crate) fn qos_1_same_id_is_a_new_message(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    let mut subscriber = broker.client(version, "s").connect();
    subscriber.subscribe("a", 0);
    for payload in ["1", "2", "3"] {
        client
            .send(publish("a", payload).qos(1, 5).dup())
            .expect_ack(Kind::Puback, 5, 0);
        subscriber.take("a", payload);
    }
    subscriber.expect_silence();
}

/// QoS 2, the server sends: PUBREL answers PUBREC, each is kept until it is answered, and PUBLISH is not sent after it.
pub(crate) fn qos_2_sender(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "c").durable();
    let mut client = connect.connect();
    client.subscribe("a", 2).publish("a", "1", 2).publish("a", "2", 2);
    let [first, second] = ["1", "2"].map(|payload| client.expect_publish("a", payload));
    assert!(first.qos == 2 && !first.dup && first.id != second.id);
    client
        .send(pubrec(first.id))
        .expect_ack(Kind::Pubrel, first.id, 0);
    client.abort();
    let mut client = connect.connect();
    client.expect_ack(Kind::Pubrel, first.id, 0);
    assert!(client.expect_publish("a", "2").dup);
    client
        .send(pubcomp(first.id))
        .send(pubrec(second.id))
        .expect_ack(Kind::Pubrel, second.id, 0);
    client.send(pubcomp(second.id)).expect_silence();
    client.disconnect();
    connect.connect().expect_silence();
}

/// When the message goes on, at PUBLISH or at PUBREL, is the server's choice.
pub(crate) fn qos_2_receiver_answers(version: Version) {
    let broker = TestBroker::start();
    let mut subscriber = broker.client(version, "s").connect();
    subscriber.subscribe("a", 0);
    let mut client = broker.client(version, "c").connect();
    client
        .send(publish("a", "x").qos(2, 77))
        .expect_ack(Kind::Pubrec, 77, 0);
    client.send(pubrel(77)).expect_ack(Kind::Pubcomp, 77, 0);
    subscriber.take("a", "x");
}

/// Until its PUBREL the identifier stands for one message, also over a reconnection.
pub(crate) fn qos_2_receiver_delivers_once(version: Version) {
    let broker = TestBroker::start();
    let mut subscriber = broker.client(version, "s").connect();
    subscriber.subscribe("a", 2);
    let connect = broker.client(version, "c").durable();
    let mut client = connect.connect();
    client
        .send(publish("a", "once").qos(2, 9))
        .expect_ack(Kind::Pubrec, 9, 0);
    client
        .send(publish("a", "once").qos(2, 9).dup())
        .expect_ack(Kind::Pubrec, 9, 0);
    client.abort();
    let mut client = connect.connect();
    client
        .send(publish("a", "once").qos(2, 9).dup())
        .expect_ack(Kind::Pubrec, 9, 0);
    client.send(pubrel(9)).expect_ack(Kind::Pubcomp, 9, 0);
    subscriber.take("a", "once");
    subscriber.expect_silence();
}

pub(crate) fn qos_2_same_id_is_a_new_message_after_pubcomp(version: Version) {
    let broker = TestBroker::start();
    let mut subscriber = broker.client(version, "s").connect();
    subscriber.subscribe("a", 0);
    let mut client = broker.client(version, "c").connect();
    for payload in ["1", "2"] {
        client
            .send(publish("a", payload).qos(2, 9))
            .expect_ack(Kind::Pubrec, 9, 0);
        client.send(pubrel(9)).expect_ack(Kind::Pubcomp, 9, 0);
        subscriber.take("a", payload);
    }
    subscriber.expect_silence();
}

/// One topic at each QoS, 100 messages sent without waiting.
pub(crate) fn ordered(version: Version) {
    let broker = TestBroker::start();
    for qos in 0..3 {
        let mut subscriber = broker.client(version, "s").connect();
        subscriber.subscribe("a/+", qos);
        let mut publisher = broker.client(version, "p").connect();
        for number in 0..100_u16 {
            publisher.send(publish("a/b", number.to_string()).qos(qos, number + 1));
        }
        for number in 0..100 {
            subscriber.take("a/b", number.to_string());
        }
    }
}

pub(crate) fn taken_over_for_every_subscriber(version: Version) {
    let broker = TestBroker::start();
    let offline = broker.client(version, "offline").durable();
    offline.connect().subscribe("a", 1).disconnect();
    let mut online = broker.client(version, "online").connect();
    online.subscribe("a", 1);
    broker.client(version, "p").connect().publish("a", "x", 1);
    online.take("a", "x");
    offline.connect().take("a", "x");
}

/// The rule for clients, kept by the server too: PUBACK and PUBREC in the order of the PUBLISH packets.
pub(crate) fn acknowledged_in_order(version: Version) {
    let broker = TestBroker::start();
    for (qos, kind) in [(1, Kind::Puback), (2, Kind::Pubrec)] {
        let mut client = broker.client(version, "c").connect();
        let ids = (1..=100).map(|number| number * 37 % 101);
        let packets: Vec<u8> = ids
            .clone()
            .flat_map(|id| publish("a", "x").qos(qos, id).wire(version))
            .collect();
        client.send(packets);
        for id in ids {
            client.expect_some_ack(kind, id);
        }
    }
}

/// The rule for clients, kept by the server too: PUBREL in the order of the PUBREC packets.
pub(crate) fn released_in_order(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("a", 2);
    for number in 0..20 {
        client.publish("a", [number], 2);
    }
    let mut ids: Vec<_> = (0..20)
        .map(|number| client.expect_publish("a", [number]).id)
        .collect();
    ids.rotate_left(7);
    for id in &ids {
        client.send(pubrec(*id));
    }
    for id in ids {
        client.expect_ack(Kind::Pubrel, id, 0);
    }
}

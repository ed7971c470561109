//! Acknowledgements wait for their commits, and nothing else does.

use crate::prelude::*;

/// A broker with a durable subscriber of `a` that is away.
fn with_subscriber() -> Durable {
    let broker = Durable::on(&disk());
    broker.durable(V5, "c").connect().subscribe("a", 2).disconnect();
    broker.settle();
    broker
}

#[test]
fn puback_and_pubrec_wait_for_the_queue() {
    for version in [V5, V311] {
        for (qos, kind) in [(1, Kind::Puback), (2, Kind::Pubrec)] {
            let broker = with_subscriber();
            let mut publisher = broker.clean(version, "p").connect();
            broker.disk().hold();
            publisher.send(publish("a", "1").qos(qos, 1)).expect_silence();
            // Others don't wait, nor does the same client with what nobody keeps.
            publisher.send(publish("a", "2")).send(publish("nobody", "3"));
            let mut other = broker.clean(version, "other").connect();
            other.publish("nobody", "4", 1).publish("nobody", "5", 2);
            publisher.expect_silence();
            broker.disk().release();
            publisher.expect_ack(kind, 1, 0);
        }
    }
}

#[test]
fn acknowledgements_stay_in_order_when_only_the_first_waits() {
    let broker = with_subscriber();
    let mut publisher = broker.clean(V5, "p").connect();
    broker.disk().hold();
    publisher
        .send(publish("a", "1").qos(1, 1))
        .send(publish("nobody", "2").qos(1, 2));
    publisher.expect_silence();
    broker.disk().release();
    publisher.expect_ack(Kind::Puback, 1, 0);
    publisher.expect_ack(Kind::Puback, 2, 0x10);
}

#[test]
fn puback_waits_for_the_retained_message() {
    let broker = Durable::on(&disk());
    let mut publisher = broker.clean(V5, "p").connect();
    for payload in ["1", ""] {
        broker.disk().hold();
        publisher
            .send(publish("r", payload).retain().qos(1, 1))
            .expect_silence();
        broker.disk().release();
        publisher.expect_some_ack(Kind::Puback, 1);
    }
}

#[test]
fn pubrec_and_pubcomp_wait_for_the_packet_identifier_of_a_durable_publisher() {
    let broker = Durable::on(&disk());
    let mut publisher = broker.durable(V5, "p").connect();
    broker.disk().hold();
    publisher.send(publish("nobody", "1").qos(2, 1)).expect_silence();
    // Sent again meanwhile, as some clients do: it isn't answered earlier.
    publisher
        .send(publish("nobody", "1").qos(2, 1).dup())
        .expect_silence();
    broker.disk().release();
    publisher.expect_ack(Kind::Pubrec, 1, 0x10);
    publisher.expect_ack(Kind::Pubrec, 1, 0);
    broker.disk().hold();
    publisher.send(pubrel(1)).expect_silence();
    broker.disk().release();
    publisher.expect_ack(Kind::Pubcomp, 1, 0);
}

#[test]
fn connack_waits_for_a_durable_session_only() {
    let broker = Durable::on(&disk());
    broker.disk().hold();
    broker.clean(V5, "clean").connect().disconnect();
    let before = broker.disk().commits_asked();
    let mut client = broker.durable(V5, "c").sent();
    broker.commit_after(before);
    assert_eq!(broker.disk().applied().0, 1, "only the format so far");
    broker.disk().release();
    client.expect_accepted();
}

#[test]
fn suback_and_unsuback_wait_for_a_durable_session_only() {
    let broker = Durable::on(&disk());
    let mut client = broker.durable(V5, "c").connect();
    let mut other = broker.clean(V5, "other").connect();
    broker.disk().hold();
    client.send(subscribe(1).filter("a", 1)).expect_silence();
    other.subscribe("a", 1).unsubscribe("a");
    broker.disk().release();
    client.expect_suback(1, &[1]);
    broker.disk().hold();
    client.send(unsubscribe(2).filter("a")).expect_silence();
    broker.disk().release();
    client.expect_unsuback(2, &[0]);
}

#[test]
fn a_qos_2_publish_waits_for_its_identifier_and_pubrel_for_its_pubrec() {
    for version in [V5, V311] {
        let broker = Durable::on(&disk());
        let mut client = broker.durable(version, "c").connect();
        client.subscribe("a", 2);
        let mut publisher = broker.clean(V5, "p").connect();
        broker.disk().hold();
        publisher.send(publish("a", "qos 1 before").qos(1, 1)).sync();
        let first = client.expect_publish("a", "qos 1 before");
        publisher.send(publish("a", "qos 2").qos(2, 2)).sync();
        // What comes behind it waits too.
        publisher.send(publish("a", "qos 0 behind")).sync();
        client.expect_silence();
        broker.disk().release();
        let second = client.expect_publish("a", "qos 2");
        client.expect_publish("a", "qos 0 behind");
        client.acknowledge(&first);
        broker.settle();
        broker.disk().hold();
        client.send(pubrec(second.id)).expect_silence();
        broker.disk().release();
        client.expect_ack(Kind::Pubrel, second.id, 0);
        client.send(pubcomp(second.id)).expect_silence();
    }
}

#[test]
fn reading_goes_on_up_to_the_receive_maximum() {
    let broker = Durable::limited(&disk(), |limits| limits.receive_maximum = 5);
    broker.durable(V5, "c").connect().subscribe("a", 1).disconnect();
    let mut publisher = broker.clean(V311, "p").connect();
    broker.disk().hold();
    for id in 1..=10 {
        publisher.send(publish("a", id.to_string()).qos(1, id));
    }
    publisher.expect_silence();
    broker.disk().release();
    for id in 1..=10 {
        publisher.expect_ack(Kind::Puback, id, 0);
    }
    let mut client = broker.durable(V5, "c").connect();
    for id in 1..=10 {
        client.take("a", id.to_string());
    }
}

#[test]
fn a_publisher_that_leaves_while_a_commit_is_under_way_isnt_doubled() {
    for version in [V5, V311] {
        let broker = with_subscriber();
        let mut publisher = broker.durable(version, "p").connect();
        broker.disk().hold();
        publisher.send(publish("a", "1").qos(2, 1)).expect_silence();
        publisher.lose();
        // Its next connection isn't let in before: what it asks for again may be answered then.
        let mut again = broker.durable(version, "p").sent();
        broker.disk().release();
        again.expect_accepted();
        again.send(publish("a", "1").qos(2, 1).dup());
        again.expect_some_ack(Kind::Pubrec, 1);
        again.send(pubrel(1)).expect_ack(Kind::Pubcomp, 1, 0);
        let mut client = broker.durable(V5, "c").connect();
        client.take("a", "1");
        client.expect_silence();
    }
}

#[test]
fn a_session_is_taken_over_while_its_connack_waits() {
    let broker = Durable::on(&disk());
    broker.disk().hold();
    let connect = broker.durable(V5, "c");
    let before = broker.disk().commits_asked();
    let mut first = connect.sent();
    broker.commit_after(before);
    let mut second = connect.sent();
    // The first is let go of at once, with a CONNACK that refuses.
    assert!(matches!(first.next_packet(), Some(Packet::Connack(ack)) if ack.code == 0x88));
    first.expect_closed();
    broker.disk().release();
    second.expect_accepted();
}

#[test]
fn a_listener_may_ask_for_less() {
    let disk = disk();
    let memory = |listener: broker_core::Listener| listener.durability(Durability::Memory);
    let second = |builder: broker_core::BrokerBuilder| {
        let safe = broker_core::Listener::tcp("127.0.0.1:0")
            .name("safe")
            .anonymous(true);
        builder.listener(safe)
    };
    let broker = Durable::with(&disk, memory, second);
    let safe = Connect::new(broker.addr_of("safe"), V5, "c").durable();
    safe.connect().subscribe("a", 1).disconnect();
    broker
        .durable(V5, "forgotten")
        .connect()
        .subscribe("a", 1)
        .disconnect();
    broker.settle();
    disk.hold();
    let mut publisher = broker.durable(V5, "p").connect();
    publisher.publish("a", "1", 1).publish("a", "2", 2);
    disk.release();
    broker.settle();
    // What it acknowledged without waiting is written all the same, for those who are to keep it.
    let broker = Durable::with(&broker.end(End::Crash), memory, second);
    let mut client = Connect::new(broker.addr_of("safe"), V5, "c").durable().connect();
    client.take("a", "1");
    client.take("a", "2");
    assert!(!broker.durable(V5, "forgotten").connect().connack.session_present);
}

#[test]
fn a_listener_cant_ask_for_more() {
    let more = |listener: broker_core::Listener| listener.durability(Durability::Replicated);
    let error = Durable::start(&disk(), broker_core::Clock::manual(), more, |builder| builder);
    let error = error.err().expect("it can't be had").to_string();
    assert!(error.contains("Replicated") && error.contains("Fsync"), "{error}");
}

#[test]
fn what_is_published_by_the_program_is_safe_when_that_returns() {
    let broker = with_subscriber();
    let topic = broker_types::TopicName::new("a").expect("a topic");
    let message = broker_types::Message {
        qos: broker_types::QoS::AtLeastOnce,
        ..broker_types::Message::new(topic, "1")
    };
    assert_eq!(broker.run(broker.handle().publish(message)), Ok(1));
    let broker = broker.again(End::Crash);
    broker.durable(V5, "c").connect().take("a", "1");
}

//! Messages that wait or are under way when the broker ends, in both directions.

use crate::prelude::*;

#[test]
fn what_waits_is_delivered_in_order_with_all_that_belongs_to_it() {
    for end in End::BOTH {
        let broker = Durable::on(&disk());
        broker.durable(V5, "c").connect().subscribe("a", 2).disconnect();
        let mut publisher = broker.clean(V5, "p").connect();
        for number in 0..50 {
            publisher.publish("a", number.to_string(), 1 + number % 2);
        }
        let packet = publish("a", "props")
            .prop(prop::content_type("text"))
            .prop(prop::user("k", "v"))
            .prop(prop::message_expiry(60));
        publisher.publish_packet(packet, 1);
        publisher.publish_packet(publish("a", "too old").prop(prop::message_expiry(9)), 1);
        publisher.publish("a", vec![7; 100_000], 2);
        let broker = broker.again_after(end, Duration::from_secs(10));
        let mut client = broker.durable(V5, "c").connect();
        for number in 0..50 {
            let received = client.take("a", number.to_string());
            assert_eq!(
                (received.qos, received.dup),
                (1 + number % 2, false),
                "{end:?} {number}"
            );
        }
        let received = client.take("a", "props");
        assert!(received.has(&prop::content_type("text")) && received.has(&prop::user("k", "v")));
        let left = received.props.iter().find_map(|prop| match prop {
            Property::MessageExpiry(left) => Some(*left),
            _ => None,
        });
        // Whatever the real time that has passed.
        assert!(left.is_some_and(|left| (40..=50).contains(&left)), "{left:?}");
        client.take("a", vec![7; 100_000]);
        client.expect_silence();
    }
}

#[test]
fn what_is_under_way_is_sent_again_under_its_identifier() {
    for end in End::BOTH {
        for version in [V5, V311] {
            let broker = Durable::on(&disk());
            let mut client = broker.durable(version, "c").connect();
            client.subscribe("a", 2);
            let mut publisher = broker.clean(V5, "p").connect();
            publisher
                .publish("a", "qos 1", 1)
                .publish("a", "qos 2", 2)
                .publish("a", "released", 2)
                .publish("a", "done", 2);
            let ids: Vec<u16> = (0..4).map(|_| client.expect_any_publish().id).collect();
            client.send(pubrec(ids[2])).expect_ack(Kind::Pubrel, ids[2], 0);
            client.send(pubrec(ids[3])).expect_ack(Kind::Pubrel, ids[3], 0);
            client.send(pubcomp(ids[3])).sync();
            broker.settle();
            let broker = broker.again(end);
            let mut client = broker.durable(version, "c").connect();
            let received = client.expect_publish("a", "qos 1");
            assert!(received.dup && received.id == ids[0], "{end:?} {received:?}");
            client.acknowledge(&received);
            let received = client.expect_publish("a", "qos 2");
            assert!(received.dup && received.id == ids[1], "{end:?} {received:?}");
            client.expect_ack(Kind::Pubrel, ids[2], 0);
            client.send(pubcomp(ids[2]));
            client.acknowledge(&received);
            client.expect_silence();
            // And all of that is over.
            broker.settle();
            let broker = broker.again(end);
            broker.durable(version, "c").connect().expect_silence();
        }
    }
}

#[test]
fn a_qos_2_message_that_was_received_is_not_taken_twice() {
    for end in End::BOTH {
        for version in [V5, V311] {
            let broker = Durable::on(&disk());
            broker.durable(V5, "c").connect().subscribe("a", 2).disconnect();
            let mut publisher = broker.durable(version, "p").connect();
            publisher.send(publish("a", "1").qos(2, 7));
            publisher.expect_some_ack(Kind::Pubrec, 7);
            let broker = broker.again(end);
            let mut publisher = broker.durable(version, "p").connect();
            publisher.send(publish("a", "1").qos(2, 7).dup());
            publisher.expect_some_ack(Kind::Pubrec, 7);
            publisher.send(pubrel(7));
            publisher.expect_ack(Kind::Pubcomp, 7, 0);
            let broker = broker.again(end);
            // Released, so the identifier stands for another message now.
            let mut publisher = broker.durable(version, "p").connect();
            publisher.send(publish("a", "2").qos(2, 7));
            publisher.expect_some_ack(Kind::Pubrec, 7);
            let mut client = broker.durable(V5, "c").connect();
            client.take("a", "1");
            client.take("a", "2");
            client.expect_silence();
        }
    }
}

#[test]
fn a_body_is_stored_once_for_all_and_goes_with_the_last() {
    let disk = disk();
    let broker = Durable::on(&disk);
    for client in 0..20 {
        let mut client = broker.durable(V5, &format!("c{client}")).connect();
        client.subscribe("a", 1).disconnect();
    }
    let before: usize = disk.records().iter().map(|(_, value)| value.len()).sum();
    broker.clean(V5, "p").connect().publish("a", vec![1; 50_000], 1);
    let after: usize = disk.records().iter().map(|(_, value)| value.len()).sum();
    assert!((50_000..55_000).contains(&(after - before)), "{before} {after}");
    let broker = broker.again(End::Crash);
    for client in 0..20 {
        let mut client = broker.durable(V5, &format!("c{client}")).connect();
        client.take("a", vec![1; 50_000]);
        client.disconnect();
    }
    broker.settle();
    let kinds = crate::sessions::keys(&broker.end(End::Crash));
    assert!(
        !kinds.contains(&"b".to_owned()) && !kinds.contains(&"q".to_owned()),
        "{kinds:?}"
    );
}

#[test]
fn messages_of_many_megabytes_survive() {
    let large = |limits: &mut broker_types::Limits| limits.packet_size_max = 16 * 1024 * 1024;
    let broker = Durable::limited(&disk(), large);
    broker.durable(V5, "c").connect().subscribe("a", 1).disconnect();
    let payload: Vec<u8> = (0..5_000_000_u32).map(|byte| (byte % 251) as u8).collect();
    broker.clean(V5, "p").connect().retain("a", &payload, 1);
    let broker = Durable::limited(&broker.end(End::Crash), large);
    let mut client = broker.durable(V5, "c").connect();
    assert!(client.take("a", &payload).payload == payload);
    client.subscribe("a", 0);
    assert!(client.take("a", &payload).payload == payload);
    client.retain("a", "", 1);
    client.take("a", "");
    client.disconnect();
    broker.settle();
    let kinds = crate::sessions::keys(&broker.end(End::Crash));
    assert_eq!(kinds, ["m", "s", "u"]);
}

#[test]
fn what_waits_in_a_shared_group_goes_to_another_member_for_good() {
    let broker = Durable::on(&disk());
    let mut first = broker.durable(V5, "first").connect();
    first.subscribe("$share/g/a", 1).disconnect();
    let mut publisher = broker.clean(V5, "p").connect();
    for number in 0..5 {
        publisher.publish("a", number.to_string(), 1);
    }
    let mut second = broker.durable(V5, "second").connect();
    second.subscribe("$share/g/a", 1);
    // The first comes and goes, and what it didn't take is the second's.
    let limited = broker.durable(V5, "first").prop(prop::receive_maximum(1));
    let mut first = limited.connect();
    first.expect_publish("a", "0");
    first.lose();
    broker.settle();
    let broker = broker.again(End::Crash);
    let mut second = broker.durable(V5, "second").connect();
    let mut got: Vec<String> = Vec::new();
    while got.len() < 4 {
        let received = second.expect_any_publish();
        second.acknowledge(&received);
        got.push(String::from_utf8(received.payload).expect("a number"));
    }
    assert_eq!(got, ["1", "2", "3", "4"]);
    let mut first = broker.durable(V5, "first").connect();
    assert!(first.take("a", "0").dup);
    first.expect_silence();
    second.expect_silence();
}

#[test]
fn copies_that_hooks_made_are_what_is_sent_again() {
    let mounted = |disk: &MemoryStore| {
        let listener = |listener: broker_core::Listener| listener.mount("tenant/");
        Durable::with(disk, listener, |builder| builder)
    };
    let broker = mounted(&disk());
    let mut client = broker.durable(V5, "c").prop(prop::receive_maximum(2)).connect();
    client.subscribe("a", 2);
    let mut publisher = broker.clean(V5, "p").connect();
    for number in 0..4 {
        publisher.publish("a", number.to_string(), 2);
    }
    let first = client.expect_publish("a", "0");
    client.expect_publish("a", "1");
    broker.settle();
    let broker = mounted(&broker.end(End::Crash));
    let mut client = broker.durable(V5, "c").connect();
    let again = client.take("a", "0");
    assert!(again.dup && again.id == first.id);
    for number in 1..4 {
        client.take("a", number.to_string());
    }
    client.expect_silence();
}

#[test]
fn a_qos_2_message_that_was_refused_leaves_no_identifier() {
    let full = |disk: &MemoryStore| {
        let nothing = |builder: broker_core::BrokerBuilder| builder.retained_max(0, 0);
        Durable::with(disk, |listener| listener, nothing)
    };
    let broker = full(&disk());
    let mut client = broker.durable(V5, "c").connect();
    client.subscribe("a", 2).disconnect();
    let mut publisher = broker.durable(V5, "p").connect();
    publisher.send(publish("a", "refused").retain().qos(2, 7));
    publisher.expect_ack(Kind::Pubrec, 7, 0x97);
    broker.settle();
    let broker = full(&broker.end(End::Crash));
    // The identifier is free for another message.
    let mut publisher = broker.durable(V5, "p").connect();
    publisher.send(publish("a", "taken").qos(2, 7));
    publisher.expect_ack(Kind::Pubrec, 7, 0);
    let mut client = broker.durable(V5, "c").connect();
    client.take("a", "taken");
    client.expect_silence();
}

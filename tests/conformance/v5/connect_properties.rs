//! 3.1.2.11 CONNECT Properties.

use crate::prelude::*;

/// Subscribes to `filter` and returns a client that connected with the property.
fn subscriber(broker: &TestBroker, property: Property, filter: &str, qos: u8) -> Client {
    let mut client = broker.v5("s").prop(property).connect();
    client.subscribe(filter, qos);
    client
}

#[test]
fn v5_3_1_2_21__server_keep_alive_rules() {
    let broker = TestBroker::start_with(|setup| setup.limits.keep_alive_max = Some(20));
    let mut client = broker.v5("c").keep_alive(1000).connect();
    assert!(client.connack.props.contains(&prop::server_keep_alive(20)));
    broker.advance(secs(28));
    client.expect_silence();
    broker.advance(secs(32));
    client.expect_error(0x8d);
}

#[test]
fn v5_3_1_2_23__a_session_is_stored_until_it_expires() {
    let broker = TestBroker::start();
    let kept = broker.v5("c").resume().prop(prop::session_expiry(100));
    kept.connect().subscribe("a", 1).disconnect();
    broker.advance(secs(95));
    let mut client = kept.connect();
    assert!(client.connack.session_present);
    client.publish("a", "x", 1).take("a", "x");
    client.disconnect();
    broker.advance(secs(103));
    assert!(!kept.connect().connack.session_present);
}

#[test]
fn v5_3_1_2_23__without_an_interval_the_session_ends_with_the_connection() {
    let broker = TestBroker::start();
    broker.v5("c").connect().disconnect();
    assert!(!broker.v5("c").resume().connect().connack.session_present);
}

#[test]
fn v5_3_1_2_23__the_largest_interval_never_ends() {
    let broker = TestBroker::start();
    let forever = broker.v5("c").resume().prop(prop::session_expiry(u32::MAX));
    forever.connect().disconnect();
    broker.advance(secs(u64::from(u32::MAX) + 100));
    assert!(forever.connect().connack.session_present);
}

#[test]
fn v5_3_1_2_24__packets_over_maximum_packet_size_are_not_sent() {
    let broker = TestBroker::start();
    let mut client = subscriber(&broker, prop::maximum_packet_size(100), "t", 0);
    // type, length, two bytes and "t", an empty Property Length: 6 bytes beside the payload
    let [fits, over] = [94, 95].map(|count| "x".repeat(count));
    client.publish("t", over, 0).expect_silence();
    client.publish("t", &fits, 0).take("t", fits);
}

#[test]
fn v5_3_1_2_24__the_packet_identifier_and_properties_count() {
    let broker = TestBroker::start();
    let mut client = subscriber(&broker, prop::maximum_packet_size(100), "t", 1);
    let with_type = |count: usize| publish("t", "x".repeat(count)).prop(prop::content_type("ab"));
    client.publish_packet(with_type(88), 1).expect_silence();
    client.publish_packet(with_type(87), 1);
    assert_eq!(client.expect_any_publish().payload.len(), 87);
}

#[test]
fn v5_3_1_2_25__a_packet_too_large_counts_as_delivered() {
    let broker = TestBroker::start();
    let connect = broker
        .v5("s")
        .durable()
        .prop(prop::maximum_packet_size(60))
        .prop(prop::receive_maximum(1));
    let mut client = connect.connect();
    client.subscribe("t", 2);
    for qos in [1, 2] {
        // the quota of one is not used up by what can't be sent
        client
            .publish("t", "x".repeat(100), qos)
            .publish("t", "y", qos)
            .take("t", "y");
    }
    client.expect_silence();
    client.disconnect();
    connect.connect().expect_silence();
}

#[test]
fn v5_3_1_2_26__topic_aliases_stay_within_the_maximum() {
    let broker = TestBroker::start();
    let mut client = subscriber(&broker, prop::topic_alias_maximum(2), "long/#", 0);
    let mut names = std::collections::HashMap::new();
    for round in 0..3 {
        for number in 0..5 {
            let topic = format!("long/topic/name/that/is/worth/an/alias/{number}");
            client.publish(&topic, [round], 0);
            let received = client.expect_any_publish();
            let alias = received.props.iter().find_map(|prop| match prop {
                Property::TopicAlias(alias) => Some(*alias),
                _ => None,
            });
            assert!(alias.is_none_or(|alias| (1..=2).contains(&alias)), "{alias:?}");
            if let Some(alias) = alias.filter(|_| !received.topic.is_empty()) {
                names.insert(alias, received.topic.clone());
            }
            let name = alias
                .and_then(|alias| names.get(&alias))
                .unwrap_or(&received.topic);
            assert_eq!(*name, topic);
        }
    }
}

#[test]
fn v5_3_1_2_27__no_topic_alias_without_a_maximum() {
    let broker = TestBroker::start();
    for mut client in [
        broker.v5("a").connect(),
        broker.v5("b").prop(prop::topic_alias_maximum(0)).connect(),
    ] {
        client.subscribe("#", 0);
        let topic = "long/topic/name/that/would/be/worth/an/alias";
        for _ in 0..3 {
            client.publish(topic, "x", 0);
            assert_eq!(client.take(topic, "x").props, []);
        }
    }
}

#[test]
fn v5_3_1_2_28__no_response_information_unless_requested() {
    let broker = TestBroker::start();
    for connect in [broker.v5("c"), broker.v5("c").prop(prop::request_response(0))] {
        let props = connect.connect().connack.props;
        assert!(
            !props
                .iter()
                .any(|prop| matches!(prop, Property::ResponseInformation(_))),
            "{props:?}"
        );
    }
}

#[test]
fn v5_3_1_2_29__no_problem_information_unless_requested() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").prop(prop::request_problem(0)).connect();
    client.send(subscribe(1).filter("a/#/b", 0));
    assert_eq!(client.expect_suback(1, &[0x8f]).props, []);
    client.send(unsubscribe(2).filter("none"));
    assert_eq!(client.expect_unsuback(2, &[0x11]).props, []);
    client.send(pubrel(3));
    assert_eq!(client.expect_ack(Kind::Pubcomp, 3, 0x92).props, []);
    client.send(pubrec(4));
    assert_eq!(client.expect_ack(Kind::Pubrel, 4, 0x92).props, []);
}

/// Values that the standard calls a Protocol Error, and properties that don't belong there or come twice.
#[test]
fn v5_3_1_4_1__property_values_are_checked() {
    let broker = TestBroker::start();
    for property in [
        prop::receive_maximum(0),
        prop::maximum_packet_size(0),
        prop::request_response(2),
        prop::request_problem(2),
        prop::auth_data(b"without a method"),
    ] {
        broker.v5("c").prop(property).invalid(0x82);
    }
    for twice in [
        prop::session_expiry(1),
        prop::receive_maximum(1),
        prop::auth_method("m"),
    ] {
        broker.v5("c").prop(twice.clone()).prop(twice).invalid(0x82);
    }
    for misplaced in [
        prop::content_type("a"),
        prop::will_delay(1),
        prop::topic_alias(1),
        prop::raw([0x7f, 0]),
    ] {
        broker.v5("c").prop(misplaced).invalid(0x81);
    }
    for misplaced in [
        prop::session_expiry(1),
        prop::topic_alias(1),
        prop::subscription_id(1),
    ] {
        broker.v5("c").will(will("w", "x").prop(misplaced)).invalid(0x81);
    }
}

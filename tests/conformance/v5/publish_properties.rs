//! 3.3.2.3 PUBLISH Properties.

use crate::prelude::*;

/// Publishes with these properties and returns what a subscriber and a newcomer, by the Retained Message, get.
fn passed_on(props: &[Property]) -> [Received; 2] {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    let packet = props
        .iter()
        .cloned()
        .fold(publish("a", "x").retain(), Publish::prop);
    client.subscribe("a", 1).publish_packet(packet, 1);
    let live = client.take("a", "x");
    let mut late = broker.v5("late").connect();
    let retained = late.subscribe("a", 1).take("a", "x");
    [live, retained]
}

/// Expects that these properties, and no others, arrive as they were sent.
fn unaltered(props: &[Property]) {
    for received in passed_on(props) {
        assert_eq!(received.props, props);
    }
}

/// Expects a PUBLISH with this property to end the connection.
fn refused(property: Property, code: u8) {
    TestBroker::start()
        .v5("c")
        .connect()
        .send(publish("a", "x").prop(property))
        .expect_error(code);
}

#[test]
fn v5_3_3_2_4__payload_format_indicator_is_passed_on() {
    unaltered(&[prop::payload_format(0)]);
    unaltered(&[prop::payload_format(1)]);
    refused(prop::payload_format(2), 0x82);
}

#[test]
fn v5_3_3_2_5__an_expired_message_is_deleted() {
    let broker = TestBroker::start();
    let connect = broker.v5("s").durable();
    connect.connect().subscribe("a", 1).disconnect();
    let mut publisher = broker.v5("p").connect();
    publisher.publish_packet(publish("a", "short").prop(prop::message_expiry(10)), 1);
    publisher.publish_packet(publish("a", "long").prop(prop::message_expiry(100)), 1);
    publisher.publish("a", "endless", 1);
    broker.advance(secs(12));
    let mut client = connect.connect();
    client.take("a", "long");
    client.take("a", "endless");
    client.expect_silence();
}

#[test]
fn v5_3_3_2_5__an_expired_retained_message_is_not_sent() {
    let broker = TestBroker::start();
    let mut client = broker.v5("p").connect();
    client.publish_packet(publish("a", "x").retain().prop(prop::message_expiry(10)), 0);
    broker.advance(secs(8));
    client.subscribe("a", 0).take("a", "x");
    broker.advance(secs(4));
    client.subscribe("a", 0).expect_silence();
}

#[test]
fn v5_3_3_2_6__the_time_waited_is_subtracted() {
    let broker = TestBroker::start();
    let connect = broker.v5("s").durable();
    connect.connect().subscribe("a", 1).disconnect();
    let mut publisher = broker.v5("p").connect();
    publisher.publish_packet(publish("a", "x").retain().prop(prop::message_expiry(100)), 1);
    broker.advance(secs(30));
    assert_eq!(connect.connect().take("a", "x").props, [prop::message_expiry(70)]);
    broker.advance(secs(30));
    assert_eq!(
        publisher.subscribe("a", 0).take("a", "x").props,
        [prop::message_expiry(40)]
    );
}

#[test]
fn v5_3_3_2_7__topic_aliases_end_with_the_connection() {
    let broker = TestBroker::start();
    let connect = broker.v5("c").durable();
    connect
        .connect()
        .publish_packet(publish("a", "x").prop(prop::topic_alias(1)), 0);
    connect
        .connect()
        .send(publish("", "x").prop(prop::topic_alias(1)))
        .expect_error(0x82);
    // and towards the client: the name comes again before the alias stands alone
    let topic = "long/topic/name/that/is/worth/an/alias";
    let connect = connect.prop(prop::topic_alias_maximum(10));
    for _ in 0..2 {
        let mut client = connect.connect();
        client.subscribe("#", 0).publish(topic, "x", 0).take(topic, "x");
        client.publish(topic, "y", 0).expect_any_publish();
    }
}

#[test]
fn v5_3_3_2_8__topic_alias_0_is_refused() {
    refused(prop::topic_alias(0), 0x94);
}

#[test]
fn v5_3_3_2_9__topic_alias_over_the_maximum_is_refused() {
    refused(prop::topic_alias(u16::MAX), 0x94);
}

#[test]
fn v5_3_3_2_11__the_server_keeps_within_the_client_s_maximum() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").prop(prop::topic_alias_maximum(1)).connect();
    client.subscribe("#", 0);
    for number in 0..4 {
        client.publish(
            format!("a/long/topic/name/that/is/worth/an/alias/{}", number % 2),
            "x",
            0,
        );
        let props = client.expect_any_publish().props;
        assert!(
            props.iter().all(|prop| *prop == prop::topic_alias(1)),
            "{props:?}"
        );
    }
}

#[test]
fn v5_3_3_2_12__every_topic_alias_up_to_the_maximum_is_accepted() {
    let broker = TestBroker::start_with(|setup| setup.limits.topic_alias_maximum = 50);
    let mut client = broker.v5("c").connect();
    client.subscribe("#", 0);
    for alias in 1..=50 {
        client.publish_packet(
            publish(format!("t/{alias}"), "new").prop(prop::topic_alias(alias)),
            0,
        );
        client.take(&format!("t/{alias}"), "new");
    }
    for alias in (1..=50).rev() {
        client.publish_packet(publish("", "again").prop(prop::topic_alias(alias)), 0);
        // the publisher's alias is not the subscriber's
        assert_eq!(client.take(&format!("t/{alias}"), "again").props, []);
    }
    client
        .publish_packet(publish("other", "x").prop(prop::topic_alias(7)), 0)
        .take("other", "x");
    client
        .publish_packet(publish("", "x").prop(prop::topic_alias(7)), 0)
        .take("other", "x");
}

#[test]
fn v5_3_3_2_13__the_response_topic_is_utf8() {
    refused(prop::raw(b"\x08\0\x01\xff"), 0x81);
}

#[test]
fn v5_3_3_2_14__the_response_topic_has_no_wildcards() {
    for topic in ["#", "a/+", "+/b"] {
        TestBroker::start()
            .v5("c")
            .connect()
            .send(publish("a", "x").prop(prop::response_topic(topic)))
            .drain();
    }
    let broker = TestBroker::start();
    broker
        .v5("c")
        .will(will("a", "x").prop(prop::response_topic("a/#")))
        .sent()
        .drain();
}

#[test]
fn v5_3_3_2_15__the_response_topic_is_passed_on() {
    unaltered(&[prop::response_topic("answers/\u{e4}")]);
}

#[test]
fn v5_3_3_2_16__correlation_data_is_passed_on() {
    unaltered(&[prop::correlation_data(b"\0\xff\x80 any bytes")]);
    unaltered(&[prop::correlation_data(&[7; 65_535])]);
}

#[test]
fn v5_3_3_2_17__user_properties_are_passed_on() {
    unaltered(&[
        prop::user("name", "value"),
        prop::user("", ""),
        prop::user("\u{e4}", "\u{10348}"),
    ]);
}

#[test]
fn v5_3_3_2_18__user_properties_keep_their_order() {
    let pairs: Vec<_> = (0..100)
        .map(|number| prop::user(&format!("{}", number % 7), &number.to_string()))
        .collect();
    unaltered(&pairs);
}

#[test]
fn v5_3_3_2_19__the_content_type_is_utf8() {
    refused(prop::raw(b"\x03\0\x01\xff"), 0x81);
}

#[test]
fn v5_3_3_2_20__the_content_type_is_passed_on() {
    unaltered(&[prop::content_type("text/plain; charset=utf-8")]);
}

/// What 5.0 adds stays behind when the subscriber speaks 3.1.1.
#[test]
fn v5_3_3_2_17__properties_do_not_reach_an_older_subscriber() {
    let broker = TestBroker::start();
    let mut old = broker.v311("old").connect();
    old.subscribe("a", 1);
    let packet = publish("a", "payload")
        .prop(prop::user("n", "v"))
        .prop(prop::message_expiry(9));
    broker.v5("new").connect().publish_packet(packet, 1);
    old.take("a", "payload");
    old.expect_silence();
}

/// Properties of other packets, unknown ones, and those that come twice.
#[test]
fn v5_4_13_1_1__misplaced_properties_are_refused() {
    for misplaced in [
        prop::session_expiry(1),
        prop::receive_maximum(1),
        prop::reason_string("x"),
        prop::raw([0x7f, 0]),
    ] {
        refused(misplaced, 0x81);
    }
    let broker = TestBroker::start();
    for twice in [
        prop::content_type("a"),
        prop::message_expiry(1),
        prop::topic_alias(1),
        prop::payload_format(1),
    ] {
        let packet = publish("a", "x").prop(twice.clone()).prop(twice);
        broker.v5("c").connect().send(packet).expect_error(0x82);
    }
}

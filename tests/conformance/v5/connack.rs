//! 3.2 CONNACK.

use broker_types::QoS;
use plugin_api::{AuthVerdict, ConnectFlow, Denial};

use crate::prelude::*;

shared_tests! { V5:
    v5_3_2_0_1__connack_comes_first = connect::connack_comes_first;
    v5_3_2_2_2__session_present_is_0_after_a_clean_start = connect::session_present_is_0_after_a_clean_start;
    v5_3_2_2_3__session_present_tells = connect::session_present_tells;
}

#[test]
fn v5_3_2_0_2__one_connack() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    client.expect_silence();
    // a second CONNECT gets a DISCONNECT
    client.send(broker.v5("c")).expect_error(0x82);
}

/// The parser of these tests refuses every other bit.
#[test]
fn v5_3_2_2_1__reserved_flags_are_0() {
    let broker = TestBroker::start();
    for connect in [
        broker.v5("c"),
        broker.v5("c").durable(),
        broker.v311("c").durable(),
    ] {
        let mut client = connect.sent();
        assert!(matches!(client.recv(), Packet::Connack(_)));
    }
}

#[test]
fn v5_3_2_2_6__session_present_is_0_in_a_refusal() {
    let broker = TestBroker::start_with(|setup| setup.limits.maximum_qos = QoS::AtMostOnce);
    broker.v5("c").durable().connect().disconnect();
    // the parser of these tests refuses Session Present 1 here
    broker.v5("c").durable().will(will("w", "x").qos(1)).refused(0x9b);
    assert!(broker.v5("c").durable().connect().connack.session_present);
}

#[test]
fn v5_3_2_2_7__a_refusal_ends_the_connection() {
    let broker =
        TestBroker::start_with(|setup| setup.authenticate(|_| AuthVerdict::Deny(Denial::not_authorized())));
    broker.v5("c").refused(0x87);
}

/// The parser of these tests knows no other codes.
#[test]
fn v5_3_2_2_8__connect_reason_codes() {
    let broker = TestBroker::start_with(|setup| {
        setup.limits.client_id_bytes_max = 5;
        setup.authenticate(|_| AuthVerdict::bad_credentials());
    });
    broker.v5("too long").refused(0x85);
    broker.v5("c").refused(0x86);
    broker.v5("c").flip(0x01).refused(0x81);
}

#[test]
fn v5_3_2_2_9__maximum_qos_is_told() {
    let broker = TestBroker::start_with(|setup| setup.limits.maximum_qos = QoS::AtLeastOnce);
    assert!(
        broker
            .v5("c")
            .connect()
            .connack
            .props
            .contains(&prop::maximum_qos(1))
    );
    let broker = TestBroker::start();
    assert!(
        !broker
            .v5("c")
            .connect()
            .connack
            .props
            .iter()
            .any(|p| matches!(p, Property::MaximumQos(_)))
    );
}

#[test]
fn v5_3_2_2_10__every_requested_qos_is_accepted() {
    let broker = TestBroker::start_with(|setup| setup.limits.maximum_qos = QoS::AtMostOnce);
    let mut client = broker.v5("c").connect();
    client
        .send(subscribe(1).filter("a", 0).filter("b", 1).filter("c", 2))
        .expect_suback(1, &[0, 0, 0]);
    client.publish("c", "x", 0).take("c", "x");
}

#[test]
fn v5_3_2_2_11__publish_over_maximum_qos_is_refused() {
    let broker = TestBroker::start_with(|setup| setup.limits.maximum_qos = QoS::AtLeastOnce);
    broker
        .v5("c")
        .connect()
        .send(publish("a", "x").qos(2, 1))
        .expect_error(0x9b);
    broker.v5("c").connect().publish("a", "x", 1).expect_silence();
}

#[test]
fn v5_3_2_2_12__will_over_maximum_qos_is_refused() {
    let broker = TestBroker::start_with(|setup| setup.limits.maximum_qos = QoS::AtLeastOnce);
    broker.v5("c").will(will("w", "x").qos(2)).refused(0x9b);
    broker.v5("c").will(will("w", "x").qos(1)).connect().disconnect();
}

#[test]
fn v5_3_2_2_13__retained_will_is_refused_where_nothing_is_retained() {
    let broker = TestBroker::start_with(|setup| setup.limits.retain_available = false);
    broker.v5("c").will(will("w", "x").retain()).refused(0x9a);
    assert!(
        broker
            .v5("c")
            .connect()
            .connack
            .props
            .contains(&prop::retain_available(0))
    );
}

#[test]
fn v5_3_2_2_14__retained_publish_is_refused_where_nothing_is_retained() {
    let broker = TestBroker::start_with(|setup| setup.limits.retain_available = false);
    broker
        .v5("c")
        .connect()
        .send(publish("a", "x").retain())
        .expect_error(0x9a);
}

#[test]
fn v5_3_2_2_15__packets_over_maximum_packet_size_are_refused() {
    let broker = TestBroker::start_with(|setup| setup.limits.packet_size_max = 1000);
    let mut client = broker.v5("c").connect();
    assert!(client.connack.props.contains(&prop::maximum_packet_size(1000)));
    // type, two bytes of length, two and "t", an empty Property Length
    client.publish("t", "x".repeat(993), 0).expect_silence();
    client.send(publish("t", "x".repeat(994))).expect_error(0x95);
}

#[test]
fn v5_3_2_2_15__a_header_is_enough_to_be_refused() {
    let broker = TestBroker::start_with(|setup| setup.limits.packet_size_max = 1000);
    broker
        .v5("c")
        .connect()
        .send(Frame::new(0x30).claim(268_435_455))
        .expect_error(0x95);
}

#[test]
fn v5_3_2_2_16__assigned_client_identifiers_are_new() {
    let broker = TestBroker::start();
    let mut first = broker.v5("").durable().connect();
    let given = first.connack.props.clone();
    first.disconnect();
    let second = broker.v5("").durable().connect();
    assert!(!second.connack.session_present);
    assert!(
        second
            .connack
            .props
            .iter()
            .all(|p| !matches!(p, Property::AssignedClientId(_)) || !given.contains(p))
    );
}

#[test]
fn v5_3_2_2_17__topic_aliases_over_the_maximum_are_refused() {
    let broker = TestBroker::start_with(|setup| setup.limits.topic_alias_maximum = 3);
    let mut client = broker.v5("c").connect();
    assert!(client.connack.props.contains(&prop::topic_alias_maximum(3)));
    client
        .publish_packet(publish("a", "x").prop(prop::topic_alias(3)), 0)
        .expect_silence();
    client
        .send(publish("a", "x").prop(prop::topic_alias(4)))
        .expect_error(0x94);
}

#[test]
fn v5_3_2_2_18__without_a_maximum_topic_aliases_are_refused() {
    let broker = TestBroker::start_with(|setup| setup.limits.topic_alias_maximum = 0);
    let mut client = broker.v5("c").connect();
    assert!(
        !client
            .connack
            .props
            .iter()
            .any(|p| matches!(p, Property::TopicAliasMaximum(1..)))
    );
    client
        .send(publish("a", "x").prop(prop::topic_alias(1)))
        .expect_error(0x94);
}

/// A broker that refuses with this Reason String.
fn refusing_because(text: &'static str) -> TestBroker {
    TestBroker::start_with(move |setup| {
        setup.authenticate(move |_| AuthVerdict::Deny(Denial::not_authorized().because(text)));
    })
}

/// Returns the properties of the CONNACK that refuses.
fn refusal(connect: &Connect) -> Vec<Property> {
    let mut client = connect.sent();
    let Packet::Connack(connack) = client.recv() else {
        panic!("no CONNACK")
    };
    client.expect_closed();
    assert_eq!(connack.code, 0x87);
    connack.props
}

#[test]
fn v5_3_2_2_19__reason_string_within_maximum_packet_size() {
    let broker = refusing_because("the moon is not full");
    assert_eq!(
        refusal(&broker.v5("c")),
        [prop::reason_string("the moon is not full")]
    );
    // two bytes of header, flags, code, Property Length, and the property in 23 bytes: 28
    assert_eq!(
        refusal(&broker.v5("c").prop(prop::maximum_packet_size(28))).len(),
        1
    );
    assert_eq!(refusal(&broker.v5("c").prop(prop::maximum_packet_size(27))), []);
}

#[test]
fn v5_3_2_2_20__user_properties_within_maximum_packet_size() {
    let broker = TestBroker::start_with(|setup| {
        setup.on_connect(|edit| {
            edit.user_properties.push(("name".into(), "v".repeat(200)));
            ConnectFlow::Continue
        });
    });
    let has = |connect: Connect| {
        connect
            .connect()
            .connack
            .props
            .iter()
            .any(|p| matches!(p, Property::User(_)))
    };
    assert!(has(broker.v5("c")));
    assert!(!has(broker.v5("c").prop(prop::maximum_packet_size(200))));
}

#[test]
fn v5_3_2_2_21__server_keep_alive_is_told_where_it_differs() {
    let broker = TestBroker::start_with(|setup| setup.limits.keep_alive_max = Some(20));
    let told = |connect: Connect| {
        connect
            .connect()
            .connack
            .props
            .contains(&prop::server_keep_alive(20))
    };
    assert!(told(broker.v5("c").keep_alive(21)) && told(broker.v5("c").keep_alive(0)));
    assert!(!told(broker.v5("c").keep_alive(19)));
}

#[test]
fn v5_3_2_2_22__without_server_keep_alive_the_client_s_holds() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").keep_alive(30).connect();
    assert!(
        !client
            .connack
            .props
            .iter()
            .any(|p| matches!(p, Property::ServerKeepAlive(_)))
    );
    broker.advance(secs(43));
    client.expect_silence();
    broker.advance(secs(47));
    client.expect_error(0x8d);
}

//! 3.4 PUBACK, 3.5 PUBREC, 3.6 PUBREL, 3.7 PUBCOMP.

use plugin_api::{AclVerdict, Denial};

use crate::prelude::*;

/// The Reason String of [`refusing`].
const WHY: &str = "not on a Monday";

/// A broker that lets nobody publish to `secret`, and says why.
fn refusing() -> TestBroker {
    TestBroker::start_with(|setup| {
        setup.authorize(|_, _, topic| match topic {
            "secret" => AclVerdict::Deny(Denial::not_authorized().because(WHY)),
            _ => AclVerdict::Allow,
        });
    })
}

/// A PUBACK or PUBREC carries a Reason String when the client's Maximum Packet Size allows, to the byte, and none where
/// it does not.
fn reason_string_within_maximum_packet_size(qos: u8, kind: Kind) {
    let broker = refusing();
    let props = |connect: Connect| {
        let mut client = connect.connect();
        client
            .send(publish("secret", "x").qos(qos, 1))
            .expect_ack(kind, 1, 0x87)
            .props
    };
    assert_eq!(props(broker.v5("c")), [prop::reason_string(WHY)]);
    // two bytes of header, identifier, code, Property Length, and the property: 6 + 3 + 15
    assert_eq!(
        props(broker.v5("c").prop(prop::maximum_packet_size(24))),
        [prop::reason_string(WHY)]
    );
    assert_eq!(props(broker.v5("c").prop(prop::maximum_packet_size(23))), []);
    assert_eq!(props(broker.v5("c").prop(prop::request_problem(0))), []);
}

/// The answer to an unknown Packet Identifier fits into the smallest packets.
fn fits(packet: Ack, kind: Kind) {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").prop(prop::maximum_packet_size(24)).connect();
    let mut raw = client.send(packet).expect_ack(kind, 9, 0x92);
    raw.props
        .retain(|prop| !matches!(prop, Property::ReasonString(_) | Property::User(_)));
    assert_eq!(raw.props, []);
}

/// Every code that 5.0 gives to the packet is taken from the client, every other one ends the connection.
fn codes(packet: impl Fn(u16) -> Ack, qos: u8, allowed: &[u8]) {
    let broker = TestBroker::start();
    for code in [
        0x00, 0x01, 0x10, 0x18, 0x7f, 0x80, 0x83, 0x87, 0x90, 0x91, 0x92, 0x97, 0x99, 0x9b, 0xff,
    ] {
        let mut client = broker.v5("c").connect();
        client.subscribe("a", 2).publish("a", "x", qos);
        let id = client.expect_publish("a", "x").id;
        client.send(packet(id).code(code));
        if allowed.contains(&code) {
            client.sync();
        } else {
            client.drain();
        }
    }
}

const PUBACK_CODES: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];

/// That the server uses them the parser of these tests sees to, in every test.
#[test]
fn v5_3_4_2_1__puback_reason_codes() {
    codes(puback, 1, PUBACK_CODES);
    let broker = refusing();
    let mut client = broker.v5("c").connect();
    client
        .send(publish("secret", "x").qos(1, 1))
        .expect_ack(Kind::Puback, 1, 0x87);
    client
        .subscribe("open", 0)
        .send(publish("open", "x").qos(1, 2))
        .sync();
    client.take("open", "x");
    client.expect_ack(Kind::Puback, 2, 0x00);
}

#[test]
fn v5_3_4_2_2__reason_string_in_puback_within_maximum_packet_size() {
    reason_string_within_maximum_packet_size(1, Kind::Puback);
}

#[test]
fn v5_3_5_2_1__pubrec_reason_codes() {
    codes(pubrec, 2, PUBACK_CODES);
    let broker = refusing();
    let mut client = broker.v5("c").connect();
    client
        .send(publish("secret", "x").qos(2, 1))
        .expect_ack(Kind::Pubrec, 1, 0x87);
}

#[test]
fn v5_3_5_2_2__reason_string_in_pubrec_within_maximum_packet_size() {
    reason_string_within_maximum_packet_size(2, Kind::Pubrec);
}

shared_tests! { V5:
    v5_3_6_1_1__pubrel_flags_are_checked = data::pubrel_flags;
}

#[test]
fn v5_3_6_2_1__pubrel_reason_codes() {
    let broker = TestBroker::start();
    for code in [0x00, 0x92] {
        let mut client = broker.v5("c").connect();
        client
            .send(publish("a", "x").qos(2, 1))
            .expect_some_ack(Kind::Pubrec, 1);
        client.send(pubrel(1).code(code)).expect_ack(Kind::Pubcomp, 1, 0);
    }
    for code in [0x01, 0x10, 0x80, 0xff] {
        broker.v5("c").connect().send(pubrel(1).code(code)).drain();
    }
    broker
        .v5("c")
        .connect()
        .send(pubrec(9))
        .expect_ack(Kind::Pubrel, 9, 0x92);
}

#[test]
fn v5_3_6_2_2__pubrel_within_maximum_packet_size() {
    fits(pubrec(9), Kind::Pubrel);
}

#[test]
fn v5_3_7_2_1__pubcomp_reason_codes() {
    let broker = TestBroker::start();
    for code in [0x00, 0x92] {
        let mut client = broker.v5("c").connect();
        client.subscribe("a", 2).publish("a", "x", 2);
        let id = client.expect_publish("a", "x").id;
        client.send(pubrec(id)).expect_ack(Kind::Pubrel, id, 0);
        client.send(pubcomp(id).code(code)).expect_silence();
    }
    for code in [0x01, 0x10, 0x80, 0xff] {
        broker.v5("c").connect().send(pubcomp(1).code(code)).drain();
    }
    broker
        .v5("c")
        .connect()
        .send(pubrel(9))
        .expect_ack(Kind::Pubcomp, 9, 0x92);
}

#[test]
fn v5_3_7_2_2__pubcomp_within_maximum_packet_size() {
    fits(pubrel(9), Kind::Pubcomp);
}

/// A client may send Reason String and User Properties with its acknowledgements.
#[test]
fn v5_3_4_2_1__properties_of_acknowledgements_are_taken() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    client.subscribe("a", 1).publish("a", "x", 1);
    let id = client.expect_publish("a", "x").id;
    let ack = puback(id)
        .prop(prop::reason_string("thanks"))
        .prop(prop::user("a", "1"))
        .prop(prop::user("a", "2"));
    client.send(ack).expect_silence();
    let twice = puback(id)
        .prop(prop::reason_string("a"))
        .prop(prop::reason_string("b"));
    client.send(twice).expect_error(0x82);
}

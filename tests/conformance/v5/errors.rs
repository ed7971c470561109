//! 4.13 Handling errors.

use crate::prelude::*;

/// One of each kind, with the Reason Code that the standard gives it.
#[test]
fn v5_4_13_1_1__malformed_packets_and_protocol_errors_end_the_connection() {
    let broker = TestBroker::start();
    let cases: [(&str, Vec<u8>, u8); 12] = [
        ("packet type 0", vec![0x00, 0], 0x81),
        ("a CONNACK", vec![0x20, 3, 0, 0, 0], 0x82),
        (
            "a SUBACK",
            Frame::new(0x90).u16(1).props(&[]).u8(0).encode(),
            0x82,
        ),
        (
            "an UNSUBACK",
            Frame::new(0xb0).u16(1).props(&[]).u8(0).encode(),
            0x82,
        ),
        ("a PINGRESP", vec![0xd0, 0], 0x82),
        ("a PINGREQ with a body", vec![0xc0, 1, 0], 0x81),
        ("a PUBACK that is cut off", vec![0x40, 1, 0], 0x81),
        (
            "a PUBACK with more after its end",
            vec![0x40, 5, 0, 1, 0, 0, 9],
            0x81,
        ),
        (
            "a SUBSCRIBE without options",
            Frame::new(0x82).u16(1).props(&[]).text("a").encode(),
            0x81,
        ),
        (
            "a PUBLISH without identifier",
            Frame::new(0x32).text("a").encode(),
            0x81,
        ),
        (
            "an alias never set",
            publish("", "x").prop(prop::topic_alias(1)).wire(V5),
            0x82,
        ),
        (
            "a packet too large",
            Frame::new(0x30).claim(200_000_000).encode(),
            0x95,
        ),
    ];
    for (what, bytes, code) in cases {
        let mut client = broker.v5("c").connect();
        client.send(bytes);
        match client.next_packet() {
            Some(Packet::Disconnect(reasoned)) => assert_eq!(reasoned.code, code, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
        client.expect_closed();
    }
}

#[test]
fn v5_4_13_2_1__a_code_of_0x80_or_more_ends_the_connection() {
    let broker = TestBroker::start();
    broker.v5("c").flip(0x01).refused(0x81);
    broker
        .v5("c")
        .connect()
        .send(pingreq().frame(V5).first(0xc1))
        .expect_error(0x81);
}

/// One connection's error is nobody else's.
#[test]
fn v5_4_13_1_1__other_connections_go_on() {
    let broker = TestBroker::start();
    let mut calm = broker.v5("calm").connect();
    calm.subscribe("a", 1);
    for _ in 0..50 {
        broker.v5("wild").connect().send(publish("a/#", "x")).drain();
        broker.v5("wild").flip(0x01).sent().drain();
    }
    calm.publish("a", "x", 1).take("a", "x");
    calm.expect_silence();
}

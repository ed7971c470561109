//! 1.5 Data representation, 2.1 Structure of an MQTT Control Packet, 2.2 Variable Header.

use crate::prelude::*;

shared_tests! { V5:
    v5_1_5_4_1__ill_formed_utf8_is_refused = data::ill_formed_utf8;
    v5_1_5_4_2__the_null_character_is_refused = data::null_character;
    v5_1_5_4_3__the_byte_order_mark_is_an_ordinary_character = data::zero_width_no_break_space;
    v5_2_1_3_1__reserved_flags_are_checked = data::reserved_flags;
    v5_2_2_1_2__qos_0_has_no_packet_identifier = data::qos_0_has_no_packet_identifier;
    v5_2_2_1_3__packet_identifier_0_is_refused = data::zero_packet_identifier;
    v5_2_2_1_4__the_server_uses_free_packet_identifiers = data::server_uses_free_packet_identifiers;
    v5_2_2_1_5__acknowledgements_carry_the_packet_identifier = data::acks_carry_the_packet_identifier;
    v5_2_2_1_6__suback_and_unsuback_carry_the_packet_identifier = data::suback_and_unsuback_carry_the_packet_identifier;
}

#[test]
fn v5_1_5_5_1__variable_byte_integers_are_minimal() {
    let broker = TestBroker::start();
    let frames = [
        // the Remaining Length 0 in two bytes, and one of five bytes
        Frame::new(0xc0).length_bytes(&[0x80, 0x00]),
        Frame::new(0xc0).length_bytes(&[0x80, 0x80, 0x80, 0x80, 0x00]),
        Frame::new(0x30).length_bytes(&[0xff, 0xff, 0xff, 0xff, 0x01]),
        // the Property Length 0 in two bytes
        Frame::new(0x30).text("a").bytes([0x80, 0x00]).bytes("x"),
        // the Subscription Identifier 1 in two and five bytes
        subscribe(1)
            .prop(prop::raw([0x0b, 0x81, 0x00]))
            .filter("a", 0)
            .frame(V5),
        subscribe(1)
            .prop(prop::raw([0x0b, 0x81, 0x80, 0x80, 0x80, 0x00]))
            .filter("a", 0)
            .frame(V5),
    ];
    for frame in frames {
        broker.v5("c").connect().send(frame).expect_error(0x81);
    }
}

#[test]
fn v5_1_5_7_1__both_strings_of_a_pair_are_utf8() {
    let broker = TestBroker::start();
    for (name, value) in [
        (&b"\xff"[..], &b"v"[..]),
        (b"n", b"\xed\xa0\x80"),
        (b"n\0", b"v"),
        (b"n", b"\0"),
    ] {
        let pair = Frame::new(0).u8(0x26).text(name).text(value).encode()[2..].to_vec();
        let packet = publish("a", "x").prop(prop::raw(&pair));
        broker.v5("c").connect().send(packet).expect_error(0x81);
        broker.v5("c").prop(prop::raw(pair)).invalid(0x81);
    }
}

#[test]
fn v5_2_1_3_1__auth_has_reserved_flags_too() {
    let broker = TestBroker::start();
    broker
        .v5("c")
        .connect()
        .send(auth(0x19).frame(V5).first(0xf1))
        .expect_error(0x81);
}

#[test]
fn v5_2_2_2_1__the_property_length_is_always_there() {
    let broker = TestBroker::start();
    let connect = broker.v5("c");
    connect.invalid_as(Frame::new(0x10).text("MQTT").u8(5).u8(2).u16(0).text("c"), 0x81);
    for frame in [
        Frame::new(0x82).u16(1).text("a/b").u8(0),
        Frame::new(0xa2).u16(1).text("a/b"),
        Frame::new(0x32).text("a").u16(1),
        // and where it is, it says the truth: too long by one, and ending within a property
        Frame::new(0x30).text("a").bytes([1]),
        Frame::new(0x30).text("a").bytes([4, 0x02, 0, 0, 0, 9]),
        Frame::new(0x30).text("a").bytes([2, 0x26, 0, 1]).bytes("n"),
    ] {
        connect.connect().send(frame).expect_error(0x81);
    }
}

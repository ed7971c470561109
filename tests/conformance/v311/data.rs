//! 1.5 Data representation, 2.2 Fixed header, 2.3 Variable header, 4.8 Handling errors.

use crate::prelude::*;

shared_tests! { V311:
    v311_1_5_3_1__ill_formed_utf8_is_refused = data::ill_formed_utf8;
    v311_1_5_3_2__the_null_character_is_refused = data::null_character;
    v311_1_5_3_3__the_byte_order_mark_is_an_ordinary_character = data::zero_width_no_break_space;
    v311_2_2_2_2__wrong_flags_end_the_connection = data::reserved_flags;
    v311_2_3_1_1__packet_identifier_0_is_refused = data::zero_packet_identifier;
    v311_2_3_1_4__the_server_uses_free_packet_identifiers = data::server_uses_free_packet_identifiers;
    v311_2_3_1_5__qos_0_has_no_packet_identifier = data::qos_0_has_no_packet_identifier;
    v311_2_3_1_6__acknowledgements_carry_the_packet_identifier = data::acks_carry_the_packet_identifier;
    v311_2_3_1_7__suback_and_unsuback_carry_the_packet_identifier = data::suback_and_unsuback_carry_the_packet_identifier;
}

/// The parser of these tests refuses every reserved bit; here is one packet of each type that a server sends.
#[test]
fn v311_2_2_2_1__reserved_flags_are_as_listed() {
    let broker = TestBroker::start();
    let mut client = broker.v311("c").connect();
    client.subscribe("a", 2).publish("a", "1", 1).take("a", "1");
    client.publish("a", "2", 2).take("a", "2");
    client.unsubscribe("a").expect_silence();
}

/// The first three bytes of a Remaining Length promise more; a fifth may not come.
#[test]
fn v311_4_8_0_1__a_protocol_violation_ends_the_connection() {
    let broker = TestBroker::start();
    let cases: [(&str, Vec<u8>); 12] = [
        ("packet type 0", vec![0x00, 0]),
        ("packet type 15", vec![0xf0, 0]),
        ("a CONNACK", vec![0x20, 2, 0, 0]),
        ("a SUBACK", vec![0x90, 3, 0, 1, 0]),
        ("an UNSUBACK", vec![0xb0, 2, 0, 1]),
        ("a PINGRESP", vec![0xd0, 0]),
        ("a PINGREQ with a body", vec![0xc0, 1, 0]),
        ("a length of five bytes", vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ("a PUBACK that is cut off", vec![0x40, 1, 0]),
        ("a PUBACK with a Reason Code", vec![0x40, 3, 0, 1, 0]),
        (
            "a SUBSCRIBE without QoS",
            Frame::new(0x82).u16(1).text("a").encode(),
        ),
        ("a DISCONNECT with a Reason Code", vec![0xe0, 1, 0]),
    ];
    for (what, bytes) in cases {
        let mut client = broker.v311("c").connect();
        client.send(bytes);
        assert_eq!(client.next_packet(), None, "{what}");
    }
}

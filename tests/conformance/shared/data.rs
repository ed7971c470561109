//! Section 1.5, data representation, and section 2, the format of packets.

use crate::prelude::*;

/// Strings that are not UTF-8: stray and cut off bytes, surrogates, an overlong form, beyond U+10FFFF.
const ILL_FORMED: [&[u8]; 7] = [
    b"\xff",
    b"a\x80",
    b"a\xc3",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
];

/// Packets of a connected client with `text` where a Topic Name or Topic Filter stands.
fn carriers(text: &[u8], version: Version) -> [Vec<u8>; 3] {
    [
        publish(text, "x").wire(version),
        subscribe(1).filter(text, 0).wire(version),
        unsubscribe(1).filter(text).wire(version),
    ]
}

pub(crate) fn ill_formed_utf8(version: Version) {
    let broker = TestBroker::start();
    for text in ILL_FORMED {
        broker.client(version, text).invalid(0x81);
        broker.client(version, "c").username(text).invalid(0x81);
        broker.client(version, "c").will(will(text, "x")).invalid(0x81);
        for packet in carriers(text, version) {
            broker
                .client(version, "c")
                .connect()
                .send(packet)
                .expect_error(0x81);
        }
    }
}

pub(crate) fn null_character(version: Version) {
    let broker = TestBroker::start();
    broker.client(version, "a\0b").invalid(0x81);
    broker.client(version, "c").username("a\0b").invalid(0x81);
    broker.client(version, "c").will(will("a\0b", "x")).invalid(0x81);
    for packet in carriers(b"a\0b", version) {
        broker
            .client(version, "c")
            .connect()
            .send(packet)
            .expect_error(0x81);
    }
}

pub(crate) fn zero_width_no_break_space(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "\u{feff}c").connect();
    client.subscribe("\u{feff}a", 0).subscribe("b", 0);
    client
        .publish("\u{feff}a", "kept", 0)
        .publish("a", "another topic", 0)
        .publish("\u{feff}b", "too", 0);
    client.take("\u{feff}a", "kept");
    client.expect_silence();
}

pub(crate) fn reserved_flags(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "c");
    // the version is not known yet, so neither is the answer's form
    connect.open().send(connect.frame().first(0x11)).drain_raw();
    let frames = [
        puback(1).frame(version).first(0x41),
        pubrec(1).frame(version).first(0x52),
        pubrel(1).frame(version).first(0x60),
        pubcomp(1).frame(version).first(0x71),
        subscribe(1).filter("a", 0).frame(version).first(0x80),
        unsubscribe(1).filter("a").frame(version).first(0xa3),
        pingreq().frame(version).first(0xc1),
        disconnect().frame(version).first(0xe8),
    ];
    for frame in frames {
        connect.connect().send(frame).expect_error(0x81);
    }
}

pub(crate) fn qos_0_has_no_packet_identifier(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("a", 0);
    // were there an identifier, it would stand before the payload
    client.publish("a", "payload", 1);
    client.take("a", "payload");
}

pub(crate) fn zero_packet_identifier(version: Version) {
    let broker = TestBroker::start();
    let packets = [
        publish("a", "x").qos(1, 0).wire(version),
        publish("a", "x").qos(2, 0).wire(version),
        subscribe(0).filter("a", 0).wire(version),
        unsubscribe(0).filter("a").wire(version),
    ];
    for packet in packets {
        broker
            .client(version, "c")
            .connect()
            .send(packet)
            .expect_error(0x82);
    }
}

pub(crate) fn server_uses_free_packet_identifiers(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("a", 2);
    let mut unacknowledged: Vec<u16> = Vec::new();
    for round in 0..10 {
        client.publish("a", "x", 1 + round % 2);
        let received = client.expect_publish("a", "x");
        assert!(
            !unacknowledged.contains(&received.id),
            "{} is in use",
            received.id
        );
        if round % 3 == 0 {
            client.acknowledge(&received);
        } else {
            unacknowledged.push(received.id);
        }
    }
}

pub(crate) fn acks_carry_the_packet_identifier(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("elsewhere", 0);
    for id in [1, 0x1234, 0xffff] {
        client
            .send(publish("a", "x").qos(1, id))
            .expect_some_ack(Kind::Puback, id);
        client
            .send(publish("a", "x").qos(2, id))
            .expect_some_ack(Kind::Pubrec, id);
        client.send(pubrel(id)).expect_ack(Kind::Pubcomp, id, 0);
    }
    client.subscribe("a", 2).publish("a", "x", 2);
    let received = client.expect_publish("a", "x");
    client
        .send(pubrec(received.id))
        .expect_ack(Kind::Pubrel, received.id, 0);
}

pub(crate) fn suback_and_unsuback_carry_the_packet_identifier(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    for id in [1, 0x1234, 0xffff] {
        client.send(subscribe(id).filter("a", 1)).expect_suback(id, &[1]);
        client
            .send(unsubscribe(id).filter("a"))
            .expect_unsuback(id, success(version));
    }
}

/// The codes of an UNSUBACK that removed one Subscription.
pub(crate) fn success(version: Version) -> &'static [u8] {
    if version.is_v5() { &[0] } else { &[] }
}

pub(crate) fn pubrel_flags(version: Version) {
    let broker = TestBroker::start();
    for flags in (0..16).filter(|flags| *flags != 2) {
        let mut client = broker.client(version, "c").connect();
        client
            .send(publish("a", "x").qos(2, 1))
            .expect_some_ack(Kind::Pubrec, 1);
        client
            .send(pubrel(1).frame(version).first(0x60 | flags))
            .expect_error(0x81);
    }
}

pub(crate) fn subscribe_flags(version: Version) {
    let broker = TestBroker::start();
    for flags in (0..16).filter(|flags| *flags != 2) {
        let frame = subscribe(1).filter("a", 0).frame(version).first(0x80 | flags);
        broker
            .client(version, "c")
            .connect()
            .send(frame)
            .expect_error(0x81);
    }
}

pub(crate) fn unsubscribe_flags(version: Version) {
    let broker = TestBroker::start();
    for flags in (0..16).filter(|flags| *flags != 2) {
        let frame = unsubscribe(1).filter("a").frame(version).first(0xa0 | flags);
        broker
            .client(version, "c")
            .connect()
            .send(frame)
            .expect_error(0x81);
    }
}

pub(crate) fn disconnect_flags(version: Version) {
    let broker = TestBroker::start();
    for flags in 1..16 {
        let frame = disconnect().frame(version).first(0xe0 | flags);
        broker
            .client(version, "c")
            .connect()
            .send(frame)
            .expect_error(0x81);
    }
}

pub(crate) fn ill_formed_topic_filter(version: Version) {
    let broker = TestBroker::start();
    for text in ILL_FORMED {
        let packet = subscribe(1).filter("fine", 0).filter(text, 0);
        broker
            .client(version, "c")
            .connect()
            .send(packet)
            .expect_error(0x81);
    }
}

pub(crate) fn ill_formed_topic_filter_to_unsubscribe(version: Version) {
    let broker = TestBroker::start();
    for text in ILL_FORMED {
        let packet = unsubscribe(1).filter("fine").filter(text);
        broker
            .client(version, "c")
            .connect()
            .send(packet)
            .expect_error(0x81);
    }
}

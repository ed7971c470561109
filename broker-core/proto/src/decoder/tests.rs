//! Each class of packet that must be refused, with its Reason Code, and the odd ones that must not.

use broker_types::QoS;

use super::*;

const MALFORMED: ReasonCode = ReasonCode::MalformedPacket;
const PROTOCOL: ReasonCode = ReasonCode::ProtocolError;
const V31: ProtocolVersion = ProtocolVersion::V31;
const V311: ProtocolVersion = ProtocolVersion::V311;
const V5: ProtocolVersion = ProtocolVersion::V5;

fn server(version: ProtocolVersion) -> Decoder {
    let mut decoder = Decoder::server(1024, 512);
    decoder.set_version(version);
    decoder
}

fn client(version: ProtocolVersion) -> Decoder {
    Decoder::client(version, 1024)
}

/// A packet with the right Remaining Length (below 128).
fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128);
    [&[first, body.len() as u8], body].concat()
}

fn reason(decoder: &Decoder, frame: &[u8]) -> Option<ReasonCode> {
    decoder.decode(frame).err().map(|error| error.reason)
}

/// The first byte alone is enough to refuse the packet.
fn refused_at_once(decoder: &Decoder, first: u8) -> Option<ReasonCode> {
    decoder.frame_len(&[first]).err().map(|error| error.reason)
}

#[test]
fn the_first_packet_is_connect_and_there_is_one() {
    let fresh = Decoder::server(1024, 512);
    for first in [0x30, 0x40, 0x82, 0xA2, 0xC0, 0xE0, 0xF0, 0x20] {
        assert_eq!(refused_at_once(&fresh, first), Some(PROTOCOL), "{first:#x}");
    }
    assert_eq!(fresh.frame_len(&[0x10]), Ok(None));
    for version in [V31, V311, V5] {
        assert_eq!(refused_at_once(&server(version), 0x10), Some(PROTOCOL));
    }
}

#[test]
fn each_side_sends_its_own_packets() {
    for version in [V31, V311, V5] {
        for first in [0x20, 0x90, 0xB0, 0xD0] {
            assert_eq!(
                refused_at_once(&server(version), first),
                Some(PROTOCOL),
                "{first:#x}"
            );
            assert_eq!(refused_at_once(&client(version), first), None, "{first:#x}");
        }
        for first in [0x10, 0x82, 0xA2, 0xC0] {
            assert_eq!(
                refused_at_once(&client(version), first),
                Some(PROTOCOL),
                "{first:#x}"
            );
        }
        for first in [0x30, 0x40, 0x50, 0x62, 0x70] {
            assert_eq!(refused_at_once(&server(version), first), None, "{first:#x}");
            assert_eq!(refused_at_once(&client(version), first), None, "{first:#x}");
        }
    }
    assert_eq!(refused_at_once(&client(V311), 0xE0), Some(PROTOCOL));
    assert_eq!(refused_at_once(&client(V5), 0xE0), None);
    assert_eq!(refused_at_once(&server(V311), 0xE0), None);
    assert_eq!(refused_at_once(&server(V311), 0xF0), Some(MALFORMED));
    assert_eq!(refused_at_once(&server(V5), 0xF0), None);
}

#[test]
fn reserved_types_and_flags_are_malformed() {
    for version in [V31, V311, V5] {
        for first in [0x00, 0x0F, 0x41, 0x51, 0x60, 0x72, 0x80, 0xA0, 0xC1, 0xE1] {
            assert_eq!(
                refused_at_once(&server(version), first),
                Some(MALFORMED),
                "{first:#x}"
            );
        }
        // QoS 3; DUP with QoS 0
        for first in [0x36, 0x37, 0x3E, 0x38, 0x39] {
            assert_eq!(
                refused_at_once(&server(version), first),
                Some(MALFORMED),
                "{first:#x}"
            );
        }
        // 3.1 sends these with QoS 1 and may set DUP.
        for first in [0x6A, 0x8A, 0xAA] {
            let expected = (version != V31).then_some(MALFORMED);
            assert_eq!(refused_at_once(&server(version), first), expected, "{first:#x}");
        }
    }
}

#[test]
fn sizes_are_refused_from_the_fixed_header() {
    let too_large = Some(ReasonCode::PacketTooLarge);
    let error = |decoder: &Decoder, header: &[u8]| decoder.frame_len(header).err().map(|e| e.reason);
    let decoder = server(V5);
    assert_eq!(decoder.frame_len(&[]), Ok(None));
    assert_eq!(decoder.frame_len(&[0x30]), Ok(None));
    assert_eq!(decoder.frame_len(&[0x30, 0xFD]), Ok(None));
    // 3 + 1021 bytes are 1024.
    assert_eq!(decoder.frame_len(&[0x30, 0xFD, 0x07]), Ok(Some(1024)));
    assert_eq!(error(&decoder, &[0x30, 0xFE, 0x07]), too_large);
    assert_eq!(error(&decoder, &[0x30, 0xFF, 0xFF, 0xFF, 0x7F]), too_large);
    assert_eq!(error(&decoder, &[0x30, 0xFF, 0xFF, 0xFF, 0xFF]), Some(MALFORMED));
    assert_eq!(error(&decoder, &[0x30, 0x81, 0x00]), Some(MALFORMED));

    let fresh = Decoder::server(1024, 512);
    assert_eq!(fresh.frame_len(&[0x10, 0xFD, 0x03]), Ok(Some(512)));
    assert_eq!(error(&fresh, &[0x10, 0xFE, 0x03]), too_large);

    let largest = Decoder::client(V311, u32::MAX);
    assert_eq!(
        largest.frame_len(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
        Ok(Some(268_435_460))
    );
}

#[test]
fn packets_of_one_size_have_that_size() {
    for (version, frame) in [
        (V311, &[0x40, 3][..]),
        (V311, &[0x50, 1]),
        (V311, &[0x62, 0]),
        (V31, &[0x70, 3]),
        (V5, &[0x40, 1]),
        (V311, &[0xC0, 1]),
        (V5, &[0xC0, 1]),
        (V311, &[0xE0, 1]),
    ] {
        let error = server(version).frame_len(frame).err().map(|e| e.reason);
        assert_eq!(error, Some(MALFORMED), "{version}: {frame:?}");
    }
}

#[test]
fn a_publish_is_refused_when() {
    let long = [&[0, 1, b'a', 0x7F][..], &[0; 20]].concat();
    for (what, flags, body, expected) in [
        ("it has no topic", 0, &[][..], MALFORMED),
        ("its topic is cut", 0, &[0, 2, b'a'], MALFORMED),
        ("its topic is not UTF-8", 0, &[0, 1, 0xFF, 0], MALFORMED),
        (
            "its topic has a surrogate",
            0,
            &[0, 3, 0xED, 0xA0, 0x80, 0],
            MALFORMED,
        ),
        (
            "its topic is overlong UTF-8",
            0,
            &[0, 2, 0xC1, 0x81, 0],
            MALFORMED,
        ),
        ("its topic has U+0000", 0, &[0, 2, b'a', 0, 0], MALFORMED),
        (
            "its topic has +",
            0,
            &[0, 1, b'+', 0],
            ReasonCode::TopicNameInvalid,
        ),
        (
            "its topic has #",
            0,
            &[0, 2, b'a', b'#', 0],
            ReasonCode::TopicNameInvalid,
        ),
        ("its topic is empty without an alias", 0, &[0, 0, 0], PROTOCOL),
        ("it has no packet identifier", 2, &[0, 1, b'a'], MALFORMED),
        ("its packet identifier is 0", 2, &[0, 1, b'a', 0, 0, 0], PROTOCOL),
        ("it has no property length", 0, &[0, 1, b'a'], MALFORMED),
        ("its property length lies", 0, &long, MALFORMED),
        (
            "its property length cuts a property",
            0,
            &[0, 1, b'a', 2, 0x02, 0, 0, 0, 1],
            MALFORMED,
        ),
        (
            "its property length is not minimal",
            0,
            &[0, 1, b'a', 0x80, 0],
            MALFORMED,
        ),
        (
            "its alias is 0",
            0,
            &[0, 1, b'a', 3, 0x23, 0, 0],
            ReasonCode::TopicAliasInvalid,
        ),
        (
            "it has two aliases",
            0,
            &[0, 1, b'a', 6, 0x23, 0, 1, 0x23, 0, 1],
            PROTOCOL,
        ),
        (
            "it has two expiries",
            0,
            &[0, 1, b'a', 10, 2, 0, 0, 0, 1, 2, 0, 0, 0, 1],
            PROTOCOL,
        ),
        (
            "it has two content types",
            0,
            &[0, 1, b'a', 6, 3, 0, 0, 3, 0, 0],
            PROTOCOL,
        ),
        (
            "it has a subscription identifier",
            0,
            &[0, 1, b'a', 2, 0x0B, 1],
            PROTOCOL,
        ),
        ("a payload format is 2", 0, &[0, 1, b'a', 2, 1, 2], PROTOCOL),
        (
            "a response topic has wildcards",
            0,
            &[0, 1, b'a', 4, 8, 0, 1, b'+'],
            PROTOCOL,
        ),
        (
            "a response topic is empty",
            0,
            &[0, 1, b'a', 3, 8, 0, 0],
            PROTOCOL,
        ),
        (
            "a user property has U+0000",
            0,
            &[0, 1, b'a', 6, 0x26, 0, 1, 0, 0, 0],
            MALFORMED,
        ),
        ("a property is unknown", 0, &[0, 1, b'a', 2, 0x04, 1], MALFORMED),
        (
            "a property has a long identifier",
            0,
            &[0, 1, b'a', 3, 0x81, 0x01, 1],
            MALFORMED,
        ),
        (
            "a property is of another packet",
            0,
            &[0, 1, b'a', 3, 0x21, 0, 1],
            MALFORMED,
        ),
    ] {
        assert_eq!(
            reason(&server(V5), &frame(0x30 | flags, body)),
            Some(expected),
            "{what}"
        );
    }
    assert!(
        server(V311).decode(&frame(0x30, &[0, 0])).is_err(),
        "an empty topic in 3.1.1"
    );
}

#[test]
fn a_subscription_identifier_of_a_server_is_not_0() {
    let publish = |id| frame(0x30, &[0, 1, b'a', 4, 0x0B, 1, 0x0B, id]);
    assert_eq!(reason(&client(V5), &publish(0)), Some(PROTOCOL));
    let decoded = publish(2);
    let Ok(Packet::Publish(publish)) = client(V5).decode(&decoded) else {
        panic!("two identifiers are allowed");
    };
    assert_eq!(
        publish
            .subscription_ids
            .iter()
            .map(|id| id.get())
            .collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn strings_keep_their_byte_order_mark() {
    let frame = frame(0x30, &[0, 4, 0xEF, 0xBB, 0xBF, b'a']);
    let Ok(Packet::Publish(publish)) = server(V311).decode(&frame) else {
        panic!("U+FEFF is a character like others");
    };
    assert_eq!(publish.topic.unwrap().as_str(), "\u{FEFF}a");
}

#[test]
fn message_properties_are_borrowed_while_they_stand_together() {
    let content_type = [3, 0, 1, b't'];
    let user = [0x26, 0, 1, b'n', 0, 1, b'v'];
    let alias = [0x23, 0, 7];
    let expiry = [2, 0, 0, 0, 9];
    let kept = [&content_type[..], &user].concat();
    for (order, borrowed) in [
        ([&content_type[..], &user, &alias, &expiry], true),
        ([&alias, &content_type, &user, &expiry], true),
        ([&expiry, &alias, &content_type, &user], true),
        ([&content_type, &expiry, &user, &alias], false),
        ([&content_type, &alias, &expiry, &user], false),
    ] {
        let block = order.concat();
        let frame = frame(
            0x30,
            &[&[0, 0, block.len() as u8], &block[..], b"payload"].concat(),
        );
        let Ok(Packet::Publish(publish)) = server(V5).decode(&frame) else {
            panic!("{order:?} is valid");
        };
        assert_eq!((publish.topic, publish.topic_alias), (None, Some(7)));
        assert_eq!((publish.expiry, publish.payload), (Some(9), &b"payload"[..]));
        assert_eq!(publish.properties.as_bytes(), kept);
        let inside = frame
            .as_ptr_range()
            .contains(&publish.properties.as_bytes().as_ptr());
        assert_eq!(inside, borrowed, "{order:?}");
    }
}

#[test]
fn an_acknowledgement_is_refused_when() {
    for (what, first, body, expected) in [
        ("its packet identifier is 0", 0x40, &[0, 0][..], PROTOCOL),
        ("its reason code is unknown", 0x40, &[0, 1, 0x03], PROTOCOL),
        (
            "its reason code is of another packet",
            0x50,
            &[0, 1, 0x92],
            PROTOCOL,
        ),
        (
            "PUBREL has a reason code of PUBACK",
            0x62,
            &[0, 1, 0x10],
            PROTOCOL,
        ),
        (
            "PUBCOMP has a reason code of PUBACK",
            0x70,
            &[0, 1, 0x80],
            PROTOCOL,
        ),
        ("bytes follow its properties", 0x40, &[0, 1, 0, 0, 0], MALFORMED),
        (
            "it has two reason strings",
            0x40,
            &[0, 1, 0, 6, 0x1F, 0, 0, 0x1F, 0, 0],
            PROTOCOL,
        ),
        (
            "it has a property of another packet",
            0x40,
            &[0, 1, 0, 2, 1, 1],
            MALFORMED,
        ),
    ] {
        assert_eq!(reason(&server(V5), &frame(first, body)), Some(expected), "{what}");
    }
    for body in [&[0, 1][..], &[0, 1, 0x10], &[0, 1, 0x10, 0]] {
        assert_eq!(reason(&server(V5), &frame(0x40, body)), None, "{body:?}");
    }
}

#[test]
fn a_subscribe_is_refused_when() {
    for (what, version, body, expected) in [
        (
            "its packet identifier is 0",
            V5,
            &[0, 0, 0, 0, 1, b'a', 0][..],
            PROTOCOL,
        ),
        ("it has no filter", V5, &[0, 1, 0], PROTOCOL),
        ("it has no filter in 3.1.1", V311, &[0, 1], PROTOCOL),
        ("a filter has no options", V5, &[0, 1, 0, 0, 1, b'a'], MALFORMED),
        ("a filter has U+0000", V5, &[0, 1, 0, 0, 1, 0, 0], MALFORMED),
        ("a filter is not UTF-8", V5, &[0, 1, 0, 0, 1, 0x80, 0], MALFORMED),
        (
            "the second filter is cut",
            V311,
            &[0, 1, 0, 1, b'a', 0, 0, 9, b'b', 0],
            MALFORMED,
        ),
        (
            "reserved options are set",
            V5,
            &[0, 1, 0, 0, 1, b'a', 0x40],
            MALFORMED,
        ),
        ("it asks for QoS 3", V5, &[0, 1, 0, 0, 1, b'a', 3], PROTOCOL),
        (
            "it asks for QoS 3 in 3.1.1",
            V311,
            &[0, 1, 0, 1, b'a', 3],
            PROTOCOL,
        ),
        ("retain handling is 3", V5, &[0, 1, 0, 0, 1, b'a', 0x30], PROTOCOL),
        (
            "it has options of 5.0 in 3.1.1",
            V311,
            &[0, 1, 0, 1, b'a', 4],
            MALFORMED,
        ),
        (
            "its subscription identifier is 0",
            V5,
            &[0, 1, 2, 0x0B, 0, 0, 1, b'a', 0],
            PROTOCOL,
        ),
        (
            "it has two identifiers",
            V5,
            &[0, 1, 4, 0x0B, 1, 0x0B, 1, 0, 1, b'a', 0],
            PROTOCOL,
        ),
        (
            "it has a property of another packet",
            V5,
            &[0, 1, 2, 1, 1, 0, 1, b'a', 0],
            MALFORMED,
        ),
    ] {
        assert_eq!(
            reason(&server(version), &frame(0x82, body)),
            Some(expected),
            "{what}"
        );
    }
    let shared = |options| frame(0x82, &[&[0, 1, 0, 0, 10][..], b"$share/g/a", &[options]].concat());
    assert_eq!(
        reason(&server(V5), &shared(4)),
        Some(PROTOCOL),
        "no local on a shared subscription"
    );
    assert_eq!(reason(&server(V5), &shared(0)), None);
    let invalid = frame(0x82, &[0, 1, 0, 0, 2, b'#', b'a', 0]);
    assert_eq!(
        reason(&server(V5), &invalid),
        None,
        "an invalid filter is answered in SUBACK"
    );
}

#[test]
fn an_unsubscribe_is_refused_when() {
    for (what, version, body, expected) in [
        (
            "its packet identifier is 0",
            V5,
            &[0, 0, 0, 0, 1, b'a'][..],
            PROTOCOL,
        ),
        ("it has no filter", V5, &[0, 1, 0], PROTOCOL),
        ("it has no filter in 3.1.1", V311, &[0, 1], PROTOCOL),
        ("a filter is cut", V311, &[0, 1, 0, 2, b'a'], MALFORMED),
        (
            "it has a property of another packet",
            V5,
            &[0, 1, 2, 0x0B, 1, 0, 1, b'a'],
            MALFORMED,
        ),
    ] {
        assert_eq!(
            reason(&server(version), &frame(0xA2, body)),
            Some(expected),
            "{what}"
        );
    }
}

#[test]
fn a_disconnect_is_refused_when() {
    for (what, decoder, body, expected) in [
        ("its reason code is unknown", server(V5), &[0x05][..], PROTOCOL),
        ("a client gives a server's reason", server(V5), &[0x8E], PROTOCOL),
        ("a server gives a client's reason", client(V5), &[0x04], PROTOCOL),
        (
            "a server sends a session expiry",
            client(V5),
            &[0, 5, 0x11, 0, 0, 0, 1],
            PROTOCOL,
        ),
        (
            "a client names a server",
            server(V5),
            &[0, 3, 0x1C, 0, 0],
            MALFORMED,
        ),
        ("bytes follow its properties", server(V5), &[0, 0, 0], MALFORMED),
    ] {
        assert_eq!(reason(&decoder, &frame(0xE0, body)), Some(expected), "{what}");
    }
    for (decoder, body) in [
        (server(V5), &[][..]),
        (server(V5), &[0x04]),
        (server(V5), &[0x00, 0]),
        (client(V5), &[0x8E]),
    ] {
        assert_eq!(reason(&decoder, &frame(0xE0, body)), None, "{body:?}");
    }
}

#[test]
fn an_auth_is_refused_when() {
    for (what, decoder, body, expected) in [
        (
            "its reason code is of another packet",
            server(V5),
            &[0x80, 0][..],
            PROTOCOL,
        ),
        ("it has no method", server(V5), &[0x18, 0], PROTOCOL),
        ("a client sends success", server(V5), &[], PROTOCOL),
        (
            "a client sends success in full",
            server(V5),
            &[0, 4, 0x15, 0, 1, b'm'],
            PROTOCOL,
        ),
        (
            "a server starts anew",
            client(V5),
            &[0x19, 4, 0x15, 0, 1, b'm'],
            PROTOCOL,
        ),
        (
            "it has a property of another packet",
            server(V5),
            &[0x18, 5, 0x11, 0, 0, 0, 1],
            MALFORMED,
        ),
    ] {
        assert_eq!(reason(&decoder, &frame(0xF0, body)), Some(expected), "{what}");
    }
    assert_eq!(reason(&client(V5), &frame(0xF0, &[])), None);
}

#[test]
fn answers_of_a_server_are_refused_when() {
    for (what, version, frame, expected) in [
        (
            "CONNACK has reserved flags",
            V5,
            frame(0x20, &[2, 0, 0]),
            MALFORMED,
        ),
        (
            "CONNACK refuses and has a session",
            V5,
            frame(0x20, &[1, 0x80, 0]),
            PROTOCOL,
        ),
        (
            "CONNACK has an unknown code",
            V311,
            frame(0x20, &[0, 6]),
            PROTOCOL,
        ),
        (
            "CONNACK has a code of SUBACK",
            V5,
            frame(0x20, &[0, 0x8F, 0]),
            PROTOCOL,
        ),
        (
            "CONNACK has Maximum QoS 2",
            V5,
            frame(0x20, &[0, 0, 2, 0x24, 2]),
            PROTOCOL,
        ),
        (
            "CONNACK has Receive Maximum 0",
            V5,
            frame(0x20, &[0, 0, 3, 0x21, 0, 0]),
            PROTOCOL,
        ),
        (
            "CONNACK has Maximum Packet Size 0",
            V5,
            frame(0x20, &[0, 0, 5, 0x27, 0, 0, 0, 0]),
            PROTOCOL,
        ),
        (
            "SUBACK has an unknown code",
            V311,
            frame(0x90, &[0, 1, 3]),
            PROTOCOL,
        ),
        (
            "SUBACK has a code of 5.0 in 3.1.1",
            V311,
            frame(0x90, &[0, 1, 0x87]),
            PROTOCOL,
        ),
        (
            "UNSUBACK has a code of SUBACK",
            V5,
            frame(0xB0, &[0, 1, 0, 1]),
            PROTOCOL,
        ),
    ] {
        assert_eq!(reason(&client(version), &frame), Some(expected), "{what}");
    }
}

/// A CONNECT from its parts: Protocol Name with level, flags, everything behind the Keep Alive.
fn connect(protocol: &[u8], flags: u8, rest: &[u8]) -> Vec<u8> {
    frame(
        0x10,
        &[&[0, (protocol.len() - 1) as u8], protocol, &[flags, 0, 60], rest].concat(),
    )
}

#[test]
fn a_connect_is_refused_when() {
    let id = [0, 1, b'c'];
    let with = |properties: &[u8]| [&[properties.len() as u8], properties, &id].concat();
    let will = |properties: &[u8], rest: &[u8]| {
        [&[0][..], &id, &[properties.len() as u8], properties, rest].concat()
    };
    let (v31, v311, v5) = (b"MQIsdp\x03", b"MQTT\x04", b"MQTT\x05");
    let unsupported = ReasonCode::UnsupportedProtocolVersion;
    for (what, frame, expected) in [
        ("its level is unknown", connect(b"MQTT\x06", 2, &id), unsupported),
        (
            "name and level don't fit",
            connect(b"MQTT\x03", 2, &id),
            unsupported,
        ),
        ("its name is unknown", connect(b"HTTP\x05", 2, &id), unsupported),
        (
            "its name is in lower case",
            connect(b"mqtt\x04", 2, &id),
            unsupported,
        ),
        ("the reserved flag is set", connect(v311, 3, &id), MALFORMED),
        (
            "the reserved flag is set in 5.0",
            connect(v5, 3, &with(&[])),
            MALFORMED,
        ),
        ("a will QoS has no will", connect(v311, 0x0A, &id), MALFORMED),
        (
            "a will retain has no will",
            connect(v5, 0x22, &with(&[])),
            MALFORMED,
        ),
        (
            "the will has QoS 3",
            connect(v311, 0x1E, b"\0\x01c\0\x01t\0\0"),
            MALFORMED,
        ),
        (
            "a password has no user name",
            connect(v311, 0x42, b"\0\x01c\0\x01p"),
            MALFORMED,
        ),
        (
            "a password has no user name in 3.1",
            connect(v31, 0x42, b"\0\x01c\0\x01p"),
            MALFORMED,
        ),
        ("it has no client identifier", connect(v311, 2, &[]), MALFORMED),
        (
            "its client identifier has U+0000",
            connect(v311, 2, &[0, 1, 0]),
            MALFORMED,
        ),
        ("its user name is missing", connect(v311, 0x82, &id), MALFORMED),
        ("its will is missing", connect(v311, 0x06, &id), MALFORMED),
        (
            "bytes follow its payload",
            connect(v311, 2, b"\0\x01c!"),
            MALFORMED,
        ),
        (
            "a will topic has wildcards",
            connect(v311, 6, b"\0\x01c\0\x01#\0\0"),
            ReasonCode::TopicNameInvalid,
        ),
        (
            "a will topic is empty",
            connect(v311, 6, b"\0\x01c\0\0\0\0"),
            ReasonCode::TopicNameInvalid,
        ),
        ("it has no property length", connect(v5, 2, &[]), MALFORMED),
        (
            "its property length lies",
            connect(v5, 2, &[9, 0x11, 0]),
            MALFORMED,
        ),
        (
            "its receive maximum is 0",
            connect(v5, 2, &with(&[0x21, 0, 0])),
            PROTOCOL,
        ),
        (
            "its maximum packet size is 0",
            connect(v5, 2, &with(&[0x27, 0, 0, 0, 0])),
            PROTOCOL,
        ),
        (
            "request problem information is 2",
            connect(v5, 2, &with(&[0x17, 2])),
            PROTOCOL,
        ),
        (
            "request response information is 2",
            connect(v5, 2, &with(&[0x19, 2])),
            PROTOCOL,
        ),
        (
            "a property came twice",
            connect(v5, 2, &with(&[0x17, 0, 0x17, 0])),
            PROTOCOL,
        ),
        (
            "authentication data has no method",
            connect(v5, 2, &with(&[0x16, 0, 0])),
            PROTOCOL,
        ),
        (
            "it has a property of another packet",
            connect(v5, 2, &with(&[0x23, 0, 1])),
            MALFORMED,
        ),
        (
            "it has a will property in CONNECT",
            connect(v5, 2, &with(&[0x18, 0, 0, 0, 1])),
            MALFORMED,
        ),
        (
            "will has a property of CONNECT",
            connect(v5, 6, &will(&[0x17, 1], b"\0\x01t\0\0")),
            MALFORMED,
        ),
        (
            "will has a topic alias",
            connect(v5, 6, &will(&[0x23, 0, 1], b"\0\x01t\0\0")),
            MALFORMED,
        ),
        (
            "will has a payload format of 2",
            connect(v5, 6, &will(&[1, 2], b"\0\x01t\0\0")),
            PROTOCOL,
        ),
        (
            "a will property came twice",
            connect(v5, 6, &will(&[1, 1, 1, 1], b"\0\x01t\0\0")),
            PROTOCOL,
        ),
        (
            "the will payload is cut",
            connect(v5, 6, &will(&[], b"\0\x01t\0\x02x")),
            MALFORMED,
        ),
    ] {
        assert_eq!(
            reason(&Decoder::server(1024, 512), &frame),
            Some(expected),
            "{what}"
        );
    }
}

#[test]
fn a_connect_of_3_1_may_lack_what_its_flags_promise() {
    for (flags, rest, username) in [
        (0xC2, &b"\0\x01c"[..], None),
        (0xC2, b"\0\x01c\0\x01u", Some("u")),
        (0x03, b"\0\x01c", None),
    ] {
        let frame = connect(b"MQIsdp\x03", flags, rest);
        let Ok(Packet::Connect(connect)) = Decoder::server(1024, 512).decode(&frame) else {
            panic!("flags {flags:#x} are valid in 3.1");
        };
        assert_eq!(
            (connect.version, connect.username, connect.password),
            (V31, username, None)
        );
    }
}

#[test]
fn a_connect_of_3_1_1_implies_its_session_expiry() {
    for (flags, expiry) in [(0x02, 0), (0x00, u32::MAX)] {
        let frame = connect(b"MQTT\x04", flags, b"\0\0");
        let Ok(Packet::Connect(connect)) = Decoder::server(1024, 512).decode(&frame) else {
            panic!("an empty client identifier is not for the decoder to refuse");
        };
        assert_eq!((connect.session_expiry, connect.keep_alive), (expiry, 60));
    }
}

#[test]
fn a_refused_connect_is_answered_in_its_own_version() {
    let answer = |protocol: &[u8]| Connect::answer_version(&connect(protocol, 2, &[]));
    for (protocol, version) in [
        (&b"MQIsdp\x03"[..], Some(V31)),
        (b"MQTT\x03", Some(V311)),
        (b"MQTT\x04", Some(V311)),
        (b"MQTT\x05", Some(V5)),
        (b"MQTT\x06", Some(V5)),
        (b"MQTT\x84", Some(V311)),
        (b"HTTP\x05", None),
    ] {
        assert_eq!(answer(protocol), version, "{protocol:?}");
    }
    assert_eq!(Connect::answer_version(b"GET / HTTP/1.1\r\n"), None);
    assert_eq!(Connect::answer_version(&[0x10]), None);
}

#[test]
fn qos_decides_whether_there_is_a_packet_identifier() {
    let one = frame(0x3B, &[0, 1, b'a', 1, 2, b'x']);
    let Ok(Packet::Publish(publish)) = server(V311).decode(&one) else {
        panic!("a PUBLISH with QoS 1, DUP and RETAIN");
    };
    assert_eq!(publish.packet_id.map(|id| id.get()), Some(0x0102));
    assert_eq!(
        (publish.qos, publish.dup, publish.retain),
        (QoS::AtLeastOnce, true, true)
    );
    let zero = frame(0x30, &[0, 1, b'a', 1, 2, b'x']);
    let Ok(Packet::Publish(publish)) = server(V311).decode(&zero) else {
        panic!("a PUBLISH with QoS 0");
    };
    assert_eq!((publish.packet_id, publish.payload), (None, &[1, 2, b'x'][..]));
}

//! The decoder of each side and version: what it takes can be written again and read as the same.

use broker_proto::{Decoder, Packet, PacketType};
use broker_types::ProtocolVersion;

const VERSIONS: [ProtocolVersion; 3] = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];

/// The largest packet that is taken.
const SIZE_MAX: u32 = 1024;

pub(crate) fn body(data: &[u8]) {
    packets(&Decoder::server(SIZE_MAX, SIZE_MAX), data);
    for version in VERSIONS {
        let mut server = Decoder::server(SIZE_MAX, SIZE_MAX);
        server.set_version(version);
        packets(&server, data);
        packets(&Decoder::client(version, SIZE_MAX), data);
    }
}

fn packets(decoder: &Decoder, data: &[u8]) {
    let mut rest = data;
    while let Ok(Some(len)) = decoder.frame_len(rest) {
        assert!((2..=SIZE_MAX as usize).contains(&len));
        // a header is the same whatever follows
        for cut in 0..rest.len().min(6) {
            match decoder.frame_len(&rest[..cut]) {
                Ok(None) => {}
                early => assert_eq!(early, Ok(Some(len))),
            }
        }
        let Some((frame, behind)) = rest.split_at_checked(len) else {
            return;
        };
        let Ok(packet) = decoder.decode(frame) else {
            return;
        };
        assert_eq!(Some(packet.packet_type()), PacketType::from_first_byte(frame[0]));
        again(decoder, &packet);
        rest = behind;
    }
}

fn again(decoder: &Decoder, packet: &Packet<'_>) {
    let version = match packet {
        Packet::Connect(connect) => connect.version,
        _ => decoder.version().expect("only a CONNECT comes first"),
    };
    let mut frame = Vec::new();
    packet
        .encode(version, &mut frame)
        .expect("what was read can be written");
    let read = decoder.decode(&frame).expect("what was written can be read");
    assert_eq!(&read, packet);
}

//! Lengths that promise more than comes. Seen: 5.9 GiB for 200 headers; memory reserved before CONNECT.

use super::{alone, grown_mib};
use crate::prelude::*;

/// The largest Remaining Length there is.
const LARGEST: usize = 268_435_455;

fn roomy() -> TestBroker {
    TestBroker::start_with(|setup| setup.limits.packet_size_max = LARGEST as u32 + 5)
}

alone! {
    fn two_hundred_headers_that_promise_256_mib() {
        let broker = roomy();
        let mut clients: Vec<_> = (0..200).map(|id| broker.v5(format!("{id}")).connect()).collect();
        let before = broker.handle().counts().bytes_received;
        let header = Frame::new(0x30).text("a/topic").claim(LARGEST).encode();
        let grown = grown_mib(|| {
            for client in &mut clients {
                client.send(&header);
            }
            let all = before + (clients.len() * header.len()) as u64;
            eventually(|| broker.handle().counts().bytes_received == all);
        });
        assert!(grown < 32, "{grown} MiB");
        drop(clients);
        eventually(|| broker.handle().gauges().partial_bytes == 0);
    }

    fn large_packets_that_never_come_whole() {
        let broker = roomy();
        let mut clients: Vec<_> = (0..50).map(|id| broker.v311(format!("{id}")).connect()).collect();
        let sent = 256 * 1024;
        let start = Frame::new(0x30).text("a").bytes(vec![b'x'; sent]).claim(LARGEST).encode();
        let grown = grown_mib(|| {
            for client in &mut clients {
                client.send(&start);
            }
            let all = (clients.len() * start.len()) as u64;
            eventually(|| broker.handle().counts().bytes_received >= all);
        });
        // what was sent, twice at most
        assert!(grown < 2 * ((clients.len() * sent) >> 20) + 16, "{grown} MiB");
        drop(clients);
        eventually(|| broker.handle().gauges().partial_bytes == 0);
    }

    fn connects_that_promise_256_mib() {
        let broker = roomy();
        let grown = grown_mib(|| {
            for _ in 0..200 {
                broker.open(V5).send(Frame::new(0x10).claim(LARGEST)).expect_closed();
                broker.open(V5).send(Frame::new(0x10).text("MQTT").u8(5).u8(2).claim(LARGEST)).drain();
            }
        });
        assert!(grown < 16, "{grown} MiB");
    }
}

/// A CONNECT is capped whatever other packets may be: at 64 KiB.
#[test]
fn a_connect_over_its_own_limit() {
    let broker = roomy();
    let long = "x".repeat(60_000);
    broker.v5("c").username(&long).connect().disconnect();
    broker.v5("c").username(&long).password(&long).sent().drain();
}

/// Every packet with properties, with a Property Length that is wrong by a little and by much.
#[test]
fn property_lengths_that_lie() {
    let broker = TestBroker::start();
    let mut calm = broker.v5("calm").connect();
    let heads = [
        Frame::new(0x30).text("a"),
        Frame::new(0x32).text("a").u16(1),
        Frame::new(0x40).u16(1).u8(0),
        Frame::new(0x50).u16(1).u8(0),
        Frame::new(0x62).u16(1).u8(0),
        Frame::new(0x70).u16(1).u8(0),
        Frame::new(0x82).u16(1),
        Frame::new(0xa2).u16(1),
        Frame::new(0xe0).u8(0),
        Frame::new(0xf0).u8(0x19),
    ];
    let lies: [&[u8]; 6] = [
        &[1],
        &[5, 0x26, 0, 1],
        &[0x7f, 0x26],
        &[0xff, 0xff, 0xff, 0x7f],
        &[0xff; 4],
        &[3, 0x26, 0xff, 0xff],
    ];
    for head in heads {
        for lie in lies {
            broker.v5("wild").connect().send(head.clone().bytes(lie)).drain();
        }
    }
    calm.expect_silence();
}

/// Each of the lengths within a packet: longer than the rest, and cut off.
#[test]
fn string_lengths_that_lie() {
    let broker = TestBroker::start();
    for version in [V31, V311, V5] {
        for frame in [
            Frame::new(0x30).u16(0xffff).bytes("a"),
            Frame::new(0x30).u8(0),
            Frame::new(0x82)
                .u16(1)
                .props_if(version, &[])
                .u16(0xffff)
                .bytes("a"),
            Frame::new(0x82).u16(1).props_if(version, &[]).u8(0),
            Frame::new(0xa2).u16(1).props_if(version, &[]).u16(2).bytes("a"),
        ] {
            broker.client(version, "c").connect().send(frame).drain();
        }
        let connect = broker.client(version, "c");
        for name_length in [0_u16, 3, 7, 0x7fff, 0xffff] {
            let frame = Frame::new(0x10)
                .u16(name_length)
                .bytes(&connect.frame().encode()[4..]);
            connect.open().send(frame).drain_raw();
        }
    }
}

/// QoS 1 and 2 without a Packet Identifier, in each version.
#[test]
fn qos_without_packet_identifier() {
    let broker = TestBroker::start();
    for version in [V31, V311, V5] {
        for qos in 1..3 {
            let frame = publish("a", "").qos_bits(qos).frame(V311);
            broker.client(version, "c").connect().send(frame).drain();
        }
    }
}

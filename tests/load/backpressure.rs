//! A publisher that doesn't read what it is sent isn't read from either, and isn't cut off.

use std::io::{ErrorKind, Write as _};

use jackfield_tests::harness::{TestBroker, secs};
use jackfield_tests::wire::{Client, Kind, Packet, Version, Wire as _, publish};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// More than the buffers of both sockets and the broker's own can hold.
const SENT_MAX: usize = 256 * MIB;
/// The broker has read all it wants when so many questions of another client were answered and nothing more was taken.
const QUIET_ROUNDS: usize = 50;

/// The first to find a full socket is the publisher: it isn't closed, and what it sent is acknowledged when it reads again.
#[test]
fn a_publisher_is_slowed_down_and_not_cut_off() {
    let broker = TestBroker::start_with(|setup| {
        setup.broker(|broker| broker.shards(1));
        setup.limits.outbox_bytes_max = 16 * KIB;
        // Who takes nothing for half a minute is given up, which this machine may need.
        setup.limits.write_stall_max = secs(3600);
    });
    let mut other = broker.v5("other").connect();
    // It gets its own messages, so that what it doesn't read is more than a few acknowledgements.
    let mut publisher = broker.v311("publisher").connect();
    publisher.subscribe("own", 0);
    let sent = fill(&mut publisher, &mut other);
    let whole = sent.packets - usize::from(!sent.rest.is_empty());
    let mut acked = 0;
    while acked < sent.packets {
        if acked == whole {
            // It is read from again: the packet that was cut in the middle can be completed.
            publisher.send(sent.rest.as_slice());
        }
        acked = read_to_ack(&mut publisher, acked);
    }
    assert_eq!(broker.handle().counts().connections_closed, 0);
}

/// Takes what comes up to the next PUBACK, which must be for this message; returns the number of the next.
fn read_to_ack(publisher: &mut Client, number: usize) -> usize {
    loop {
        if let Packet::Ack(ack) = publisher.recv() {
            assert_eq!((ack.kind, ack.id), (Kind::Puback, packet_id(number)));
            return number + 1;
        }
    }
}

/// What the broker let a publisher send.
struct Sent {
    packets: usize,
    /// Of the last packet, what wasn't taken.
    rest: Vec<u8>,
}

/// Publishes QoS 1 without reading until the broker takes no more.
fn fill(publisher: &mut Client, other: &mut Client) -> Sent {
    let mut socket = publisher.socket().try_clone().expect("a socket can be shared");
    socket.set_nonblocking(true).expect("a socket needn't block");
    let payload = vec![b'x'; 4 * KIB];
    let (mut packets, mut bytes, mut quiet) = (0, 0, 0);
    let mut rest = Vec::new();
    while quiet < QUIET_ROUNDS {
        if rest.is_empty() {
            rest = publish("own", &payload)
                .qos(1, packet_id(packets))
                .wire(Version::V311);
            packets += 1;
        }
        match socket.write(&rest) {
            Ok(count) => {
                rest.drain(..count);
                bytes += count;
                quiet = 0;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                other.sync();
                quiet += 1;
            }
            Err(error) => panic!("the publisher was cut off: {error}"),
        }
        assert!(bytes < SENT_MAX, "the broker takes more and more");
    }
    socket.set_nonblocking(false).expect("a socket may block");
    Sent { packets, rest }
}

/// Packet Identifiers come round; the broker has acknowledged the earlier one long ago.
fn packet_id(number: usize) -> u16 {
    (number % 65_535) as u16 + 1
}

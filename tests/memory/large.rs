//! A large payload costs one copy that all receivers share: while it comes in, while it goes out to ten of them, and never a
//! second one in between.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use broker_types::Limits;
use jackfield_tests::alone::alone;
use jackfield_tests::wire::{Version, Wire as _, subscribe};

use super::{HEAP, connect, exchange, start};

/// Bytes of the payload. The largest that a packet can carry behaves the same and takes longer.
const PAYLOAD: usize = 32 * 1024 * 1024;
/// Topic Name, with its length.
const TOPIC: &[u8] = b"\0\x05large";
const RECEIVERS: usize = 10;

#[test]
fn ten_receivers_share_one_copy() {
    alone("large::ten_receivers_share_one_copy", || {
        let mut limits = Limits::default();
        limits.packet_size_max = u32::MAX;
        let (_broker, addr) = start(|listener| listener.limits(limits));
        let publisher = connect(addr, "publisher");
        let receivers: Vec<TcpStream> = (0..RECEIVERS)
            .map(|i| {
                let receiver = connect(addr, &format!("receiver-{i}"));
                let packet = subscribe(1).filter("large", 0).wire(Version::V311);
                exchange(&receiver, &packet, &[0x90, 3, 0, 1, 0]);
                receiver
            })
            .collect();
        let before = HEAP.allocated();
        std::thread::scope(|scope| {
            for receiver in &receivers {
                scope.spawn(|| receive(receiver));
            }
            publish(&publisher);
        });
        let peak = HEAP.max_allocated() - before;
        println!("{peak} bytes for a payload of {PAYLOAD}");
        assert!(
            peak <= PAYLOAD + PAYLOAD / 10,
            "{peak} bytes for a payload of {PAYLOAD}"
        );
    });
}

/// Publishes with QoS 0, a piece at a time.
fn publish(mut publisher: &TcpStream) {
    let mut head = vec![0x30];
    let mut rest = TOPIC.len() + PAYLOAD;
    while rest > 0 {
        let more = if rest > 127 { 0x80 } else { 0 };
        head.push((rest % 128) as u8 | more);
        rest /= 128;
    }
    head.extend_from_slice(TOPIC);
    publisher.write_all(&head).expect("it takes it");
    let piece = [7; 64 * 1024];
    for _ in 0..PAYLOAD / piece.len() {
        publisher.write_all(&piece).expect("it takes it");
    }
}

/// Receives the whole packet.
fn receive(mut receiver: &TcpStream) {
    // One byte, four of Remaining Length, and what they say.
    let mut left = 1 + 4 + TOPIC.len() + PAYLOAD;
    let mut buf = [0; 64 * 1024];
    while left > 0 {
        let came = receiver.read(&mut buf).expect("it comes");
        assert!(came > 0 && came <= left, "{left} bytes were still to come");
        left -= came;
    }
}

//! What the broker holds, counted by the allocator and not by a clock: for an idle connection, and for a payload that many
//! receivers wait for. Each test runs in a process of its own, whose clients take no memory while something is counted.
#![forbid(unsafe_code)]

mod idle;
mod large;

use std::alloc::System;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use broker_core::{Broker, Chain, Listener};
use cap::Cap;
use jackfield_tests::wire::{Connect, Version, Wire as _};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// How long what must come may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a broker with two shards and a listener that lets everybody in.
fn start(listener: impl FnOnce(Listener) -> Listener) -> (Broker, SocketAddr) {
    let tcp = Listener::tcp("127.0.0.1:0").name("main").anonymous(true);
    let builder = Broker::builder()
        .shards(2)
        .listener(listener(tcp).with_chain(Chain::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let broker = runtime.expect("a runtime").block_on(builder.start());
    let broker = broker.expect("the broker starts");
    let addr = broker.addr("main").expect("it has this listener");
    (broker, addr)
}

/// Connects with MQTT 3.1.1 and waits for CONNACK.
fn connect(addr: SocketAddr, id: &str) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("it listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket has this");
    let connect = Connect::new(addr, Version::V311, id).wire(Version::V311);
    exchange(&stream, &connect, &[0x20, 2, 0, 0]);
    stream
}

/// Sends `packet` and waits for `answer`.
fn exchange(mut stream: &TcpStream, packet: &[u8], answer: &[u8]) {
    stream.write_all(packet).expect("it takes it");
    let mut buf = [0; 16];
    let came = &mut buf[..answer.len()];
    stream.read_exact(came).expect("it answers");
    assert_eq!(came, answer);
}

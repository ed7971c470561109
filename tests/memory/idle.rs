//! An idle connection: what it holds when it has said nothing but CONNECT, and with one subscription.

use std::net::TcpStream;

use jackfield_tests::alone::alone;
use jackfield_tests::wire::{Version, Wire as _, subscribe};

use super::{HEAP, connect, exchange, start};

/// Connections that are opened before anything is counted, so that what all share is there.
const BEFORE: usize = 100;
/// Descriptors that the test leaves to others.
const SPARE_FILES: u64 = 100;
/// Bytes of heap that an idle connection may take. An allocator adds about a tenth.
const IDLE_MAX: usize = 900;
/// The same with one subscription.
const SUBSCRIBED_MAX: usize = 1_100;

#[test]
fn an_idle_connection_takes_less_than_a_kilobyte() {
    alone("idle::an_idle_connection_takes_less_than_a_kilobyte", || {
        let clients = most_connections().min(2_000);
        let (_broker, addr) = start(|listener| listener);
        let mut open: Vec<TcpStream> = Vec::with_capacity(BEFORE + clients);
        open.extend((0..BEFORE).map(|i| connect(addr, &format!("before-{i}"))));
        let before = HEAP.allocated();
        open.extend((0..clients).map(|i| connect(addr, &format!("idle-{i}"))));
        let idle = (HEAP.allocated() - before) / clients;
        for (i, client) in open[BEFORE..].iter().enumerate() {
            let packet = subscribe(1).filter(format!("devices/{i}/commands"), 0);
            exchange(client, &packet.wire(Version::V311), &[0x90, 3, 0, 1, 0]);
        }
        let subscribed = (HEAP.allocated() - before) / clients;
        println!("{clients} connections: {idle} bytes for each, {subscribed} with one subscription");
        assert!(idle <= IDLE_MAX, "{idle} bytes for an idle connection");
        assert!(
            subscribed <= SUBSCRIBED_MAX,
            "{subscribed} bytes with one subscription"
        );
    });
}

/// Returns for how many connections there are descriptors, two for each.
fn most_connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // If it can't be raised, there are fewer connections.
    let _ = setrlimit(Resource::Nofile, raised);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u16::MAX));
    usize::try_from(files.saturating_sub(SPARE_FILES) / 2).unwrap_or(usize::MAX)
}

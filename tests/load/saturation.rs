//! Receivers that have stopped reading while somebody floods them.

use jackfield_tests::alone::{alone, resident};
use jackfield_tests::harness::{TestBroker, eventually};
use jackfield_tests::wire::Client;

use crate::flood::Flood;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const OUTBOX: usize = 256 * KIB;
const DEAF: usize = 20;

/// A broker with small outputs, and clients that subscribe and read nothing any more.
fn saturated() -> (TestBroker, Vec<Client>) {
    let broker = TestBroker::start_with(|setup| setup.limits.outbox_bytes_max = OUTBOX);
    let deaf = (0..DEAF).map(|number| {
        let mut client = broker.v311(format!("deaf-{number}")).connect();
        client.subscribe("full", 0);
        client
    });
    let deaf = deaf.collect();
    (broker, deaf)
}

/// Waits until all outputs are full: then messages are dropped, and counted.
fn until_full(broker: &TestBroker) {
    eventually(|| broker.handle().counts().dropped_full > 100);
}

#[test]
fn pings_are_answered_when_everything_is_full() {
    let (broker, _deaf) = saturated();
    let mut watchers: Vec<_> = (0..10)
        .map(|number| broker.v5(format!("watcher-{number}")).connect())
        .collect();
    let _flood = Flood::start(&broker, "full", 4 * KIB, false);
    until_full(&broker);
    for _ in 0..10 {
        for watcher in &mut watchers {
            watcher.sync();
        }
    }
    assert_eq!(
        broker.handle().counts().keep_alive_timeouts,
        0,
        "nobody was given up"
    );
}

/// Whoever doesn't read costs its output and no more, however much is published.
#[test]
fn memory_is_bounded_when_everything_is_full() {
    alone("saturation::memory_is_bounded_when_everything_is_full", || {
        let (broker, _deaf) = saturated();
        let Some(before) = resident() else { return };
        let mut flooder = broker.v311("flooder").connect();
        let payload = vec![b'x'; 16 * KIB];
        // Five times what the outputs of all take together.
        for _ in 0..5 * DEAF * OUTBOX / payload.len() {
            flooder.send(jackfield_tests::wire::publish("full", &payload));
        }
        flooder.sync();
        assert!(broker.handle().counts().dropped_full > 0, "the outputs are full");
        let grown = resident().unwrap_or(before).saturating_sub(before);
        let allowed = DEAF * OUTBOX + 16 * MIB;
        assert!(
            grown < allowed,
            "{} KiB more, {} KiB allowed",
            grown / KIB,
            allowed / KIB
        );
    });
}

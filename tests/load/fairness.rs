//! One client floods, another says something now and then.

use jackfield_tests::harness::{TestBroker, eventually};

use crate::flood::Flood;

/// One shard, so that everybody has to share it.
fn one_shard() -> TestBroker {
    TestBroker::start_with(|setup| setup.broker(|broker| broker.shards(1)))
}

/// Bytes of a flood's payload.
const PAYLOAD: usize = 200;
/// A connection may bring 512 KiB before others have their turn. This allows for several turns, and for what this test itself
/// is late.
const PASSES_MAX: u64 = 8 * 1024 * 1024;
const TRIES: usize = 100;

/// Between the moment at which a message leaves its publisher and its arrival, only so much of the flood comes out. A
/// quarter of all tries have to keep to it; in the others this thread may have been made to wait.
#[test]
fn a_flood_does_not_starve_a_trickle() {
    let broker = one_shard();
    let mut publisher = broker.v311("publisher").connect();
    let mut receiver = broker.v311("receiver").connect();
    receiver.subscribe("trickle", 0);
    let flood = Flood::start(&broker, "flood", PAYLOAD, true);
    eventually(|| flood.taken() > 0);

    let mut passes: Vec<_> = (0..TRIES)
        .map(|number| {
            let before = flood.taken();
            publisher.publish("trickle", format!("{number}"), 1);
            receiver.expect_publish("trickle", format!("{number}"));
            flood.taken() - before
        })
        .collect();
    passes.sort_unstable();
    let passes = passes[TRIES / 4];
    assert!(passes < PASSES_MAX, "{passes} bytes of the flood passed");
}

/// Somebody who connects, subscribes and pings while everybody else floods gets all answers.
#[test]
fn newcomers_are_served_during_a_flood() {
    let broker = one_shard();
    let floods = ["a", "b"].map(|topic| Flood::start(&broker, topic, PAYLOAD, true));
    eventually(|| floods.iter().all(|flood| flood.taken() > 0));
    for number in 0..10 {
        let mut newcomer = broker.v5(format!("newcomer-{number}")).connect();
        newcomer.subscribe("own", 1).sync().publish("own", "hello", 1);
        newcomer.take("own", "hello");
        newcomer.disconnect();
    }
}

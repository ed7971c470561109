//! Will Messages of durable Sessions after a restart.

use crate::prelude::*;

fn watch(broker: &Durable) -> Client {
    let mut watcher = broker.durable(V5, "watcher").connect();
    watcher.subscribe("w", 1);
    watcher
}

#[test]
fn a_killed_broker_publishes_the_will_of_those_who_were_connected() {
    let broker = Durable::on(&disk());
    watch(&broker).disconnect();
    let with_will = broker.durable(V5, "c").will(will("w", "gone").qos(1).retain());
    let _client = with_will.connect();
    let broker = broker.again(End::Crash);
    let mut watcher = broker.durable(V5, "watcher").connect();
    watcher.take("w", "gone");
    watcher.expect_silence();
    // Once, and it is retained.
    broker.settle();
    let broker = broker.again(End::Crash);
    let mut watcher = broker.durable(V5, "watcher").connect();
    watcher.expect_silence();
    watcher.subscribe("w", 1);
    assert!(watcher.take("w", "gone").retain);
}

#[test]
fn a_delay_runs_on() {
    for end in End::BOTH {
        let broker = Durable::on(&disk());
        watch(&broker).disconnect();
        let mut client = broker
            .durable(V5, "c")
            .will(will("w", "late").delay(100).qos(1))
            .connect();
        client.lose();
        broker.settle();
        let broker = broker.again_after(end, Duration::from_secs(50));
        let mut watcher = broker.durable(V5, "watcher").connect();
        watcher.expect_silence();
        broker.clock.advance(Duration::from_secs(51));
        watcher.take("w", "late");
        watcher.sync();
        broker.settle();
        let broker = broker.again_after(end, Duration::from_secs(200));
        broker.durable(V5, "watcher").connect().expect_silence();
    }
}

#[test]
fn a_delay_that_passes_while_the_broker_is_away_is_over_at_once() {
    for end in End::BOTH {
        let broker = Durable::on(&disk());
        watch(&broker).disconnect();
        let mut client = broker
            .durable(V5, "c")
            .will(will("w", "late").delay(100).qos(1))
            .connect();
        client.lose();
        broker.settle();
        let broker = broker.again_after(end, Duration::from_secs(101));
        broker.durable(V5, "watcher").connect().take("w", "late");
    }
}

#[test]
fn resuming_in_time_and_a_plain_disconnect_take_it_away() {
    for end in End::BOTH {
        let broker = Durable::on(&disk());
        watch(&broker).disconnect();
        let delayed =
            |broker: &Durable, id: &str| broker.durable(V5, id).will(will("w", id).delay(100).qos(1));
        delayed(&broker, "resumes").connect().lose();
        delayed(&broker, "leaves").connect().disconnect();
        broker.settle();
        let broker = broker.again(end);
        broker.durable(V5, "resumes").connect().disconnect();
        broker.settle();
        let broker = broker.again_after(end, Duration::from_secs(200));
        broker.durable(V5, "watcher").connect().expect_silence();
    }
}

#[test]
fn a_session_that_expires_while_the_broker_is_away_publishes_it() {
    let broker = Durable::on(&disk());
    watch(&broker).disconnect();
    let short = broker.clean(V5, "c").prop(prop::session_expiry(10));
    short.will(will("w", "end").delay(1000).qos(1)).connect().lose();
    broker.settle();
    let broker = broker.again_after(End::Crash, Duration::from_secs(11));
    broker.durable(V5, "watcher").connect().take("w", "end");
    broker.settle();
    let kinds = crate::sessions::keys(&broker.end(End::Crash));
    assert!(!kinds.contains(&"w".to_owned()), "{kinds:?}");
}

//! Will Messages: when they are published, when not, and how.

use crate::prelude::*;

/// A broker, a watcher of everything and a CONNECT with a Will Message.
fn scene(version: Version, will: Will) -> (TestBroker, Client, Connect) {
    let broker = TestBroker::start();
    let mut watcher = broker.client(version, "watcher").connect();
    watcher.subscribe("#", 2);
    let connect = broker.client(version, "c").will(will);
    (broker, watcher, connect)
}

pub(crate) fn published_when_the_connection_is_lost(version: Version) {
    let (_broker, mut watcher, connect) = scene(version, will("w", "gone"));
    connect.connect().abort();
    watcher.take("w", "gone");
}

pub(crate) fn published_after_every_abnormal_end(version: Version) {
    let (broker, mut watcher, connect) = scene(version, will("w", "gone"));
    // the client closes
    connect.connect().abort();
    watcher.take("w", "gone");
    // it errs, and the server closes
    connect.connect().send(publish("a/#", "x")).drain();
    watcher.take("w", "gone");
    // it is silent for too long
    let mut silent = connect.clone().keep_alive(10).connect();
    broker.advance(secs(17));
    silent.drain();
    watcher.take("w", "gone");
    // another connection takes over
    let mut old = connect.connect();
    let _new = connect.connect();
    old.drain();
    watcher.take("w", "gone");
    watcher.expect_silence();
}

pub(crate) fn published_once(version: Version) {
    let (_broker, mut watcher, connect) = scene(version, will("w", "gone"));
    connect.connect().abort();
    watcher.take("w", "gone");
    // the Session, if there is one, has forgotten it
    broker_again(&connect, version).disconnect();
    watcher.expect_silence();
}

/// Connects under the same Client Identifier without a Will Message: what the old connection left is settled then.
fn broker_again(connect: &Connect, version: Version) -> Client {
    Connect::new(connect.addr(), version, "c").connect()
}

pub(crate) fn deleted_by_disconnect(version: Version) {
    let (_broker, mut watcher, connect) = scene(version, will("w", "gone"));
    connect.connect().disconnect();
    broker_again(&connect, version).abort();
    watcher.expect_silence();
}

pub(crate) fn none_without_the_flag(version: Version) {
    let (broker, mut watcher, _) = scene(version, will("w", "gone"));
    broker.client(version, "c").connect().abort();
    broker.client(version, "c").connect().disconnect();
    watcher.expect_silence();
}

pub(crate) fn at_each_qos(version: Version) {
    for qos in 0..3 {
        let (_broker, mut watcher, connect) = scene(version, will("w", "gone").qos(qos));
        connect.connect().abort();
        assert_eq!(watcher.take("w", "gone").qos, qos);
    }
}

pub(crate) fn not_retained(version: Version) {
    let (broker, mut watcher, connect) = scene(version, will("w", "gone"));
    connect.connect().abort();
    watcher.take("w", "gone");
    broker
        .client(version, "late")
        .connect()
        .subscribe("w", 0)
        .expect_silence();
}

pub(crate) fn retained(version: Version) {
    let (broker, mut watcher, connect) = scene(version, will("w", "gone").retain());
    connect.connect().abort();
    watcher.take("w", "gone");
    let mut late = broker.client(version, "late").connect();
    assert!(late.subscribe("w", 0).take("w", "gone").retain);
}

//! Damage is told, never passed over: a broker doesn't start on records that it can't read.

use broker_core::{Clock, StartProblem};
use bytes::Bytes;
use plugin_api::{SessionStore, StoreOp};

use crate::prelude::*;

/// Returns a disk with records of every kind.
fn full_disk() -> MemoryStore {
    let broker = Durable::on(&disk());
    let mut client = broker.durable(V5, "c").will(will("w", "will").qos(1)).connect();
    client.subscribe("a", 2);
    let mut publisher = broker.durable(V5, "p").connect();
    publisher.publish("a", "1", 2).retain("a", "2", 1);
    publisher
        .send(publish("a", "3").qos(2, 9))
        .expect_some_ack(Kind::Pubrec, 9);
    client.expect_any_publish();
    broker.settle();
    broker.end(End::Crash)
}

fn put(disk: &MemoryStore, key: &Bytes, value: Option<Bytes>) {
    let key = key.clone();
    let op = match value {
        Some(value) => StoreOp::Put { key, value },
        None => StoreOp::Delete { key },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let commit = async { disk.commit(&[op], Durability::Fsync).await };
    runtime.block_on(commit).expect("it commits");
}

fn starts(disk: &MemoryStore) -> bool {
    match Durable::start(disk, Clock::manual(), |listener| listener, |builder| builder) {
        Ok(_) => true,
        Err(error) => {
            assert!(matches!(
                error.problems[..],
                [StartProblem::Store(StoreFault::Corrupt(_))]
            ));
            false
        }
    }
}

#[test]
fn a_value_that_is_cut_short_or_too_long_is_noticed() {
    let good = full_disk();
    let kinds = crate::sessions::keys(&good);
    assert_eq!(kinds, ["b", "i", "m", "q", "r", "s", "u", "w"]);
    for (key, value) in good.records() {
        // Its key says all.
        if key[0] == b'i' {
            continue;
        }
        for damaged in [
            Bytes::new(),
            value.slice(..value.len() - 1),
            Bytes::from([&value[..], &[1]].concat()),
            Bytes::from([&[9], &value[1..]].concat()),
        ] {
            let disk = good.crash();
            put(&disk, &key, Some(damaged.clone()));
            // A subscription's filter and a few texts go on to the end of the value.
            if !(key[0] == b'u' && damaged.len() >= value.len() - 1 && damaged[0] == value[0]) {
                assert!(!starts(&disk), "{key:?} {damaged:?}");
            }
        }
    }
}

#[test]
fn a_body_that_is_missing_is_noticed() {
    let good = full_disk();
    for (key, _) in good.records().into_iter().filter(|(key, _)| key[0] == b'b') {
        let disk = good.crash();
        put(&disk, &key, None);
        assert!(!starts(&disk), "{key:?}");
    }
    assert!(starts(&good.crash()));
}

#[test]
fn another_format_is_refused() {
    let good = full_disk();
    let (key, value) = good
        .records()
        .into_iter()
        .find(|(key, _)| key[0] == b'm')
        .expect("the format");
    for (at, starts_with) in [(2, false), (4, false)] {
        let mut other = value.to_vec();
        other[at] += 1;
        let disk = good.crash();
        put(&disk, &key, Some(other.into()));
        assert_eq!(starts(&disk), starts_with);
    }
    let disk = good.crash();
    put(&disk, &key, None);
    assert!(!starts(&disk), "records without a format");
}

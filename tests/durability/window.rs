//! A long queue: a little of it in memory, the rest in the store.

use crate::prelude::*;

const MESSAGES: u32 = 10_000;
const BYTES: usize = 1000;

fn payload(number: u32) -> Vec<u8> {
    let mut payload = vec![b'.'; BYTES];
    payload[..10].copy_from_slice(format!("{number:010}").as_bytes());
    payload
}

#[test]
fn ten_thousand_messages_wait_in_little_memory_and_come_in_order() {
    let broker = Durable::on(&disk());
    broker.durable(V5, "c").connect().subscribe("a", 2).disconnect();
    let mut publisher = broker.clean(V311, "p").connect();
    for block in 0..MESSAGES / 500 {
        for number in block * 500..(block + 1) * 500 {
            publisher.send(publish("a", payload(number)).qos(1, (number % 60_000) as u16 + 1));
        }
        for number in block * 500..(block + 1) * 500 {
            publisher.expect_ack(Kind::Puback, (number % 60_000) as u16 + 1, 0);
        }
    }
    let kept_max = 400 * BYTES as u64;
    let handle = broker.handle();
    assert_eq!(
        handle.client("c").map(|client| client.queued),
        Some(MESSAGES as usize)
    );
    assert!(handle.gauges().kept_bytes < kept_max, "{:?}", handle.gauges());
    drop(handle);
    let broker = broker.again(End::Crash);
    let handle = broker.handle();
    assert_eq!(
        handle.client("c").map(|client| client.queued),
        Some(MESSAGES as usize)
    );
    assert!(handle.gauges().kept_bytes < kept_max, "{:?}", handle.gauges());
    // In two connections, with a restart between them.
    let mut client = broker.durable(V5, "c").connect();
    for number in 0..3000 {
        client.take("a", payload(number));
    }
    client.sync();
    broker.settle();
    drop(handle);
    let broker = broker.again(End::Shutdown);
    let mut client = broker.durable(V5, "c").connect();
    let mut publisher = broker.clean(V5, "p").connect();
    for number in 3000..MESSAGES {
        if number % 1000 == 0 {
            publisher.publish("a", payload(MESSAGES - 3 + number / 1000), 2);
        }
        client.take("a", payload(number));
        assert!(broker.handle().gauges().kept_bytes < kept_max + 1100 * BYTES as u64);
    }
    for number in MESSAGES..MESSAGES + 7 {
        client.take("a", payload(number));
    }
    client.expect_silence();
    client.disconnect();
    broker.settle();
    let kinds = crate::sessions::keys(&broker.end(End::Crash));
    assert_eq!(kinds, ["m", "s", "u"]);
}

#[test]
fn the_oldest_make_room_behind_the_window_too() {
    let broker = Durable::limited(&disk(), |limits| limits.queued_messages_max = 600);
    broker.durable(V5, "c").connect().subscribe("a", 1).disconnect();
    let mut publisher = broker.clean(V5, "p").connect();
    for number in 0..1000_u32 {
        publisher.publish("a", number.to_string(), 1);
        broker.settle();
    }
    let broker = Durable::limited(&broker.end(End::Crash), |limits| limits.queued_messages_max = 600);
    assert_eq!(broker.handle().client("c").map(|client| client.queued), Some(600));
    let mut client = broker.durable(V5, "c").connect();
    for number in 400..1000_u32 {
        client.take("a", number.to_string());
    }
    client.expect_silence();
}

#[test]
fn a_session_that_ends_takes_its_queue_out_of_the_store() {
    for end in End::BOTH {
        let broker = Durable::on(&disk());
        broker.durable(V5, "c").connect().subscribe("a", 1).disconnect();
        let mut publisher = broker.clean(V5, "p").connect();
        for number in 0..1000_u32 {
            publisher.publish("a", number.to_string(), 1);
        }
        let broker = broker.again(end);
        broker.clean(V5, "c").connect().disconnect();
        let disk = broker.disk().clone();
        broker.wait_until(|| crate::sessions::keys(&disk) == ["m"]);
        // A kill in the middle of that leaves nothing either.
        drop(broker.end(End::Crash));
    }
}

#[test]
fn a_kill_while_a_queue_is_being_removed_leaves_nothing() {
    let broker = Durable::on(&disk());
    broker.durable(V5, "c").connect().subscribe("a", 1).disconnect();
    let mut publisher = broker.clean(V5, "p").connect();
    for number in 0..1000_u32 {
        publisher.publish("a", number.to_string(), 1);
    }
    let applied = broker.disk().applied().0;
    broker.clean(V5, "c").connect().disconnect();
    let disk = broker.disk().clone();
    broker.wait_until(|| disk.applied().0 > applied);
    let broker = Durable::on(&broker.end(End::Crash));
    broker.settle();
    assert_eq!(crate::sessions::keys(&broker.end(End::Crash)), ["m"]);
}

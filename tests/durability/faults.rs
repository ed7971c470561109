//! A store that isn't available for a while, and one that fails for good.

use crate::prelude::*;

fn unavailable() -> StoreFault {
    StoreFault::Unavailable("unplugged".to_owned())
}

fn faults() -> [StoreFault; 4] {
    [
        StoreFault::ReadOnly("disk full".to_owned()),
        StoreFault::Corrupt("bad block".to_owned()),
        StoreFault::Conflict,
        StoreFault::TooLarge,
    ]
}

#[test]
fn a_store_that_comes_back_loses_nothing() {
    let broker = Durable::on(&disk());
    let mut client = broker.durable(V5, "c").connect();
    client.subscribe("a", 2);
    let mut publisher = broker.durable(V5, "p").connect();
    broker.disk().fail(0, 3, unavailable());
    publisher.publish("a", "1", 1).publish("a", "2", 2);
    client.take("a", "1");
    client.take("a", "2");
    assert!(!broker.handle().gauges().store_failed);
}

#[test]
fn nothing_is_acknowledged_after_a_store_failed() {
    for fault in faults() {
        let broker = Durable::on(&disk());
        let mut client = broker.durable(V5, "c").connect();
        client.subscribe("a", 2);
        let mut publisher = broker.clean(V5, "p").connect();
        publisher.publish("a", "safe", 1);
        client.take("a", "safe");
        broker.settle();
        broker.disk().fail(0, u64::MAX, fault);
        publisher.send(publish("a", "1").qos(1, 1));
        let handle = broker.handle();
        broker.wait_until(|| handle.gauges().store_failed);
        publisher
            .send(publish("a", "2").qos(2, 2))
            .send(publish("r", "3").retain().qos(1, 3));
        publisher.expect_silence();
        // What needn't be durable goes on.
        let mut other = broker.clean(V5, "other").connect();
        other.subscribe("b", 1).publish("b", "not kept", 1);
        other.take("b", "not kept");
        broker.durable(V5, "new").refused(0x88);
        broker.durable(V5, "c").refused(0x88);
        assert_eq!(handle.gauges().store_pending, 0);
    }
}

#[test]
fn what_was_not_acknowledged_when_the_store_failed_can_be_sent_again() {
    let broker = Durable::on(&disk());
    broker.durable(V5, "c").connect().subscribe("a", 2).disconnect();
    let mut publisher = broker.durable(V5, "p").connect();
    broker
        .disk()
        .fail(0, u64::MAX, StoreFault::ReadOnly("disk full".to_owned()));
    publisher.send(publish("a", "1").qos(2, 1)).expect_silence();
    let handle = broker.handle();
    broker.wait_until(|| handle.gauges().store_failed);
    let broker = broker.again(End::Crash);
    let mut publisher = broker.durable(V5, "p").connect();
    publisher
        .send(publish("a", "1").qos(2, 1).dup())
        .expect_some_ack(Kind::Pubrec, 1);
    publisher.send(pubrel(1)).expect_ack(Kind::Pubcomp, 1, 0);
    let mut client = broker.durable(V5, "c").connect();
    client.take("a", "1");
    client.expect_silence();
}

#[test]
fn a_publisher_that_waits_for_a_failed_store_may_leave() {
    let broker = Durable::limited(&disk(), |limits| limits.receive_maximum = 2);
    broker.durable(V5, "c").connect().subscribe("a", 1).disconnect();
    let mut publisher = broker.clean(V311, "p").connect();
    broker
        .disk()
        .fail(0, u64::MAX, StoreFault::ReadOnly("disk full".to_owned()));
    for id in 1..=9 {
        publisher.send(publish("a", "x").qos(1, id));
    }
    publisher.expect_silence();
    publisher.abort();
    let handle = broker.handle();
    broker.wait_until(|| handle.gauges().connections == 0);
}

#[test]
fn a_shutdown_doesnt_wait_forever_for_a_store_that_hangs() {
    let broker = Durable::on(&disk());
    let mut client = broker.durable(V5, "c").connect();
    client.subscribe("a", 1);
    broker.disk().hold();
    client.send(publish("a", "1").qos(1, 1)).sync();
    broker.shut_down_within(Duration::from_millis(200));
}

#[test]
fn a_client_that_was_refused_because_of_the_store_finds_no_session() {
    let broker = Durable::limited(&disk(), |limits| {
        limits.connect_timeout = Duration::from_millis(100)
    });
    broker.disk().hold();
    broker.durable(V5, "c").refused(0x88);
    broker.disk().release();
    assert!(!broker.durable(V5, "c").connect().connack.session_present);
}

#[test]
fn what_the_store_cant_take_is_refused_and_what_it_can_fits() {
    const BATCH: usize = 16 * 1024 * 1024;
    let disk = MemoryStore::claiming_with(Durability::Fsync, BATCH);
    let large = |limits: &mut broker_types::Limits| limits.packet_size_max = 32 * 1024 * 1024;
    let broker = Durable::limited(&disk, large);
    for client in 0..20 {
        broker
            .durable(V5, &format!("c{client}"))
            .connect()
            .subscribe("a", 1)
            .disconnect();
    }
    let mut publisher = broker.clean(V5, "p").connect();
    publisher.send(publish("a", vec![0; BATCH / 8]).qos(1, 1));
    publisher.expect_ack(Kind::Puback, 1, 0x97);
    let mut older = broker.clean(V311, "older").connect();
    older
        .send(publish("a", vec![0; BATCH / 8]).qos(1, 1))
        .expect_closed();
    // Many that are just small enough, at once and retained too.
    broker.disk().hold();
    for id in 1..=20 {
        publisher.send(publish("a", vec![0; BATCH / 8 - 100]).retain().qos(1, id));
    }
    publisher.sync();
    broker.disk().release();
    for id in 1..=20 {
        publisher.expect_ack(Kind::Puback, id, 0);
    }
    assert!(!broker.handle().gauges().store_failed);
}

#[test]
fn what_waits_for_the_store_counts_against_the_ceiling_for_memory() {
    let broker = Durable::on(&disk());
    broker.durable(V5, "c").connect().subscribe("a", 1).disconnect();
    broker.settle();
    let before = broker.handle().gauges().memory_bytes;
    broker.disk().hold();
    let mut publisher = broker.clean(V5, "p").connect();
    publisher.send(publish("a", vec![0; 500_000]).qos(1, 1)).sync();
    // In the queue and on its way into the store.
    let while_waiting = broker.handle().gauges().memory_bytes - before;
    assert!(while_waiting >= 1_000_000, "{while_waiting}");
    broker.disk().release();
    broker.settle();
    let after = broker.handle().gauges().memory_bytes - before;
    assert!((500_000..600_000).contains(&after), "{after}");
}

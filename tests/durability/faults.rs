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

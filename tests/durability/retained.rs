//! Retained Messages after a restart.

use crate::prelude::*;

#[test]
fn the_last_one_of_each_topic_survives() {
    for end in End::BOTH {
        let broker = Durable::on(&disk());
        let mut publisher = broker.clean(V5, "p").connect();
        publisher.retain("a", "old", 1).retain("a", "new", 2);
        publisher.retain("b", "cleared", 1).retain("b", "", 1);
        publisher.retain("c", "not acknowledged", 0);
        broker.settle();
        let broker = broker.again(end);
        let mut client = broker.clean(V5, "c").connect();
        client.subscribe("a", 2);
        let received = client.take("a", "new");
        assert!(received.retain && received.qos == 2);
        client.subscribe("#", 0);
        client.take("a", "new");
        client.take("c", "not acknowledged");
        client.expect_silence();
    }
}

#[test]
fn its_expiry_goes_on_while_the_broker_is_away() {
    for end in End::BOTH {
        let broker = Durable::on(&disk());
        let mut publisher = broker.clean(V5, "p").connect();
        let expiring = |secs| publish("a", "expires").retain().prop(prop::message_expiry(secs));
        publisher.publish_packet(expiring(100), 1);
        let broker = broker.again_after(end, Duration::from_secs(90));
        let mut client = broker.clean(V5, "c").connect();
        client.subscribe("a", 1);
        assert!(
            client.take("a", "expires").has(&prop::message_expiry(9))
                || broker.handle().gauges().retained == 1
        );
        let broker = broker.again_after(end, Duration::from_secs(101));
        let mut client = broker.clean(V5, "c").connect();
        client.subscribe("a", 1).expect_silence();
        broker.settle();
        assert_eq!(crate::sessions::keys(&broker.end(End::Crash)), ["m"]);
    }
}

#[test]
fn one_that_expires_while_the_broker_runs_leaves_no_record() {
    let broker = Durable::on(&disk());
    let mut publisher = broker.clean(V5, "p").connect();
    publisher.publish_packet(publish("a", "1").retain().prop(prop::message_expiry(5)), 1);
    broker.clock.advance(Duration::from_secs(6));
    let handle = broker.handle();
    broker.wait_until(|| handle.gauges().retained == 0);
    broker.settle();
    assert_eq!(crate::sessions::keys(&broker.end(End::Crash)), ["m"]);
}

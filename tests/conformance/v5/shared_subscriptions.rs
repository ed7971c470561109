//! 4.8.2 Shared Subscriptions.

use crate::prelude::*;

/// Members of the group `g` on `a`, at this QoS.
fn group<const N: usize>(broker: &TestBroker, qos: u8) -> [Client; N] {
    std::array::from_fn(|number| {
        let mut client = broker.v5(format!("m{number}")).connect();
        client.subscribe("$share/g/a", qos);
        client
    })
}

#[test]
fn v5_4_8_2_1__a_shared_subscription_has_a_share_name() {
    shared::topic::refused(V5, &["$share//a", "$share/", "$share", "$share/g", "$share/g/"]);
    let broker = TestBroker::start();
    let [mut one, mut two] = group(&broker, 1);
    broker.v5("p").connect().publish("a", "1", 1).publish("a", "2", 1);
    let mut got: Vec<_> = [&mut one, &mut two]
        .map(|member| member.sync().pending())
        .concat();
    got.sort();
    assert_eq!(got, ["1", "2"]);
}

#[test]
fn v5_4_8_2_2__a_share_name_has_no_wildcards() {
    shared::topic::refused(
        V5,
        &[
            "$share/+/a",
            "$share/#/a",
            "$share/g+/a",
            "$share/g#/a",
            "$share/g/a/#/b",
        ],
    );
    TestBroker::start()
        .v5("c")
        .connect()
        .subscribe("$share/\u{e4} $/+/#", 0);
}

/// Each group gets each message once, each ordinary Subscription too.
#[test]
fn v5_4_8_2_1__groups_are_independent() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    client
        .subscribe("$share/g/a", 0)
        .subscribe("$share/h/a", 0)
        .subscribe("$share/h/+", 0)
        .subscribe("other", 0);
    let mut plain = broker.v5("d").connect();
    plain.subscribe("a", 0).publish("a", "x", 0).take("a", "x");
    plain.expect_silence();
    assert!(client.sync().pending().iter().all(|payload| payload == "x"));
}

#[test]
fn v5_4_8_2_3__the_granted_qos_is_respected() {
    let broker = TestBroker::start();
    for granted in 0..3 {
        let [mut member] = group::<1>(&broker, granted);
        for published in 0..3 {
            member.publish("a", "x", published);
            assert_eq!(member.take("a", "x").qos, granted.min(published));
        }
    }
}

#[test]
fn v5_4_8_2_4__delivery_is_completed_when_the_client_returns() {
    let broker = TestBroker::start();
    let connect = broker.v5("m").durable();
    let mut member = connect.connect();
    member.subscribe("$share/g/a", 2).publish("a", "x", 2);
    let first = member.expect_publish("a", "x");
    member.lose();
    let mut member = connect.connect();
    let again = member.take("a", "x");
    assert!(again.dup && again.id == first.id);
}

/// QoS 2 that began with a client whose Session ends goes to nobody else.
#[test]
fn v5_4_8_2_5__what_was_sent_at_qos_2_goes_to_nobody_else() {
    let broker = TestBroker::start();
    let [mut one] = group::<1>(&broker, 2);
    broker.v5("p").connect().publish("a", "x", 2);
    one.expect_publish("a", "x");
    let mut other = broker.v5("other").connect();
    other.subscribe("$share/g/a", 2);
    one.lose();
    broker.v5("p").connect().publish("a", "y", 2);
    other.take("a", "y");
    other.expect_silence();
}

#[test]
fn v5_4_8_2_6__a_negative_acknowledgement_discards_the_message() {
    let broker = TestBroker::start();
    for qos in [1, 2] {
        let [mut one] = group::<1>(&broker, qos);
        let mut other = broker.v5("other").connect();
        one.publish("a", "x", qos);
        let id = one.expect_publish("a", "x").id;
        other.subscribe("$share/g/a", qos);
        let packet = if qos == 1 { puback(id) } else { pubrec(id) };
        one.send(packet.code(0x80)).expect_silence();
        other.expect_silence();
    }
}

/// A member that goes leaves the others the messages that come later.
#[test]
fn v5_4_8_2_1__a_member_that_left_gets_nothing() {
    let broker = TestBroker::start();
    let [mut one, mut two, mut three] = group(&broker, 1);
    one.unsubscribe("$share/g/a");
    two.disconnect();
    let mut publisher = broker.v5("p").connect();
    for number in 0..6 {
        publisher.publish("a", number.to_string(), 1);
        three.take("a", number.to_string());
    }
    one.expect_silence();
}

/// A Retained Message is not sent to a Shared Subscription that is new.
#[test]
fn v5_4_8_2_1__no_retained_messages() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    client
        .retain("a", "x", 0)
        .subscribe("$share/g/a", 1)
        .expect_silence();
}

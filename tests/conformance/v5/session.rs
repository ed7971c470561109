//! 4.1 Session State, 4.2 Network Connections, 4.4 Message delivery retry, 4.5 Message receipt.

use crate::prelude::*;

shared_tests! { V5:
    v5_4_1_0_1__the_session_lasts_while_connected = session::kept_while_connected;
    v5_4_1_0_2__the_session_is_stored_and_resumed = session::offline_messages_are_stored;
    v5_4_2_1__tcp_is_supported = connect::accepted;
    v5_4_4_0_1__unacknowledged_packets_are_sent_again_in_order = session::resent_in_order;
    v5_4_5_0_1__a_message_is_added_to_the_session_of_every_subscriber = qos::taken_over_for_every_subscriber;
}

/// Subscriptions, queue and all: nothing is left after the interval.
#[test]
fn v5_4_1_0_2__the_session_is_discarded_when_it_expires() {
    let broker = TestBroker::start();
    let connect = broker.v5("c").resume().prop(prop::session_expiry(10));
    let mut client = connect.connect();
    client.subscribe("a", 2).publish("a", "in flight", 2);
    client.expect_publish("a", "in flight");
    client.lose();
    broker.v5("p").connect().publish("a", "queued", 1);
    broker.advance(secs(12));
    let mut client = connect.connect();
    assert!(!client.connack.session_present);
    client.publish("a", "x", 1).expect_silence();
}

/// The longest interval that the server grants is told and holds.
#[test]
fn v5_4_1_0_2__the_server_lowers_the_interval() {
    let broker = TestBroker::start_with(|setup| setup.limits.session_expiry_max = Some(20));
    let connect = broker.v5("c").resume().prop(prop::session_expiry(1000));
    let mut client = connect.connect();
    assert!(client.connack.props.contains(&prop::session_expiry(20)));
    client.disconnect();
    broker.advance(secs(22));
    assert!(!connect.connect().connack.session_present);
}

#[test]
fn v5_4_4_0_2__a_negative_acknowledgement_ends_the_delivery() {
    let broker = TestBroker::start();
    let connect = broker.v5("c").durable();
    let mut client = connect.connect();
    client.subscribe("a", 2).publish("a", "1", 1).publish("a", "2", 2);
    let [first, second] = ["1", "2"].map(|payload| client.expect_publish("a", payload));
    client
        .send(puback(first.id).code(0x80))
        .send(pubrec(second.id).code(0x97))
        .expect_silence();
    client.lose();
    connect.connect().expect_silence();
}

//! 4.1 Storing state, 4.2 Network Connections, 4.4 Message delivery retry, 4.5 Message receipt, 4.8 Handling errors.

use plugin_api::Fault;

use crate::prelude::*;

shared_tests! { V311:
    v311_4_1_0_1__the_session_is_stored = session::offline_messages_are_stored;
    v311_4_1_0_2__the_session_lasts_while_connected = session::kept_while_connected;
    v311_4_2_0_1__tcp_is_supported = connect::accepted;
    v311_4_4_0_1__unacknowledged_packets_are_sent_again_in_order = session::resent_in_order;
    v311_4_5_0_1__a_message_is_added_to_the_session_of_every_subscriber = qos::taken_over_for_every_subscriber;
}

/// Clean Session 0 has no end: 3.1.1 knows no Session Expiry Interval.
#[test]
fn v311_4_1_0_1__the_session_does_not_expire() {
    let broker = TestBroker::start();
    let connect = broker.v311("c").durable();
    connect.connect().subscribe("a", 1).disconnect();
    broker.advance(secs(10_000_000));
    let mut client = connect.connect();
    assert!(client.connack.session_present);
    client.publish("a", "x", 1).take("a", "x");
}

/// A plugin whose back end is down: no acknowledgement, so that the client sends again.
#[test]
fn v311_4_8_0_2__a_transient_error_ends_the_connection() {
    let broker = TestBroker::start_with(|setup| {
        setup.chain(|chain| chain.on_publish_async("down/#", |_, _| async { Err(Fault::backend("down")) }));
    });
    for qos in [1, 2] {
        let mut client = broker.v311("c").connect();
        client
            .publish("up", "x", qos)
            .send(publish("down/a", "x").qos(qos, 9))
            .expect_closed();
    }
}

//! 3.1.0 to 3.1.2.6 CONNECT: protocol, flags, Keep Alive; 3.1.4 CONNECT actions.

use plugin_api::{AuthVerdict, Denial};

use crate::prelude::*;

shared_tests! { V5:
    v5_3_1_0_1__the_first_packet_is_connect = connect::first_packet_is_connect;
    v5_3_1_0_2__a_second_connect_is_a_protocol_error = connect::second_connect;
    v5_3_1_2_1__another_protocol_name_is_refused = connect::unknown_protocol;
    v5_3_1_2_2__another_protocol_version_is_refused = connect::unknown_protocol;
    v5_3_1_2_3__the_reserved_flag_is_checked = connect::reserved_connect_flag;
    v5_3_1_2_4__clean_start_discards_the_session = session::discarded_by_a_clean_start;
    v5_3_1_2_5__a_session_is_resumed = session::resumed;
    v5_3_1_2_6__a_session_is_created = session::created;
    v5_3_1_2_7__the_will_is_stored = will::published_when_the_connection_is_lost;
    v5_3_1_2_8__the_will_is_published_after_every_abnormal_end = will::published_after_every_abnormal_end;
    v5_3_1_2_9__the_will_fields_are_there = connect::will_fields_missing;
    v5_3_1_2_10__the_will_is_published_once = will::published_once;
    v5_3_1_2_10__disconnect_removes_the_will = will::deleted_by_disconnect;
    v5_3_1_2_11__no_will_no_will_qos = connect::will_qos_without_will;
    v5_3_1_2_12__will_qos_0_1_2 = will::at_each_qos;
    v5_3_1_2_12__will_qos_3_is_refused = connect::will_qos_3;
    v5_3_1_2_13__no_will_no_will_retain = connect::will_retain_without_will;
    v5_3_1_2_14__the_will_is_not_retained = will::not_retained;
    v5_3_1_2_15__the_will_is_retained = will::retained;
    v5_3_1_2_16__no_flag_no_user_name = connect::username_without_flag;
    v5_3_1_2_17__flag_and_user_name = connect::username_missing;
    v5_3_1_2_18__no_flag_no_password = connect::password_without_flag;
    v5_3_1_2_19__flag_and_password = connect::password_missing;
    v5_3_1_2_22__keep_alive_one_and_a_half = connect::keep_alive_one_and_a_half;
    v5_3_1_2_22__keep_alive_zero_never_ends = connect::keep_alive_zero_never_ends;
    v5_3_1_4_1__the_format_is_checked = connect::malformed_connect;
    v5_3_1_4_3__another_connection_takes_over = connect::take_over;
    v5_3_1_4_4__clean_start_is_processed = connect::session_present_is_0_after_a_clean_start;
    v5_3_1_4_5__connack_0 = connect::accepted;
    v5_3_1_4_6__nothing_is_done_after_a_refusal = connect::nothing_is_done_after_a_refusal;
}

/// Unlike in 3.1.1.
#[test]
fn v5_3_1_2_19__a_password_needs_no_user_name() {
    TestBroker::start()
        .v5("c")
        .password("p")
        .connect()
        .expect_silence();
}

#[test]
fn v5_3_1_2_8__the_will_waits_for_its_delay() {
    let broker = TestBroker::start();
    let mut watcher = broker.v5("w").connect();
    watcher.subscribe("w", 0);
    broker
        .v5("c")
        .durable()
        .will(will("w", "gone").delay(10))
        .connect()
        .lose();
    broker.advance(secs(8));
    watcher.expect_silence();
    broker.advance(secs(4));
    watcher.take("w", "gone");
}

#[test]
fn v5_3_1_2_8__the_will_is_published_when_the_session_ends_before_the_delay() {
    let broker = TestBroker::start();
    let mut watcher = broker.v5("w").connect();
    watcher.subscribe("w", 0);
    let lost = will("w", "gone").delay(1000);
    // the Session ends with the connection
    broker.v5("c").will(lost.clone()).connect().abort();
    watcher.take("w", "gone");
    // it expires
    broker
        .v5("c")
        .prop(prop::session_expiry(10))
        .will(lost.clone())
        .connect()
        .lose();
    broker.advance(secs(12));
    watcher.take("w", "gone");
    // it is discarded by a Clean Start
    broker.v5("c").durable().will(lost).connect().lose();
    watcher.expect_silence();
    broker.v5("c").connect().disconnect();
    watcher.take("w", "gone");
}

#[test]
fn v5_3_1_2_10__disconnect_with_will_publishes_it() {
    let broker = TestBroker::start();
    let mut watcher = broker.v5("w").connect();
    watcher.subscribe("w", 0);
    for code in [0x04, 0x80, 0x81, 0x82] {
        broker
            .v5("c")
            .will(will("w", [code]))
            .connect()
            .send(disconnect().code(code))
            .expect_closed();
        watcher.take("w", [code]);
    }
    watcher.expect_silence();
}

#[test]
fn v5_3_1_4_2__a_denied_client_is_refused() {
    let broker = TestBroker::start_with(|setup| {
        setup.authenticate(|request| match request.password {
            Some(b"right") => AuthVerdict::allow(),
            Some(_) => AuthVerdict::bad_credentials(),
            None => AuthVerdict::Deny(Denial::not_authorized()),
        });
    });
    broker
        .v5("c")
        .username("u")
        .password("right")
        .connect()
        .expect_silence();
    broker.v5("c").username("u").password("wrong").refused(0x86);
    broker.v5("c").refused(0x87);
}

/// A Session that belongs to another identity is not taken over.
#[test]
fn v5_3_1_4_3__another_identity_does_not_take_over() {
    let broker = TestBroker::start_with(|setup| setup.authenticate(|_| AuthVerdict::allow()));
    let mut owner = broker.v5("c").username("owner").connect();
    broker.v5("c").username("thief").refused(0x85);
    owner.expect_silence();
}

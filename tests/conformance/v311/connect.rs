//! 3.1 CONNECT, 3.2 CONNACK, 3.12 PINGREQ, 3.14 DISCONNECT.

use plugin_api::{AuthVerdict, Denial};

use crate::prelude::*;

shared_tests! { V311:
    v311_3_1_0_1__the_first_packet_is_connect = connect::first_packet_is_connect;
    v311_3_1_0_2__a_second_connect_ends_the_connection = connect::second_connect;
    v311_3_1_2_1__another_protocol_name_is_refused = connect::unknown_protocol;
    v311_3_1_2_3__the_reserved_flag_is_checked = connect::reserved_connect_flag;
    v311_3_1_2_4__a_session_is_resumed_or_created = session::resumed;
    v311_3_1_2_5__messages_are_stored_for_an_offline_client = session::offline_messages_are_stored;
    v311_3_1_2_6__clean_session_discards_the_session = session::discarded_by_a_clean_start;
    v311_3_1_2_7__a_retained_message_outlives_the_session = retain::outlives_the_session;
    v311_3_1_2_8__the_will_is_stored_and_published = will::published_after_every_abnormal_end;
    v311_3_1_2_9__the_will_fields_are_there = connect::will_fields_missing;
    v311_3_1_2_10__the_will_is_published_once = will::published_once;
    v311_3_1_2_10__disconnect_removes_the_will = will::deleted_by_disconnect;
    v311_3_1_2_11__no_flag_no_will_fields = connect::will_fields_without_flag;
    v311_3_1_2_12__no_flag_no_will = will::none_without_the_flag;
    v311_3_1_2_13__no_will_no_will_qos = connect::will_qos_without_will;
    v311_3_1_2_14__will_qos_0_1_2 = will::at_each_qos;
    v311_3_1_2_14__will_qos_3_is_refused = connect::will_qos_3;
    v311_3_1_2_15__no_will_no_will_retain = connect::will_retain_without_will;
    v311_3_1_2_16__the_will_is_not_retained = will::not_retained;
    v311_3_1_2_17__the_will_is_retained = will::retained;
    v311_3_1_2_18__no_flag_no_user_name = connect::username_without_flag;
    v311_3_1_2_19__flag_and_user_name = connect::username_missing;
    v311_3_1_2_20__no_flag_no_password = connect::password_without_flag;
    v311_3_1_2_21__flag_and_password = connect::password_missing;
    v311_3_1_2_24__keep_alive_one_and_a_half = connect::keep_alive_one_and_a_half;
    v311_3_1_2_24__keep_alive_zero_never_ends = connect::keep_alive_zero_never_ends;
    v311_3_1_3_1__the_fields_come_in_order = connect::payload_in_order;
    v311_3_1_3_2__the_client_identifier_names_the_session = connect::client_id_names_the_session;
    v311_3_1_3_3__the_client_identifier_is_there = connect::client_id_missing;
    v311_3_1_3_5__letters_and_digits_are_allowed = connect::client_id_of_letters_and_digits;
    v311_3_1_4_1__the_format_is_checked = connect::malformed_connect;
    v311_3_1_4_2__another_connection_takes_over = connect::take_over;
    v311_3_1_4_3__clean_session_is_processed = connect::session_present_is_0_after_a_clean_start;
    v311_3_1_4_4__connack_0 = connect::accepted;
    v311_3_1_4_5__nothing_is_done_after_a_refusal = connect::nothing_is_done_after_a_refusal;
    v311_3_2_0_1__connack_comes_first = connect::connack_comes_first;
    v311_3_2_2_1__session_present_is_0_after_a_clean_session = connect::session_present_is_0_after_a_clean_start;
    v311_3_2_2_2__session_present_is_1_where_one_was = connect::session_present_tells;
    v311_3_2_2_3__session_present_is_0_where_none_was = session::created;
    v311_3_12_4_1__pingresp_answers = connect::ping;
    v311_3_14_1_1__reserved_flags_are_checked = data::disconnect_flags;
    v311_3_14_4_3__disconnect_discards_the_will = will::deleted_by_disconnect;
}

/// A level above 5 is the 5.0 standard's to answer.
#[test]
fn v311_3_1_2_2__an_unknown_level_is_told_and_refused() {
    let broker = TestBroker::start();
    for level in [0, 1, 2, 3] {
        let answer = broker.v311("c").protocol("MQTT", level).sent().drain_raw();
        assert_eq!(answer, [0x20, 2, 0, 1], "level {level}");
    }
}

/// A level above 5 is the 5.0 standard's to answer.
#[test]
fn v311_3_1_2_22__a_password_needs_a_user_name() {
    let broker = TestBroker::start();
    broker.v311("c").password("p").closed();
    broker
        .v311("c")
        .username("u")
        .password("p")
        .connect()
        .expect_silence();
    broker.v311("c").username("u").connect().expect_silence();
}

#[test]
fn v311_3_1_3_4__the_client_identifier_is_utf8() {
    let broker = TestBroker::start();
    broker.v311("\u{e4}\u{10348}").connect().disconnect();
    broker.v311(b"\xc3").closed();
}

#[test]
fn v311_3_1_3_6__an_empty_client_identifier_is_replaced_by_a_unique_one() {
    let broker = TestBroker::start();
    let mut clients: Vec<_> = (0..10).map(|_| broker.v311("").connect()).collect();
    for client in &mut clients {
        // had two the same one, the later would have taken over
        client.expect_silence();
    }
}

#[test]
fn v311_3_1_3_7__an_empty_client_identifier_needs_a_clean_session() {
    let broker = TestBroker::start();
    broker.v311("").connect().expect_silence();
    broker.v311("").resume().refused(2);
}

#[test]
fn v311_3_1_3_8__otherwise_it_is_refused_with_2() {
    let broker = TestBroker::start();
    broker.v311("").resume().username("u").password("p").refused(2);
}

#[test]
fn v311_3_1_3_9__a_refused_client_identifier_gets_2() {
    let broker = TestBroker::start_with(|setup| setup.limits.client_id_bytes_max = 30);
    broker.v311("i".repeat(30)).connect().disconnect();
    broker.v311("i".repeat(31)).refused(2);
}

#[test]
fn v311_3_1_3_10__the_will_topic_is_utf8_without_wildcards() {
    let broker = TestBroker::start();
    for topic in [&b"\xff"[..], b"#", b"a/+", b""] {
        broker.v311("c").will(will(topic, "x")).closed();
    }
}

#[test]
fn v311_3_1_3_11__the_user_name_is_utf8() {
    let broker = TestBroker::start();
    broker.v311("c").username(b"\xff").closed();
    broker.v311("c").username("\u{e4}").connect().disconnect();
}

/// A broker that lets in those with the password `right`.
fn guarded() -> TestBroker {
    TestBroker::start_with(|setup| {
        setup.authenticate(|request| match request.password {
            Some(b"right") => AuthVerdict::allow(),
            Some(_) => AuthVerdict::bad_credentials(),
            None => AuthVerdict::Deny(Denial::not_authorized()),
        });
    })
}

/// The parser of these tests refuses Session Present with another code.
#[test]
fn v311_3_2_2_4__session_present_is_0_in_a_refusal() {
    let broker = guarded();
    let known = broker.v311("c").durable().username("u");
    known.clone().password("right").connect().disconnect();
    known.clone().password("wrong").refused(4);
    assert!(known.password("right").connect().connack.session_present);
}

#[test]
fn v311_3_2_2_5__a_refusal_ends_the_connection() {
    let broker = guarded();
    broker.v311("c").username("u").password("wrong").refused(4);
    broker.v311("c").refused(5);
}

/// No return code says that a packet is malformed.
#[test]
fn v311_3_2_2_6__without_a_fitting_code_the_connection_is_closed() {
    let broker = TestBroker::start();
    broker.v311("c").flip(0x01).closed();
    broker.v311("c").will(will("a", "x").qos(3)).closed();
}

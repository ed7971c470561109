//! 3.1.3 CONNECT Payload.

use crate::prelude::*;

shared_tests! { V5:
    v5_3_1_3_1__the_fields_come_in_order = connect::payload_in_order;
    v5_3_1_3_2__the_client_identifier_names_the_session = connect::client_id_names_the_session;
    v5_3_1_3_3__the_client_identifier_is_there = connect::client_id_missing;
    v5_3_1_3_5__letters_and_digits_are_allowed = connect::client_id_of_letters_and_digits;
}

/// Returns the Assigned Client Identifier of a CONNACK.
fn assigned(client: &Client) -> String {
    client
        .connack
        .props
        .iter()
        .find_map(|prop| match prop {
            Property::AssignedClientId(id) => Some(id.clone()),
            _ => None,
        })
        .expect("an Assigned Client Identifier")
}

#[test]
fn v5_3_1_3_1__with_will_properties() {
    let broker = TestBroker::start();
    let mut watcher = broker.v5("w").connect();
    watcher.subscribe("will", 0);
    let lost = will("will", "gone")
        .prop(prop::content_type("text/plain"))
        .prop(prop::message_expiry(60));
    broker
        .v5("c")
        .will(lost)
        .username("u")
        .password("p")
        .connect()
        .abort();
    let received = watcher.take("will", "gone");
    assert!(received.has(&prop::content_type("text/plain")) && received.has(&prop::message_expiry(60)));
}

#[test]
fn v5_3_1_3_4__the_client_identifier_is_utf8() {
    let broker = TestBroker::start();
    broker.v5("\u{e4}\u{10348}").connect().disconnect();
    broker.v5(b"\xc3").invalid(0x81);
}

#[test]
fn v5_3_1_3_6__an_empty_client_identifier_is_replaced_by_a_unique_one() {
    let broker = TestBroker::start();
    let clients: Vec<_> = (0..20).map(|_| broker.v5("").connect()).collect();
    let mut ids: Vec<_> = clients.iter().map(assigned).collect();
    ids.sort();
    ids.dedup();
    assert!(ids.len() == 20 && !ids[0].is_empty(), "{ids:?}");
}

#[test]
fn v5_3_1_3_7__the_assigned_client_identifier_is_as_good_as_any() {
    let broker = TestBroker::start();
    let mut client = broker.v5("").durable().connect();
    let id = assigned(&client);
    client.subscribe("a", 0).disconnect();
    let mut again = broker.v5(&id).durable().connect();
    assert!(again.connack.session_present);
    again.publish("a", "x", 0).take("a", "x");
    // the identifier is assigned once, not again
    assert!(
        !again
            .connack
            .props
            .iter()
            .any(|prop| matches!(prop, Property::AssignedClientId(_)))
    );
}

#[test]
fn v5_3_1_3_8__a_refused_client_identifier_ends_the_connection() {
    let broker = TestBroker::start_with(|setup| setup.limits.client_id_bytes_max = 30);
    broker.v5("i".repeat(30)).connect().disconnect();
    broker.v5("i".repeat(31)).refused(0x85);
}

#[test]
fn v5_3_1_3_9__no_will_after_a_return_within_the_delay() {
    let broker = TestBroker::start();
    let mut watcher = broker.v5("w").connect();
    watcher.subscribe("w", 0);
    let connect = broker.v5("c").durable();
    connect.clone().will(will("w", "gone").delay(10)).connect().lose();
    broker.advance(secs(5));
    let mut back = connect.connect();
    broker.advance(secs(20));
    watcher.expect_silence();
    back.disconnect();
    broker.advance(secs(20));
    watcher.expect_silence();
}

#[test]
fn v5_3_1_3_10__user_properties_of_the_will_keep_their_order() {
    let broker = TestBroker::start();
    let mut watcher = broker.v5("w").connect();
    watcher.subscribe("w", 0);
    let pairs = [
        prop::user("b", "1"),
        prop::user("a", "2"),
        prop::user("b", "1"),
        prop::user("", ""),
    ];
    let lost = pairs.iter().cloned().fold(will("w", "gone"), Will::prop);
    broker.v5("c").will(lost).connect().abort();
    assert_eq!(watcher.take("w", "gone").props, pairs);
}

#[test]
fn v5_3_1_3_11__the_will_topic_is_utf8_without_wildcards() {
    let broker = TestBroker::start();
    broker.v5("c").will(will(b"\xff", "x")).invalid(0x81);
    for topic in ["#", "a/+"] {
        broker.v5("c").will(will(topic, "x")).invalid(0x90);
    }
}

#[test]
fn v5_3_1_3_12__the_user_name_is_utf8() {
    let broker = TestBroker::start();
    broker.v5("c").username(b"\xff").invalid(0x81);
    broker.v5("c").username("\u{e4}").connect().disconnect();
}

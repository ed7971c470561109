//! 3.3.1 PUBLISH Fixed Header, 3.3.2.1 Topic Name, 3.3.4 PUBLISH actions.

use std::collections::HashSet;

use crate::prelude::*;

shared_tests! { V5:
    v5_3_3_1_1__dup_is_set_on_redelivery = publish::dup_is_set_on_redelivery;
    v5_3_3_1_2__no_dup_at_qos_0 = publish::dup_at_qos_0;
    v5_3_3_1_3__dup_is_not_passed_on = publish::dup_is_not_passed_on;
    v5_3_3_1_4__qos_3_is_malformed = publish::qos_3;
    v5_3_3_1_5__a_retained_message_is_stored_and_replaced = retain::stored_and_replaced;
    v5_3_3_1_5__qos_0_replaces_too = retain::qos_0_replaces;
    v5_3_3_1_5__a_retained_message_outlives_the_session = retain::outlives_the_session;
    v5_3_3_1_6__an_empty_payload_clears = retain::cleared_by_an_empty_payload;
    v5_3_3_1_7__an_empty_payload_is_not_stored = retain::empty_payload_is_not_stored;
    v5_3_3_1_8__without_the_flag_nothing_is_stored_or_removed = retain::left_alone_without_the_flag;
    v5_3_3_1_9__retained_messages_of_each_matching_topic = retain::last_message_of_each_matching_topic;
    v5_3_3_2_1__the_topic_name_is_the_first_field = publish::topic_name_first;
    v5_3_3_2_2__no_wildcards_in_a_topic_name = publish::topic_name_with_wildcards;
    v5_3_3_2_3__the_topic_name_matches_the_filter = publish::topic_name_matches_the_filter;
    v5_3_3_4_1__the_answer_is_the_one_of_the_qos = publish::answer_by_qos;
    v5_3_3_4_2__overlapping_subscriptions_deliver_at_the_highest_qos = publish::overlapping_subscriptions;
}

/// A broker that retains "kept" under `r`, and a client.
fn retaining() -> (TestBroker, Client) {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    client.retain("r", "kept", 1);
    (broker, client)
}

#[test]
fn v5_3_3_1_9__retain_handling_0_sends_each_time() {
    let (_broker, mut client) = retaining();
    for _ in 0..3 {
        assert!(client.subscribe("r", 1).take("r", "kept").retain);
    }
}

#[test]
fn v5_3_3_1_10__retain_handling_1_sends_only_to_a_new_subscription() {
    let (_broker, mut client) = retaining();
    client.subscribe("r", 1 | RETAIN_IF_NEW).take("r", "kept");
    client.subscribe("r", RETAIN_IF_NEW).expect_silence();
    client
        .unsubscribe("r")
        .subscribe("r", RETAIN_IF_NEW)
        .take("r", "kept");
}

#[test]
fn v5_3_3_1_11__retain_handling_2_sends_none() {
    let (_broker, mut client) = retaining();
    client.subscribe("r", 1 | RETAIN_NEVER).expect_silence();
    client.publish("r", "live", 1).take("r", "live");
}

#[test]
fn v5_3_3_1_12__without_retain_as_published_the_flag_is_cleared() {
    let (_broker, mut client) = retaining();
    client.subscribe("a", 0).retain("a", "x", 0);
    assert!(!client.take("a", "x").retain);
}

#[test]
fn v5_3_3_1_13__with_retain_as_published_the_flag_is_kept() {
    let (_broker, mut client) = retaining();
    client
        .subscribe("a", RETAIN_AS_PUBLISHED)
        .retain("a", "1", 0)
        .publish("a", "0", 0);
    assert!(client.take("a", "1").retain);
    assert!(!client.take("a", "0").retain);
}

/// Returns the Subscription Identifiers of the next PUBLISH, in any order.
fn identifiers(client: &mut Client, topic: &str) -> HashSet<usize> {
    let props = client.take(topic, "x").props;
    let ids: HashSet<_> = props
        .iter()
        .filter_map(|prop| match prop {
            Property::SubscriptionId(id) => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(ids.len(), props.len(), "each once: {props:?}");
    ids
}

fn subscribe_as(client: &mut Client, id: usize, filter: &str, qos: u8) {
    let packet_id = client.id();
    client.suback(
        subscribe(packet_id)
            .prop(prop::subscription_id(id))
            .filter(filter, qos),
    );
}

#[test]
fn v5_3_3_4_3__the_subscription_identifier_is_sent() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    subscribe_as(&mut client, 268_435_455, "a", 0);
    client.subscribe("b", 0).publish("a", "x", 0).publish("b", "x", 0);
    assert_eq!(identifiers(&mut client, "a"), [268_435_455].into());
    assert_eq!(identifiers(&mut client, "b"), [].into());
}

#[test]
fn v5_3_3_4_4__one_copy_carries_all_identifiers() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    subscribe_as(&mut client, 1, "a/#", 0);
    subscribe_as(&mut client, 200, "a/+", 2);
    subscribe_as(&mut client, 3, "b", 1);
    client.subscribe("a/b", 1).publish("a/b", "x", 2);
    assert_eq!(identifiers(&mut client, "a/b"), [1, 200].into());
    client.expect_silence();
}

/// The identifier belongs to the Subscription: a new SUBSCRIBE replaces it, also by none.
#[test]
fn v5_3_3_4_3__the_subscription_identifier_is_replaced() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    subscribe_as(&mut client, 1, "a", 0);
    subscribe_as(&mut client, 2, "a", 0);
    client.publish("a", "x", 0);
    assert_eq!(identifiers(&mut client, "a"), [2].into());
    client.subscribe("a", 0).publish("a", "x", 0);
    assert_eq!(identifiers(&mut client, "a"), [].into());
}

#[test]
fn v5_3_3_4_6__a_client_sends_no_subscription_identifier() {
    let broker = TestBroker::start();
    let packet = publish("a", "x").prop(prop::subscription_id(1));
    broker.v5("c").connect().send(packet).expect_error(0x82);
}

#[test]
fn v5_3_3_4_7__more_than_receive_maximum_is_an_error() {
    let broker = TestBroker::start_with(|setup| setup.limits.receive_maximum = 3);
    let mut client = broker.v5("c").connect();
    assert!(client.connack.props.contains(&prop::receive_maximum(3)));
    for id in 1..=3 {
        client
            .send(publish("a", "x").qos(2, id))
            .expect_some_ack(Kind::Pubrec, id);
    }
    // QoS 0 is not counted, a completed one makes room
    client.publish("a", "x", 0).expect_silence();
    client.send(pubrel(2)).expect_ack(Kind::Pubcomp, 2, 0);
    client
        .send(publish("a", "x").qos(2, 4))
        .expect_some_ack(Kind::Pubrec, 4);
    client.send(publish("a", "x").qos(2, 5)).expect_error(0x93);
}

#[test]
fn v5_3_3_4_9__the_server_keeps_within_receive_maximum() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").prop(prop::receive_maximum(2)).connect();
    client.subscribe("a", 2);
    for number in 0..6 {
        client.publish("a", number.to_string(), 1 + number % 2);
    }
    let mut held = vec![client.expect_publish("a", "0"), client.expect_publish("a", "1")];
    for number in 2..6 {
        client.expect_silence();
        client.acknowledge(&held.remove(0));
        held.push(client.expect_publish("a", number.to_string()));
    }
    client.expect_silence();
}

#[test]
fn v5_3_3_4_10__other_packets_do_not_wait() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").prop(prop::receive_maximum(1)).connect();
    client
        .subscribe("a", 1)
        .publish("a", "1", 1)
        .publish("a", "2", 1)
        .expect_publish("a", "1");
    client.send(subscribe(9).filter("b", 0)).expect_suback(9, &[0]);
    client
        .send(publish("x", "y").qos(2, 9))
        .expect_some_ack(Kind::Pubrec, 9);
    client.send(pubrel(9)).expect_ack(Kind::Pubcomp, 9, 0);
    client.send(unsubscribe(9).filter("b")).expect_unsuback(9, &[0]);
    client.expect_silence();
}

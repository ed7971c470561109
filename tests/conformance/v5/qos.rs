//! 4.3 Quality of Service levels and protocol flows, 4.6 Message ordering.

use plugin_api::{AclVerdict, Denial};

use crate::prelude::*;

shared_tests! { V5:
    v5_4_3_1_1__qos_0_without_dup = qos::qos_0_delivery;
    v5_4_3_2_1__qos_1_takes_free_packet_identifiers = data::server_uses_free_packet_identifiers;
    v5_4_3_2_2__qos_1_without_dup = qos::qos_1_sender;
    v5_4_3_2_3__qos_1_is_kept_until_puback = publish::dup_is_set_on_redelivery;
    v5_4_3_2_4__qos_1_is_answered_by_puback = qos::qos_1_receiver_answers;
    v5_4_3_2_5__after_puback_the_same_identifier_is_a_new_message = qos::qos_1_same_id_is_a_new_message;
    v5_4_3_3_1__qos_2_takes_free_packet_identifiers = data::server_uses_free_packet_identifiers;
    v5_4_3_3_2__qos_2_without_dup = qos::qos_2_sender;
    v5_4_3_3_3__qos_2_is_kept_until_pubrec = publish::dup_is_set_on_redelivery;
    v5_4_3_3_4__pubrel_answers_pubrec = qos::qos_2_sender;
    v5_4_3_3_5__pubrel_is_kept_until_pubcomp = session::resent_in_order;
    v5_4_3_3_6__no_publish_after_pubrel = qos::qos_2_sender;
    v5_4_3_3_8__qos_2_is_answered_by_pubrec = qos::qos_2_receiver_answers;
    v5_4_3_3_10__until_pubrel_the_identifier_is_one_message = qos::qos_2_receiver_delivers_once;
    v5_4_3_3_11__pubcomp_answers_pubrel = qos::qos_2_receiver_answers;
    v5_4_3_3_12__after_pubcomp_the_same_identifier_is_a_new_message = qos::qos_2_same_id_is_a_new_message_after_pubcomp;
    v5_4_6_0_1__resent_in_the_original_order = session::resent_in_order;
    v5_4_6_0_2__puback_in_the_order_of_publish = qos::acknowledged_in_order;
    v5_4_6_0_3__pubrec_in_the_order_of_publish = qos::acknowledged_in_order;
    v5_4_6_0_4__pubrel_in_the_order_of_pubrec = qos::released_in_order;
    v5_4_6_0_5__messages_stay_in_order = qos::ordered;
    v5_4_6_0_6__every_topic_is_ordered = qos::ordered;
}

#[test]
fn v5_4_3_3_7__a_message_that_was_sent_does_not_expire() {
    let broker = TestBroker::start();
    let connect = broker.v5("c").durable();
    let mut client = connect.connect();
    client.subscribe("a", 2);
    for qos in [1, 2] {
        client.publish_packet(publish("a", [qos]).prop(prop::message_expiry(10)), qos);
        client.expect_publish("a", [qos]);
    }
    client.lose();
    broker.advance(secs(20));
    let mut client = connect.connect();
    client.take("a", [1]);
    client.take("a", [2]);
}

#[test]
fn v5_4_3_3_9__after_a_refusing_pubrec_the_identifier_is_free() {
    let broker = TestBroker::start_with(|setup| {
        setup.authorize(|_, _, topic| match topic {
            "secret" => AclVerdict::Deny(Denial::not_authorized()),
            _ => AclVerdict::Allow,
        });
    });
    let mut client = broker.v5("c").connect();
    let mut subscriber = broker.v5("s").connect();
    subscriber.subscribe("open", 0);
    client
        .send(publish("secret", "x").qos(2, 7))
        .expect_ack(Kind::Pubrec, 7, 0x87);
    client
        .send(publish("open", "y").qos(2, 7))
        .expect_ack(Kind::Pubrec, 7, 0);
    client.send(pubrel(7)).expect_ack(Kind::Pubcomp, 7, 0);
    subscriber.take("open", "y");
}

#[test]
fn v5_4_3_3_13__an_expired_message_is_acknowledged_to_the_end() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    client
        .send(publish("a", "x").qos(2, 7).prop(prop::message_expiry(1)))
        .expect_some_ack(Kind::Pubrec, 7);
    broker.advance(secs(10));
    client.send(pubrel(7)).expect_ack(Kind::Pubcomp, 7, 0);
}

//! 4.3 Quality of Service levels and protocol flows, 4.6 Message ordering.

use crate::prelude::*;

shared_tests! { V311:
    v311_4_3_1_1__qos_0_without_dup = qos::qos_0_delivery;
    v311_4_3_2_1__qos_1_sender = qos::qos_1_sender;
    v311_4_3_2_2__qos_1_receiver_answers = qos::qos_1_receiver_answers;
    v311_4_3_2_2__after_puback_the_same_identifier_is_a_new_message = qos::qos_1_same_id_is_a_new_message;
    v311_4_3_3_1__qos_2_sender = qos::qos_2_sender;
    v311_4_3_3_2__qos_2_receiver_answers = qos::qos_2_receiver_answers;
    v311_4_3_3_2__until_pubrel_the_identifier_is_one_message = qos::qos_2_receiver_delivers_once;
    v311_4_3_3_2__after_pubcomp_the_same_identifier_is_a_new_message = qos::qos_2_same_id_is_a_new_message_after_pubcomp;
    v311_4_6_0_1__resent_in_the_original_order = session::resent_in_order;
    v311_4_6_0_2__puback_in_the_order_of_publish = qos::acknowledged_in_order;
    v311_4_6_0_3__pubrec_in_the_order_of_publish = qos::acknowledged_in_order;
    v311_4_6_0_4__pubrel_in_the_order_of_pubrec = qos::released_in_order;
    v311_4_6_0_5__every_topic_is_ordered = qos::ordered;
    v311_4_6_0_6__messages_stay_in_order = qos::ordered;
}

/// What a client may not know an answer to is answered, and harms nothing.
#[test]
fn v311_4_3_3_2__unknown_identifiers_are_answered() {
    let broker = TestBroker::start();
    let mut client = broker.v311("c").connect();
    client.send(pubrel(9)).expect_ack(Kind::Pubcomp, 9, 0);
    client.send(puback(9)).send(pubcomp(9)).expect_silence();
}

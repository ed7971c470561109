//! 3.3 PUBLISH, 3.6 PUBREL.

use plugin_api::{AclVerdict, Denial};

use crate::prelude::*;

shared_tests! { V311:
    v311_3_3_1_1__dup_is_set_on_redelivery = publish::dup_is_set_on_redelivery;
    v311_3_3_1_2__no_dup_at_qos_0 = publish::dup_at_qos_0;
    v311_3_3_1_3__dup_is_not_passed_on = publish::dup_is_not_passed_on;
    v311_3_3_1_4__qos_3_is_refused = publish::qos_3;
    v311_3_3_1_5__a_retained_message_is_stored_and_replaced = retain::stored_and_replaced;
    v311_3_3_1_6__a_new_subscription_gets_the_last_of_each_topic = retain::last_message_of_each_matching_topic;
    v311_3_3_1_7__qos_0_replaces_too = retain::qos_0_replaces;
    v311_3_3_1_8__the_flag_is_set_for_a_new_subscription = retain::flag_is_set_for_a_new_subscription;
    v311_3_3_1_9__the_flag_is_clear_for_an_established_one = retain::flag_is_clear_for_an_established_subscription;
    v311_3_3_1_10__an_empty_payload_clears = retain::cleared_by_an_empty_payload;
    v311_3_3_1_11__an_empty_payload_is_not_stored = retain::empty_payload_is_not_stored;
    v311_3_3_1_12__without_the_flag_nothing_is_stored_or_removed = retain::left_alone_without_the_flag;
    v311_3_3_2_1__the_topic_name_is_the_first_field = publish::topic_name_first;
    v311_3_3_2_2__no_wildcards_in_a_topic_name = publish::topic_name_with_wildcards;
    v311_3_3_2_3__the_topic_name_matches_the_filter = publish::topic_name_matches_the_filter;
    v311_3_3_4_1__the_answer_is_the_one_of_the_qos = publish::answer_by_qos;
    v311_3_3_5_1__overlapping_subscriptions_deliver_at_the_highest_qos = publish::overlapping_subscriptions;
    v311_3_6_1_1__pubrel_flags_are_checked = data::pubrel_flags;
}

/// Of the two ways the standard leaves, ours is to acknowledge and discard.
#[test]
fn v311_3_3_5_2__an_unauthorized_publish_is_acknowledged_and_discarded() {
    let broker = TestBroker::start_with(|setup| {
        setup.authorize(|_, _, topic| match topic {
            "secret" => AclVerdict::Deny(Denial::not_authorized()),
            _ => AclVerdict::Allow,
        });
    });
    let mut subscriber = broker.v311("s").connect();
    subscriber.subscribe("+", 2);
    let mut client = broker.v311("c").connect();
    client
        .publish("secret", "0", 0)
        .publish("secret", "1", 1)
        .publish("secret", "2", 2)
        .publish("open", "x", 2);
    subscriber.take("open", "x");
    subscriber.expect_silence();
}

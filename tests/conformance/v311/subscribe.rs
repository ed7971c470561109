//! 3.8 SUBSCRIBE, 3.9 SUBACK, 3.10 UNSUBSCRIBE, 3.11 UNSUBACK.

use crate::prelude::*;

shared_tests! { V311:
    v311_3_8_1_1__reserved_flags_are_checked = data::subscribe_flags;
    v311_3_8_3_1__topic_filters_are_utf8 = data::ill_formed_topic_filter;
    v311_3_8_3_3__a_subscribe_has_a_topic_filter = subscribe::needs_a_filter;
    v311_3_8_3_4__reserved_bits_and_qos_3_are_refused = subscribe::reserved_options;
    v311_3_8_4_1__suback_answers = subscribe::is_answered;
    v311_3_8_4_2__suback_has_the_packet_identifier = data::suback_and_unsuback_carry_the_packet_identifier;
    v311_3_8_4_3__replacing_resends_retained_and_loses_nothing = subscribe::replacing_resends_retained_and_loses_nothing;
    v311_3_8_4_3__the_same_filter_replaces = subscribe::replaced;
    v311_3_8_4_4__several_filters_are_as_several_packets = subscribe::several_filters_are_as_several_packets;
    v311_3_8_4_5__granted_or_failed = subscribe::granted_or_failed;
    v311_3_8_4_6__the_lower_qos = subscribe::effective_qos;
    v311_3_9_3_1__codes_in_the_order_of_filters = subscribe::a_code_for_each_filter;
    v311_3_10_1_1__reserved_flags_are_checked = data::unsubscribe_flags;
    v311_3_10_3_1__topic_filters_are_utf8 = data::ill_formed_topic_filter_to_unsubscribe;
    v311_3_10_3_2__an_unsubscribe_has_a_topic_filter = subscribe::unsubscribe_needs_a_filter;
    v311_3_10_4_1__filters_are_compared_character_by_character = subscribe::unsubscribed_character_by_character;
    v311_3_10_4_2__nothing_new_is_added = subscribe::unsubscribed_gets_nothing_new;
    v311_3_10_4_3__delivery_that_began_is_completed = subscribe::delivery_that_began_is_completed;
    v311_3_10_4_4__unsuback_answers = subscribe::unsubscribe_is_answered;
    v311_3_10_4_5__also_where_nothing_was_subscribed = subscribe::unsubscribe_is_answered_where_nothing_was;
    v311_3_10_4_6__several_filters_are_as_several_packets = subscribe::several_filters_are_unsubscribed;
}

#[test]
fn v311_3_8_3_2__wildcards_are_refused_where_they_are_not_supported() {
    let broker = TestBroker::start_with(|setup| setup.limits.wildcard_available = false);
    let mut client = broker.v311("c").connect();
    client
        .send(subscribe(1).filter("#", 0).filter("a", 1).filter("a/+", 0))
        .expect_suback(1, &[0x80, 1, 0x80]);
}

/// The parser of these tests knows no other codes than 0, 1, 2 and 0x80.
#[test]
fn v311_3_9_3_2__return_codes_of_suback() {
    let broker = TestBroker::start_with(|setup| setup.limits.subscriptions_max = 3);
    let mut client = broker.v311("c").connect();
    client.send(
        subscribe(1)
            .filter("a", 0)
            .filter("b", 1)
            .filter("c", 2)
            .filter("d", 0),
    );
    client.expect_suback(1, &[0, 1, 2, 0x80]);
}

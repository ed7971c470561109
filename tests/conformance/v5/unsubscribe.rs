//! 3.10 UNSUBSCRIBE, 3.11 UNSUBACK.

use crate::prelude::*;

shared_tests! { V5:
    v5_3_10_1_1__reserved_flags_are_checked = data::unsubscribe_flags;
    v5_3_10_3_1__topic_filters_are_utf8 = data::ill_formed_topic_filter_to_unsubscribe;
    v5_3_10_3_2__an_unsubscribe_has_a_topic_filter = subscribe::unsubscribe_needs_a_filter;
    v5_3_10_4_1__filters_are_compared_character_by_character = subscribe::unsubscribed_character_by_character;
    v5_3_10_4_2__nothing_new_is_added = subscribe::unsubscribed_gets_nothing_new;
    v5_3_10_4_3__delivery_that_began_is_completed = subscribe::delivery_that_began_is_completed;
    v5_3_10_4_4__unsuback_answers = subscribe::unsubscribe_is_answered;
    v5_3_10_4_5__also_where_nothing_was_subscribed = subscribe::unsubscribe_is_answered_where_nothing_was;
    v5_3_10_4_6__several_filters_are_as_several_packets = subscribe::several_filters_are_unsubscribed;
}

/// The clients of these tests refuse what is larger than they said.
#[test]
fn v5_3_11_2_1__unsuback_within_maximum_packet_size() {
    let broker = TestBroker::start();
    for limit in 16..40 {
        let mut client = broker.v5("c").prop(prop::maximum_packet_size(limit)).connect();
        client
            .send(unsubscribe(1).filter("none"))
            .expect_unsuback(1, &[0x11]);
    }
}

#[test]
fn v5_3_11_3_1__codes_in_the_order_of_filters() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    client.subscribe("a", 0).subscribe("$share/g/a", 0);
    client.send(
        unsubscribe(1)
            .filter("x")
            .filter("a")
            .filter("y")
            .filter("$share/g/a")
            .filter("a"),
    );
    client.expect_unsuback(1, &[0x11, 0, 0x11, 0, 0x11]);
}

/// The parser of these tests knows no other codes.
#[test]
fn v5_3_11_3_2__unsubscribe_reason_codes() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    client.send(unsubscribe(1).filter("none").filter("a/#/b"));
    match client.recv() {
        Packet::Suback(unsuback) => {
            assert!(
                unsuback.codes[0] == 0x11 && [0x11, 0x8f].contains(&unsuback.codes[1]),
                "{unsuback:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

//! 4.7 Topic Names and Topic Filters.

use crate::prelude::*;

shared_tests! { V5:
    v5_4_7_0_1__no_wildcards_in_a_topic_name = publish::topic_name_with_wildcards;
    v5_4_7_1_1__the_multi_level_wildcard = topic::multi_level_wildcard;
    v5_4_7_1_2__the_single_level_wildcard = topic::single_level_wildcard;
    v5_4_7_2_1__wildcards_leave_dollar_alone = topic::wildcards_leave_dollar_alone;
    v5_4_7_3_1__topics_have_a_character = topic::empty_topic;
    v5_4_7_3_2__no_null_character = data::null_character;
    v5_4_7_3_3__topics_of_65535_bytes = topic::longest_topic;
    v5_4_7_3_4__topics_are_not_normalized = topic::no_normalization;
}

/// One byte more than a string can hold cannot be written; a level more than the listener allows is refused.
#[test]
fn v5_4_7_3_3__more_levels_than_allowed_are_refused() {
    let broker = TestBroker::start_with(|setup| setup.limits.topic_levels_max = 3);
    let mut client = broker.v5("c").connect();
    client
        .send(subscribe(1).filter("a/b/c", 0).filter("a/b/c/d", 0))
        .expect_suback(1, &[0, 0x8f]);
    client.publish("a/b/c", "x", 0).take("a/b/c", "x");
    client
        .send(publish("a/b/c/d", "x").qos(1, 1))
        .expect_ack(Kind::Puback, 1, 0x90);
}

//! 4.7 Topic Names and Topic Filters.

use crate::prelude::*;

shared_tests! { V311:
    v311_4_7_1_1__no_wildcards_in_a_topic_name = publish::topic_name_with_wildcards;
    v311_4_7_1_2__the_multi_level_wildcard = topic::multi_level_wildcard;
    v311_4_7_1_3__the_single_level_wildcard = topic::single_level_wildcard;
    v311_4_7_2_1__wildcards_leave_dollar_alone = topic::wildcards_leave_dollar_alone;
    v311_4_7_3_1__topics_have_a_character = topic::empty_topic;
    v311_4_7_3_2__no_null_character = data::null_character;
    v311_4_7_3_3__topics_of_65535_bytes = topic::longest_topic;
    v311_4_7_3_4__topics_are_not_normalized = topic::no_normalization;
}

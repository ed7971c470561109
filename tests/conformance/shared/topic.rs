//! Section 4.7, Topic Names and Topic Filters.

use crate::prelude::*;

/// Subscribes to `filter`, publishes to all topics and expects exactly those that match, in order.
fn matches(version: Version, filter: &str, yes: &[&str], no: &[&str]) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe(filter, 0);
    for topic in no.iter().chain(yes) {
        client.publish(topic, *topic, 0);
    }
    for topic in yes {
        client.take(topic, *topic);
    }
    client.expect_silence();
}

/// Each of these filters is refused in SUBACK. 3.1.1 leaves the choice between that and closing.
pub(crate) fn refused(version: Version, filters: &[&str]) {
    let broker = TestBroker::start();
    for filter in filters {
        let mut client = broker.client(version, "c").connect();
        client.send(subscribe(1).filter(filter, 0));
        match client.next_packet() {
            Some(Packet::Suback(suback)) => {
                assert_eq!(
                    suback.codes,
                    [if version.is_v5() { 0x8f } else { 0x80 }],
                    "of {filter}"
                );
            }
            other => assert!(other.is_none() && !version.is_v5(), "{filter}: {other:?}"),
        }
    }
}

pub(crate) fn multi_level_wildcard(version: Version) {
    matches(
        version,
        "a/#",
        &["a", "a/b", "a/b/c", "a/", "a//"],
        &["b", "ab", "/a"],
    );
    matches(version, "#", &["a", "a/b", "/"], &[]);
    refused(version, &["a#", "a/#/b", "#/", "##", "a/b#", "a/#b"]);
}

pub(crate) fn single_level_wildcard(version: Version) {
    matches(version, "+", &["a", "b"], &["/a", "a/b", "/", "a/"]);
    matches(version, "/+", &["/a", "/"], &["a", "/a/b"]);
    matches(version, "+/+", &["/a", "a/b", "/", "a/"], &["a", "a/b/c"]);
    matches(version, "a/+/c", &["a/b/c", "a//c"], &["a/c", "a/b/d/c"]);
    matches(version, "+/b/#", &["a/b", "a/b/c", "/b/c/d"], &["b", "a/c/b"]);
    refused(version, &["a+", "+a", "a/+b/c", "++", "a/b+/c"]);
}

pub(crate) fn wildcards_leave_dollar_alone(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.subscribe("#", 0).subscribe("+/x", 0).subscribe("+/+", 0);
    client
        .retain("$house/x", "hidden", 0)
        .publish("$house/x", "hidden", 0)
        .publish("a/$x", "seen", 0);
    client.take("a/$x", "seen");
    client.expect_silence();
    // nor does a Retained Message come for a wildcard that is new
    let mut late = broker.client(version, "late").connect();
    late.subscribe("#", 0)
        .subscribe("+/x", 0)
        .subscribe("+/#", 0)
        .expect_silence();
    client.subscribe("$house/#", 0).take("$house/x", "hidden");
    client.subscribe("$house/+", 0).take("$house/x", "hidden");
    client.publish("$house/x", "seen", 0).take("$house/x", "seen");
}

pub(crate) fn empty_topic(version: Version) {
    let broker = TestBroker::start();
    // a Topic Name that is empty has no Topic Alias either
    broker
        .client(version, "c")
        .connect()
        .send(publish("", "x"))
        .expect_error(0x82);
    refused(version, &[""]);
}

pub(crate) fn longest_topic(version: Version) {
    let broker = TestBroker::start_with(|setup| setup.limits.topic_levels_max = usize::MAX);
    let mut client = broker.client(version, "c").connect();
    for level in ["t", "t/", "/"] {
        let topic: String = level.chars().cycle().take(65_535).collect();
        client
            .subscribe(&topic, 1)
            .publish(&topic, "x", 1)
            .take(&topic, "x");
    }
}

pub(crate) fn no_normalization(version: Version) {
    matches(
        version,
        "a/b",
        &["a/b"],
        &["A/b", "a/B", "a/b/", "/a/b", "a//b", " a/b", "a/b ", "a/./b"],
    );
    // composed and decomposed, zero width, upside down
    matches(
        version,
        "\u{e4}",
        &["\u{e4}"],
        &["a\u{308}", "\u{e4}\u{200b}", "\u{c4}"],
    );
    matches(version, "+/\u{10348}", &["x/\u{10348}"], &["x/\u{fffd}"]);
}

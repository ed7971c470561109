//! Verdicts about subscriptions: authorize, subscribe, unsubscribe.

use jackfield_tests::harness::TestBroker;
use jackfield_tests::wire::{prop, subscribe, unsubscribe};
use plugin_api::{
    AclVerdict, Action, SubscribeFlow,
    types::{QoS, SubscriptionFilter},
};

use crate::plugin::{DENIED, Made, denial, unsubscribes};
use crate::{VERSIONS, told};

fn filter(text: &str) -> SubscriptionFilter {
    SubscriptionFilter::parse(text).expect("a Topic Filter")
}

#[test]
fn each_filter_has_its_own_answer() {
    let broker = TestBroker::start_with(|setup| {
        setup.authorize(|_, action, topic| match (action, topic) {
            (Action::Subscribe, "forbidden") => AclVerdict::Deny(denial()),
            (Action::Subscribe, "one") => AclVerdict::AllowMaxQos(QoS::AtLeastOnce),
            _ => AclVerdict::Allow,
        });
        setup.chain(|chain| {
            chain.on_subscribe(|_, edit| match edit.filter.to_string().as_str() {
                "rejected" => SubscribeFlow::Reject(denial()),
                "lower" => {
                    edit.max_qos = QoS::AtMostOnce;
                    SubscribeFlow::Stop
                }
                _ => SubscribeFlow::Continue,
            })
        });
    });
    for version in VERSIONS {
        let mut client = broker.client(version, "a").connect();
        let all = ["plain", "forbidden", "one", "rejected", "lower"];
        client.send(
            all.iter()
                .fold(subscribe(7), |packet, filter| packet.filter(filter, 2)),
        );
        let denied = told(version, DENIED, 0x80);
        client.expect_suback(7, &[2, denied, 1, denied, 0]);
        for (topic, granted) in [
            ("plain", true),
            ("forbidden", false),
            ("rejected", false),
            ("lower", true),
        ] {
            client.publish(topic, topic, 1);
            assert_eq!(client.pending().len(), usize::from(granted), "{topic}");
        }
    }
}

/// The client sees its own filter, the broker another; UNSUBSCRIBE finds it by the name the client used.
#[test]
fn a_rewritten_filter_is_given_up_by_its_old_name() {
    let broker = TestBroker::start_with(|setup| {
        setup.chain(|chain| {
            chain.on_subscribe(|_, edit| {
                if edit.filter.to_string() == "mine" {
                    edit.filter = filter("theirs");
                }
                SubscribeFlow::Continue
            })
        });
    });
    for version in VERSIONS {
        let mut client = broker.client(version, "a").connect();
        client.subscribe("mine", 1).publish("theirs", "x", 1);
        assert_eq!(client.pending(), ["x"]);
        client.unsubscribe("mine").publish("theirs", "y", 1);
        client.expect_silence();
    }
}

#[test]
fn unsubscribe_maps_a_filter_that_the_session_does_not_know() {
    let broker = TestBroker::start_with(|setup| {
        setup.chain(|chain| {
            chain.plugin(Made(unsubscribes(|edit| {
                if edit.requested.to_string() == "alias" {
                    edit.filter = filter("real");
                }
                Ok(())
            })))
        });
    });
    let mut client = broker.v5("a").connect();
    client.subscribe("real", 1);
    client.send(unsubscribe(9).filter("alias").filter("nothing"));
    client.expect_unsuback(9, &[0x00, 0x11]);
    client.publish("real", "x", 1).expect_silence();
}

/// A denied filter is refused in one SUBACK that says why.
#[test]
fn words_of_a_refusal_are_in_the_suback() {
    let broker = TestBroker::start_with(|setup| {
        setup.chain(|chain| chain.on_subscribe(|_, _| SubscribeFlow::Reject(denial())));
    });
    let mut client = broker.v5("a").connect();
    client.send(subscribe(1).filter("t", 0));
    let suback = client.expect_suback(1, &[DENIED]);
    assert!(
        suback.props.is_empty() || suback.props == [prop::reason_string(crate::plugin::WHY)],
        "{suback:?}"
    );
}

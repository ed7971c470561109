//! What becomes of messages on their way out: deliver, retain, will.

use std::time::Duration;

use jackfield_tests::harness::TestBroker;
use jackfield_tests::wire::{RETAIN_AS_PUBLISHED, will};
use plugin_api::{
    DeliverFlow, Flow, RetainVerdict, WillFlow,
    types::{QoS, Source},
};

use crate::VERSIONS;
use crate::plugin::{Made, fires, topic};

#[test]
fn deliver_changes_what_each_subscriber_gets() {
    let broker = TestBroker::start_with(|setup| {
        setup.chain(|chain| {
            chain
                .on_deliver("t/#", |_, message| match message.topic().as_str() {
                    "t/drop" => DeliverFlow::Drop,
                    _ => {
                        let marked = [message.payload(), b"1"].concat();
                        message.set_payload(marked);
                        DeliverFlow::Continue
                    }
                })
                // asked first: out of the chain the way is from its end to its beginning
                .on_deliver("t/#", |_, message| match message.topic().as_str() {
                    "t/changed" => {
                        message.set_topic(topic("t/other"));
                        message.lower_qos(QoS::AtMostOnce);
                        DeliverFlow::Continue
                    }
                    "t/stop" => DeliverFlow::Stop,
                    _ => {
                        let marked = [message.payload(), b"2"].concat();
                        message.set_payload(marked);
                        DeliverFlow::Continue
                    }
                })
        });
    });
    for version in VERSIONS {
        let mut publisher = broker.v5("publisher").connect();
        let mut subscriber = broker.client(version, "subscriber").connect();
        subscriber.subscribe("t/#", 2);
        publisher.publish("t/plain", "x", 1);
        assert_eq!(subscriber.take("t/plain", "x21").qos, 1);
        publisher.publish("t/changed", "x", 1);
        assert_eq!(subscriber.take("t/other", "x1").qos, 0);
        publisher.publish("t/stop", "x", 2);
        subscriber.take("t/stop", "x");
        publisher.publish("t/drop", "x", 1);
        subscriber.expect_silence();
        publisher.retain("t/kept", "x", 1);
        subscriber.take("t/kept", "x21");
        // what is retained is the original
        let mut late = broker.client(version, "late").connect();
        late.subscribe("t/kept", 1);
        late.take("t/kept", "x21");
        publisher.retain("t/kept", "", 1);
        subscriber.expect_any_publish();
    }
}

/// A queue holds the original: what was published while the subscriber was away is changed once, when it comes back.
#[test]
fn deliver_sees_what_was_queued_when_it_leaves() {
    let broker = TestBroker::start_with(|setup| {
        setup.chain(|chain| {
            chain.on_deliver("t", |_, message| {
                let marked = [message.payload(), b"!"].concat();
                message.set_payload(marked);
                DeliverFlow::Continue
            })
        });
    });
    for version in VERSIONS {
        let mut subscriber = broker.client(version, "s").durable().connect();
        subscriber.subscribe("t", 1).disconnect();
        broker.v5("p").connect().publish("t", "x", 1);
        let mut subscriber = broker.client(version, "s").durable().connect();
        subscriber.take("t", "x!");
        subscriber.expect_silence().unsubscribe("t").disconnect();
    }
}

#[test]
fn retain_keeps_passes_on_or_keeps_for_a_while() {
    let broker = TestBroker::start_with(|setup| {
        setup.chain(|chain| {
            chain.on_retain(|message| match message.topic.as_str() {
                "pass" => RetainVerdict::Pass,
                "while" => RetainVerdict::StoreFor(Duration::from_secs(60)),
                _ => RetainVerdict::Store,
            })
        });
    });
    let mut client = broker.v5("a").connect();
    client.subscribe("+", 1 | RETAIN_AS_PUBLISHED);
    for name in ["pass", "while", "store"] {
        client.retain(name, name, 1);
        assert_eq!(client.pending(), [name], "who is there gets it");
    }
    let kept = |names: &[&str]| {
        let mut late = broker.v5("late").connect();
        late.subscribe("+", 0).sync();
        let mut found = late.pending();
        found.sort();
        assert_eq!(found, names);
    };
    kept(&["store", "while"]);
    broker.advance(Duration::from_secs(61));
    kept(&["store"]);
}

/// A Will Message passes will, then authorize and publish, for whoever left it.
#[test]
fn a_will_passes_its_hook_and_then_the_publish_chain() {
    let broker = TestBroker::start_with(|setup| {
        setup.chain(|chain| {
            chain
                .plugin(Made(fires(|cx, message| {
                    let signed = format!(
                        "{} of {}",
                        String::from_utf8_lossy(message.payload()),
                        cx.client.id
                    );
                    message.set_payload(signed);
                    Ok(match message.topic().as_str() {
                        "w/drop" => WillFlow::Drop,
                        _ => WillFlow::Continue,
                    })
                })))
                .on_publish("w/#", |_, message| {
                    assert_eq!(message.source(), Source::Will);
                    let marked = [message.payload(), b"+"].concat();
                    message.set_payload(marked);
                    Flow::Continue
                })
        });
    });
    for version in VERSIONS {
        let mut watcher = broker.client(version, "watcher").connect();
        watcher.subscribe("w/#", 2);
        for name in ["w/drop", "w/plain"] {
            broker
                .client(version, "dying")
                .will(will(name, "end").qos(1))
                .connect()
                .lose();
        }
        watcher.take("w/plain", "end of dying+");
        watcher.expect_silence();
    }
}

//! The right to receive is asked when a message goes to a client, wherever it comes from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jackfield_tests::harness::TestBroker;
use jackfield_tests::wire::will;
use plugin_api::{AclVerdict, Action, Denial};

use crate::VERSIONS;

/// A broker in which the client called `blind` receives nothing under `secret`.
fn broker() -> TestBroker {
    TestBroker::start_with(|setup| {
        setup.authorize_receive(|client, action, topic| match action {
            Action::Receive if client == "blind" && topic.starts_with("secret") => {
                AclVerdict::Deny(Denial::not_authorized())
            }
            _ => AclVerdict::Allow,
        });
    })
}

#[test]
fn a_live_message() {
    let broker = broker();
    for version in VERSIONS {
        let mut blind = broker.client(version, "blind").connect();
        let mut seeing = broker.client(version, "seeing").connect();
        blind.subscribe("#", 2);
        seeing.subscribe("#", 2);
        for qos in 0..3 {
            broker
                .v5("p")
                .connect()
                .publish("secret/x", "x", qos)
                .publish("plain", "y", qos);
            seeing.take("secret/x", "x");
            seeing.take("plain", "y");
            blind.take("plain", "y");
        }
        blind.expect_silence();
    }
}

#[test]
fn a_queued_message() {
    let broker = broker();
    for version in VERSIONS {
        let mut blind = broker.client(version, "blind").durable().connect();
        blind.subscribe("#", 2).disconnect();
        let mut publisher = broker.v5("p").connect();
        for qos in 1..3 {
            publisher.publish("secret/x", "x", qos).publish("plain", "y", qos);
        }
        let mut blind = broker.client(version, "blind").durable().connect();
        assert!(blind.connack.session_present);
        blind.take("plain", "y");
        blind.take("plain", "y");
        blind.expect_silence().unsubscribe("#").disconnect();
    }
}

#[test]
fn a_retained_message() {
    let broker = broker();
    let mut publisher = broker.v5("p").connect();
    publisher.retain("secret/x", "x", 1).retain("plain", "y", 1);
    for version in VERSIONS {
        let mut blind = broker.client(version, "blind").connect();
        blind.subscribe("#", 1).sync();
        assert_eq!(blind.pending(), ["y"]);
    }
}

#[test]
fn a_will_message() {
    let broker = broker();
    for version in VERSIONS {
        let mut blind = broker.client(version, "blind").connect();
        let mut seeing = broker.v5("seeing").connect();
        blind.subscribe("#", 1);
        seeing.subscribe("#", 1);
        broker
            .client(version, "dying")
            .will(will("secret/x", "x").qos(1))
            .connect()
            .lose();
        seeing.take("secret/x", "x");
        blind.expect_silence();
    }
}

#[test]
fn a_message_of_a_shared_subscription() {
    let broker = broker();
    for version in VERSIONS {
        let mut blind = broker.client(version, "blind").connect();
        blind.subscribe("$share/g/secret/#", 1);
        let mut publisher = broker.v5("p").connect();
        publisher.publish("secret/x", "x", 1);
        blind.expect_silence();
    }
}

/// A right that ends is missed by the next message, queued ones too: nothing is remembered that was not to be.
#[test]
fn a_right_that_was_taken_away() {
    let may = Arc::new(AtomicBool::new(true));
    let asked = may.clone();
    let broker = TestBroker::start_with(move |setup| {
        setup.authorize_receive(move |_, action, _| match action {
            Action::Receive if !asked.load(Ordering::SeqCst) => AclVerdict::Deny(Denial::not_authorized()),
            _ => AclVerdict::Allow,
        });
    });
    let mut subscriber = broker.v5("s").durable().connect();
    subscriber.subscribe("t", 1);
    let mut publisher = broker.v5("p").connect();
    publisher.publish("t", "1", 1);
    subscriber.take("t", "1");
    subscriber.disconnect();
    publisher.publish("t", "2", 1);
    may.store(false, Ordering::SeqCst);
    let mut subscriber = broker.v5("s").durable().connect();
    subscriber.expect_silence();
    publisher.publish("t", "3", 1);
    subscriber.expect_silence();
    may.store(true, Ordering::SeqCst);
    publisher.publish("t", "4", 1);
    subscriber.take("t", "4");
}

//! Rights that are checked when publishing and forgotten when delivering: retained, queued, shared; revoked; and client
//! identifiers that are patterns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plugin_acl_file::AclFile;
use plugin_api::{AclVerdict, Action, Denial};

use crate::prelude::*;

/// A broker on which only `chief` may receive what is under `secret`, while everybody may subscribe to anything.
fn secretive() -> TestBroker {
    TestBroker::start_with(|setup| {
        setup.authorize_receive(|client, action, topic| match action {
            Action::Receive if topic.starts_with("secret/") && client != "chief" => {
                AclVerdict::Deny(Denial::not_authorized())
            }
            _ => AclVerdict::Allow,
        });
    })
}

#[test]
fn a_live_message_is_checked_at_delivery() {
    let broker = secretive();
    let [mut chief, mut other] = ["chief", "other"].map(|id| broker.v5(id).connect());
    for client in [&mut chief, &mut other] {
        client.subscribe("#", 1);
    }
    broker
        .v5("p")
        .connect()
        .publish("secret/a", "s", 1)
        .publish("open", "o", 1);
    chief.take("secret/a", "s");
    chief.take("open", "o");
    other.take("open", "o");
    other.expect_silence();
}

#[test]
fn a_retained_message_is_checked_at_delivery() {
    let broker = secretive();
    broker
        .v5("p")
        .connect()
        .retain("secret/a", "s", 1)
        .retain("open", "o", 1);
    let mut other = broker.v5("other").connect();
    other.subscribe("#", 1).take("open", "o");
    other.expect_silence();
    let mut chief = broker.v5("chief").connect();
    chief.subscribe("secret/#", 1).take("secret/a", "s");
}

#[test]
fn a_queued_message_is_checked_at_delivery() {
    let broker = secretive();
    let connect = broker.v5("other").durable();
    connect.connect().subscribe("#", 1).disconnect();
    broker
        .v5("p")
        .connect()
        .publish("secret/a", "s", 1)
        .publish("open", "o", 1);
    let mut other = connect.connect();
    other.take("open", "o");
    other.expect_silence();
}

#[test]
fn a_shared_message_is_checked_at_delivery() {
    let broker = secretive();
    let mut other = broker.v5("other").connect();
    other.subscribe("$share/g/#", 1);
    broker
        .v5("p")
        .connect()
        .publish("secret/a", "s", 1)
        .publish("open", "o", 1);
    other.take("open", "o");
    other.expect_silence();
}

/// A right that ends while a message waits: the message is not sent.
#[test]
fn a_revoked_right_holds_for_what_waits() {
    let allowed = Arc::new(AtomicBool::new(true));
    let right = allowed.clone();
    let broker = TestBroker::start_with(|setup| {
        setup.authorize_receive(move |_, action, topic| {
            match action == Action::Receive && topic == "a" && !right.load(Ordering::SeqCst) {
                true => AclVerdict::Deny(Denial::not_authorized()),
                false => AclVerdict::Allow,
            }
        });
    });
    let connect = broker.v5("c").durable();
    connect.connect().subscribe("#", 1).disconnect();
    let mut publisher = broker.v5("p").connect();
    publisher.publish("a", "before", 1).publish("b", "x", 1);
    allowed.store(false, Ordering::SeqCst);
    let mut client = connect.connect();
    client.take("b", "x");
    publisher.publish("a", "after", 1);
    client.expect_silence();
}

/// A Will Message and a Retained Message of somebody without the right go nowhere.
#[test]
fn a_will_is_checked_when_it_fires() {
    let broker = TestBroker::start_with(|setup| {
        setup.authorize(|client, action, topic| match (client, action, topic) {
            ("weak", Action::Publish, "w") => AclVerdict::Deny(Denial::not_authorized()),
            _ => AclVerdict::Allow,
        });
    });
    let mut watcher = broker.v5("watcher").connect();
    watcher.subscribe("w", 0);
    broker
        .v5("weak")
        .will(will("w", "gone").retain())
        .connect()
        .lose();
    broker.v5("weak").connect().disconnect();
    watcher.expect_silence();
    broker.v5("strong").will(will("w", "gone")).connect().abort();
    watcher.take("w", "gone");
}

/// `%c` in a rule stands for the Client Identifier as it is: one that looks like a pattern opens nothing.
#[test]
fn a_client_identifier_that_is_a_pattern() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("acl.toml");
    let rules =
        "default = \"deny\"\n[[rules]]\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"home/%c/#\"]\n";
    std::fs::write(&file, rules).expect("the rules can be written");
    let acl = AclFile::open(&file).expect("the rules are right");
    let broker = TestBroker::start_with(|setup| setup.chain(|chain| chain.plugin(acl)));
    let mut victim = broker.v5("victim").connect();
    victim.subscribe("home/victim/#", 1);
    for id in ["+", "#", "+/+", "victim/..", "victim/#", "/", ""] {
        let mut thief = broker.v5(id).connect();
        for filter in ["home/victim/#", "home/+/#", "home/#", "#"] {
            thief
                .send(subscribe(1).filter(filter, 1))
                .expect_suback(1, &[0x87]);
        }
        thief
            .send(publish("home/victim/x", "forged").qos(1, 1))
            .expect_ack(Kind::Puback, 1, 0x87);
    }
    victim
        .publish("home/victim/x", "own", 1)
        .take("home/victim/x", "own");
    victim.expect_silence();
}

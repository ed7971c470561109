//! Requests under `$CONTROL`: answered by their owner, to the asker alone.

use jackfield_tests::harness::TestBroker;
use jackfield_tests::wire::{Client, Kind, Packet, publish};
use plugin_api::{Fault, types::ReasonCode};

use crate::plugin::{Made, controls};
use crate::{VERSIONS, told};

fn broker() -> TestBroker {
    TestBroker::start_with(|setup| {
        setup.chain(|chain| {
            chain.plugin(Made(controls("echo", |request| match request.payload {
                b"refuse" => Ok(Err(ReasonCode::QuotaExceeded)),
                b"fail" => Err(Fault::backend("the database is down")),
                b"nothing" => Ok(Ok(Vec::new())),
                payload => Ok(Ok([request.topic.as_str().as_bytes(), b": ", payload].concat())),
            })))
        });
    })
}

/// The two packets that answer a request, in whatever order they come.
#[track_caller]
fn answered(client: &mut Client, topic: &str, payload: &str) {
    let both = [client.recv(), client.recv()];
    let acked = |packet: &Packet| matches!(packet, Packet::Ack(acked) if acked.kind == Kind::Puback && acked.code == 0);
    let reply = |packet: &Packet| matches!(packet, Packet::Publish(got) if got.topic == topic && got.payload == payload.as_bytes());
    assert!(both.iter().any(acked) && both.iter().any(reply), "{both:?}");
}

#[test]
fn the_asker_gets_the_reply_and_nobody_else() {
    let broker = broker();
    for version in VERSIONS {
        let mut watcher = broker.v5("watcher").connect();
        watcher.subscribe("#", 1).subscribe("$CONTROL/#", 1);
        let mut asker = broker.client(version, "asker").connect();
        asker.send(publish("$CONTROL/echo/v1", "hello").qos(1, 1));
        answered(&mut asker, "$CONTROL/echo/v1/response", "$CONTROL/echo/v1: hello");
        asker.send(publish("$CONTROL/echo/v1", "nothing").qos(1, 2));
        asker.expect_ack(Kind::Puback, 2, 0);
        asker.expect_silence();
        watcher.expect_silence();
    }
}

#[test]
fn a_refused_request_says_why() {
    let broker = broker();
    for version in VERSIONS {
        let mut asker = broker.client(version, "asker").connect();
        asker.send(publish("$CONTROL/echo/v1", "refuse").qos(1, 1));
        asker.expect_ack(Kind::Puback, 1, told(version, 0x97, 0));
        asker.send(publish("$CONTROL/nobody/v1", "hello").qos(1, 2));
        asker.expect_ack(Kind::Puback, 2, told(version, 0x87, 0));
        asker.expect_silence();
    }
}

#[test]
fn a_failed_request_is_no_success() {
    let broker = broker();
    for version in VERSIONS {
        let mut asker = broker.client(version, "asker").connect();
        asker.send(publish("$CONTROL/echo/v1", "fail").qos(1, 1));
        if version.is_v5() {
            asker.expect_ack(Kind::Puback, 1, 0x83);
        } else {
            asker.expect_closed();
        }
    }
}

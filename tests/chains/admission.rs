//! Verdicts before and at CONNECT: accept, connect, authenticate.

use std::time::{Duration, Instant};

use jackfield_tests::harness::TestBroker;
use jackfield_tests::wire::{Connect, Packet, Version, prop};
use plugin_api::{AcceptVerdict, AuthVerdict, ConnectFlow, Denial, Grant, types::ReasonCode};

use crate::plugin::{DENIED, WHY, denial};
use crate::{VERSIONS, told};

#[test]
fn accept_drops_without_a_word() {
    let broker = TestBroker::start_with(|setup| setup.chain(|c| c.on_accept(|_| AcceptVerdict::Drop)));
    for version in VERSIONS {
        broker.client(version, "a").closed();
    }
}

#[test]
fn accept_delays_and_goes_on() {
    let delay = Duration::from_millis(200);
    let broker = TestBroker::start_with(|setup| {
        setup.chain(|c| c.on_accept(move |_| AcceptVerdict::Delay(delay)));
        setup.listener("open", |_| {});
    });
    let begin = Instant::now();
    let mut late = broker.v5("late").sent();
    // whoever waits holds up nobody
    Connect::new(broker.addr_of("open"), Version::V5, "other")
        .connect()
        .publish("t", "x", 1);
    late.expect_accepted();
    assert!(begin.elapsed() >= delay);
}

#[test]
fn connect_refuses_with_its_reason() {
    let broker = TestBroker::start_with(|setup| setup.on_connect(|_| ConnectFlow::Reject(denial())));
    let mut client = broker.v5("a").sent();
    let Packet::Connack(connack) = client.recv() else {
        panic!("no CONNACK");
    };
    assert_eq!(connack.code, DENIED);
    assert_eq!(connack.props, [prop::reason_string(WHY)]);
    client.expect_closed();
    broker.v311("a").refused(3);
}

#[test]
fn connect_changes_what_the_client_is_told() {
    let broker = TestBroker::start_with(|setup| {
        setup.on_connect(|edit| {
            edit.keep_alive_cap = Some(7);
            edit.session_expiry_cap = Some(Duration::from_secs(60));
            edit.user_properties.push(("site".into(), "north".into()));
            ConnectFlow::Continue
        });
    });
    let client = broker
        .v5("a")
        .keep_alive(100)
        .prop(prop::session_expiry(3600))
        .connect();
    for told in [
        prop::server_keep_alive(7),
        prop::session_expiry(60),
        prop::user("site", "north"),
    ] {
        assert!(
            client.connack.props.contains(&told),
            "{told:?} in {:?}",
            client.connack
        );
    }
}

#[test]
fn connect_stop_keeps_its_edits_and_asks_nobody_else() {
    let broker = TestBroker::start_with(|setup| {
        setup.on_connect(|edit| {
            edit.user_properties.push(("first".into(), "1".into()));
            ConnectFlow::Stop
        });
        setup.on_connect(|_| ConnectFlow::Reject(Denial::not_authorized()));
    });
    let client = broker.v5("a").connect();
    assert!(client.connack.props.contains(&prop::user("first", "1")));
}

#[test]
fn authenticate_answers_each_as_its_version_can() {
    let broker = TestBroker::start_with(|setup| {
        setup.authenticate(|client| match client.username {
            Some("skip") | None => AuthVerdict::Skip,
            Some("bad") => AuthVerdict::bad_credentials(),
            Some("banned") => AuthVerdict::Deny(Denial::new(ReasonCode::Banned)),
            Some("denied") => AuthVerdict::Deny(denial()),
            Some(_) => AuthVerdict::allow(),
        });
        setup.authenticate(|client| match client.username {
            Some("skip") => AuthVerdict::Skip,
            Some("denied" | "bad" | "banned") => AuthVerdict::allow(),
            _ => AuthVerdict::Skip,
        });
    });
    for version in VERSIONS {
        let client = |name: &str| broker.client(version, name).username(name);
        drop(client("anna").connect());
        client("bad").refused(told(version, 0x86, 4));
        client("banned").refused(told(version, 0x8a, 5));
        client("denied").refused(told(version, DENIED, 3));
        // nobody knows this one, and it showed credentials
        client("skip").refused(told(version, 0x87, 5));
        // nobody knows this one either, and the listener lets the nameless in
        drop(broker.client(version, "nameless").connect());
    }
}

#[test]
fn a_grant_assigns_an_identifier() {
    let broker = TestBroker::start_with(|setup| {
        setup.authenticate(|_| {
            AuthVerdict::Allow(Box::new(Grant {
                client_id: Some("given".into()),
                ..Grant::default()
            }))
        });
    });
    let client = broker.v5("wanted").connect();
    assert!(
        client.connack.props.contains(&prop::assigned_client_id("given")),
        "{:?}",
        client.connack
    );
    assert!(broker.handle().client("given").is_some());
    assert!(broker.handle().client("wanted").is_none());
}

#[test]
fn a_grant_that_ends_ends_the_connection() {
    let broker = TestBroker::start_with(|setup| {
        setup.authenticate(|_| {
            AuthVerdict::Allow(Box::new(Grant {
                expires_in: Some(Duration::from_millis(50)),
                ..Grant::default()
            }))
        });
    });
    for version in VERSIONS {
        broker.client(version, "a").connect().expect_error(0xa0);
    }
}

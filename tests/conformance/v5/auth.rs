//! 3.15 AUTH, 4.12 Enhanced authentication. The method `riddle`: a challenge, and an answer that says it backwards.

use plugin_api::{AuthVerdict, Denial, ExchangePhase, ExchangeVerdict, Grant};

use crate::prelude::*;

fn riddling() -> TestBroker {
    TestBroker::start_with(|setup| {
        setup.authenticate(|_| AuthVerdict::allow());
        setup.exchange("riddle", |request| match (request.phase, request.data) {
            (ExchangePhase::Start | ExchangePhase::ReAuthenticate, _) => {
                ExchangeVerdict::Challenge(b"abc".to_vec())
            }
            (_, Some(b"cba")) => ExchangeVerdict::Success {
                grant: Box::new(Grant::default()),
                data: Some(b"welcome".to_vec()),
            },
            _ => ExchangeVerdict::Deny(Denial::not_authorized()),
        });
    })
}

fn method() -> Property {
    prop::auth_method("riddle")
}

/// An AUTH that answers a challenge.
fn answer(data: &[u8]) -> Auth {
    auth(0x18).prop(method()).prop(prop::auth_data(data))
}

/// Expects the challenge.
fn expect_challenge(client: &mut Client) {
    match client.recv() {
        Packet::Auth(challenge) => {
            assert_eq!(challenge.code, 0x18);
            assert_eq!(challenge.props, [method(), prop::auth_data(b"abc")]);
        }
        other => panic!("expected AUTH, got {other:?}"),
    }
}

/// Connects with the method and answers rightly.
fn authenticated(broker: &TestBroker) -> Client {
    let mut client = broker.v5("c").prop(method()).sent();
    expect_challenge(&mut client);
    client.send(answer(b"cba")).expect_accepted();
    client
}

#[test]
fn v5_3_15_1_1__reserved_flags_are_checked() {
    let broker = riddling();
    for flags in 1..16 {
        let frame = auth(0x19).prop(method()).frame(V5).first(0xf0 | flags);
        authenticated(&broker).send(frame).expect_error(0x81);
    }
}

#[test]
fn v5_3_15_2_1__authenticate_reason_codes() {
    let broker = riddling();
    for code in [0x01, 0x80, 0xff] {
        authenticated(&broker).send(auth(code).prop(method())).drain();
    }
    // success is the server's to say
    authenticated(&broker).send(auth(0x00).prop(method())).drain();
    authenticated(&broker).expect_silence();
}

#[test]
fn v5_3_15_2_2__auth_within_maximum_packet_size() {
    let broker = riddling();
    let mut client = broker
        .v5("c")
        .prop(method())
        .prop(prop::maximum_packet_size(64))
        .sent();
    expect_challenge(&mut client);
}

#[test]
fn v5_4_12_0_1__an_unknown_method_is_refused() {
    riddling()
        .v5("c")
        .prop(prop::auth_method("unknown"))
        .refused(0x8c);
    TestBroker::start().v5("c").prop(method()).refused(0x8c);
}

#[test]
fn v5_4_12_0_2__the_server_continues_with_auth_0x18() {
    let broker = riddling();
    expect_challenge(&mut broker.v5("c").prop(method()).sent());
}

#[test]
fn v5_4_12_0_3__the_client_continues_with_auth_0x18() {
    let broker = riddling();
    let mut client = broker.v5("c").prop(method()).sent();
    expect_challenge(&mut client);
    client.send(auth(0x19).prop(method()).prop(prop::auth_data(b"cba")));
    assert!(matches!(
        client.next_packet(),
        None | Some(Packet::Connack(Connack { code: 0x80.., .. }))
    ));
}

#[test]
fn v5_4_12_0_4__a_wrong_answer_is_refused() {
    let broker = riddling();
    let mut client = broker.v5("c").prop(method()).sent();
    expect_challenge(&mut client);
    client.send(answer(b"abc"));
    assert!(matches!(
        client.recv(),
        Packet::Connack(Connack { code: 0x87, .. })
    ));
    client.expect_closed();
}

#[test]
fn v5_4_12_0_5__the_method_is_repeated() {
    let broker = riddling();
    let client = authenticated(&broker);
    assert!(client.connack.props.contains(&method()));
    assert!(client.connack.props.contains(&prop::auth_data(b"welcome")));
    // an AUTH of another method, and one of none
    for wrong in [
        auth(0x18).prop(prop::auth_method("other")),
        auth(0x18).prop(prop::auth_data(b"cba")),
    ] {
        let mut client = broker.v5("c").prop(method()).sent();
        expect_challenge(&mut client);
        client.send(wrong);
        assert!(matches!(
            client.next_packet(),
            None | Some(Packet::Connack(Connack { code: 0x80.., .. }))
        ));
    }
}

#[test]
fn v5_4_12_0_6__no_auth_without_a_method() {
    let broker = riddling();
    let mut client = broker.v5("c").connect();
    assert!(
        !client
            .connack
            .props
            .iter()
            .any(|p| matches!(p, Property::AuthMethod(_) | Property::AuthData(_)))
    );
    client.expect_silence();
}

#[test]
fn v5_4_12_0_7__the_client_s_auth_without_a_method_is_an_error() {
    let broker = riddling();
    broker
        .v5("c")
        .connect()
        .send(auth(0x19).prop(method()))
        .expect_error(0x82);
    broker.open(V5).send(auth(0x18).prop(method())).expect_closed();
}

#[test]
fn v5_4_12_1_1__re_authentication() {
    let broker = riddling();
    let mut client = authenticated(&broker);
    client.send(auth(0x19).prop(method()));
    expect_challenge(&mut client);
    // the connection goes on meanwhile
    client.subscribe("a", 0).publish("a", "x", 1).take("a", "x");
    client.send(answer(b"cba"));
    match client.recv() {
        Packet::Auth(success) => {
            assert_eq!(success.code, 0x00);
            assert!(success.props.contains(&method()));
        }
        other => panic!("expected AUTH, got {other:?}"),
    }
    client.expect_silence();
    client
        .send(auth(0x19).prop(prop::auth_method("other")))
        .expect_error(0x82);
}

#[test]
fn v5_4_12_1_2__a_failed_re_authentication_ends_the_connection() {
    let broker = riddling();
    let mut client = authenticated(&broker);
    client.send(auth(0x19).prop(method()));
    expect_challenge(&mut client);
    client.send(answer(b"wrong")).expect_error(0x87);
}

/// Nothing but AUTH and DISCONNECT before the CONNACK.
#[test]
fn v5_3_1_2_30__other_packets_during_the_exchange_are_an_error() {
    let broker = riddling();
    let mut client = broker.v5("c").prop(method()).sent();
    expect_challenge(&mut client);
    client.send(publish("a", "x").retain());
    assert!(matches!(
        client.next_packet(),
        None | Some(Packet::Connack(Connack { code: 0x80.., .. }))
    ));
    client.drain();
    broker.v5("late").connect().subscribe("a", 0).expect_silence();
}

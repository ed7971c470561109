//! Enhanced authentication by a plugin of three rounds.

use std::sync::{Arc, Mutex};

use jackfield_tests::harness::TestBroker;
use jackfield_tests::wire::{Client, Connect, Packet, Property, auth, prop};
use plugin_api::{Denial, ExchangePhase, ExchangeRequest, ExchangeVerdict, Grant};

type Seen = Arc<Mutex<Vec<(ExchangePhase, u64)>>>;

/// Whoever counts up from the last challenge is let in as `counter`.
fn step(request: &ExchangeRequest<'_>) -> ExchangeVerdict {
    match (request.phase, request.data) {
        (ExchangePhase::Start | ExchangePhase::ReAuthenticate, _) => {
            ExchangeVerdict::Challenge(b"1".to_vec())
        }
        (ExchangePhase::Continue, Some(b"2")) => ExchangeVerdict::Challenge(b"3".to_vec()),
        (ExchangePhase::Continue, Some(b"4")) => ExchangeVerdict::Success {
            grant: Box::new(Grant {
                username: Some("counter".into()),
                ..Grant::default()
            }),
            data: Some(b"welcome".to_vec()),
        },
        _ => ExchangeVerdict::Deny(Denial::not_authorized().because("can't count")),
    }
}

fn broker() -> (TestBroker, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let broker = TestBroker::start_with(move |setup| {
        setup.exchange("COUNT", move |request| {
            log.lock().expect("whole").push((request.phase, request.exchange));
            step(request)
        });
    });
    (broker, seen)
}

fn counting(broker: &TestBroker) -> Connect {
    broker.v5("a").prop(prop::auth_method("COUNT"))
}

#[track_caller]
fn challenged(client: &mut Client, data: &[u8]) {
    match client.recv() {
        Packet::Auth(reasoned) => {
            assert_eq!(reasoned.code, 0x18);
            assert_eq!(
                reasoned.props,
                [prop::auth_method("COUNT"), prop::auth_data(data)]
            );
        }
        other => panic!("expected a challenge, got {other:?}"),
    }
}

fn answer(code: u8, data: &[u8]) -> jackfield_tests::wire::Auth {
    auth(code)
        .prop(prop::auth_method("COUNT"))
        .prop(prop::auth_data(data))
}

#[track_caller]
fn let_in(broker: &TestBroker) -> Client {
    let mut client = counting(broker).sent();
    challenged(&mut client, b"1");
    client.send(answer(0x18, b"2"));
    challenged(&mut client, b"3");
    client.send(answer(0x18, b"4"));
    client.expect_accepted();
    client
}

#[test]
fn three_rounds_let_a_client_in() {
    let (broker, seen) = broker();
    let client = let_in(&broker);
    for told in [prop::auth_method("COUNT"), prop::auth_data(b"welcome")] {
        assert!(client.connack.props.contains(&told), "{:?}", client.connack);
    }
    let session = broker.handle().client("a").expect("a Session");
    assert_eq!(session.username.as_deref(), Some("counter"));
    let seen = seen.lock().expect("whole");
    assert!(
        seen.iter().all(|(_, exchange)| *exchange == seen[0].1),
        "{seen:?}"
    );
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_wrong_answer_is_a_connack_with_the_reason() {
    let (broker, _) = broker();
    let mut client = counting(&broker).sent();
    challenged(&mut client, b"1");
    client.send(answer(0x18, b"7"));
    match client.recv() {
        Packet::Connack(connack) => {
            assert_eq!(connack.code, 0x87);
            assert!(
                connack.props.contains(&prop::reason_string("can't count")),
                "{connack:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    client.expect_closed();
}

#[test]
fn a_method_that_nobody_owns_is_bad() {
    let (broker, seen) = broker();
    broker.v5("a").prop(prop::auth_method("NONE")).refused(0x8c);
    assert!(seen.lock().expect("whole").is_empty());
}

/// Messages flow while a client shows again who it is.
#[test]
fn a_client_authenticates_again_without_a_pause() {
    let (broker, _) = broker();
    let mut client = let_in(&broker);
    client.subscribe("t", 1);
    client.send(answer(0x19, b""));
    challenged(&mut client, b"1");
    client.publish("t", "in between", 1);
    assert_eq!(client.pending(), ["in between"]);
    client.send(answer(0x18, b"2"));
    challenged(&mut client, b"3");
    client.send(answer(0x18, b"4"));
    match client.recv() {
        Packet::Auth(reasoned) => {
            assert_eq!(reasoned.code, 0);
            assert!(reasoned.props.contains(&Property::AuthData(b"welcome".to_vec())));
        }
        other => panic!("{other:?}"),
    }
    client.expect_silence();
}

#[test]
fn a_client_that_fails_to_authenticate_again_is_disconnected() {
    let (broker, _) = broker();
    let mut client = let_in(&broker);
    client.send(answer(0x19, b""));
    challenged(&mut client, b"1");
    client.send(answer(0x18, b"7"));
    client.expect_error(0x87);
}

/// The plugin is told, so that it can forget.
#[test]
fn an_exchange_that_is_left_is_abandoned() {
    let (broker, seen) = broker();
    let mut client = counting(&broker).sent();
    challenged(&mut client, b"1");
    client.lose();
    // the same client again: what was left before is told before it, or soon
    drop(let_in(&broker));
    let seen = seen.lock().expect("whole");
    let first = seen[0].1;
    assert!(seen.contains(&(ExchangePhase::Abandoned, first)), "{seen:?}");
    let others = seen
        .iter()
        .filter(|(phase, _)| *phase == ExchangePhase::Abandoned);
    assert_eq!(others.count(), 1, "{seen:?}");
}

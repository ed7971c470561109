//! The `[[tests]]` of the file: each names a listener or chain that there is, has a client do one thing, and expects something
//! that can come of it. They are run by [`crate::trial`].

use broker_core::{Act, Actor};
use broker_types::{Message, ProtocolVersion, QoS, TopicName};
use plugin_api::Peer;
use serde_json::Value as Json;

use super::chains::Chains;
use super::check::Checks;
use super::code::Code;
use super::schema::did_you_mean;
use super::settings::{ChainSettings, ListenerSettings};
use super::shape::{Expect, ExpectMessage, Protocol, Test, TestActor, TestPublish, TestSubscribe};
use super::tree::Path;

/// A test of the file.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What it shows.
    pub name: String,
    /// Who does it.
    pub actor: Actor,
    /// What.
    pub act: Act,
    /// A chain that no listener has. It is put behind a listener of its own, which the actor connects to.
    pub chain: Option<ChainSettings>,
    /// What must come of it.
    pub expected: Expected,
}

/// What must come of a [`Trial`]; `None` isn't looked at.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Whether the client is let in.
    pub connected: Option<bool>,
    /// With which user name; empty: none.
    pub user: Option<String>,
    /// Whether the message is routed, or the subscription granted.
    pub allowed: Option<bool>,
    /// Whether the message is acknowledged and goes nowhere.
    pub dropped: Option<bool>,
    /// The Reason Code of the answer.
    pub reason: Option<u8>,
    /// The message, as it is in the end.
    pub message: ExpectedMessage,
    /// The QoS of the message in the end, or that granted.
    pub qos: Option<u8>,
    /// The RETAIN flag of the message in the end.
    pub retain: Option<bool>,
    /// The messages that plugins send besides.
    pub emitted: Option<Vec<ExpectedMessage>>,
}

/// What a message must be like.
#[derive(Clone, Debug, Default)]
pub struct ExpectedMessage {
    /// Its Topic Name.
    pub topic: Option<TopicName>,
    /// Its payload.
    pub payload: Option<ExpectedPayload>,
}

/// What a payload must be. The list is complete.
#[derive(Clone, Debug, PartialEq)]
pub enum ExpectedPayload {
    /// These bytes.
    Text(String),
    /// This value, however it is written.
    Json(Json),
}

/// The Client Identifier where a test gives none.
const CLIENT_ID: &str = "test";

/// Checks all tests and makes trials of them.
pub(super) fn read(
    tests: &[Test],
    listeners: &[ListenerSettings],
    chains: &mut Chains<'_>,
    checks: &mut Checks<'_>,
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (i, test) in tests.iter().enumerate() {
        let path = Path::of(["tests"]).index(i);
        if tests[..i].iter().any(|other| other.name == test.name) {
            let message = format!("another test is called `{}` already", test.name);
            checks.error(Code::DuplicateName, message, &path.key("name"));
        }
        check_actor(&test.r#as, &path.key("as"), checks);
        check_expected(test, &path.key("expect"), checks);
        if test.publish.is_some() && test.subscribe.is_some() {
            let message = "a test either publishes or subscribes".to_owned();
            checks.error(Code::BadTest, message, &path.key("subscribe"));
        }
        if let Some(publish) = &test.publish {
            two_payloads(
                &publish.payload,
                &publish.payload_json,
                &path.key("publish"),
                checks,
            );
        }
        let Some((listener, chain)) = place(test, listeners, chains, &path, checks) else {
            continue;
        };
        trials.push(Trial {
            name: test.name.clone(),
            actor: actor(listener, &test.r#as, &path.key("as"), checks),
            act: act(test),
            chain,
            expected: expected(&test.expect),
        });
    }
    trials
}

/// Returns the name of the listener that a chain gets for its tests when no listener of the file has it: one that none of the
/// file can have.
pub(crate) fn trial_listener(chain: &str) -> String {
    format!("chain {chain}")
}

/// Finds the listener of a test: its name, and the chain that must be put behind it first.
fn place(
    test: &Test,
    listeners: &[ListenerSettings],
    chains: &mut Chains<'_>,
    path: &Path,
    checks: &mut Checks<'_>,
) -> Option<(String, Option<ChainSettings>)> {
    match (&test.listener, &test.chain) {
        (Some(name), None) => {
            let known = || listeners.iter().map(|listener| listener.name.as_str());
            if !known().any(|known| known == name) {
                let pruned = Path::of(["listeners", name]);
                if !checks.origins.is_pruned(&pruned) {
                    let message = format!("there is no listener `{name}`");
                    let help = did_you_mean(name, known());
                    checks.error_with(Code::UnknownListener, message, &path.key("listener"), help);
                }
                return None;
            }
            Some((name.clone(), None))
        }
        (None, Some(name)) => {
            chains.check_chain(name, &path.key("chain"), checks);
            let has_it = listeners.iter().find(|listener| listener.chain.name == *name);
            if let Some(listener) = has_it {
                return Some((listener.name.clone(), None));
            }
            chains.used.push(name.clone());
            Some((trial_listener(name), Some(chains.flatten(name))))
        }
        (Some(_), Some(_)) | (None, None) => {
            let message = "a test needs either `listener` or `chain`".to_owned();
            checks.error(Code::BadTest, message, path);
            None
        }
    }
}

fn check_actor(actor: &TestActor, path: &Path, checks: &mut Checks<'_>) {
    let assumed = actor.password_ok == Some(true);
    if assumed && actor.password.is_some() {
        let message = "with `password_ok` nobody is asked about a password".to_owned();
        checks.error(Code::BadTest, message, &path.key("password"));
    }
    if !assumed && !actor.attributes.is_empty() {
        let message =
            "attributes are what an authenticator says; without `password_ok` it says so itself".to_owned();
        checks.error(Code::BadTest, message, &path.key("attributes"));
    }
}

/// Checks that what is expected can come of what is done.
fn check_expected(test: &Test, path: &Path, checks: &mut Checks<'_>) {
    let expect = &test.expect;
    two_payloads(&expect.payload, &expect.payload_json, path, checks);
    for (i, message) in expect.emitted.iter().flatten().enumerate() {
        two_payloads(
            &message.payload,
            &message.payload_json,
            &path.key("emitted").index(i),
            checks,
        );
    }
    let of_messages = [
        ("dropped", expect.dropped.is_some()),
        ("topic", expect.topic.is_some()),
        ("payload", expect.payload.is_some()),
        ("payload_json", expect.payload_json.is_some()),
        ("retain", expect.retain.is_some()),
        ("emitted", expect.emitted.is_some()),
    ];
    let of_answers = [
        ("allowed", expect.allowed.is_some()),
        ("qos", expect.qos.is_some()),
    ];
    let said = [
        expect.connected.is_some(),
        expect.user.is_some(),
        expect.reason.is_some(),
    ];
    let mut all = of_messages
        .iter()
        .chain(&of_answers)
        .map(|(_, there)| *there)
        .chain(said);
    if !all.any(|there| there) {
        checks.error(Code::BadTest, "nothing is expected".to_owned(), path);
    }
    let publishes = test.publish.is_some();
    let acts = publishes || test.subscribe.is_some();
    let needed =
        |needs: &'static str| move |(key, there): (&'static str, bool)| there.then_some((key, needs));
    let odd = of_messages
        .into_iter()
        .filter_map(needed("publish"))
        .filter(|_| !publishes);
    let odd = odd.chain(
        of_answers
            .into_iter()
            .filter_map(needed("publish` or `subscribe"))
            .filter(|_| !acts),
    );
    for (key, needs) in odd.collect::<Vec<_>>() {
        let message = format!("`{key}` needs a `{needs}`");
        checks.key_error(Code::BadTest, message, &path.key(key), None);
    }
}

fn two_payloads(text: &Option<String>, json: &Option<Json>, path: &Path, checks: &mut Checks<'_>) {
    if text.is_some() && json.is_some() {
        let message = "either `payload` or `payload_json`".to_owned();
        checks.key_error(Code::BadTest, message, &path.key("payload_json"), None);
    }
}

fn actor(listener: String, said: &TestActor, path: &Path, checks: &mut Checks<'_>) -> Actor {
    let mut actor = Actor::new(listener).client_id(said.client_id.as_deref().unwrap_or(CLIENT_ID));
    if let Some(user) = &said.user {
        actor = actor.username(user);
    }
    let password = said.password.as_ref();
    if let Some(password) = password.and_then(|password| checks.secret(password, &path.key("password"))) {
        actor = actor.password(password);
    }
    if let Some(address) = said.address {
        actor = actor.peer(Peer::Tcp((address.0, 0).into()));
    }
    if let Some(version) = said.version {
        actor = actor.version(match version {
            Protocol::V31 => ProtocolVersion::V31,
            Protocol::V311 => ProtocolVersion::V311,
            Protocol::V5 => ProtocolVersion::V5,
        });
    }
    if said.password_ok == Some(true) {
        actor = actor.assumed(said.attributes.clone().into_iter().collect());
    }
    actor
}

fn act(test: &Test) -> Act {
    // The schema has checked that it is one of three.
    let qos = |bits: Option<u8>, default| bits.and_then(QoS::from_bits).unwrap_or(default);
    match (&test.publish, &test.subscribe) {
        (
            Some(TestPublish {
                topic,
                payload,
                payload_json,
                qos: bits,
                retain,
            }),
            _,
        ) => {
            let payload = match (payload, payload_json) {
                (Some(text), _) => text.clone(),
                (None, Some(json)) => json.to_string(),
                (None, None) => String::new(),
            };
            Act::Publish(Message {
                qos: qos(*bits, QoS::AtLeastOnce),
                retain: *retain == Some(true),
                ..Message::new(topic.0.clone(), payload)
            })
        }
        (None, Some(TestSubscribe { filter, qos: bits })) => {
            Act::Subscribe(vec![filter.0.to_string()], qos(*bits, QoS::ExactlyOnce))
        }
        (None, None) => Act::Connect,
    }
}

fn expected(expect: &Expect) -> Expected {
    Expected {
        connected: expect.connected,
        user: expect.user.clone(),
        allowed: expect.allowed,
        dropped: expect.dropped,
        reason: expect.reason,
        message: ExpectedMessage {
            topic: expect.topic.as_ref().map(|topic| topic.0.clone()),
            payload: payload(&expect.payload, &expect.payload_json),
        },
        qos: expect.qos,
        retain: expect.retain,
        emitted: expect.emitted.as_ref().map(|all| {
            let message = |message: &ExpectMessage| ExpectedMessage {
                topic: message.topic.as_ref().map(|topic| topic.0.clone()),
                payload: payload(&message.payload, &message.payload_json),
            };
            all.iter().map(message).collect()
        }),
    }
}

fn payload(text: &Option<String>, json: &Option<Json>) -> Option<ExpectedPayload> {
    let text = text.clone().map(ExpectedPayload::Text);
    text.or_else(|| json.clone().map(ExpectedPayload::Json))
}

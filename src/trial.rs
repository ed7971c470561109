//! Trying chains out before anybody connects: the broker of a configuration as a [`Rehearsal`], and the `[[tests]]` of the
//! file run in it. For `jackfield test` and `jackfield chain explain`, and for whoever embeds a broker that has a file.

use broker_core::{Act, Delivery, Explained, Fate, Outcome, Rehearsal, StartError};
use broker_types::{Message, QoS};
use serde_json::Value as Json;

use crate::assemble::{AssembleError, assemble};
use crate::config_file::{
    Expected, ExpectedMessage, ExpectedPayload, ListenerSettings, Loaders, Settings, Trial, trial_listener,
};

/// Why chains can't be tried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrialError {
    /// Plugins can't be loaded.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Assemble(Vec<AssembleError>),
    /// Plugins don't start, or chains can't be put together.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// What came of one test.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verdict {
    /// Its name.
    pub name: String,
    /// What was otherwise than expected, a line for each; empty: nothing.
    pub failures: Vec<String>,
    /// What happened; `None`: nothing could.
    pub explained: Option<Explained>,
}

/// Starts the plugins of a configuration, and opens no port.
///
/// # Errors
/// Everything that keeps them from starting.
pub async fn rehearse(settings: &Settings, loaders: &Loaders) -> Result<Rehearsal, TrialError> {
    let mut settings = settings.clone();
    for chain in settings.tests.iter().filter_map(|trial| trial.chain.as_ref()) {
        let name = trial_listener(&chain.name);
        if settings.listeners.iter().any(|listener| listener.name == name) {
            continue;
        }
        // As one of the file, since there is at least one, but for what makes it that one.
        let like = settings.listeners.first().cloned();
        settings.listeners.extend(like.map(|like| ListenerSettings {
            name,
            anonymous: !chain.has("authenticate") && !chain.has("exchange"),
            chain: chain.clone(),
            mount: None,
            ..like
        }));
    }
    let builder = assemble(&settings, loaders).await.map_err(TrialError::Assemble)?;
    Ok(builder.rehearse().await?)
}

/// Runs one test.
pub async fn run(rehearsal: &mut Rehearsal, trial: &Trial) -> Verdict {
    let explained = rehearsal.explain(trial.actor.clone(), trial.act.clone()).await;
    let (failures, explained) = match explained {
        Ok(explained) => (compare(trial, &explained), Some(explained)),
        Err(error) => (vec![error.to_string()], None),
    };
    Verdict {
        name: trial.name.clone(),
        failures,
        explained,
    }
}

/// Lists what is otherwise than expected.
fn compare(trial: &Trial, explained: &Explained) -> Vec<String> {
    let expected = &trial.expected;
    let mut compared = Compared::default();
    let connected = explained.client.is_some();
    if expected.connected.is_some_and(|expected| expected != connected)
        || !connected && needs_connection(expected)
    {
        compared.failures.push(match explained.connack {
            _ if connected => "the client was let in".to_owned(),
            Some(reason) => format!("the client was refused: {reason}"),
            None => "the connection was closed without CONNACK".to_owned(),
        });
    }
    if let (Some(wanted), Some(client)) = (&expected.user, &explained.client) {
        compared.equal("user", wanted, client.username.as_deref().unwrap_or_default());
    }
    match &explained.outcome {
        Outcome::Refused => compared.reason(expected, explained.connack.map(|reason| reason.byte())),
        Outcome::Connected => compared.reason(expected, Some(0)),
        Outcome::Subscribed(reasons) => {
            let reason = reasons.first().map_or(0x80, |reason| reason.byte());
            compared.reason(expected, Some(reason));
            compared.answer(expected, reason < 0x80, "granted", "refused");
            let granted = reason.to_string();
            let qos = expected.qos.filter(|_| reason < 0x80);
            compared.failures.extend(
                qos.filter(|qos| *qos != reason)
                    .map(|qos| differs("qos", &qos.to_string(), &granted)),
            );
        }
        Outcome::Published(delivery) => compared.delivery(expected, delivery, explained, &trial.act),
        // The connection ended instead of an answer.
        _ => {
            let reason = explained.disconnect.map(|reason| reason.byte());
            compared.reason(expected, reason);
            compared.answer(expected, false, "granted", "refused");
        }
    }
    compared.failures
}

/// Tells whether something is expected that only who is let in can do.
fn needs_connection(expected: &Expected) -> bool {
    expected.connected.is_none()
        && (expected.user.is_some()
            || expected.allowed == Some(true)
            || expected.dropped.is_some()
            || expected.qos.is_some()
            || needs_route(expected))
}

/// Tells whether something is expected of the message in the end.
fn needs_route(expected: &Expected) -> bool {
    expected.message.topic.is_some() || expected.message.payload.is_some() || expected.retain.is_some()
}

/// What was found to be otherwise.
#[derive(Default)]
struct Compared {
    failures: Vec<String>,
}

impl Compared {
    fn equal(&mut self, what: &str, wanted: &str, got: &str) {
        if wanted != got {
            self.failures.push(differs(what, wanted, got));
        }
    }

    fn reason(&mut self, expected: &Expected, got: Option<u8>) {
        if let Some(wanted) = expected.reason
            && got != Some(wanted)
        {
            let got = got.map_or("none".to_owned(), |got| format!("{got:#04x}"));
            self.equal("reason", &format!("{wanted:#04x}"), &got);
        }
    }

    fn answer(&mut self, expected: &Expected, allowed: bool, yes: &str, no: &str) {
        if expected.allowed.is_some_and(|expected| expected != allowed) {
            self.equal(
                "outcome",
                if allowed { no } else { yes },
                if allowed { yes } else { no },
            );
        }
    }

    fn delivery(&mut self, expected: &Expected, delivery: &Delivery, explained: &Explained, act: &Act) {
        // Who wants to know the reason of a message that has no acknowledgement gets that of the connection's end.
        let reason = delivery
            .reason
            .or(explained.disconnect)
            .map(|reason| reason.byte());
        let without_subscribers = |reason: u8| if reason == 0x10 { 0 } else { reason };
        self.reason(expected, reason.map(without_subscribers));
        let got = match delivery.fate {
            Fate::Routed => "routed",
            Fate::Dropped => "dropped",
            Fate::Refused => "refused",
            Fate::Answered => "answered by a plugin",
        };
        let routed = delivery.fate == Fate::Routed;
        let dropped = delivery.fate == Fate::Dropped;
        match (expected.allowed, expected.dropped) {
            (Some(true), _) if !routed => self.equal("outcome", "routed", got),
            (Some(false), _) if routed => self.equal("outcome", "not routed", got),
            (_, Some(true)) if !dropped => self.equal("outcome", "dropped", got),
            (_, Some(false)) if dropped => self.equal("outcome", "not dropped", got),
            (None, None) if !routed && (needs_route(expected) || expected.qos.is_some()) => {
                self.equal("outcome", "routed", got);
            }
            _ => {}
        }
        self.message("", &expected.message, &delivery.message);
        if let Some(qos) = expected.qos {
            self.equal("qos", &qos.to_string(), &delivery.message.qos.bits().to_string());
        }
        if let Some(retain) = expected.retain {
            self.equal(
                "retain",
                &retain.to_string(),
                &delivery.message.retain.to_string(),
            );
        }
        if let Some(wanted) = &expected.emitted {
            self.equal(
                "messages emitted",
                &wanted.len().to_string(),
                &delivery.emitted.len().to_string(),
            );
            for (i, (wanted, got)) in wanted.iter().zip(&delivery.emitted).enumerate() {
                self.message(&format!("emitted[{i}]."), wanted, got);
            }
        }
        // With QoS 0 nobody is told; a test that wants to know shouldn't hear "none" without a word why.
        let silent = matches!(act, Act::Publish(message) if message.qos == QoS::AtMostOnce);
        if silent && expected.reason.is_some() && reason.is_none() {
            self.failures
                .push("a message with QoS 0 has no acknowledgement; publish with qos = 1".to_owned());
        }
    }

    fn message(&mut self, prefix: &str, wanted: &ExpectedMessage, got: &Message) {
        if let Some(topic) = &wanted.topic {
            self.equal(&format!("{prefix}topic"), topic.as_str(), got.topic.as_str());
        }
        match &wanted.payload {
            None => {}
            Some(ExpectedPayload::Text(text)) => {
                self.equal(
                    &format!("{prefix}payload"),
                    text,
                    &String::from_utf8_lossy(&got.payload),
                );
            }
            Some(ExpectedPayload::Json(wanted)) => match serde_json::from_slice::<Json>(&got.payload) {
                Ok(got) if same(wanted, &got) => {}
                Ok(got) => self.equal(
                    &format!("{prefix}payload_json"),
                    &wanted.to_string(),
                    &got.to_string(),
                ),
                Err(_) => {
                    let text = String::from_utf8_lossy(&got.payload);
                    self.failures.push(format!("{prefix}payload is no JSON: {text}"));
                }
            },
        }
    }
}

fn differs(what: &str, wanted: &str, got: &str) -> String {
    let shown = |text: &str| {
        if text.is_empty() {
            "nothing".to_owned()
        } else {
            text.to_owned()
        }
    };
    format!("{what}: expected {}, got {}", shown(wanted), shown(got))
}

/// Compares values; `1` and `1.0` are the same number.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

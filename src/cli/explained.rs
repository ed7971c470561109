//! What a rehearsal has shown, as people and scripts read it: for `chain explain`, and for tests that fail.

use std::fmt::Write;

use jackfield::config_file::{ChainSettings, Settings};
use jackfield::{Explained, Fate, Outcome, Said, Turn};
use plugin_api::types::Message;
use serde_json::{Value as Json, json};

/// Characters of a payload that are shown.
const SHOWN_MAX: usize = 200;

/// Every call of a plugin, a line for each, changes below it; each line begins with `indent`.
pub(crate) fn turns(explained: &Explained, indent: &str) -> String {
    let width = |of: fn(&Turn) -> usize| explained.turns.iter().map(of).max().unwrap_or_default();
    let hooks = width(|turn| turn.hook.as_str().len());
    let plugins = width(|turn| turn.plugin.chars().count());
    let said = explained
        .turns
        .iter()
        .map(|turn| said(turn).chars().count())
        .max()
        .unwrap_or_default()
        .min(40);
    let mut text = String::new();
    for turn in &explained.turns {
        let time = match turn.said {
            Said::PassedBy | Said::Assumed => String::new(),
            _ => format!("  {} µs", turn.took.as_micros()),
        };
        // Writing into a string doesn't fail.
        let _ = writeln!(
            text,
            "{indent}{:hooks$}  {:plugins$}  {:said$}{time}",
            turn.hook.as_str(),
            turn.plugin,
            self::said(turn)
        );
        for change in &turn.changes {
            let _ = writeln!(
                text,
                "{indent}{:hooks$}  {:plugins$}  {} = {}",
                "", "", change.what, change.value
            );
        }
    }
    text
}

/// What a plugin said, in words.
fn said(turn: &Turn) -> String {
    match &turn.said {
        Said::Verdict(verdict) => verdict.clone(),
        Said::PassedBy => "not asked: `when` isn't true".to_owned(),
        Said::Assumed => "not asked: taken for who it says it is".to_owned(),
        Said::Fault { kind, text, policy } => {
            format!(
                "fault ({}): {text}; on fault: {}",
                kind.as_str(),
                format!("{policy:?}").to_lowercase()
            )
        }
        _ => "no answer any more".to_owned(),
    }
}

/// The plugins of a chain that weren't asked at all, each with the reason.
pub(crate) fn idle(
    explained: &Explained,
    chain: &ChainSettings,
    settings: &Settings,
) -> Vec<(String, String)> {
    let mut idle = Vec::new();
    for (position, entry) in chain.uses.iter().enumerate() {
        if explained.turns.iter().any(|turn| turn.position == position) {
            continue;
        }
        let topic = match &explained.outcome {
            Outcome::Published(delivery) => Some(delivery.message.topic.as_ref()),
            _ => None,
        };
        let elsewhere = topic.is_some_and(|topic| {
            !entry.topics.is_empty() && !entry.topics.iter().any(|filter| filter.matches(topic))
        });
        let matters = |hook: &&String| match &explained.outcome {
            Outcome::Published(_) => {
                ["accept", "connect", "authenticate", "authorize", "publish"].contains(&hook.as_str())
            }
            Outcome::Subscribed(_) => {
                ["accept", "connect", "authenticate", "authorize", "subscribe"].contains(&hook.as_str())
            }
            _ => ["accept", "connect", "authenticate"].contains(&hook.as_str()),
        };
        let why = if elsewhere {
            let topics: Vec<_> = entry.topics.iter().map(|filter| filter.as_str()).collect();
            format!("only {}", topics.join(" "))
        } else {
            match entry.hooks.iter().find(matters) {
                Some(_) => "an answer before it was the last word".to_owned(),
                None => format!("has nothing to say here, only at {}", entry.hooks.join(", ")),
            }
        };
        idle.push((settings.instances[entry.instance].name.clone(), why));
    }
    idle
}

/// What came of it all, in one line, and what the message is in the end.
pub(crate) fn outcome(explained: &Explained) -> String {
    let mut text = match (&explained.outcome, explained.connack) {
        (Outcome::Refused, Some(reason)) => format!("not connected: CONNACK {reason}"),
        (Outcome::Refused, None) => "not connected: closed without CONNACK".to_owned(),
        (Outcome::Connected, _) => "connected".to_owned(),
        (Outcome::Subscribed(reasons), _) => {
            let granted = |code: u8| match code {
                0..=2 => format!("granted with QoS {code}"),
                _ => "refused".to_owned(),
            };
            let codes: Vec<_> = reasons
                .iter()
                .map(|reason| format!("{}: SUBACK 0x{:02X}", granted(reason.byte()), reason.byte()))
                .collect();
            codes.join("; ")
        }
        (Outcome::Published(delivery), _) => {
            let fate = match delivery.fate {
                Fate::Routed => "goes to all who are subscribed",
                Fate::Dropped => "dropped: acknowledged, and goes nowhere",
                Fate::Refused => "refused",
                Fate::Answered => "answered by the plugin that owns the topic",
            };
            match delivery.reason {
                Some(reason) if delivery.fate == Fate::Refused => {
                    format!("{fate}: acknowledged with {reason}")
                }
                _ => fate.to_owned(),
            }
        }
        _ => "closed without an answer".to_owned(),
    };
    if let Some(reason) = explained.disconnect {
        let _ = write!(text, "; the connection ends with {reason}");
    }
    if let Some(client) = &explained.client {
        let user = client
            .username
            .as_deref()
            .map_or("without a user name".to_owned(), |user| format!("as `{user}`"));
        let _ = write!(text, "\n  client {} {user}", client.id);
    }
    if let Outcome::Published(delivery) = &explained.outcome
        && delivery.fate == Fate::Routed
    {
        let _ = write!(text, "\n  {}", message(&delivery.message));
        for emitted in &delivery.emitted {
            let _ = write!(text, "\n  and {}", message(emitted));
        }
    }
    text
}

fn message(message: &Message) -> String {
    let retain = if message.retain { ", retained" } else { "" };
    format!(
        "{} (QoS {}{retain}): {}",
        message.topic,
        message.qos.bits(),
        payload(&message.payload)
    )
}

/// A payload as people read it.
fn payload(payload: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(payload) else {
        return format!("{} bytes", payload.len());
    };
    let mut shown: String = text
        .chars()
        .take(SHOWN_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    if shown.is_empty() {
        "empty".to_owned()
    } else {
        shown
    }
}

/// The same for scripts.
pub(crate) fn json(explained: &Explained) -> Json {
    let outcome = match &explained.outcome {
        Outcome::Refused => json!({ "kind": "refused" }),
        Outcome::Connected => json!({ "kind": "connected" }),
        Outcome::Subscribed(reasons) => {
            json!({ "kind": "subscribed", "reasons": reasons.iter().map(|reason| reason.byte()).collect::<Vec<_>>() })
        }
        Outcome::Published(delivery) => json!({
            "kind": match delivery.fate {
                Fate::Routed => "routed",
                Fate::Dropped => "dropped",
                Fate::Refused => "message_refused",
                Fate::Answered => "answered",
            },
            "reason": delivery.reason.map(|reason| reason.byte()),
            "message": message_json(&delivery.message),
            "emitted": delivery.emitted.iter().map(message_json).collect::<Vec<_>>(),
        }),
        _ => json!({ "kind": "closed" }),
    };
    json!({
        "turns": explained.turns.iter().map(turn_json).collect::<Vec<_>>(),
        "connack": explained.connack.map(|reason| reason.byte()),
        "client": explained.client.as_ref().map(|client| json!({ "id": client.id, "username": client.username })),
        "disconnect": explained.disconnect.map(|reason| reason.byte()),
        "outcome": outcome,
    })
}

fn message_json(message: &Message) -> Json {
    json!({
        "topic": message.topic.as_str(),
        "payload": std::str::from_utf8(&message.payload).ok(),
        "payload_bytes": message.payload.len(),
        "qos": message.qos.bits(),
        "retain": message.retain,
    })
}

fn turn_json(turn: &Turn) -> Json {
    let (kind, text, policy) = match &turn.said {
        Said::Verdict(verdict) => ("verdict", Some(verdict.clone()), None),
        Said::PassedBy => ("passed_by", None, None),
        Said::Assumed => ("assumed", None, None),
        Said::Fault { text, policy, .. } => (
            "fault",
            Some(text.clone()),
            Some(format!("{policy:?}").to_lowercase()),
        ),
        _ => ("nothing", None, None),
    };
    let changes = turn
        .changes
        .iter()
        .map(|change| json!({ "what": change.what, "value": change.value }));
    json!({
        "plugin": &*turn.plugin,
        "position": turn.position,
        "hook": turn.hook.as_str(),
        "about": turn.about,
        "said": kind,
        "text": text,
        "on_fault": policy,
        "changes": changes.collect::<Vec<_>>(),
        "micros": u64::try_from(turn.took.as_micros()).unwrap_or(u64::MAX),
    })
}

//! A recorded call as a line that a person reads: what was asked, an arrow, what was said.

use serde_json::Value;

/// Longer texts are cut.
const TEXT_MAX: usize = 60;

/// Returns the line of an entry of a recording.
pub(super) fn told(entry: &Value) -> String {
    if let Some(long) = entry.get("too_long") {
        return format!(
            "{}: too long to be shown ({} bytes)",
            text(&long["hook"]),
            long["bytes"]
        );
    }
    let (call, said) = (&entry["call"], &entry["said"]);
    let mut asked = vec![text(&call["hook"])];
    let client = &call["client"];
    asked.extend(call_fields(client, &["id", "username"]));
    asked.extend(call_fields(
        call,
        &[
            "action",
            "method",
            "phase",
            "filter",
            "topic",
            "payload",
            "payload_base64",
        ],
    ));
    let items = call["items"].as_array().into_iter().flatten();
    asked.extend(items.map(|item| text(&item["topic"])));
    format!("{} -> {} ({} us)", asked.join(" "), answer(said), entry["us"])
}

fn call_fields(of: &Value, names: &[&str]) -> Vec<String> {
    names.iter().filter_map(|name| of.get(name)).map(text).collect()
}

fn answer(said: &Value) -> String {
    if let Some(decisions) = said["decisions"].as_array() {
        let decisions: Vec<_> = decisions.iter().map(answer).collect();
        return decisions.join(", ");
    }
    let mut words = Vec::new();
    if let Some(fault) = said.get("fault") {
        words.push(format!("FAULT {}", text(fault)));
    }
    words.extend(said.get("verdict").map(text));
    let known = ["fault", "verdict", "emitted"];
    let rest = said.as_object().into_iter().flatten();
    let rest = rest.filter(|(name, _)| !known.contains(&name.as_str()));
    words.extend(rest.map(|(name, value)| format!("{name}={}", text(value))));
    if let Some(emitted) = said["emitted"].as_array() {
        words.push(format!("and {} more messages", emitted.len()));
    }
    words.join(" ")
}

/// A value on one line, texts in quotes only where they would be misread.
fn text(value: &Value) -> String {
    let whole = match value {
        Value::String(plain) if !plain.is_empty() && plain.chars().all(|c| c.is_ascii_graphic()) => {
            plain.clone()
        }
        other => other.to_string(),
    };
    // JSON escapes the control characters below space; terminals also obey those above.
    let whole = whole.replace(char::is_control, "\u{fffd}");
    match whole.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_a_line() {
        let entry = json!({
            "us": 7,
            "call": { "hook": "publish", "client": { "id": "c1" }, "topic": "a/b", "payload": "two words" },
            "said": { "verdict": "reject", "reason": 153, "emitted": [1] },
        });
        assert_eq!(
            told(&entry),
            "publish c1 a/b \"two words\" -> reject reason=153 and 1 more messages (7 us)"
        );
        let faulted = json!({ "us": 1, "call": { "hook": "retain", "topic": "x" }, "said": { "fault": "panic", "text": "no" } });
        assert_eq!(told(&faulted), "retain x -> FAULT panic text=no (1 us)");
        let decided = json!({
            "us": 0,
            "call": { "hook": "authorize", "action": "publish", "items": [{ "topic": "a" }, { "topic": "b" }] },
            "said": { "decisions": [{ "verdict": "allow" }, { "verdict": "skip" }] },
        });
        assert_eq!(told(&decided), "authorize publish a b -> allow, skip (0 us)");
        assert!(told(&Value::Null).contains("null"));
    }

    #[test]
    fn a_terminal_is_not_obeyed_by_payloads() {
        let entry = json!({ "us": 0, "call": { "hook": "publish", "payload": "\u{1b}[2J" }, "said": {} });
        assert!(!told(&entry).contains('\u{1b}'));
        let above = json!({ "us": 0, "call": { "hook": "publish", "payload": "\u{9b}2J" }, "said": {} });
        assert!(!told(&above).contains('\u{9b}'));
        let long = json!({ "us": 0, "call": { "hook": "publish", "payload": "x".repeat(99) }, "said": {} });
        assert!(told(&long).contains('…'));
    }
}

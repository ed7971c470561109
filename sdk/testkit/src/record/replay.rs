//! Puts recorded calls to a plugin and compares what it says now with what was said then.

use std::io::{self, BufRead};
use std::time::Duration;

use plugin_api::Fault;
use serde_json::Value;

use super::read::{Unreadable, question};
use super::said::said_json;
use crate::wait::within;
use crate::{Harness, Verdict};

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// The longest line that is read, in bytes.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// A call about which the plugin now says something else.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The line of the recording.
    pub line: usize,
    /// What was asked.
    pub call: Value,
    /// What was said then.
    pub then: Value,
    /// What is said now.
    pub now: Value,
}

/// How a replay went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replayed {
    /// Calls that were put.
    pub asked: usize,
    /// Calls of hooks that the plugin doesn't have.
    pub no_hook: usize,
    /// Calls whose Password or Authentication Data wasn't recorded, or whose payload was too large for the recording.
    pub not_recorded: usize,
    /// What differs, in order.
    pub differences: Vec<Difference>,
}

/// Puts the calls of a recording to a plugin, in order, and compares. `differ` is called for each difference as it is
/// found; at most `max` of them are kept.
///
/// # Errors
/// It can't be read, or a line isn't one of a recording (its number is told).
pub fn replay(
    plugin: &Harness,
    mut recording: impl BufRead,
    max: usize,
    mut differ: impl FnMut(&Difference),
) -> io::Result<Replayed> {
    let mut replayed = Replayed::default();
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        let mut bounded = io::Read::take(&mut recording, LINE_BYTES_MAX);
        if bounded.read_line(&mut text)? == 0 {
            break;
        }
        if text.trim().is_empty() {
            continue;
        }
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("line {line}: {why}"));
        let entry: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let Some(call) = entry.get("call") else {
            replayed.not_recorded += 1;
            continue;
        };
        let question = match question(call) {
            Ok(question) => question,
            Err(Unreadable::Secret) => {
                replayed.not_recorded += 1;
                continue;
            }
            Err(Unreadable::Wrong(why)) => return Err(wrong(why)),
        };
        let said: Result<Verdict, Fault> = match within(DEADLINE, question.ask(plugin.hooks())) {
            Some(Some(said)) => said,
            Some(None) => {
                replayed.no_hook += 1;
                continue;
            }
            None => Err(Fault::new(
                plugin_api::FaultKind::Timeout,
                "no answer within 30 s",
            )),
        };
        replayed.asked += 1;
        let then = entry.get("said").cloned().unwrap_or(Value::Null);
        let now = said_json(&said, !is_withheld(&then));
        if then != now {
            let difference = Difference {
                line,
                call: call.clone(),
                then,
                now,
            };
            differ(&difference);
            if replayed.differences.len() < max {
                replayed.differences.push(difference);
            }
        }
    }
    Ok(replayed)
}

/// Tells whether the answer's data wasn't recorded; then it isn't compared either.
fn is_withheld(said: &Value) -> bool {
    said.get("data").and_then(Value::as_str) == Some(super::SECRET)
}

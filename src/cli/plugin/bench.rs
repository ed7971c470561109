//! `jackfield plugin bench`: nanoseconds for a call of each hook, beside a plugin that does nothing and beside the last run.
//! Figures of a busy machine are worth little; the ratio to the run before is what is watched.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use plugin_testkit::Harness;
use plugin_testkit::measure::{Measured, measure, questions};
use serde_json::{Map, Value, json};

use super::super::exit::{Exit, Failure, Outcome};
use super::super::output;
use super::build::build;
use super::file::{PluginFile, options, refused};
use super::project::{BUILD, Project};

/// Rounds over all hooks; the best of each hook counts, because nothing makes a call quicker than it is.
const ROUNDS: u32 = 5;
/// The file that remembers the last run of a project.
const LAST: &str = "bench.json";

/// `jackfield plugin bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "`empty` is what a call costs of a plugin that does nothing and is part of the program. A project's figures \
                        are kept in build/bench.json and compared with the next ones."
)]
pub(crate) struct Bench {
    /// The project, or a plugin file
    #[arg(value_name = "FOLDER|FILE", default_value = ".")]
    path: PathBuf,
    /// The plugin's options [default: those in the project's jackfield.toml]
    #[arg(short, long, value_name = "JSON", value_parser = options)]
    options: Option<Value>,
    /// The payload of messages [default: 256 bytes of text]
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Fail if a hook has become slower by more than this since the last run
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    max_regress: Option<f64>,
    /// Milliseconds for each hook
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    time: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(crate) fn run(self) -> Outcome {
        let (file, options, last) = if self.path.is_dir() {
            let project = Project::open(&self.path)?;
            let options = self.options.clone().map_or_else(|| project.options(), Ok)?;
            let file = build(&project, false)?;
            (file, options, Some(project.folder.join(BUILD).join(LAST)))
        } else {
            let options = self.options.clone().unwrap_or_else(|| json!({}));
            (self.path.clone(), options, None)
        };
        let plugin = PluginFile::find(&file)?.loaded(&options)?;
        let harness = Harness::of(plugin).map_err(|error| refused(&error))?;
        let measured = self.measure(&harness);
        harness.stop();
        if measured.is_empty() {
            let message =
                "there is nothing to measure: it has no hook that is called for messages or clients";
            return Err(Failure::new(Exit::Failed, message));
        }
        let before = last.as_deref().map_or(Value::Null, remembered);
        match self.json {
            true => output::line(all_json(&measured))?,
            false => output::text(table(&measured, &before).as_bytes())?,
        }
        if let Some(last) = last {
            fs::write(&last, format!("{}\n", all_json(&measured)))
                .map_err(|error| Failure::io(last.display(), &error))?;
        }
        match self.max_regress {
            Some(percent) => held(&measured, &before, percent),
            None => Ok(()),
        }
    }

    fn measure(&self, harness: &Harness) -> Vec<Measured> {
        let payload = match &self.message {
            Some(text) => Bytes::from(text.clone().into_bytes()),
            None => Bytes::from(vec![b'7'; 256]),
        };
        let time = Duration::from_millis(self.time) / ROUNDS;
        let questions = questions(harness.hooks(), &payload);
        let mut best: Vec<Option<Measured>> = vec![None; questions.len()];
        for _ in 0..ROUNDS {
            for (question, best) in questions.iter().zip(&mut best) {
                let Some(now) = measure(harness.hooks(), question, time) else {
                    continue;
                };
                match best {
                    Some(best) => keep_best(best, &now),
                    none => *none = Some(now),
                }
            }
        }
        best.into_iter().flatten().collect()
    }
}

fn keep_best(best: &mut Measured, now: &Measured) {
    best.calls += now.calls;
    best.faults += now.faults;
    for (best, now) in [(&mut best.plugin, now.plugin), (&mut best.empty, now.empty)] {
        best.p50 = best.p50.min(now.p50);
        best.p99 = best.p99.min(now.p99);
    }
}

/// Reads the figures of the last run; none, or none that make sense: null.
fn remembered(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

fn all_json(measured: &[Measured]) -> Value {
    let hooks = measured.iter().map(|hook| {
        let figures = json!({
            "p50_ns": hook.plugin.p50,
            "p99_ns": hook.plugin.p99,
            "empty_p50_ns": hook.empty.p50,
            "empty_p99_ns": hook.empty.p99,
            "calls": hook.calls,
            "faults": hook.faults,
        });
        (hook.hook.to_owned(), figures)
    });
    Value::Object(hooks.collect::<Map<_, _>>())
}

/// The change of a hook since the last run, in percent, if there was one.
fn change(hook: &Measured, before: &Value) -> Option<f64> {
    let before = before.get(hook.hook)?.get("p50_ns")?.as_u64()?;
    (before > 0).then(|| (as_f64(hook.plugin.p50) / as_f64(before) - 1.0) * 100.0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nanoseconds of a call are far below 2^52"
)]
const fn as_f64(nanos: u64) -> f64 {
    nanos as f64
}

fn table(measured: &[Measured], before: &Value) -> String {
    let mut text = format!(
        "{:<14} {:>10} {:>10} {:>12} {:>12} {:>10}\n",
        "ns per call", "p50", "p99", "empty p50", "empty p99", "change"
    );
    for hook in measured {
        let change =
            change(hook, before).map_or_else(|| "-".to_owned(), |percent| format!("{percent:+.0} %"));
        text += &format!(
            "{:<14} {:>10} {:>10} {:>12} {:>12} {:>10}",
            hook.hook, hook.plugin.p50, hook.plugin.p99, hook.empty.p50, hook.empty.p99, change
        );
        if hook.faults > 0 {
            text += &format!("  {} of {} calls faulted", hook.faults, hook.calls);
        }
        text.push('\n');
    }
    text
}

/// Fails if a hook is slower than it may be.
fn held(measured: &[Measured], before: &Value, percent: f64) -> Outcome {
    let slower: Vec<_> = measured
        .iter()
        .filter_map(|hook| Some((hook.hook, change(hook, before)?)))
        .filter(|(_, change)| *change > percent)
        .map(|(hook, change)| format!("{hook} by {change:.0} %"))
        .collect();
    match &slower[..] {
        [] => Ok(()),
        slower => Err(Failure::new(
            Exit::Failed,
            format!("slower than the last run: {}", slower.join(", ")),
        )),
    }
}

/// Reads `10%` or `10`.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    match number.parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err("a percentage, like 10%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use plugin_testkit::measure::Cost;

    use super::*;

    fn hook(p50: u64) -> Measured {
        Measured {
            hook: "publish",
            plugin: Cost { p50, p99: 2 * p50 },
            empty: Cost { p50: 5, p99: 7 },
            calls: 100,
            faults: 0,
        }
    }

    #[test]
    fn a_hook_that_became_slower_is_told() {
        let before = all_json(&[hook(100)]);
        assert!(held(&[hook(110)], &before, 10.5).is_ok());
        assert!(held(&[hook(120)], &before, 10.5).is_err());
        assert!(
            held(&[hook(120)], &Value::Null, 0.0).is_ok(),
            "there is nothing to compare with"
        );
        assert!(table(&[hook(120)], &before).contains("+20 %"));
    }

    #[test]
    fn percentages_are_read_with_and_without_their_sign() {
        assert_eq!((percent("10%"), percent(" 2.5 ")), (Ok(10.0), Ok(2.5)));
        assert!(percent("-1").is_err() && percent("much").is_err());
    }
}

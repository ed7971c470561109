//! `jackfield plugin test`: the project's own tests, its recordings, and what any plugin must survive in a broker. The last
//! runs in a process of its own, because a native plugin may end the one it is in.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use clap::Args;
use plugin_testkit::Harness;
use serde_json::{Value, json};

use super::super::exit::{Exit, Failure, Outcome};
use super::super::output;
use super::build::{build, cargo};
use super::file::{PluginFile, options, refused};
use super::project::{Form, Project};
use super::replay::{counts_text, difference_text, replayed};

/// How long one probe may take.
const PROBE_MAX: Duration = Duration::from_secs(120);
/// Differences of a recording that are shown.
const SHOWN: usize = 3;

/// `jackfield plugin test`.
#[derive(Debug, Args)]
#[command(
    after_help = "In a project: builds it, runs `cargo test` against the source and against what was built (Rust), replays \
                        tests/*.jsonl, and asks what a plugin must survive. With a file: the last alone. Exit code 1: \
                        something failed."
)]
pub(crate) struct Test {
    /// The project, or a plugin file
    #[arg(value_name = "FOLDER|FILE", default_value = ".")]
    path: PathBuf,
    /// The plugin's options [default: those in the project's jackfield.toml]
    #[arg(short, long, value_name = "JSON", value_parser = options)]
    options: Option<Value>,
    /// The largest payload it is shown, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    payload_max: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What came of one step.
#[derive(Debug)]
struct Step {
    name: String,
    /// Empty: it has passed.
    failures: Vec<String>,
    /// What may be meant so.
    remarks: Vec<String>,
    detail: String,
}

impl Test {
    pub(crate) fn run(self) -> Outcome {
        let mut steps = Vec::new();
        let mut told = |step: Step| -> Outcome {
            if !self.json {
                output::text(step.text().as_bytes())?;
            }
            steps.push(step);
            Ok(())
        };
        let (file, options) = if self.path.is_dir() {
            let project = Project::open(&self.path)?;
            let options = self.options.clone().map_or_else(|| project.options(), Ok)?;
            let file = build(&project, false)?;
            for step in own_tests(&project, &file)? {
                told(step)?;
            }
            for recording in project.recordings() {
                told(recorded(&project, &file, &options, &recording)?)?;
            }
            (file, options)
        } else {
            let options = self.options.clone().unwrap_or_else(|| json!({}));
            (self.path.clone(), options)
        };
        PluginFile::find(&file)?;
        probed(&file, &options, self.payload_max, &mut told)?;
        let failed = steps.iter().filter(|step| !step.failures.is_empty()).count();
        match self.json {
            true => {
                let steps: Vec<_> = steps.iter().map(Step::json).collect();
                output::line(json!({ "ok": failed == 0, "steps": steps }))?;
            }
            false if failed == 0 => output::line(format_args!("{} steps passed", steps.len()))?,
            false => output::line(format_args!("{failed} of {} steps failed", steps.len()))?,
        }
        match failed {
            0 => Ok(()),
            _ => Err(Failure::silent(Exit::Failed as u8)),
        }
    }
}

impl Step {
    fn passed(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            failures: Vec::new(),
            remarks: Vec::new(),
            detail: detail.into(),
        }
    }

    fn failed(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            failures: vec![why.into()],
            ..Self::passed(name, "")
        }
    }

    fn text(&self) -> String {
        let said = if self.failures.is_empty() {
            "ok    "
        } else {
            "FAILED"
        };
        let line = format!("{said} {:<18} {}", self.name, self.detail);
        let mut text = format!("{}\n", line.trim_end());
        for failure in &self.failures {
            text += &format!("       {}\n", failure.replace('\n', "\n       "));
        }
        for remark in &self.remarks {
            text += &format!("       note: {remark}\n");
        }
        text
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "ok": self.failures.is_empty(),
            "failures": self.failures,
            "remarks": self.remarks,
            "detail": self.detail,
        })
    }
}

/// Runs the tests that the language knows: those of Cargo, once against the source and once against the built file.
fn own_tests(project: &Project, file: &Path) -> Result<Vec<Step>, Failure> {
    if project.manifest.build.is_some() {
        return Ok(Vec::new());
    }
    let run = |name: &str, about: &str, plugin: Option<&Path>| -> Result<Step, Failure> {
        let mut command = cargo(project)?;
        command.args(["test", "--quiet"]).stdin(Stdio::null());
        if let Some(plugin) = plugin {
            command.env("JACKFIELD_PLUGIN", plugin);
        }
        // What it prints is no result of ours.
        let ended = command.stdout(Stdio::from(std::io::stderr())).status();
        let ended = ended.map_err(|error| Failure::io("cargo", &error))?;
        Ok(match ended.success() {
            true => Step::passed(name, about),
            false => Step::failed(name, format!("{about} ({ended})")),
        })
    };
    let mut steps = vec![run("source", "cargo test", None)?];
    if project.manifest.form == Form::Native {
        steps.push(run(
            "built file",
            "cargo test, with JACKFIELD_PLUGIN",
            Some(file),
        )?);
    }
    Ok(steps)
}

fn recorded(project: &Project, file: &Path, options: &Value, recording: &Path) -> Result<Step, Failure> {
    let name = recording
        .strip_prefix(&project.folder)
        .unwrap_or(recording)
        .display()
        .to_string();
    let plugin = PluginFile::find(file)?.loaded(options)?;
    let harness = Harness::of(plugin).map_err(|error| refused(&error))?;
    let (mut differ, mut shown) = (0, Vec::new());
    let replayed = replayed(&harness, recording, |difference| {
        differ += 1;
        if shown.len() < SHOWN {
            shown.push(difference_text(difference));
        }
    })?;
    harness.stop();
    Ok(Step {
        failures: shown,
        ..Step::passed(name, counts_text(&replayed, differ))
    })
}

/// Has the probes put in another process, and tells what it says; the probe it dies in has failed.
fn probed(
    file: &Path,
    options: &Value,
    payload_max: usize,
    told: &mut impl FnMut(Step) -> Outcome,
) -> Outcome {
    let program = std::env::current_exe().map_err(|error| Failure::io("jackfield", &error))?;
    let mut child = Command::new(program)
        .args(["plugin", "conformance"])
        .arg(file)
        .args([
            "--options",
            &options.to_string(),
            "--payload-max",
            &payload_max.to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::io("jackfield", &error))?;
    let lines = lines(&mut child);
    let mut begun: Option<String> = None;
    loop {
        match lines.recv_timeout(PROBE_MAX) {
            Ok(line) => {
                let Ok(said) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                if let Some(name) = said.get("begin").and_then(Value::as_str) {
                    begun = Some(name.to_owned());
                } else if let Some(step) = finding(&said) {
                    begun = None;
                    told(step)?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                // What is killed is ours; it may have ended by itself just now.
                let _ = child.kill();
                let _ = child.wait();
                let name = begun.unwrap_or_else(|| "loading".to_owned());
                let why = format!("it hasn't ended within {} s and was killed", PROBE_MAX.as_secs());
                return told(Step::failed(name, why));
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let ended = child.wait().map_err(|error| Failure::io("jackfield", &error))?;
    match begun {
        Some(name) => told(Step::failed(
            name,
            format!("the process {}: so would the broker", how(ended)),
        )),
        None if ended.success() => Ok(()),
        None => told(Step::failed("loading", format!("the process {}", how(ended)))),
    }
}

fn finding(said: &Value) -> Option<Step> {
    let texts = |name: &str| {
        let list = said.get(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let count = |name: &str| said.get(name).and_then(Value::as_u64).unwrap_or(0);
    let detail = match (count("calls"), count("faults")) {
        (0, _) => String::new(),
        (calls, 0) => format!("{calls} calls"),
        (calls, faults) => format!("{calls} calls, {faults} faults"),
    };
    Some(Step {
        failures: texts("failures"),
        remarks: texts("remarks"),
        ..Step::passed(said.get("end")?.as_str()?, detail)
    })
}

fn how(ended: ExitStatus) -> String {
    let names = [
        (4, "SIGILL, an illegal instruction"),
        (6, "SIGABRT, abort()"),
        (7, "SIGBUS, a bad address"),
        (8, "SIGFPE, a division by zero"),
        (9, "SIGKILL"),
        (11, "SIGSEGV, a bad address"),
    ];
    match ended.signal() {
        Some(signal) => {
            let name = names.iter().find(|(known, _)| *known == signal);
            format!(
                "was ended by signal {signal} ({})",
                name.map_or("unknown", |(_, name)| name)
            )
        }
        None => format!("ended with code {}", ended.code().unwrap_or(-1)),
    }
}

/// Hands out the lines of a child's standard output. The channel closes with it.
fn lines(child: &mut Child) -> Receiver<String> {
    let (send, receive) = mpsc::sync_channel(64);
    if let Some(out) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
    }
    receive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_step() {
        let said = json!({ "end": "payloads", "failures": ["a", "b\nc"], "remarks": ["d"], "calls": 5, "faults": 1 });
        let step = finding(&said).unwrap();
        assert_eq!(
            step.text(),
            "FAILED payloads           5 calls, 1 faults\n       a\n       b\n       c\n       note: d\n"
        );
        assert!(finding(&json!({ "begin": "x" })).is_none());
    }

    #[test]
    fn a_signal_has_its_name() {
        assert!(how(ExitStatus::from_raw(11)).contains("SIGSEGV"));
        assert_eq!(how(ExitStatus::from_raw(3 << 8)), "ended with code 3");
    }
}

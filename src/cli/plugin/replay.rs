//! `jackfield plugin replay`: calls that were recorded in a broker, put to a plugin on the table.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use plugin_testkit::Harness;
use plugin_testkit::record::{Difference, Replayed, replay};
use serde_json::{Value, json};

use super::super::exit::{Exit, Failure, Outcome};
use super::super::output;
use super::file::{PluginFile, options};

/// Differences that are kept to be told at the end.
const KEPT: usize = 0;

/// `jackfield plugin replay`.
#[derive(Debug, Args)]
#[command(
    after_help = "A recording is made by `jackfield run --record NAME=FILE`, or by hand: JSON lines with `call` and \
                        `said`. Exit code 1: the plugin says something else."
)]
pub(crate) struct Replay {
    /// The plugin
    file: PathBuf,
    /// The recording
    recording: PathBuf,
    /// The plugin's options
    #[arg(short, long, value_name = "JSON", default_value = "{}", value_parser = options)]
    options: Value,
    /// Print one JSON object for each difference, and one with the counts
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub(crate) fn run(self) -> Outcome {
        let plugin = PluginFile::find(&self.file)?.loaded(&self.options)?;
        let harness = Harness::of(plugin).map_err(|error| super::file::refused(&error))?;
        let mut differ = 0;
        let replayed = replayed(&harness, &self.recording, |difference| {
            differ += 1;
            // A reader that went away is noticed at the end.
            let _ = match self.json {
                true => output::line(difference_json(difference)),
                false => output::line(difference_text(difference)),
            };
        })?;
        harness.stop();
        match self.json {
            true => output::line(counts_json(&replayed, differ))?,
            false => output::line(counts_text(&replayed, differ))?,
        }
        match differ {
            0 => Ok(()),
            _ => Err(Failure::silent(Exit::Failed as u8)),
        }
    }
}

/// Replays a file.
pub(super) fn replayed(
    plugin: &Harness,
    recording: &Path,
    differ: impl FnMut(&Difference),
) -> Result<Replayed, Failure> {
    let failure = |error: &std::io::Error| Failure::io(recording.display(), error);
    let file = File::open(recording).map_err(|error| failure(&error))?;
    replay(plugin, BufReader::new(file), KEPT, differ).map_err(|error| failure(&error))
}

pub(super) fn difference_text(difference: &Difference) -> String {
    format!(
        "line {}: {}\n  then: {}\n  now:  {}",
        difference.line, difference.call, difference.then, difference.now
    )
}

fn difference_json(difference: &Difference) -> Value {
    json!({
        "line": difference.line,
        "call": difference.call,
        "then": difference.then,
        "now": difference.now,
    })
}

/// Tells the counts that aren't zero.
pub(super) fn counts_text(replayed: &Replayed, differ: usize) -> String {
    let mut text = format!("{} calls, {differ} differ", replayed.asked);
    for (count, what) in [
        (replayed.no_hook, "of hooks that it doesn't have"),
        (replayed.not_recorded, "not wholly recorded"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text
}

fn counts_json(replayed: &Replayed, differ: usize) -> Value {
    json!({
        "asked": replayed.asked,
        "differ": differ,
        "no_hook": replayed.no_hook,
        "not_recorded": replayed.not_recorded,
    })
}

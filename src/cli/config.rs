//! `jackfield config`: looking at the configuration without running it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jackfield::config_file::{self, effective};

use super::exit::{Exit, Failure, Outcome};
use super::output;
use super::source::{Overrides, loaders, runtime};

/// `jackfield config`.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print every key that has a value
    Show(Show),
    /// Print a JSON Schema of the file, for editors
    Schema,
}

/// `jackfield config show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The configuration; without one, what holds without any is shown
    file: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Print behind each value where it came from
    #[arg(long)]
    origin: bool,
}

impl Config {
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::Schema => output::line(config_file::json_schema()),
            Self::Show(show) => show.run(),
        }
    }
}

impl Show {
    fn run(self) -> Outcome {
        let sources = self.overrides.sources(self.file);
        let entries = runtime()?
            .block_on(effective(&sources, &loaders()))
            .map_err(|report| {
                output::report(&report);
                Failure::silent(Exit::Configuration as u8)
            })?;
        for entry in entries {
            match self.origin {
                true => output::line(format_args!(
                    "{} = {}  # {}",
                    entry.key, entry.value, entry.origin
                ))?,
                false => output::line(format_args!("{} = {}", entry.key, entry.value))?,
            }
        }
        Ok(())
    }
}

//! `jackfield config show`: every key that has a value, and where it came from.

use std::path::PathBuf;

use clap::Args;
use jackfield::config_file::effective;

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output;
use crate::cli::source::{Overrides, loaders, runtime};

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

impl Show {
    pub(crate) fn run(self) -> Outcome {
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

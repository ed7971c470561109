//! `jackfield config`: looking at the configuration without running it, and changing it without an editor.

mod diff;
mod schema;
mod set;
mod show;

use clap::Subcommand;

use super::exit::Outcome;

/// `jackfield config`.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print every key that has a value
    Show(show::Show),
    /// Print which values of two configurations differ
    Diff(diff::Diff),
    /// Set keys of a file, and leave its comments alone
    Set(set::Set),
    /// Print a JSON Schema of the file, for editors
    Schema(schema::Schema),
}

impl Config {
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::Show(command) => command.run(),
            Self::Diff(command) => command.run(),
            Self::Set(command) => command.run(),
            Self::Schema(command) => command.run(),
        }
    }
}

//! `jackfield config schema`: what may stand in the file, for editors.

use std::path::PathBuf;

use clap::Args;
use jackfield::config_file::{json_schema, json_schema_with};

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output;
use crate::cli::source::{Overrides, loaders, runtime};

/// `jackfield config schema`.
#[derive(Debug, Args)]
#[command(
    after_help = "Editors that understand TOML take it from the file's first line:\n  \
                        jackfield config schema jackfield.toml > jackfield.schema.json\n  \
                        #:schema ./jackfield.schema.json"
)]
pub(crate) struct Schema {
    /// A configuration: then the options of its plugins are described too
    file: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

impl Schema {
    pub(crate) fn run(self) -> Outcome {
        let Some(file) = self.file else {
            return output::line(json_schema());
        };
        let sources = self.overrides.sources(Some(file));
        let schema = runtime()?.block_on(json_schema_with(&sources, &loaders()));
        output::line(schema.map_err(|report| {
            output::report(&report);
            Failure::silent(Exit::Configuration as u8)
        })?)
    }
}

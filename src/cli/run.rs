//! `jackfield run`: the broker itself.

use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Failure, Outcome};
use super::source::{Overrides, flag, listen, load, runtime};

/// `jackfield run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration; without one: 127.0.0.1:1883, everybody comes in, nothing is kept on disk
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here too: a port on loopback, HOST:PORT or unix:PATH
    #[arg(short, long, value_name = "ADDRESS")]
    listen: Vec<String>,
    #[command(flatten)]
    overrides: Overrides,
    /// Log from this level on: off, error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How log records look: auto, text, json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Run {
    pub(crate) fn run(self) -> Outcome {
        let mut sources = self.overrides.sources(self.config.clone());
        sources.flags.extend(listen(&self.listen, self.config.is_some()));
        let log = [
            ("--log-level", "level", &self.log_level),
            ("--log-format", "format", &self.log_format),
        ];
        for (name, key, value) in log {
            sources
                .flags
                .extend(value.iter().map(|value| flag(name, value, &["log", key], value)));
        }
        let runtime = runtime()?;
        let loaded = runtime.block_on(load(&sources)).map_err(|report| {
            eprintln!("{report}");
            Failure::silent(Exit::Configuration as u8)
        })?;
        if loaded.report.iter().next().is_some() {
            eprintln!("{}\n", loaded.report);
        }
        super::logging::start(&loaded.settings.log);
        Ok(())
    }
}

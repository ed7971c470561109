//! `jackfield plugin conformance`, for `plugin test`: the probes, in a process that a plugin may take down. Tells which
//! probe begins before it begins, so that the caller knows what the last one was.

use std::path::PathBuf;

use clap::Args;
use plugin_testkit::conformance::{Finding, PROBES, Subject};
use serde_json::{Value, json};

use super::super::exit::Outcome;
use super::super::output;
use super::file::{PluginFile, options};

/// `jackfield plugin conformance`.
#[derive(Debug, Args)]
pub(crate) struct Conformance {
    /// The plugin
    file: PathBuf,
    /// The plugin's options
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = options)]
    options: Value,
    /// The largest payload it is shown, in bytes
    #[arg(long, default_value_t = 1 << 20)]
    payload_max: usize,
}

impl Conformance {
    pub(crate) fn run(self) -> Outcome {
        let file = PluginFile::find(&self.file)?;
        let load = |options: &Value| file.load(options);
        let subject = Subject {
            load: &load,
            options: self.options,
            payload_bytes_max: self.payload_max,
        };
        PROBES.iter().try_for_each(|probe| {
            output::line(json!({ "begin": probe.name, "about": probe.about }))?;
            output::line(finding_json(probe.name, &probe.run(&subject)))
        })
    }
}

fn finding_json(name: &str, finding: &Finding) -> Value {
    json!({
        "end": name,
        "failures": finding.failures,
        "remarks": finding.remarks,
        "calls": finding.calls,
        "faults": finding.faults,
    })
}

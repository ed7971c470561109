//! `jackfield config diff`: what holds in one configuration and not in another, value by value.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use jackfield::config_file::effective;

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output;
use crate::cli::source::{Overrides, loaders, runtime};

/// `jackfield config diff`.
#[derive(Debug, Args)]
#[command(
    long_about = "Print which values of two configurations differ: what holds after defaults, includes, overlays and variables, not how \
                  it is written. Secrets are compared, but not shown.",
    after_help = "Exit codes: 0 nothing differs, 1 something does, 78 one of them is wrong."
)]
pub(crate) struct Diff {
    /// The one
    old: PathBuf,
    /// The other
    new: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
}

/// A value to compare, and one to show.
type Values = BTreeMap<String, (String, String)>;

impl Diff {
    pub(crate) fn run(self) -> Outcome {
        let (old, new) = (self.values(self.old.clone())?, self.values(self.new.clone())?);
        let lines = differences(&old, &new);
        lines.iter().try_for_each(output::line)?;
        match lines.is_empty() {
            true => Ok(()),
            false => Err(Failure::silent(Exit::Failed as u8)),
        }
    }

    fn values(&self, file: PathBuf) -> Result<Values, Failure> {
        let sources = self.overrides.sources(Some(file));
        let entries = runtime()?
            .block_on(effective(&sources, &loaders()))
            .map_err(|report| {
                output::report(&report);
                Failure::silent(Exit::Configuration as u8)
            })?;
        let value = |entry: jackfield::config_file::Entry| (entry.key, (entry.digest, entry.value));
        Ok(entries.into_iter().map(value).collect())
    }
}

/// A line for each value that is gone or new, by name; of one that changed, both.
fn differences(old: &Values, new: &Values) -> Vec<String> {
    let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let mut lines = Vec::new();
    for key in keys {
        let (before, after) = (old.get(key), new.get(key));
        if before.map(|value| &value.0) == after.map(|value| &value.0) {
            continue;
        }
        lines.extend(before.map(|(_, shown)| format!("- {key} = {shown}")));
        lines.extend(after.map(|(_, shown)| format!("+ {key} = {shown}")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_new_or_other_is_listed() {
        let values = |all: &[(&str, &str)]| -> Values {
            let value =
                |(key, value): &(&str, &str)| (key.to_string(), (value.to_string(), value.to_string()));
            all.iter().map(value).collect()
        };
        let old = values(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let new = values(&[("a", "1"), ("b", "20"), ("d", "4")]);
        assert_eq!(
            differences(&old, &new),
            ["- b = 2", "+ b = 20", "- c = 3", "+ d = 4"]
        );
        assert!(differences(&old, &old).is_empty());
    }
}

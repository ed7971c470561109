//! `jackfield config set`: changes a file as a careful person with an editor would. Comments and order stay, and a change that
//! would make the file wrong isn't written.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use jackfield::config_file::{load, written};
use plugin_basis::replace_file;
use toml_edit::{DocumentMut, InlineTable, Item, Key, Table, TableLike, Value};

use crate::cli::edit::put;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output;
use crate::cli::source::{Overrides, loaders, runtime};

/// `jackfield config set`.
#[derive(Debug, Args)]
#[command(
    long_about = "Set keys of a file, and leave its comments alone. What would make the configuration wrong isn't written.",
    after_help = "Example:\n  jackfield config set listeners.main.bind=0.0.0.0:1883 limits.inflight_max=100"
)]
pub(crate) struct Set {
    /// A key and its value, as in TOML; quotes may be left out where only a string can stand
    #[arg(required = true, value_name = "KEY=VALUE")]
    pairs: Vec<String>,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "jackfield.toml")]
    config: PathBuf,
    /// Take the keys out instead; then no values are given
    #[arg(long)]
    unset: bool,
}

impl Set {
    pub(crate) fn run(self) -> Outcome {
        let failed = |error: &std::io::Error| Failure::io(self.config.display(), error);
        let text = fs::read_to_string(&self.config).map_err(|error| failed(&error))?;
        let mut document: DocumentMut = text.parse().map_err(|error| {
            let message = format!("{}: {error}", self.config.display());
            Failure::new(Exit::Configuration, message)
        })?;
        for pair in &self.pairs {
            self.change(&mut document, pair)
                .map_err(|why| Failure::new(Exit::Usage, why))?;
        }
        let text = document.to_string();
        let mut sources = Overrides::default().sources(Some(self.config.clone()));
        sources.unsaved = Some(text.clone());
        let report = match runtime()?.block_on(load(&sources, &loaders())) {
            Ok(loaded) => loaded.report,
            Err(report) => {
                output::report(&report);
                return Err(Failure::new(Exit::Configuration, "nothing was changed"));
            }
        };
        replace_file(&self.config, text.as_bytes()).map_err(|error| failed(&error))?;
        if report.iter().next().is_some() {
            output::report(&report);
        }
        Ok(())
    }

    /// Makes one change.
    fn change(&self, document: &mut DocumentMut, pair: &str) -> Result<(), String> {
        if self.unset {
            return unset(document, &keys(pair)?)
                .then_some(())
                .ok_or_else(|| format!("`{pair}` isn't set in {}", self.config.display()));
        }
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("`{pair}`: needs KEY=VALUE"))?;
        let keys = keys(key)?;
        let names: Vec<_> = keys.iter().map(|key| key.get().to_owned()).collect();
        let value = written(&names, value.trim());
        let value: Value = value.parse().map_err(|error| format!("`{pair}`: {error}"))?;
        set(document, &keys, value)
    }
}

/// Reads a key with dots.
fn keys(text: &str) -> Result<Vec<Key>, String> {
    let keys = Key::parse(text.trim()).map_err(|_| match text.contains('[') {
        true => format!("`{text}`: an item of an array has no name; set the array as a whole"),
        false => format!("`{text}` is no key"),
    })?;
    Ok(keys.into_iter().map(|key| Key::new(key.get())).collect())
}

/// Puts a value in its place; a value that was there leaves the space and comments around it.
fn set(document: &mut DocumentMut, keys: &[Key], value: Value) -> Result<(), String> {
    let Some((last, way)) = keys.split_last() else {
        return Err("there is no key".to_owned());
    };
    let mut table: &mut dyn TableLike = document.as_table_mut();
    let mut inline = false;
    for key in way {
        if inline && !table.contains_key(key.get()) {
            put(table, key.get(), Value::InlineTable(InlineTable::new()));
        }
        let made = || {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        };
        let item = table.entry_format(key).or_insert_with(made);
        inline = item.is_inline_table();
        table = item
            .as_table_like_mut()
            .ok_or_else(|| format!("`{}` is no table", key.get()))?;
    }
    match table.get(last.get()) {
        Some(Item::Value(_)) | None => put(table, last.get(), value),
        Some(_) => return Err(format!("`{}` is a table; set the keys in it", last.get())),
    }
    Ok(())
}

/// Takes a key out. False: it isn't there.
fn unset(document: &mut DocumentMut, keys: &[Key]) -> bool {
    let Some((last, way)) = keys.split_last() else {
        return false;
    };
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for key in way {
        match table.get_mut(key.get()).and_then(Item::as_table_like_mut) {
            Some(inner) => table = inner,
            None => return false,
        }
    }
    table.remove(last.get()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# mine\n[listeners.main]\nbind = \"127.0.0.1:1883\"   # why\nlimits = { inflight_max = 3 }\n\n[log]\nlevel = \"info\"\n";

    fn changed(unset: bool, pairs: &[&str]) -> Result<String, String> {
        let mut document: DocumentMut = TEXT.parse().unwrap();
        let set = Set {
            pairs: Vec::new(),
            config: "j.toml".into(),
            unset,
        };
        pairs
            .iter()
            .try_for_each(|pair| set.change(&mut document, pair))?;
        Ok(document.to_string())
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        assert_eq!(
            changed(
                false,
                &[
                    "listeners.main.bind=0.0.0.0:1883",
                    "listeners.main.limits.inflight_max = 5"
                ]
            )
            .unwrap(),
            TEXT.replace("127.0.0.1", "0.0.0.0").replace("= 3", "= 5")
        );
        assert_eq!(
            changed(false, &["limits.rate.messages=9", "log.targets.\"a::b\"=debug"]).unwrap(),
            format!("{TEXT}\n[log.targets]\n\"a::b\" = \"debug\"\n\n[limits.rate]\nmessages = 9\n")
        );
        let text = TEXT.replace(
            "inflight_max = 3",
            "inflight_max = 3, rate = { bytes = \"1KiB\" }",
        );
        assert_eq!(
            changed(false, &["listeners.main.limits.rate.bytes=1KiB"]).unwrap(),
            text
        );
        let text = TEXT.replace("level = \"info\"\n", "");
        assert_eq!(changed(true, &["log.level"]).unwrap(), text);
    }

    #[test]
    fn what_cannot_be_set_is_refused() {
        for (unset, pair, why) in [
            (false, "log", "needs KEY=VALUE"),
            (false, "log=3", "is a table"),
            (false, "log.level.x=3", "`level` is no table"),
            (false, "chains.a[0]=x", "an item of an array"),
            (true, "log.format", "isn't set in j.toml"),
        ] {
            let error = changed(unset, &[pair]).unwrap_err();
            assert!(error.contains(why), "{pair}: {error}");
        }
    }
}

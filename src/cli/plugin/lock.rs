//! `jackfield plugin lock`: the digests of the plugin files that a configuration names, written into it. Comments and
//! layout stay as they are.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use plugin_api::PluginSource;
use plugin_artefact::Artefact;
use plugin_basis::replace_file;
use toml_edit::{DocumentMut, Item, TableLike};

use super::super::edit::put;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output;

/// `jackfield plugin lock`.
#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// The configuration; only this file is changed, not what it includes
    #[arg(default_value = "jackfield.toml")]
    file: PathBuf,
    /// Change nothing; fail if a digest is missing or another one
    #[arg(long)]
    check: bool,
}

/// What became of one plugin.
#[derive(Debug, PartialEq, Eq)]
enum Locked {
    Same,
    New,
    Changed,
}

impl Lock {
    pub(crate) fn run(self) -> Outcome {
        let text =
            fs::read_to_string(&self.file).map_err(|error| Failure::io(self.file.display(), &error))?;
        let mut document: DocumentMut = text.parse().map_err(|error| {
            Failure::new(Exit::Configuration, format!("{}: {error}", self.file.display()))
        })?;
        let folders = folders(&document, self.file.parent().unwrap_or(Path::new("")));
        let mut differ = false;
        let mut found = 0;
        for (name, plugin) in plugins(&mut document) {
            let Some(what) = file_of(plugin) else { continue };
            found += 1;
            let digest = digest(&what, &folders)
                .map_err(|why| Failure::new(Exit::Failed, format!("plugin `{name}`: {why}")))?;
            let locked = pin(plugin, &digest);
            differ |= locked != Locked::Same;
            let how = match locked {
                Locked::Same => "is that of the file",
                Locked::New => "is new",
                Locked::Changed => "has changed",
            };
            output::line(format_args!("{name}: {what}: sha256 {digest} {how}"))?;
        }
        if found == 0 {
            return output::line(format_args!("{}: no plugin is a file", self.file.display()));
        }
        match (differ, self.check) {
            (false, _) => Ok(()),
            (true, true) => Err(
                Failure::new(Exit::Failed, "the configuration doesn't pin what is there")
                    .hint(format!("jackfield plugin lock {}", self.file.display())),
            ),
            (true, false) => replace_file(&self.file, document.to_string().as_bytes())
                .map_err(|error| Failure::io(self.file.display(), &error)),
        }
    }
}

/// Returns the folders of plugins, which are relative to the configuration's own.
fn folders(document: &DocumentMut, base: &Path) -> Vec<PathBuf> {
    let folders = document.get("node").and_then(|node| node.get("plugin_dirs"));
    let folders = folders.and_then(Item::as_array).into_iter().flatten();
    folders
        .filter_map(|folder| Some(base.join(folder.as_str()?)))
        .collect()
}

/// Returns the plugins of a configuration.
fn plugins(document: &mut DocumentMut) -> Vec<(String, &mut dyn TableLike)> {
    let Some(plugins) = document.get_mut("plugins").and_then(Item::as_table_like_mut) else {
        return Vec::new();
    };
    let tables = plugins.iter_mut().filter_map(|(name, plugin)| {
        let name = name.get().to_owned();
        Some((name, plugin.as_table_like_mut()?))
    });
    tables.collect()
}

/// Returns the file of a plugin that is one.
fn file_of(plugin: &dyn TableLike) -> Option<String> {
    let (loader, what) = plugin.get("use")?.as_str()?.split_once(':')?;
    ["native", "wasm"].contains(&loader).then(|| what.to_owned())
}

/// Returns the digest of a file of one of the folders.
fn digest(what: &str, folders: &[PathBuf]) -> Result<String, String> {
    let source = PluginSource {
        what: what.to_owned(),
        ..PluginSource::default()
    };
    let artefact = Artefact::read(&source, folders).map_err(|error| match folders {
        [] => format!("{error} (the configuration has no `node.plugin_dirs`)"),
        _ => error.to_string(),
    })?;
    Ok(artefact.digest)
}

/// Writes a digest behind `use`.
fn pin(plugin: &mut dyn TableLike, digest: &str) -> Locked {
    let pinned = plugin.get("sha256").and_then(Item::as_str);
    let locked = match pinned {
        Some(pinned) if pinned.eq_ignore_ascii_case(digest) => return Locked::Same,
        Some(_) => Locked::Changed,
        None => Locked::New,
    };
    put(plugin, "sha256", digest.into());
    locked
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# mine\n[plugins.a]   # why\nuse = \"native:a.so\"\nsha256 = \"00\"  # old\n\n\
                        [plugins]\nb = { use = \"wasm:b.wasm\" }\nc.use = \"builtin:auth-file\"\n";

    #[test]
    fn only_digests_change() {
        let mut document: DocumentMut = TEXT.parse().unwrap();
        let mut seen = Vec::new();
        for (name, plugin) in plugins(&mut document) {
            if let Some(what) = file_of(plugin) {
                seen.push((name, what, pin(plugin, "ab")));
            }
        }
        let expected = [("a", "a.so", Locked::Changed), ("b", "b.wasm", Locked::New)];
        let expected = expected.map(|(name, what, locked)| (name.to_owned(), what.to_owned(), locked));
        assert_eq!(seen, expected);
        assert_eq!(
            document.to_string(),
            TEXT.replace("\"00\"", "\"ab\"")
                .replace("b.wasm\" }", "b.wasm\", sha256 = \"ab\" }")
        );
        let again: Vec<_> = plugins(&mut document)
            .into_iter()
            .filter(|(_, plugin)| file_of(*plugin).is_some())
            .map(|(_, plugin)| pin(plugin, "AB"))
            .collect();
        assert_eq!(again, [Locked::Same, Locked::Same]);
    }
}

//! A plugin's project: the folder with a `plugin.toml`, and what it says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::super::exit::{Exit, Failure};

/// The file that says what a project is.
pub(super) const MANIFEST: &str = "plugin.toml";
/// Where built files go.
pub(super) const BUILD: &str = "build";

/// A project.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) folder: PathBuf,
    pub(super) manifest: Manifest,
}

/// What `plugin.toml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) name: String,
    /// What it is for; for people.
    #[serde(rename = "kind")]
    _kind: Option<String>,
    pub(super) lang: String,
    #[serde(default)]
    pub(super) form: Form,
    /// How it is built; not needed for Rust.
    pub(super) build: Option<How>,
}

/// What it becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    #[default]
    Native,
    Wasm,
}

/// How a project is built that Cargo doesn't build.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    /// The command, in the project's folder.
    pub(super) run: Vec<String>,
    /// The file that is there then.
    pub(super) file: PathBuf,
    /// Programs that it needs, and where they are to be had.
    #[serde(default)]
    pub(super) tools: BTreeMap<String, String>,
}

impl Project {
    /// Opens the project in `folder`.
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(MANIFEST);
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                let message = format!("{} is no plugin project: it has no {MANIFEST}", folder.display());
                Failure::new(Exit::Failed, message).hint("`jackfield plugin new NAME` makes one")
            }
            _ => Failure::io(path.display(), &error),
        })?;
        let manifest: Manifest = toml::from_str(&text)
            .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))?;
        if manifest.lang != "rust" && manifest.build.as_ref().is_none_or(|how| how.run.is_empty()) {
            let message = format!(
                "{}: it doesn't say how {} is built",
                path.display(),
                manifest.lang
            );
            return Err(Failure::new(Exit::Failed, message)
                .hint("[build]\n  run = [\"make\"]\n  file = \"build/x.so\""));
        }
        let folder = folder
            .canonicalize()
            .map_err(|error| Failure::io(folder.display(), &error))?;
        Ok(Self { folder, manifest })
    }

    /// Returns the options that the project's own `jackfield.toml` gives the plugin; none: an empty object.
    pub(super) fn options(&self) -> Result<Value, Failure> {
        let empty = || Value::Object(serde_json::Map::new());
        let path = self.folder.join("jackfield.toml");
        let Ok(text) = fs::read_to_string(&path) else {
            return Ok(empty());
        };
        let configuration: toml::Table = text
            .parse()
            .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))?;
        let instance = self.manifest.name.replace('-', "_");
        let config = configuration
            .get("plugins")
            .and_then(|plugins| plugins.get(&instance)?.get("config"));
        let Some(config) = config else {
            return Ok(empty());
        };
        serde_json::to_value(config)
            .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))
    }

    /// Returns the recordings that its tests replay, in order.
    pub(super) fn recordings(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.join("tests")).into_iter().flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut found: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .collect();
        found.sort();
        found
    }
}

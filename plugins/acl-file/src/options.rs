//! What the configuration says.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of `acl-file`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The file with the rules.
    #[schemars(extend("format" = "path"))]
    pub file: PathBuf,
    /// How the file is written.
    #[serde(default)]
    pub format: Format,
    /// Look at the file every 2 seconds and take a changed one over.
    #[serde(default = "yes")]
    pub watch: bool,
}

impl Options {
    /// Returns the options for `file`, the others as they are by default.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            format: Format::default(),
            watch: yes(),
        }
    }
}

/// How a file of rules is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// Jackfield's own: TOML with a list of rules.
    #[default]
    Toml,
    /// The `acl_file` of mosquitto.
    Mosquitto,
}

fn yes() -> bool {
    true
}

//! What the configuration says.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of `auth-file`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The file with the users and their hashed passwords.
    #[schemars(extend("format" = "path"))]
    pub file: PathBuf,
    /// What becomes of a User Name that isn't in the file.
    #[serde(default)]
    pub unknown: Unknown,
    /// Look at the file every 2 seconds and take a changed one over.
    #[serde(default = "yes")]
    pub watch: bool,
}

impl Options {
    /// Returns the options for `file`, the others as they are by default.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            unknown: Unknown::default(),
            watch: yes(),
        }
    }
}

/// What becomes of a User Name that isn't in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Unknown {
    /// It is refused.
    #[default]
    Deny,
    /// The next plugin of the chain decides.
    Skip,
}

fn yes() -> bool {
    true
}

//! `jackfield.toml`: read in layers, held against its schema, checked for what it means.
//!
//! The layers, weakest first: the built-in defaults, the file, its includes, its overlay, environment variables
//! (`JACKFIELD__LISTENERS__MAIN__BIND`), `--set key=value`, and other flags. Figment merges them; of every value it stays
//! known where it came from. [`load`] gives [`Settings`] or a [`Report`] with everything that is wrong, each mistake with
//! its place. Nothing here opens a port or starts a plugin.

mod bridges;
mod chains;
mod check;
mod code;
mod diagnostic;
mod effective;
mod later;
mod layer;
mod listeners;
mod origins;
mod plugins;
pub mod quantity;
#[cfg(test)]
mod reference;
mod resolve;
mod sandbox;
mod schema;
mod secrets;
mod settings;
mod shape;
mod sources;
mod store;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod trials;
mod when;

pub use code::Code;
pub use diagnostic::{Diagnostic, Origin, Place, Report, Severity, Snippet};
pub use effective::{Entry, effective};
pub use layer::VARIABLE_PREFIX;
pub use plugins::Loaders;
pub use settings::{
    BridgeSettings, BrokerLimits, ChainSettings, FaultPolicy, Instance, ListenerSettings, LogSettings,
    Settings, UseSettings,
};
pub use shape::{LogFormat, LogLevel};
pub use sources::{Flag, Sources};
pub use text::{Bind, BindError};
pub(crate) use trials::trial_listener;
pub use trials::{Expected, ExpectedMessage, ExpectedPayload, Trial};
pub use when::{Expression, ExpressionError};

use std::path::PathBuf;
use std::time::SystemTime;

use origins::Origins;

/// A configuration without errors, and the warnings.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it means.
    pub settings: Settings,
    /// Warnings only.
    pub report: Report,
    /// Every key that has a value, by name.
    pub values: Vec<Entry>,
    /// The files that were read, and the folders in which `include` looked for more.
    pub files: Vec<PathBuf>,
    /// When reading them began.
    pub read_at: SystemTime,
}

/// Reads and checks a configuration. The loaders are asked which plugins there are and whether their options are right.
///
/// # Errors
/// Everything that is wrong with it, at once. After a syntax error only syntax errors, since what follows one can't be
/// trusted.
pub async fn load(sources: &Sources, loaders: &Loaders) -> Result<Loaded, Report> {
    let read_at = SystemTime::now();
    let mut report = Report::default();
    let layers = sources.read(&mut report)?;
    let files = sources::files(&layers);
    let origins = Origins::merge(layers, &mut report);
    let values = match origins.extract(&mut report) {
        Some(merged) => effective::entries(&merged, &origins, loaders).await,
        None => Vec::new(),
    };
    let mut settings = None;
    if let Some(file) = origins.extract::<shape::File>(&mut report) {
        let (resolved, found) = resolve::resolve(&file, &origins, &sources.variables, loaders).await;
        report.append(found);
        settings = resolved;
    }
    report.sort();
    if report.iter().next().is_some() {
        let merged = origins.extract(&mut Report::default()).unwrap_or_default();
        secrets::Schemas::of(&merged, loaders)
            .await
            .hide_in(&mut report, &origins);
    }
    match settings {
        Some(settings) if !report.has_errors() => Ok(Loaded {
            settings,
            report,
            values,
            files,
            read_at,
        }),
        _ => Err(report),
    }
}

/// Writes `value` as it has to stand in the file at `key`: as it is, or in quotes where only a string can stand or it is no
/// TOML otherwise.
#[must_use]
pub fn written(key: &[String], value: &str) -> String {
    layer::Layer::written(key, value)
}

/// Returns the JSON Schema of `jackfield.toml` with the options of the plugins that `sources` name, for editors.
///
/// # Errors
/// What is wrong with the layers.
pub async fn json_schema_with(sources: &Sources, loaders: &Loaders) -> Result<String, Report> {
    let mut report = Report::default();
    let layers = sources.read(&mut report)?;
    let merged: serde_json::Value = Origins::merge(layers, &mut report)
        .extract(&mut report)
        .unwrap_or_default();
    let mut file = schema::FILE.clone();
    for (name, options) in secrets::Schemas::of(&merged, loaders).await.iter() {
        schema::splice(&mut file, name, options);
    }
    Ok(format!("{file:#}"))
}

/// Returns the JSON Schema of `jackfield.toml`, for editors.
#[must_use]
pub fn json_schema() -> String {
    format!("{:#}", *schema::FILE)
}

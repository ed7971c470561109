//! What holds after all layers are put together, value by value, and where each came from.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value as Json;

use super::diagnostic::Report;
use super::origins::Origins;
use super::plugins::Loaders;
use super::secrets::{HIDDEN, Schemas, without_value};
use super::sources::Sources;
use super::tree::Path;

/// A key that has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, as the file and `--set` write it.
    pub key: String,
    /// The value, as TOML.
    pub value: String,
    /// Where it came from.
    pub origin: String,
    /// Tells values apart, also secrets, which look the same.
    pub digest: String,
}

/// Lists every key that has a value, by name; secrets as `***`. Checks what one key alone can be checked for, not what they mean
/// together.
///
/// # Errors
/// What is wrong with the layers.
pub async fn effective(sources: &Sources, loaders: &Loaders) -> Result<Vec<Entry>, Report> {
    let mut report = Report::default();
    let layers = sources.read(&mut report)?;
    let origins = Origins::merge(layers, &mut report);
    let merged: Option<Json> = origins.extract(&mut report);
    report.sort();
    match merged {
        Some(merged) if !report.has_errors() => Ok(entries(&merged, &origins, loaders).await),
        _ => {
            let merged = merged.unwrap_or_default();
            Schemas::of(&merged, loaders).await.hide_in(&mut report, &origins);
            Err(report)
        }
    }
}

/// Lists every key of `merged`, by name; secrets as `***`.
pub(super) async fn entries(merged: &Json, origins: &Origins, loaders: &Loaders) -> Vec<Entry> {
    let mut entries = Vec::new();
    let secrets = Schemas::of(merged, loaders).await.secrets(merged);
    list(merged, &Path::default(), origins, &secrets, &mut entries);
    entries
}

fn list(value: &Json, path: &Path, origins: &Origins, secrets: &[Path], entries: &mut Vec<Entry>) {
    if let Json::Object(table) = value {
        for (key, inner) in table {
            list(inner, &path.key(key), origins, secrets, entries);
        }
        return;
    }
    let place = origins.place(path);
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    entries.push(Entry {
        digest: format!("{:016x}", hasher.finish()),
        key: path.to_string(),
        value: toml(value, path, secrets),
        origin: place.map_or(String::new(), |place| match without_value(&place.origin) {
            Some(without) if secrets.contains(path) => without.to_string(),
            _ => place.to_string(),
        }),
    });
}

/// Writes a value in one line, as TOML. JSON's strings and numbers are TOML's; tables in arrays are not.
fn toml(value: &Json, path: &Path, secrets: &[Path]) -> String {
    match value {
        Json::String(_) if secrets.contains(path) => Json::from(HIDDEN).to_string(),
        Json::Array(items) => {
            let item = |(i, item)| toml(item, &path.index(i), secrets);
            format!(
                "[{}]",
                items.iter().enumerate().map(item).collect::<Vec<_>>().join(", ")
            )
        }
        Json::Object(table) => {
            let entry = |(key, value): (&String, &Json)| {
                format!("{} = {}", toml_key(key), toml(value, &path.key(key), secrets))
            };
            format!("{{ {} }}", table.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn toml_key(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        Json::from(key).to_string()
    }
}

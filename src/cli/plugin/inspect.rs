//! `jackfield plugin inspect`: what a file is, without making an instance of it. A native library is loaded for that, so its
//! constructors run: look only at what you would also use.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use plugin_api::PluginInfo;
use plugin_artefact::{SIGNATURE_SUFFIX, check_signature};
use serde_json::{Value, json};

use super::super::exit::{Failure, Outcome};
use super::super::output;
use super::file::PluginFile;

/// `jackfield plugin inspect`.
#[derive(Debug, Args)]
#[command(
    after_help = "A native library is loaded for this, and code in it may run: look only at what you trust."
)]
pub(crate) struct Inspect {
    /// The plugin: a shared library, or a Wasm component
    file: PathBuf,
    /// The key that its signature must be of, as `jackfield plugin keygen` prints it
    #[arg(long, value_name = "KEY")]
    public_key: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(crate) fn run(self) -> Outcome {
        let file = PluginFile::find(&self.file)?;
        let facts = Facts::of(&file, self.public_key.as_deref())?;
        if self.json {
            return output::line(facts.json());
        }
        output::text(facts.text(&self.file.display().to_string()).as_bytes())
    }
}

/// What is told of a file.
#[derive(Debug)]
struct Facts {
    kind: &'static str,
    info: PluginInfo,
    bytes: u64,
    sha256: String,
    signature: &'static str,
    /// What only a loader of its kind knows: name and value, in order.
    more: Vec<(&'static str, String)>,
}

impl Facts {
    fn of(file: &PluginFile, public_key: Option<&str>) -> Result<Self, Failure> {
        let info = file.info()?;
        let read = plugin_artefact::Artefact::read(&file.source, &[]);
        let artefact = read.map_err(|error| super::file::refused(&error))?;
        Ok(Self {
            kind: file.kind,
            info,
            bytes: artefact.content.len() as u64,
            signature: signature(file, public_key, &artefact.content),
            sha256: artefact.digest,
            more: more(file)?,
        })
    }

    fn json(&self) -> Value {
        let schema: Option<Value> = self
            .info
            .config_schema
            .as_ref()
            .and_then(|schema| serde_json::from_str(schema).ok());
        let mut facts = json!({
            "kind": self.kind,
            "id": self.info.id,
            "version": self.info.version,
            "hooks": self.info.hooks,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "signature": self.signature,
            "config_schema": schema,
        });
        for (name, value) in &self.more {
            facts[name.replace(' ', "_")] = Value::from(value.as_str());
        }
        facts
    }

    fn text(&self, file: &str) -> String {
        let mut lines = vec![
            ("file", file.to_owned()),
            ("kind", self.kind.to_owned()),
            ("id", format!("{} {}", self.info.id, self.info.version)),
        ];
        lines.extend(self.more.iter().cloned());
        lines.extend([
            ("hooks", self.info.hooks.join(", ")),
            ("size", format!("{} bytes", self.bytes)),
            ("sha256", self.sha256.clone()),
            ("signature", self.signature.to_owned()),
        ]);
        let mut text = String::new();
        for (name, value) in lines {
            text += &format!("{name:<10} {value}\n");
        }
        text + &options(self.info.config_schema.as_deref())
    }
}

/// Describes the options of a schema, one a line.
fn options(schema: Option<&str>) -> String {
    let Some(schema) = schema.and_then(|schema| serde_json::from_str::<Value>(schema).ok()) else {
        return "options    it has no schema\n".to_owned();
    };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
        return "options    none\n".to_owned();
    };
    let mut text = "options\n".to_owned();
    for (name, property) in properties {
        let kind = match property.get("type") {
            Some(Value::String(kind)) => kind.clone(),
            Some(Value::Array(kinds)) => {
                let kinds: Vec<_> = kinds.iter().filter_map(Value::as_str).collect();
                kinds.join(" or ")
            }
            _ => "value".to_owned(),
        };
        let need = if required.contains(&name.as_str()) {
            ", required"
        } else {
            ""
        };
        let about = property
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        text += &format!(
            "  {name} ({kind}{need}){}{about}\n",
            if about.is_empty() { "" } else { ": " }
        );
    }
    text
}

/// Tells whether the file beside it is a signature, and of whom.
fn signature(file: &PluginFile, public_key: Option<&str>, content: &[u8]) -> &'static str {
    let mut beside = file.path.as_os_str().to_owned();
    beside.push(SIGNATURE_SUFFIX);
    match (fs::read_to_string(beside), public_key) {
        (Err(_), _) => "none",
        (Ok(_), None) => "there, not checked (--public-key)",
        (Ok(signature), Some(key)) => match check_signature(key, &signature, content) {
            Ok(()) => "good",
            Err(_) => "WRONG: not of this file and key",
        },
    }
}

/// Returns what only one kind of plugin tells.
fn more(file: &PluginFile) -> Result<Vec<(&'static str, String)>, Failure> {
    match file.kind {
        #[cfg(feature = "native")]
        "native" => of_native(file),
        #[cfg(feature = "wasm")]
        "wasm" => of_wasm(file),
        _ => Ok(Vec::new()),
    }
}

#[cfg(feature = "wasm")]
fn of_wasm(file: &PluginFile) -> Result<Vec<(&'static str, String)>, Failure> {
    let loader = super::super::source::wasm_loader();
    let described = super::super::source::runtime()?
        .block_on(loader.describe(&file.source))
        .map_err(|error| super::file::refused(&error))?;
    let wants = match described.wants.is_empty() {
        true => "nothing".to_owned(),
        false => described.wants.join(", "),
    };
    let wasi = if described.wasi { "linked" } else { "not linked" };
    Ok(vec![("wants", wants), ("wasi", wasi.to_owned())])
}

#[cfg(feature = "native")]
fn of_native(file: &PluginFile) -> Result<Vec<(&'static str, String)>, Failure> {
    let loader = jackfield::native::NativeLoader::default();
    let described = loader
        .describe(&file.source)
        .map_err(|error| super::file::refused(&error))?;
    let (major, minor) = described.abi;
    let checks = if described.checks_options {
        "yes"
    } else {
        "by the schema alone"
    };
    Ok(vec![
        ("abi", format!("{major}.{minor}")),
        (
            "built with",
            described.sdk.unwrap_or_else(|| "it doesn't say".to_owned()),
        ),
        ("checks", format!("its options: {checks}")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_with_what_they_are_for() {
        let schema = json!({
            "type": "object",
            "required": ["root"],
            "properties": {
                "root": { "type": "string", "description": "The first level." },
                "deep": { "type": ["integer", "null"] },
            },
        });
        let told = options(Some(&schema.to_string()));
        assert_eq!(
            told,
            "options\n  deep (integer or null)\n  root (string, required): The first level.\n"
        );
        assert_eq!(options(Some("{}")), "options    none\n");
        assert_eq!(options(None), "options    it has no schema\n");
    }
}

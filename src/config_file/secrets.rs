//! Secrets: where they may stand instead of in the file, and that nothing we print shows one. A schema marks them with
//! `writeOnly`; of a plugin that brings no schema, options that sound like one are taken for one.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path as FilePath;

use plugin_api::PluginSource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value as Json;

use super::check::Checks;
use super::code::Code;
use super::diagnostic::{Origin, Report};
use super::origins::Origins;
use super::plugins::Loaders;
use super::schema;
use super::tree::Path;

/// What is printed instead.
pub(super) const HIDDEN: &str = "***";
/// Bytes a secret in a file may have.
const FILE_MAX: u64 = 64 * 1024;
/// Where systemd puts the credentials of a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Words in the name of an option that hold for secrets where no schema says what they are.
const WORDS: [&str; 4] = ["password", "secret", "token", "passphrase"];

/// A secret of our own file: the text itself, or where it stands.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Secret {
    Here(String),
    Elsewhere(Elsewhere),
}

/// Where a secret stands: exactly one of three.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Elsewhere {
    /// In this environment variable.
    env: Option<String>,
    /// In this file, relative to the configuration; a line end at its end doesn't count.
    file: Option<String>,
    /// In this credential of the service (systemd's `LoadCredential`).
    credential: Option<String>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Here(_) => f.write_str(HIDDEN),
            Self::Elsewhere(elsewhere) => elsewhere.fmt(f),
        }
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string", "writeOnly": true }, Elsewhere::json_schema(generator)] })
    }
}

/// Tells whether one of these alternatives is a secret.
pub(super) fn is_secret(options: &[&Json]) -> bool {
    options
        .iter()
        .any(|option| option.get("writeOnly") == Some(&Json::Bool(true)))
}

/// The schema of what may stand instead of a secret text.
pub(super) fn elsewhere() -> Json {
    schemars::schema_for!(Elsewhere).to_value()
}

impl Checks<'_> {
    /// Returns the secret that stands at `path`. `None`: there is none where it should be, which is reported.
    pub(super) fn secret(&mut self, secret: &Secret, path: &Path) -> Option<String> {
        match secret {
            Secret::Here(text) => Some(text.clone()),
            Secret::Elsewhere(elsewhere) => self.fetch(elsewhere, path),
        }
    }

    fn fetch(&mut self, elsewhere: &Elsewhere, path: &Path) -> Option<String> {
        let found = match (&elsewhere.env, &elsewhere.file, &elsewhere.credential) {
            (Some(name), None, None) => match self.variable(name) {
                Some(value) => Ok(value.to_owned()),
                None => Err(format!("the environment variable `{name}` isn't set")),
            },
            (None, Some(file), None) => {
                let file = self.origins.folder_of(path).join(file);
                self.warn_readable(&file, path);
                read(&file)
            }
            (None, None, Some(name)) => match self.variable(CREDENTIALS) {
                _ if name.contains('/') => Err(format!("`{name}` is no name of a credential")),
                Some(folder) => read(&FilePath::new(folder).join(name)),
                None => Err(format!("there are no credentials: `{CREDENTIALS}` isn't set")),
            },
            _ => Err("needs one of `env`, `file` and `credential`".to_owned()),
        };
        let told = |why| self.error(Code::BadSecret, format!("`{path}`: {why}"), path);
        found.map_err(told).ok()
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let mut variables = self.variables.iter();
        Some(&*variables.find(|(known, _)| known == name)?.1)
    }

    fn warn_readable(&mut self, file: &FilePath, path: &Path) {
        if is_readable_by_all(file) {
            let message = format!("everybody on this machine can read {}", file.display());
            let help = format!("chmod o-rwx {}", file.display());
            self.warn_value(Code::OpenSecret, message, path, Some(help));
        }
    }

    /// Returns the options that stand at `path` as the plugin gets them: file names relative to the file they stand in, secrets
    /// fetched from where they are. `schema` is the plugin's. `None`: a secret isn't there, which is reported.
    pub(super) fn provide(&mut self, options: &Json, schema: &Json, path: &Path) -> Option<Json> {
        self.provide_one(options, schema, schema, path)
    }

    fn provide_one(&mut self, value: &Json, schema: &Json, root: &Json, path: &Path) -> Option<Json> {
        let options = schema::alternatives(schema, root);
        match value {
            Json::String(file) if options.iter().any(|option| format_of(option) == Some("path")) => {
                let whole = self.origins.folder_of(path).join(file);
                Some(Json::from(whole.display().to_string()))
            }
            Json::Object(_) if is_secret(&options) => {
                // What doesn't fit was reported by the schema.
                let elsewhere = Elsewhere::deserialize(value).ok()?;
                self.fetch(&elsewhere, path).map(Json::from)
            }
            Json::Object(table) => {
                let mut provided = serde_json::Map::new();
                for (key, inner) in table {
                    let known = options.iter().find_map(|option| schema::property(option, key));
                    let inner = match known {
                        Some(schema) => self.provide_one(inner, schema, root, &path.key(key))?,
                        None => inner.clone(),
                    };
                    provided.insert(key.clone(), inner);
                }
                Some(Json::Object(provided))
            }
            Json::Array(items) => {
                let known = options.iter().find_map(|option| option.get("items"));
                let Some(schema) = known else {
                    return Some(value.clone());
                };
                let items = items.iter().enumerate();
                let provided: Option<Vec<_>> = items
                    .map(|(i, item)| self.provide_one(item, schema, root, &path.index(i)))
                    .collect();
                Some(Json::Array(provided?))
            }
            other => Some(other.clone()),
        }
    }
}

fn format_of(schema: &Json) -> Option<&str> {
    schema.get("format").and_then(Json::as_str)
}

fn read(file: &FilePath) -> Result<String, String> {
    let text = fs::File::open(file).and_then(|opened| {
        let mut text = String::new();
        opened.take(FILE_MAX).read_to_string(&mut text)?;
        Ok(text)
    });
    match text {
        Ok(text) => Ok(text
            .strip_suffix('\n')
            .map_or(&*text, |text| text.trim_end_matches('\r'))
            .to_owned()),
        Err(error) => Err(format!("{} can't be read: {error}", file.display())),
    }
}

#[cfg(unix)]
fn is_readable_by_all(file: &FilePath) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_readable_by_all(_: &FilePath) -> bool {
    false
}

/// What is known of the options of the file's plugins: the schema of each, by its name in the file.
pub(super) struct Schemas(BTreeMap<String, Option<Json>>);

impl Schemas {
    /// Asks the loaders about all plugins of `file`, a configuration as JSON. What can't be loaded has no schema.
    pub(super) async fn of(file: &Json, loaders: &Loaders) -> Self {
        let mut schemas = BTreeMap::new();
        let plugins = file.get("plugins").and_then(Json::as_object);
        for (name, plugin) in plugins.into_iter().flatten() {
            schemas.insert(name.clone(), schema_of(file, plugin, loaders).await);
        }
        Self(schemas)
    }

    /// Returns the plugins' schemas by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0
            .iter()
            .filter_map(|(name, schema)| Some((&**name, schema.as_ref()?)))
    }

    /// Lists where secrets stand in `file`, one layer or all together, as texts.
    pub(super) fn secrets(&self, file: &Json) -> Vec<Path> {
        let mut found = Vec::new();
        find(
            file,
            Some(&schema::FILE),
            &schema::FILE,
            &Path::default(),
            &mut found,
        );
        let named = |key| file.get(key).and_then(Json::as_object).into_iter().flatten();
        for (name, plugin) in named("plugins") {
            let path = Path::of(["plugins", name, "config"]);
            plugin
                .get("config")
                .into_iter()
                .for_each(|config| self.find_options(name, config, &path, &mut found));
        }
        for (name, chain) in named("chains") {
            let path = Path::of(["chains", name]);
            self.find_uses(chain, &path, &mut found);
            chain
                .get("uses")
                .into_iter()
                .for_each(|uses| self.find_uses(uses, &path.key("uses"), &mut found));
        }
        for (name, listener) in named("listeners") {
            let path = Path::of(["listeners", name, "chain"]);
            listener
                .get("chain")
                .into_iter()
                .for_each(|chain| self.find_uses(chain, &path, &mut found));
        }
        found
    }

    fn find_uses(&self, uses: &Json, path: &Path, found: &mut Vec<Path>) {
        for (i, entry) in uses.as_array().into_iter().flatten().enumerate() {
            if let (Some(name), Some(with)) = (entry.get("plugin").and_then(Json::as_str), entry.get("with"))
            {
                self.find_options(name, with, &path.index(i).key("with"), found);
            }
        }
    }

    fn find_options(&self, plugin: &str, options: &Json, path: &Path, found: &mut Vec<Path>) {
        match self.0.get(plugin).and_then(Option::as_ref) {
            Some(schema) => find(options, Some(schema), schema, path, found),
            None => find(options, None, &Json::Null, path, found),
        }
    }

    /// Takes the secrets out of a report: in the lines it shows, and in flags that it names.
    pub(super) fn hide_in(&self, report: &mut Report, origins: &Origins) {
        for layer in origins.layers() {
            let secrets = self.secrets(&layer.tree.to_json());
            let spans = secrets
                .iter()
                .filter_map(|path| Some(layer.tree.get(path)?.span.clone()));
            let spans: Vec<_> = spans.collect();
            if !spans.is_empty() {
                report.hide(&layer.origin, |line| layer.columns(line, &spans));
            }
        }
    }
}

async fn schema_of(file: &Json, plugin: &Json, loaders: &Loaders) -> Option<Json> {
    let (kind, what) = plugin.get("use")?.as_str()?.split_once(':')?;
    let loader = loaders.iter().find(|loader| loader.kind() == kind)?;
    let folders = file.pointer("/node/plugin_dirs").and_then(Json::as_array);
    let folders = folders.into_iter().flatten().filter_map(Json::as_str);
    let source = PluginSource {
        what: what.to_owned(),
        folders: folders.map(Into::into).collect(),
        ..PluginSource::default()
    };
    let info = loader.inspect(&source).await.ok()?;
    serde_json::from_str(&info.config_schema?).ok()
}

fn find(value: &Json, schema: Option<&Json>, root: &Json, path: &Path, found: &mut Vec<Path>) {
    let options = schema.map_or(Vec::new(), |schema| schema::alternatives(schema, root));
    match value {
        Json::String(_) => {
            let sounds_so = || {
                let name = path
                    .to_string()
                    .rsplit('.')
                    .next()
                    .unwrap_or_default()
                    .to_lowercase();
                WORDS.iter().any(|word| name.contains(word))
            };
            if is_secret(&options) || schema.is_none() && sounds_so() {
                found.push(path.clone());
            }
        }
        Json::Object(table) => {
            for (key, inner) in table {
                let known = options.iter().find_map(|option| schema::property(option, key));
                if known.is_some() || schema.is_none() {
                    find(inner, known, root, &path.key(key), found);
                }
            }
        }
        Json::Array(items) => {
            let known = options.iter().find_map(|option| option.get("items"));
            if known.is_some() || schema.is_none() {
                for (i, item) in items.iter().enumerate() {
                    find(item, known, root, &path.index(i), found);
                }
            }
        }
        _ => {}
    }
}

/// A flag's text without the value it sets.
pub(super) fn without_value(origin: &Origin) -> Option<Origin> {
    match origin {
        Origin::Flag(text) => {
            let (key, _) = text.split_once('=')?;
            Some(Origin::Flag(format!("{key}={HIDDEN}")))
        }
        Origin::Default | Origin::File(_) | Origin::Variable(_) => None,
    }
}

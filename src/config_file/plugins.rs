//! The `[plugins]` of the file: which loader has each, which hooks it brings, whether its options are right. Asks the
//! loaders; starts nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use plugin_api::{Grants, LoadError, PluginInfo, PluginLoader, PluginSource};
use serde_json::Value as Json;

use super::check::Checks;
use super::code::Code;
use super::later;
use super::schema::{self, did_you_mean};
use super::settings::Instance;
use super::shape::{Allow, OnFault, Options, Plugin};
use super::tree::Path;

/// The kind of plugins that are bound by what they are granted.
pub(super) const WASM: &str = "wasm";

/// The loaders there are, by kind.
pub type Loaders = [Arc<dyn PluginLoader>];

/// An instance of the file that was found.
pub(super) struct Known<'a> {
    pub(super) plugin: &'a Plugin,
    pub(super) loader: &'a dyn PluginLoader,
    pub(super) source: PluginSource,
    /// The hooks it takes part in: what the plugin has, narrowed by `hooks`.
    pub(super) hooks: Vec<String>,
    /// Its options as the plugin gets them.
    pub(super) config: Options,
    info: PluginInfo,
}

/// The instances by name; `None` where one is wrong, which was reported.
pub(super) type Plugins<'a> = BTreeMap<&'a str, Option<Known<'a>>>;

/// Looks all instances up.
pub(super) async fn find<'a>(
    plugins: &'a BTreeMap<String, Plugin>,
    folders: &[PathBuf],
    loaders: &'a Loaders,
    checks: &mut Checks<'_>,
) -> Plugins<'a> {
    let mut found = Plugins::new();
    for (name, plugin) in plugins {
        let path = Path::of(["plugins", name]);
        checks.name(&path, name);
        checks.warn_allow(&[plugin.on_error, plugin.on_timeout], &path);
        let mut known = find_one(plugin, folders, loaders, &path, checks).await;
        if let Some(known) = &mut known {
            let at = path.key("config");
            known.config = known.provide(&plugin.config, &at, checks);
            known.check_options(&known.config, &at, checks).await;
        }
        found.insert(name, known);
    }
    found
}

async fn find_one<'a>(
    plugin: &'a Plugin,
    folders: &[PathBuf],
    loaders: &'a Loaders,
    path: &Path,
    checks: &mut Checks<'_>,
) -> Option<Known<'a>> {
    let at = path.key("use");
    let (kind, what) = plugin.source.split_once(':').unwrap_or(("", &plugin.source));
    let Some(loader) = loaders.iter().find(|loader| loader.kind() == kind) else {
        let kinds: Vec<_> = loaders
            .iter()
            .map(|loader| format!("`{}:`", loader.kind()))
            .collect();
        if later::is_loader(kind) {
            checks.error(
                Code::NotAvailable,
                format!("`{kind}:` plugins are not available in this version"),
                &at,
            );
        } else {
            let message = format!("`{at}` must begin with {}", kinds.join(" or "));
            checks.error(Code::BadValue, message, &at);
        }
        return None;
    };
    if kind != WASM
        && let Some(key) = plugin.key_for_wasm()
    {
        let message = format!(
            "`{}` binds only Wasm plugins, and this is one of kind `{kind}`",
            path.key(key)
        );
        checks.error(Code::BadValue, message, &path.key(key));
    }
    let source = PluginSource {
        what: what.to_owned(),
        sha256: plugin.sha256.clone(),
        public_key: plugin.public_key.clone(),
        signature: plugin.signature.clone(),
        folders: folders.to_vec(),
        grants: plugin.allow.as_ref().map_or_else(Grants::default, Allow::grants),
        sandbox: plugin.sandbox(),
    };
    let info = match loader.inspect(&source).await {
        Ok(info) => info,
        Err(LoadError::NotFound { what, did_you_mean }) => {
            let help = did_you_mean.map(|name| format!("did you mean `{kind}:{name}`?"));
            checks.error_with(
                Code::UnknownPlugin,
                format!("there is no plugin `{kind}:{what}`"),
                &at,
                help,
            );
            return None;
        }
        Err(error) => {
            checks.error(Code::BadPlugin, error.to_string(), &at);
            return None;
        }
    };
    let hooks = match &plugin.hooks {
        Some(wanted) => checks.narrow(&info.hooks, wanted, &info.id, &path.key("hooks")),
        None => info.hooks.clone(),
    };
    Some(Known {
        plugin,
        loader: &**loader,
        source,
        hooks,
        config: Options::new(),
        info,
    })
}

impl Known<'_> {
    fn schema(&self) -> Option<Json> {
        serde_json::from_str(self.info.config_schema.as_deref()?).ok()
    }

    /// Returns the options that stand at `path` as the plugin gets them. Those whose secrets aren't there, which is reported, stay
    /// as they are.
    pub(super) fn provide(&self, options: &Options, path: &Path, checks: &mut Checks<'_>) -> Options {
        let provided = self
            .schema()
            .and_then(|schema| checks.provide(&Json::Object(options.clone()), &schema, path));
        match provided {
            Some(Json::Object(provided)) => provided,
            _ => options.clone(),
        }
    }

    /// Returns it as an instance called `name`, with its options.
    pub(super) fn instance(&self, name: &str) -> Instance {
        Instance {
            name: name.to_owned(),
            loader: self.loader.kind().to_owned(),
            source: self.source.clone(),
            options: Json::Object(self.config.clone()).to_string(),
        }
    }

    /// Checks options that stand at `path`: against the plugin's schema where they stand as they are, and by the plugin
    /// itself.
    pub(super) async fn check_options(&self, options: &Options, path: &Path, checks: &mut Checks<'_>) {
        if let Some(schema) = self.schema()
            && let Some(layer) = checks.origins.layer_of(path)
            && let Some(node) = layer.tree.get(path)
            && !schema::check(layer, node, path, &schema, &mut checks.report).is_empty()
        {
            return;
        }
        let options = Json::Object(options.clone()).to_string();
        match self.loader.check(&self.source, &options).await {
            Ok(()) => {}
            Err(LoadError::Options { key, why }) => {
                let at = path.below(&key);
                checks.error(Code::BadOption, format!("`{at}`: {why}"), &at);
            }
            Err(error) => checks.error(Code::BadPlugin, error.to_string(), path),
        }
    }
}

impl Checks<'_> {
    /// Warns where one of `said`, which stand in the table at `path`, opens the door when the plugin is down.
    pub(super) fn warn_allow(&mut self, said: &[Option<OnFault>], path: &Path) {
        if said.contains(&Some(OnFault::Allow)) {
            let message = "`allow` lets everybody through when the plugin fails".to_owned();
            self.warn(Code::AllowOnFault, message, path, None);
        }
    }

    /// Narrows the hooks `has` to `wanted`, which stands at `path`; says what isn't there.
    pub(super) fn narrow(
        &mut self,
        has: &[String],
        wanted: &[String],
        whose: &str,
        path: &Path,
    ) -> Vec<String> {
        for (i, hook) in wanted.iter().enumerate() {
            if !has.contains(hook) {
                let help = did_you_mean(hook, has.iter().map(String::as_str))
                    .or_else(|| Some(format!("it has {}", has.join(", "))));
                let message = format!("`{whose}` has no hook `{hook}`");
                self.error_with(Code::UnknownHook, message, &path.index(i), help);
            }
        }
        has.iter().filter(|hook| wanted.contains(hook)).cloned().collect()
    }
}

//! The plugins that are part of the program, as one more loader: `use = "builtin:NAME"`. This list is the only place
//! that names them.

use std::sync::Arc;

use plugin_api::{LoadError, Plugin, PluginInfo, PluginLoader, PluginSource, async_trait};

/// A plugin of the program: facts, and how to make one from a name and options (a JSON object).
#[derive(Clone, Copy, Debug)]
struct Builtin {
    name: &'static str,
    info: fn() -> PluginInfo,
    load: Load,
}

type Load = fn(&str, &str) -> Result<Arc<dyn Plugin>, LoadError>;

const ALL: &[Builtin] = &[
    #[cfg(feature = "acl-file")]
    Builtin {
        name: "acl-file",
        info: plugin_acl_file::info,
        load: plugin_acl_file::load,
    },
    #[cfg(feature = "auth-file")]
    Builtin {
        name: "auth-file",
        info: plugin_auth_file::info,
        load: plugin_auth_file::load,
    },
    #[cfg(feature = "event-log")]
    Builtin {
        name: "event-log",
        info: plugin_event_log::info,
        load: plugin_event_log::load,
    },
    #[cfg(feature = "topic-rewrite")]
    Builtin {
        name: "topic-rewrite",
        info: plugin_topic_rewrite::info,
        load: plugin_topic_rewrite::load,
    },
];

/// The loader of kind `builtin`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Builtins;

impl Builtins {
    /// Returns the names of the plugins it has.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|builtin| builtin.name)
    }

    fn find(what: &str) -> Result<&'static Builtin, LoadError> {
        let found = ALL.iter().find(|builtin| builtin.name == what);
        found.ok_or_else(|| LoadError::NotFound {
            what: what.to_owned(),
            did_you_mean: nearest(what),
        })
    }
}

/// The name with the fewest changes to `what`, if these are few.
fn nearest(what: &str) -> Option<String> {
    let distance = |name: &str| strsim::damerau_levenshtein(what, name);
    let near = Builtins::names().min_by_key(|name| distance(name))?;
    (distance(near) <= 1 + what.len() / 4).then(|| near.to_owned())
}

#[async_trait]
impl PluginLoader for Builtins {
    fn kind(&self) -> &'static str {
        "builtin"
    }

    async fn inspect(&self, source: &PluginSource) -> Result<PluginInfo, LoadError> {
        Ok((Self::find(&source.what)?.info)())
    }

    /// Makes the plugin and forgets it: a built-in does nothing before it is started but look at its options and files.
    async fn check(&self, source: &PluginSource, options: &str) -> Result<(), LoadError> {
        let builtin = Self::find(&source.what)?;
        (builtin.load)(builtin.name, options).map(drop)
    }

    async fn load(
        &self,
        name: &str,
        source: &PluginSource,
        options: &str,
    ) -> Result<Arc<dyn Plugin>, LoadError> {
        (Self::find(&source.what)?.load)(name, options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plugin_is_found_by_the_name_it_gives_itself() {
        for builtin in ALL {
            let info = (builtin.info)();
            assert_eq!(info.id, builtin.name);
            assert!(!info.hooks.is_empty(), "{}", info.id);
            assert!(info.config_schema.is_some(), "{}", info.id);
        }
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        assert_eq!(nearest("auth-fil"), Some("auth-file".to_owned()));
        assert_eq!(nearest("something"), None);
    }
}

//! `jackfield chain show`: who is asked what, in which order, once chains inside of chains, narrowed hooks and settings of
//! single places are resolved. Starts no plugin.

use std::path::PathBuf;

use clap::Args;
use jackfield::Hook;
use jackfield::config_file::quantity::TimeSpan;
use jackfield::config_file::{ChainSettings, Settings, UseSettings};

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output;
use crate::cli::source::{Overrides, load, runtime};

/// `jackfield chain show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The chain; without one, all that listeners and bridges use
    name: Option<String>,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "jackfield.toml")]
    config: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
}

impl Show {
    pub(crate) fn run(self) -> Outcome {
        let sources = self.overrides.sources(Some(self.config));
        let loaded = runtime()?.block_on(load(&sources)).map_err(|report| {
            output::report(&report);
            Failure::silent(Exit::Configuration as u8)
        })?;
        output::text(describe(&loaded.settings, self.name.as_deref())?.as_bytes())
    }
}

/// A chain, and who uses it.
struct Used<'a> {
    chain: &'a ChainSettings,
    by: Vec<String>,
}

/// Describes the chain `name`, or all.
fn describe(settings: &Settings, name: Option<&str>) -> Result<String, Failure> {
    let all = chains(settings);
    let known: Vec<_> = all.iter().map(|used| used.chain.name.as_str()).collect();
    if let Some(name) = name.filter(|name| name.is_empty() || !known.contains(name)) {
        let message = format!("no listener and no bridge uses a chain `{name}`");
        let known: Vec<_> = known.into_iter().filter(|known| !known.is_empty()).collect();
        return Err(Failure::new(Exit::Failed, message).hint(match &known[..] {
            [] => "no chain has a name here; without one, this command shows all".to_owned(),
            known => format!("there are: {}", known.join(", ")),
        }));
    }
    let wanted = all
        .iter()
        .filter(|used| name.is_none_or(|name| name == used.chain.name));
    let texts: Vec<_> = wanted.map(|used| used.describe(settings)).collect();
    Ok(texts.join("\n"))
}

/// The chains in use, in the order of their users. What a listener lists itself is a chain without a name.
fn chains(settings: &Settings) -> Vec<Used<'_>> {
    let listeners = settings.listeners.iter();
    let listeners = listeners.map(|listener| (&listener.chain, format!("listener {}", listener.name)));
    let bridges = settings.bridges.iter();
    let bridges =
        bridges.filter_map(|bridge| Some((bridge.chain.as_ref()?, format!("bridge {}", bridge.name))));
    let mut chains: Vec<Used<'_>> = Vec::new();
    for (chain, by) in listeners.chain(bridges) {
        let same = |used: &&mut Used<'_>| !chain.name.is_empty() && used.chain.name == chain.name;
        match chains.iter_mut().find(same) {
            Some(used) => used.by.push(by),
            None => chains.push(Used { chain, by: vec![by] }),
        }
    }
    chains
}

impl Used<'_> {
    fn describe(&self, settings: &Settings) -> String {
        let by = self.by.join(", ");
        let mut text = match self.chain.name.as_str() {
            "" => format!("chain of {by}\n"),
            name => format!("chain {name}: {by}\n"),
        };
        if self.chain.uses.is_empty() {
            text += "  no plugin is asked\n";
        }
        for hook in Hook::ALL {
            let takes_part = |entry: &&UseSettings| entry.hooks.iter().any(|name| name == hook.as_str());
            let mut uses: Vec<_> = self.chain.uses.iter().filter(takes_part).collect();
            if uses.is_empty() {
                continue;
            }
            if *hook == Hook::Deliver {
                uses.reverse();
            }
            text += &format!("  {hook}{}\n", self.rule(*hook));
            for (i, entry) in uses.into_iter().enumerate() {
                let name = &settings.instances[entry.instance].name;
                text += &format!("    {}. {name}{}\n", i + 1, conditions(entry, *hook));
            }
        }
        text
    }

    /// How the answers to `hook` count, where that isn't simply one after the other.
    fn rule(&self, hook: Hook) -> &'static str {
        let all = match hook {
            Hook::Authenticate => self.chain.authenticate_all,
            Hook::Authorize => self.chain.authorize_all,
            Hook::Deliver => return " (from the chain's end to its beginning)",
            _ => return "",
        };
        match all {
            true => " (everyone that has a verdict must allow)",
            false => " (the first verdict holds)",
        }
    }
}

/// What holds for the plugin at this place: which messages it sees, how long it may take, what its faults mean.
fn conditions(entry: &UseSettings, hook: Hook) -> String {
    let mut text = String::new();
    let sees_messages = matches!(hook, Hook::Publish | Hook::Deliver | Hook::Will | Hook::Retain);
    if sees_messages && !entry.topics.is_empty() {
        let topics: Vec<_> = entry.topics.iter().map(|filter| filter.as_str()).collect();
        text += &format!("  only {}", topics.join(" "));
    }
    if let Some(when) = entry.when.as_ref().filter(|_| hook.is_conditional()) {
        text += &format!("  when {when}");
    }
    if let Some(deadline) = hook.deadline() {
        text += &format!("  timeout {}", TimeSpan(entry.timeout.unwrap_or(deadline)));
    }
    // Nobody waits for those that are told of events, so nothing follows from their faults.
    if hook != Hook::Events {
        text += &format!("  on_error {}", entry.on_error);
    }
    if hook != Hook::Events && hook.deadline().is_some() && entry.on_timeout != entry.on_error {
        text += &format!("  on_timeout {}", entry.on_timeout);
    }
    text
}

#[cfg(test)]
mod tests {
    use jackfield::config_file::Sources;

    use super::*;

    const FILE: &str = "[plugins.log]\nuse = 'builtin:event-log'\n\
        [plugins.acl]\nuse = 'builtin:acl-file'\nconfig.file = 'DIR/acl.toml'\n\
        [plugins.users]\nuse = 'builtin:auth-file'\nconfig.file = 'DIR/users'\n\
        [plugins.short]\nuse = 'builtin:topic-rewrite'\n\
        config.rules = [{ from = 'a/#', to = 'b/{1}' }]\n\
        [chains]\ninner = { uses = ['users', 'acl'], authorize = 'all' }\n\
        devices = [{ chain = 'inner' }, { plugin = 'short', topics = ['a/#'], timeout = '5ms', on_error = 'skip', on_timeout = 'drop' }, 'log']\n\
        [listeners.a]\nbind = '127.0.0.1:0'\nchain = 'devices'\n\
        [listeners.b]\nbind = '127.0.0.1:0'\nanonymous = true\nchain = ['acl']\n\
        [listeners.c]\nbind = '127.0.0.1:0'\nchain = 'devices'\n\
        [listeners.d]\nbind = '127.0.0.1:0'\nanonymous = true\n";

    async fn settings() -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("users"), "").unwrap();
        std::fs::write(file("acl.toml"), "").unwrap();
        let text = FILE.replace("DIR", &folder.path().display().to_string());
        std::fs::write(file("j.toml"), text).unwrap();
        let sources = Sources {
            file: Some(file("j.toml")),
            ..Sources::default()
        };
        load(&sources)
            .await
            .unwrap_or_else(|report| panic!("{report}"))
            .settings
    }

    #[tokio::test]
    async fn every_hook_has_its_plugins_in_order() {
        let shown = describe(&settings().await, None).unwrap();
        let expected = "\
chain devices: listener a, listener c
  authenticate (the first verdict holds)
    1. users  timeout 5s  on_error deny
  authorize (everyone that has a verdict must allow)
    1. acl  timeout 1s  on_error deny
  subscribe
    1. short  timeout 5ms  on_error skip  on_timeout drop
  unsubscribe
    1. short  timeout 5ms  on_error skip  on_timeout drop
  publish
    1. short  only a/#  timeout 5ms  on_error skip  on_timeout drop
  deliver (from the chain's end to its beginning)
    1. short  only a/#  timeout 5ms  on_error skip  on_timeout drop
  events
    1. log  timeout 5s

chain of listener b
  authorize (the first verdict holds)
    1. acl  timeout 1s  on_error deny

chain of listener d
  no plugin is asked
";
        assert_eq!(shown, expected, "\n{shown}");
    }

    #[tokio::test]
    async fn one_chain_is_shown_and_another_is_asked_for_in_vain() {
        let settings = settings().await;
        let shown = describe(&settings, Some("devices")).unwrap();
        assert!(
            shown.starts_with("chain devices: listener a, listener c\n"),
            "{shown}"
        );
        assert!(!shown.contains("listener b"), "{shown}");
        let failure = describe(&settings, Some("inner")).unwrap_err();
        assert_eq!(failure.code(), 1);
    }
}

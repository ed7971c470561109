//! The `[chains]` of the file: every entry names something that exists, no chain contains itself, and a chain of chains
//! becomes one list.

use std::collections::BTreeMap;

use broker_core::Hook;
use serde_json::Value as Json;

use super::check::Checks;
use super::code::Code;
use super::plugins::{Known, Plugins, WASM};
use super::schema::did_you_mean;
use super::settings::{ChainSettings, FaultPolicy, Instance, UseSettings};
use super::shape::{Chain, Combine, Options, Plugin, Use, UseTable};
use super::text::Filter;
use super::tree::Path;

/// The chains of the file, and what making lists of them needs.
pub(super) struct Chains<'a> {
    pub(super) chains: &'a BTreeMap<String, Chain>,
    pub(super) plugins: &'a Plugins<'a>,
    /// The instances that lists have named so far.
    pub(super) instances: Vec<Instance>,
    /// Those of them that belong to one entry alone.
    pub(super) isolated: Vec<(&'a UseTable, usize)>,
    /// What entries lay over the options, as the plugins get it.
    pub(super) with: Vec<(&'a UseTable, Options)>,
    /// The chains that listeners and bridges have named so far.
    pub(super) used: Vec<String>,
    /// The plugin that is the store.
    pub(super) store: Option<String>,
}

impl Chain {
    fn uses(&self) -> &[Use] {
        match self {
            Self::List(uses) => uses,
            Self::Table(table) => &table.uses,
        }
    }

    /// The path of its list, when the chain stands at `path`.
    fn list_path(&self, path: &Path) -> Path {
        match self {
            Self::List(_) => path.clone(),
            Self::Table(_) => path.key("uses"),
        }
    }

    /// Whether all authenticators, and all authorizers, must allow.
    fn all(&self) -> (bool, bool) {
        match self {
            Self::List(_) => (false, false),
            Self::Table(table) => (
                table.authenticate == Some(Combine::All),
                table.authorize == Some(Combine::All),
            ),
        }
    }
}

impl<'a> Chains<'a> {
    /// Checks every chain by itself, whether a listener uses it or not.
    pub(super) async fn check_all(&mut self, checks: &mut Checks<'_>) {
        for (name, chain) in self.chains {
            let path = Path::of(["chains", name]);
            checks.name(&path, name);
            self.check_uses(chain.uses(), &chain.list_path(&path), checks)
                .await;
            if let Some(way) = self.way_back(name) {
                let message = format!("chain `{name}` contains itself: {}", way.join(" -> "));
                checks.key_error(Code::ChainCycle, message, &path, None);
            }
        }
    }

    /// Checks the entries of a list that stands at `path`.
    pub(super) async fn check_uses(&mut self, uses: &'a [Use], path: &Path, checks: &mut Checks<'_>) {
        for (i, entry) in uses.iter().enumerate() {
            let path = path.index(i);
            match entry {
                Use::Name(name) => drop(self.check_instance(name, None, &path, checks).await),
                Use::Table(table) => self.check_table(table, &path, checks).await,
            }
        }
    }

    async fn check_table(&mut self, entry: &'a UseTable, path: &Path, checks: &mut Checks<'_>) {
        match (&entry.plugin, &entry.chain) {
            (Some(name), None) => {
                let with = self
                    .check_instance(name, Some(entry), &path.key("plugin"), checks)
                    .await;
                self.with.extend(with.map(|with| (entry, with)));
                if let Some(wanted) = &entry.on
                    && let Some(Some(known)) = self.plugins.get(name.as_str())
                {
                    checks.narrow(&known.hooks, wanted, name, &path.key("on"));
                }
                self.check_when(name, entry, &path.key("when"), checks);
                checks.warn_allow(&[entry.on_error, entry.on_timeout], path);
            }
            (None, Some(name)) => {
                if entry.has_settings() {
                    let message = "nothing else can stand beside `chain`".to_owned();
                    checks.error(Code::BadEntry, message, path);
                }
                self.check_chain(name, &path.key("chain"), checks);
            }
            (Some(_), Some(_)) | (None, None) => {
                let message = "an entry of a chain needs either `plugin` or `chain`".to_owned();
                checks.error(Code::BadEntry, message, path);
            }
        }
    }

    /// Checks that the condition, which stands at `path`, can be answered at the hooks of the entry, and is asked at all.
    fn check_when(&self, name: &str, entry: &UseTable, path: &Path, checks: &mut Checks<'_>) {
        let (Some(when), Some(Some(known))) = (&entry.when, self.plugins.get(name)) else {
            return;
        };
        let asked = |hook: &&Hook| {
            let takes_part = |names: &[String]| names.iter().any(|name| name == hook.as_str());
            takes_part(&known.hooks) && entry.on.as_deref().is_none_or(takes_part)
        };
        let mut hooks = Hook::ALL
            .iter()
            .filter(asked)
            .filter(|hook| hook.is_conditional())
            .peekable();
        if hooks.peek().is_none() {
            let message = format!("`{name}` has no hook here that can have a condition");
            return checks.error(Code::BadEntry, message, path);
        }
        if let Some((hook, variable)) = hooks.find_map(|hook| Some((hook, when.unknown_at(*hook)?))) {
            let help = "narrow the entry with `on`, or look at `hook` first".to_owned();
            let message = format!("at the hook `{hook}` of `{name}` there is no `{variable}`");
            checks.error_with(Code::BadExpression, message, path, Some(help));
        }
    }

    /// Checks that there is an instance `name`, which stands at `path`, and that what `entry` lays over its options is right, and
    /// returns that as the plugin gets it.
    pub(super) async fn check_instance(
        &self,
        name: &str,
        entry: Option<&UseTable>,
        path: &Path,
        checks: &mut Checks<'_>,
    ) -> Option<Options> {
        let known = match self.plugins.get(name) {
            Some(Some(known)) => known,
            Some(None) => return None,
            None if checks.origins.is_pruned(&Path::of(["plugins", name])) => return None,
            None if self.chains.contains_key(name) => {
                let help = format!("write `{{ chain = \"{name}\" }}`");
                let message = format!("`{name}` is a chain, not a plugin");
                checks.error_with(Code::UnknownPlugin, message, path, Some(help));
                return None;
            }
            None => {
                let help = did_you_mean(name, self.plugins.keys().copied())
                    .or_else(|| Some(format!("declare it under `[plugins.{name}]`")));
                let message = format!("there is no plugin `{name}`");
                checks.error_with(Code::UnknownPlugin, message, path, help);
                return None;
            }
        };
        let with = entry?.with.as_ref()?;
        let mut at = path.clone();
        at.0.pop();
        let at = at.key("with");
        let provided = known.provide(with, &at, checks);
        known
            .check_options(&overlay(&known.config, &provided), &at, checks)
            .await;
        Some(provided)
    }

    /// Checks that there is a chain `name`, which stands at `path`.
    pub(super) fn check_chain(&self, name: &str, path: &Path, checks: &mut Checks<'_>) {
        if !self.chains.contains_key(name) && !checks.origins.is_pruned(&Path::of(["chains", name])) {
            let help = did_you_mean(name, self.chains.keys().map(String::as_str));
            checks.error_with(
                Code::UnknownChain,
                format!("there is no chain `{name}`"),
                path,
                help,
            );
        }
    }

    /// The chains from `name` back to itself.
    fn way_back<'b>(&'b self, name: &'b str) -> Option<Vec<&'b str>> {
        fn search<'b>(chains: &'b BTreeMap<String, Chain>, goal: &str, way: &mut Vec<&'b str>) -> bool {
            let Some((last, chain)) = way.last().and_then(|last| Some((*last, chains.get(*last)?))) else {
                return false;
            };
            if way.len() > 1 && last == goal {
                return true;
            }
            for inner in chain.uses().iter().filter_map(Use::chain) {
                // Another chain's own cycle is its own report.
                if inner == goal || !way.contains(&inner) {
                    way.push(inner);
                    if search(chains, goal, way) {
                        return true;
                    }
                    way.pop();
                }
            }
            false
        }
        let mut way = vec![name];
        search(self.chains, name, &mut way).then_some(way)
    }

    /// Makes one list of the chain `name`.
    pub(super) fn flatten(&mut self, name: &str) -> ChainSettings {
        let mut settings = ChainSettings {
            name: name.to_owned(),
            ..ChainSettings::default()
        };
        self.add_chain(name, &mut Vec::new(), &mut settings);
        settings
    }

    /// Makes one list of a chain that stands in its listener.
    pub(super) fn flatten_inline(&mut self, uses: &'a [Use]) -> ChainSettings {
        let mut settings = ChainSettings::default();
        self.add_uses(uses, &mut Vec::new(), &mut settings);
        settings
    }

    /// `inside`: the chains we are in; a cycle, which was reported, ends there. Where a chain inside wants all to allow,
    /// all must: it is the stricter of the two.
    fn add_chain(&mut self, name: &str, inside: &mut Vec<String>, settings: &mut ChainSettings) {
        let Some(chain) = self.chains.get(name) else {
            return;
        };
        if inside.iter().any(|outer| outer == name) {
            return;
        }
        let (authenticate_all, authorize_all) = chain.all();
        settings.authenticate_all |= authenticate_all;
        settings.authorize_all |= authorize_all;
        inside.push(name.to_owned());
        self.add_uses(chain.uses(), inside, settings);
        inside.pop();
    }

    fn add_uses(&mut self, uses: &'a [Use], inside: &mut Vec<String>, settings: &mut ChainSettings) {
        for entry in uses {
            match entry.chain() {
                Some(name) => self.add_chain(name, inside, settings),
                None => settings.uses.extend(self.use_settings(entry)),
            }
        }
    }

    /// `None`: the plugin is wrong, which was reported.
    fn use_settings(&mut self, entry: &'a Use) -> Option<UseSettings> {
        let (name, table) = match entry {
            Use::Name(name) => (name, None),
            Use::Table(table) => (table.plugin.as_ref()?, Some(&**table)),
        };
        let known = self.plugins.get(name.as_str())?.as_ref()?;
        let plugin = known.plugin;
        let on = table.and_then(|table| table.on.as_ref());
        let mut hooks = known.hooks.clone();
        hooks.retain(|hook| on.is_none_or(|on| on.contains(hook)));
        let topics = table.and_then(|table| table.topics.as_ref());
        let filters = |filters: &[Filter]| filters.iter().map(|filter| filter.0.clone()).collect();
        let allowed = plugin.allow.as_ref().and_then(|allow| allow.publish.as_ref());
        let timeout = table.and_then(|table| table.timeout).or(plugin.timeout);
        let (on_error, on_timeout) = policies(plugin, table);
        Some(UseSettings {
            instance: match table.filter(|table| table.isolate == Some(true)) {
                Some(table) => self.isolated(name, table)?,
                None => self.instance(name, table)?,
            },
            when: table.and_then(|table| table.when.clone()),
            hooks,
            narrowed: on.is_some() || plugin.hooks.is_some(),
            topics: topics.map_or(Vec::new(), |topics| filters(topics)),
            allow_publish: match allowed {
                Some(allowed) => Some(filters(allowed)),
                // Nobody trusts it, so it sends messages only where it was told that it may.
                None => (known.loader.kind() == WASM).then(Vec::new),
            },
            timeout: timeout.map(|time| time.0),
            on_error,
            on_timeout,
        })
    }

    /// Finds the instance `name` with what `entry` lays over its options among those that were named before, or adds it.
    pub(super) fn instance(&mut self, name: &str, entry: Option<&UseTable>) -> Option<usize> {
        let known = self.plugins.get(name)?.as_ref()?;
        let options = self.options(known, entry);
        let same = |(at, instance): (usize, &Instance)| {
            let shared = self.isolated.iter().all(|(_, isolated)| *isolated != at);
            (shared && instance.is_of(name) && instance.options == options).then_some(at)
        };
        match self.instances.iter().enumerate().find_map(same) {
            Some(at) => Some(at),
            None => Some(self.add(name, known, options)),
        }
    }

    /// Finds the instance that belongs to `entry` alone, or adds it.
    fn isolated(&mut self, name: &str, entry: &'a UseTable) -> Option<usize> {
        let mut known = self.isolated.iter();
        if let Some((_, at)) = known.find(|(known, _)| std::ptr::eq(*known, entry)) {
            return Some(*at);
        }
        let known = self.plugins.get(name)?.as_ref()?;
        let options = self.options(known, Some(entry));
        let at = self.add(name, known, options);
        self.isolated.push((entry, at));
        Some(at)
    }

    /// The options of a plugin with what `entry` lays over them, as the plugin gets them.
    fn options(&self, known: &Known<'_>, entry: Option<&UseTable>) -> String {
        let mut checked = self.with.iter();
        let with = entry.and_then(|entry| checked.find(|(known, _)| std::ptr::eq(*known, entry)));
        let options = match with {
            Some((_, with)) => overlay(&known.config, with),
            None => known.config.clone(),
        };
        Json::Object(options).to_string()
    }

    fn add(&mut self, name: &str, known: &Known<'_>, options: String) -> usize {
        let others = self.instances.iter().filter(|i| i.is_of(name)).count();
        self.instances.push(Instance {
            name: if others == 0 {
                name.to_owned()
            } else {
                format!("{name}#{}", others + 1)
            },
            loader: known.loader.kind().to_owned(),
            source: known.source.clone(),
            options,
        });
        self.instances.len() - 1
    }

    /// Warns of chains and plugins that no listener, no bridge and no store reaches.
    pub(super) fn unused(&self, checks: &mut Checks<'_>) {
        let mut reached: Vec<&str> = self.used.iter().map(String::as_str).collect();
        let mut next = 0;
        while let Some(name) = reached.get(next).copied() {
            next += 1;
            let uses = self.chains.get(name).into_iter().flat_map(Chain::uses);
            for inner in uses.filter_map(Use::chain) {
                if !reached.contains(&inner) {
                    reached.push(inner);
                }
            }
        }
        for name in self
            .chains
            .keys()
            .filter(|name| !reached.contains(&name.as_str()))
        {
            let path = Path::of(["chains", name]);
            checks.warn(
                Code::Unused,
                format!("nothing uses the chain `{name}`"),
                &path,
                None,
            );
        }
        for name in self.plugins.keys() {
            let is_store = self.store.as_deref() == Some(*name);
            if !is_store && !self.instances.iter().any(|instance| instance.is_of(name)) {
                let path = Path::of(["plugins", name]);
                checks.warn(
                    Code::Unused,
                    format!("nothing uses the plugin `{name}`"),
                    &path,
                    None,
                );
            }
        }
    }
}

/// What the entry says wins over what the instance says; `on_timeout` follows `on_error` where only that is said.
fn policies(plugin: &Plugin, table: Option<&UseTable>) -> (FaultPolicy, FaultPolicy) {
    let entry = table.map_or((None, None), |table| (table.on_error, table.on_timeout));
    let on_error = entry.0.or(plugin.on_error).unwrap_or(FaultPolicy::Deny);
    let on_timeout = entry.1.or(entry.0).or(plugin.on_timeout).unwrap_or(on_error);
    (on_error, on_timeout)
}

/// Lays `with` over `base`: tables merge, everything else replaces.
fn overlay(base: &Options, with: &Options) -> Options {
    let mut merged = base.clone();
    for (key, value) in with {
        match (merged.get_mut(key), value) {
            (Some(Json::Object(inner)), Json::Object(over)) => *inner = overlay(inner, over),
            _ => {
                merged.insert(key.clone(), value.clone());
            }
        }
    }
    merged
}

impl Use {
    /// The chain that stands here.
    pub(super) fn chain(&self) -> Option<&str> {
        match self {
            Self::Table(table) => table.chain.as_deref(),
            Self::Name(_) => None,
        }
    }
}

impl UseTable {
    /// Tells whether it says anything that only makes sense for a plugin.
    fn has_settings(&self) -> bool {
        let Self {
            plugin: _,
            chain: _,
            on,
            topics,
            when,
            with,
            isolate,
            timeout,
            on_error,
            on_timeout,
        } = self;
        on.is_some()
            || topics.is_some()
            || when.is_some()
            || with.is_some()
            || isolate.is_some()
            || timeout.is_some()
            || on_error.is_some()
            || on_timeout.is_some()
    }
}

//! A broker that was made from a configuration, made anew from it: read again, compared, and changed where it differs. Who
//! wants it otherwise gives a builder to [`Handle::reload`].
//!
//! ```no_run
//! use std::sync::Arc;
//! use jackfield::builtin::Builtins;
//! use jackfield::config_file::Sources;
//! use jackfield::reload::Configured;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let sources = Sources { file: Some("jackfield.toml".into()), ..Sources::default() };
//! let (mut configured, builder) = Configured::load(sources, vec![Arc::new(Builtins)]).await?;
//! let broker = builder.start().await?;
//! // … the file has changed:
//! match configured.reload(&broker.handle()).await {
//!     Ok(changed) => changed.differences.iter().for_each(|difference| println!("{difference}")),
//!     Err(refused) => eprintln!("everything goes on as it was: {refused}"),
//! }
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use broker_core::{BrokerBuilder, Handle, Reload, ReloadError, Reloaded};
use plugin_api::PluginLoader;

use crate::assemble::{AssembleError, Plugins, assemble_with};
use crate::config_file::{self, Entry, Loaded, Report, Settings, Sources};

/// A configuration that a broker was made from, and what was made for it.
pub struct Configured {
    sources: Sources,
    loaders: Vec<Arc<dyn PluginLoader>>,
    loaded: Loaded,
    plugins: Plugins,
}

impl fmt::Debug for Configured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configured")
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

/// Why a configuration isn't used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is wrong.
    #[error("the configuration is wrong\n{0}")]
    Configuration(Report),
    /// Some of it can't change while the broker runs.
    #[error("only a restart can change {}", list(.0))]
    Restart(Vec<Difference>),
    /// Plugins can't be loaded.
    #[error("{}", list(.0))]
    Plugins(Vec<AssembleError>),
    /// The broker refuses it.
    #[error(transparent)]
    Broker(#[from] ReloadError),
}

fn list<T: fmt::Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What came of reading a configuration again.
#[derive(Debug)]
#[non_exhaustive]
pub struct Changed {
    /// The keys that have another value, by name.
    pub differences: Vec<Difference>,
    /// What that changed in the broker.
    pub done: Reloaded,
    /// Plugins that go on and have read their own files again.
    pub refreshed: Vec<String>,
    /// Warnings about the configuration, and about plugins that go on with the data they have.
    pub warnings: Vec<String>,
}

/// A key that has another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// The value it had, as TOML; `None`: it had none.
    pub before: Option<String>,
    /// The value it has now.
    pub after: Option<String>,
    /// Whom the change reaches.
    pub class: Class,
}

/// Whom a changed key reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Everybody, at once.
    AtOnce,
    /// All clients, with their next packet.
    NextPacket,
    /// A new instance of a plugin takes the place of the old one.
    Instance,
    /// Connections that come later.
    NewConnections,
    /// The listener alone.
    Listener,
    /// The bridge alone; what waits for it stays.
    Bridge,
    /// Nobody before the broker is started again.
    Restart,
}

impl Class {
    /// Returns whom a change of `key` reaches.
    #[must_use]
    pub fn of(key: &str) -> Self {
        let mut parts = key.split('.');
        let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        match (first, second.unwrap_or_default(), third.unwrap_or_default()) {
            ("node", "plugin_dirs", _) => Self::Instance,
            ("node" | "store" | "shared_subscriptions", ..) | ("log", "format", _) => Self::Restart,
            ("plugins", ..) => Self::Instance,
            ("chains", ..) | ("listeners", _, "chain") => Self::NextPacket,
            ("listeners", _, "bind" | "transport") => Self::Listener,
            ("limits", "sessions_max" | "retained_max" | "retained_bytes_max" | "memory_max", _) => {
                Self::AtOnce
            }
            ("listeners" | "limits", ..) => Self::NewConnections,
            // An array, in one piece.
            ("bridges", ..) => Self::Bridge,
            _ => Self::AtOnce,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtOnce => "at once",
            Self::NextPacket => "with the next packet",
            Self::Instance => "a new instance of the plugin",
            Self::NewConnections => "for new connections",
            Self::Listener => "the listener",
            Self::Bridge => "the bridge",
            Self::Restart => "with a restart",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(not set)".to_owned());
        let (before, after) = (shown(&self.before), shown(&self.after));
        write!(f, "{}: {before} → {after} ({})", self.key, self.class)
    }
}

impl Configured {
    /// Reads a configuration, loads its plugins, and returns a builder with everything that it says; more may be added to that
    /// before it is started. Opens no port.
    ///
    /// # Errors
    /// Everything that is wrong with it, or all plugins that can't be loaded.
    pub async fn load(
        sources: Sources,
        loaders: Vec<Arc<dyn PluginLoader>>,
    ) -> Result<(Self, BrokerBuilder), Refused> {
        let loaded = config_file::load(&sources, &loaders)
            .await
            .map_err(Refused::Configuration)?;
        Self::of(sources, loaders, loaded).await
    }

    /// As [`Self::load`], with a configuration that was read already.
    ///
    /// # Errors
    /// All plugins that can't be loaded.
    pub async fn of(
        sources: Sources,
        loaders: Vec<Arc<dyn PluginLoader>>,
        loaded: Loaded,
    ) -> Result<(Self, BrokerBuilder), Refused> {
        let assembled = assemble_with(&loaded.settings, &loaders, None).await;
        let (builder, plugins) = assembled.map_err(Refused::Plugins)?;
        let configured = Self {
            sources,
            loaders,
            loaded,
            plugins,
        };
        Ok((configured, builder))
    }

    /// Returns what the configuration says that is in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.loaded.settings
    }

    /// Reads the configuration again and makes the broker as it says now. Plugins whose options and file haven't changed go on,
    /// and are asked to read their own files again. If something is wrong, everything goes on as it was.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub async fn reload(&mut self, handle: &Handle) -> Result<Changed, Refused> {
        self.reload_as(handle, Reload::from).await
    }

    /// As [`Self::reload`], for a builder to which something was added before it was started: `finish` adds that again, and
    /// may say how the change is made.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub async fn reload_as(
        &mut self,
        handle: &Handle,
        finish: impl FnOnce(BrokerBuilder) -> Reload,
    ) -> Result<Changed, Refused> {
        let loaded = config_file::load(&self.sources, &self.loaders)
            .await
            .map_err(Refused::Configuration)?;
        let differences = differences(&self.loaded.values, &loaded.values);
        let fixed: Vec<_> = { differences.iter() }
            .filter(|difference| difference.class == Class::Restart)
            .cloned()
            .collect();
        if !fixed.is_empty() {
            return Err(Refused::Restart(fixed));
        }
        let mut warnings: Vec<_> = loaded
            .report
            .iter()
            .map(|warning| warning.message.clone())
            .collect();
        let swapped_back = self.plugins.follow(&handle.plugins().await);
        let assembled = assemble_with(&loaded.settings, &self.loaders, Some(&self.plugins)).await;
        let (builder, plugins) = assembled.map_err(Refused::Plugins)?;
        let done = handle.reload(finish(builder)).await?;
        for name in swapped_back.iter().filter(|name| plugins.has_failed(name)) {
            warnings.push(format!(
                "plugin `{name}` failed when it was new and hasn't changed since; the one before it stays"
            ));
        }
        let mut refreshed = Vec::new();
        for (name, plugin, options) in plugins.kept(&self.plugins) {
            match plugin.reconfigure(options).await {
                Ok(true) => refreshed.push(name.to_owned()),
                Ok(false) => {}
                Err(fault) => warnings.push(format!("plugin `{name}` goes on with what it has: {fault}")),
            }
        }
        self.plugins = plugins;
        self.loaded = loaded;
        Ok(Changed {
            differences,
            done,
            refreshed,
            warnings,
        })
    }

    /// Returns what the configuration in force and its plugins are read from, to be watched. What has changed since they were
    /// read is seen, too.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let instances = &self.loaded.settings.instances;
        let plugins = instances.iter().filter_map(|instance| {
            let loader = { self.loaders.iter() }.find(|loader| loader.kind() == instance.loader)?;
            loader.file(&instance.source)
        });
        let files = self.loaded.files.iter().cloned().chain(plugins);
        Watch::of(files, self.loaded.read_at)
    }
}

/// Files that are looked at again and again: polling works on every file system, and sees renames, links and edits alike.
#[derive(Debug, Default)]
pub struct Watch {
    seen: BTreeMap<PathBuf, Option<Stamp>>,
    changing: bool,
}

/// File systems date by a clock that may be so much behind.
const GRAIN: Duration = Duration::from_millis(20);

/// What tells a file from what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    inode: u64,
}

impl Watch {
    /// Watches files that were read not before `read_at`.
    fn of(files: impl IntoIterator<Item = PathBuf>, read_at: SystemTime) -> Self {
        let seen = files.into_iter().map(|file| {
            let stamp = Stamp::of(&file);
            // What was written meanwhile may not be what was read.
            (
                file,
                stamp.filter(|stamp| stamp.modified.is_some_and(|at| at + GRAIN < read_at)),
            )
        });
        Self {
            seen: seen.collect(),
            changing: false,
        }
    }

    /// Looks at the files. True: they have changed, and have been the same twice in a row since.
    pub fn look(&mut self) -> bool {
        let mut changed = false;
        for (file, seen) in &mut self.seen {
            let now = Stamp::of(file);
            changed |= now != *seen;
            *seen = now;
        }
        // Whoever writes files may be in the middle of it.
        let settled = self.changing && !changed;
        self.changing = changed;
        settled
    }
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(file).ok()?;
        Some(Self {
            modified: metadata.modified().ok(),
            len: metadata.len(),
            inode: metadata.ino(),
        })
    }
}

/// Returns the keys that have another value, by name.
fn differences(before: &[Entry], after: &[Entry]) -> Vec<Difference> {
    let by_key = |entries: &[Entry]| -> BTreeMap<String, (String, String)> {
        // A secret that is another one now still looks the same.
        let value = |entry: &Entry| (entry.digest.clone(), entry.value.clone());
        let pairs = entries.iter().map(|entry| (entry.key.clone(), value(entry)));
        pairs.collect()
    };
    let (before, after) = (by_key(before), by_key(after));
    let mut keys: Vec<_> = before.keys().chain(after.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    changed
        .map(|key| Difference {
            key: key.clone(),
            before: before.get(key).map(|(_, value)| value.clone()),
            after: after.get(key).map(|(_, value)| value.clone()),
            class: Class::of(key),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_key_reaches_somebody() {
        for (key, class) in [
            ("node.worker_threads", Class::Restart),
            ("node.plugin_dirs", Class::Instance),
            ("store.engine", Class::Restart),
            ("log.format", Class::Restart),
            ("log.level", Class::AtOnce),
            ("log.targets.broker_core", Class::AtOnce),
            ("chains.plant", Class::NextPacket),
            ("chains.plant.uses", Class::NextPacket),
            ("plugins.acl.config.file", Class::Instance),
            ("listeners.main.chain", Class::NextPacket),
            ("listeners.main.bind", Class::Listener),
            ("listeners.main.limits.inflight_max", Class::NewConnections),
            ("limits.inflight_max", Class::NewConnections),
            ("limits.memory_max", Class::AtOnce),
            ("bridges", Class::Bridge),
            ("sys.interval", Class::AtOnce),
            ("shared_subscriptions.strategy", Class::Restart),
        ] {
            assert_eq!(Class::of(key), class, "{key}");
        }
    }

    #[test]
    fn a_difference_says_what_was_and_what_is() {
        let entry = |key: &str, value: &str| Entry {
            key: key.to_owned(),
            value: value.to_owned(),
            origin: String::new(),
            digest: value.to_owned(),
        };
        let before = [
            entry("a", "1"),
            entry("limits.inflight_max", "2"),
            entry("same", "3"),
        ];
        let after = [
            entry("limits.inflight_max", "4"),
            entry("same", "3"),
            entry("sys.z", "true"),
        ];
        let told = differences(&before, &after);
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "a: 1 → (not set) (at once)",
                "limits.inflight_max: 2 → 4 (for new connections)",
                "sys.z: (not set) → true (at once)",
            ]
        );
    }

    #[test]
    fn a_change_is_told_when_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        fs::write(&file, "1").unwrap();
        let later = SystemTime::now() + Duration::from_secs(60);
        let mut watch = Watch::of([file.clone(), folder.path().join("missing")], later);
        assert!(!watch.look());
        fs::write(&file, "12").unwrap();
        assert!(!watch.look(), "it may go on");
        fs::write(&file, "123").unwrap();
        assert!(!watch.look(), "and did");
        assert!(watch.look());
        assert!(!watch.look(), "once is enough");
        fs::remove_file(&file).unwrap();
        assert!(!watch.look());
        assert!(watch.look());
        // What was written after reading began.
        fs::write(&file, "1").unwrap();
        let mut watch = Watch::of([file], SystemTime::UNIX_EPOCH);
        assert!(!watch.look());
        assert!(watch.look());
    }
}

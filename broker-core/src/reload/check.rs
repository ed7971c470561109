//! What can be wrong with a builder before a plugin runs, and the listeners as it has them.

use std::collections::HashSet;
use std::sync::Arc;

use broker_types::TopicName;
use plugin_api::Durability;

use crate::bridge::BRIDGES_MAX;
use crate::builder::BrokerBuilder;
use crate::engine::listener::ListenerState;
use crate::engine::memory::memory_max_default;
use crate::error::StartProblem;
use crate::listener::{ChainRef, Listener};
use crate::settings::Settings;

/// File descriptors that are not for connections.
const OWN_FILES: u64 = 100;

/// A builder that has been looked through.
pub(crate) struct Checked {
    /// Its listeners, in order, without chains.
    pub(crate) listeners: Vec<ListenerState>,
    /// What is wrong.
    pub(crate) problems: Vec<StartProblem>,
}

impl Checked {
    /// Looks `builder` through; the store that it will have promises `strongest`.
    pub(crate) fn new(builder: &BrokerBuilder, strongest: Durability) -> Self {
        let mut problems = Vec::new();
        let listeners = listeners(builder, strongest, &mut problems);
        bridges(builder, &mut problems);
        Self { listeners, problems }
    }
}

/// Returns the settings of the whole broker. `seed` is for choices that are made by chance.
pub(crate) fn settings(builder: &BrokerBuilder, seed: u64) -> Settings {
    Settings {
        share_strategy: builder.shared_strategy.with_seed(seed),
        queue_full: builder.queue_full,
        sessions_max: builder.sessions_max,
        retained_max: builder.retained_max,
        retained_bytes_max: builder.retained_bytes_max,
        memory_max: builder
            .memory_max
            .or_else(memory_max_default)
            .and_then(|bytes| i64::try_from(bytes).ok())
            .unwrap_or(i64::MAX),
        sys_interval: builder.sys_interval,
    }
}

/// Returns the name of listener `index`.
pub(super) fn name_of(listener: &Listener, index: usize) -> String {
    { listener.name.clone() }.unwrap_or_else(|| format!("listener-{index}"))
}

fn listeners(
    builder: &BrokerBuilder,
    strongest: Durability,
    problems: &mut Vec<StartProblem>,
) -> Vec<ListenerState> {
    if builder.listeners.is_empty() {
        problems.push(StartProblem::NoListener);
    }
    if builder.shards == Some(0) {
        problems.push(StartProblem::Setting {
            what: "shards",
            why: "at least one is needed".to_owned(),
        });
    }
    let mut names = HashSet::new();
    let listeners = builder.listeners.iter().enumerate();
    listeners
        .map(|(index, listener)| {
            let name = name_of(listener, index);
            if !names.insert(name.clone()) {
                problems.push(StartProblem::TwiceNamed(name.clone()));
            }
            self::listener(builder, listener, name, strongest, problems)
        })
        .collect()
}

fn listener(
    builder: &BrokerBuilder,
    listener: &Listener,
    name: String,
    strongest: Durability,
    problems: &mut Vec<StartProblem>,
) -> ListenerState {
    if let Err(why) = &listener.bind {
        problems.push(StartProblem::Address {
            listener: name.clone(),
            why: why.clone(),
        });
    }
    if !listener.mount.is_empty()
        && let Err(error) = TopicName::new(listener.mount.as_str())
    {
        let (mount, why) = (listener.mount.clone(), error.to_string());
        problems.push(StartProblem::Mount {
            listener: name.clone(),
            mount,
            why,
        });
    }
    if let ChainRef::Named(chain) = &listener.chain
        && !builder.chains.contains_key(chain)
    {
        problems.push(StartProblem::UnknownChain {
            listener: name.clone(),
            chain: chain.clone(),
        });
    }
    let limits = Arc::new(listener.limits.clone().unwrap_or_else(|| builder.limits.clone()));
    // Nothing would ever be read with one of these at zero.
    for (what, limit) in [
        ("receive_maximum", usize::from(limits.receive_maximum)),
        ("outbox_bytes_max", limits.outbox_bytes_max),
    ] {
        if limit == 0 {
            let why = "at least one is needed".to_owned();
            problems.push(StartProblem::Setting { what, why });
        }
    }
    let connections_max = limits.connections_max.unwrap_or_else(files_for_connections);
    let durability = listener.durability.unwrap_or(strongest);
    if durability > strongest {
        problems.push(StartProblem::Durability {
            listener: name.clone(),
            wanted: durability,
            strongest,
        });
    }
    ListenerState {
        name: name.into(),
        limits,
        chain: Arc::default(),
        anonymous: listener.anonymous,
        protocols: listener.protocols.clone(),
        mount: listener.mount.as_str().into(),
        shared_sessions: listener.shared_sessions,
        durability,
        connections_max,
        connections: Arc::default(),
    }
}

/// Checks what can be wrong with bridges before a plugin runs.
fn bridges(builder: &BrokerBuilder, problems: &mut Vec<StartProblem>) {
    if builder.bridges.len() > BRIDGES_MAX {
        problems.push(StartProblem::Setting {
            what: "bridges",
            why: format!(
                "there are {}, at most {BRIDGES_MAX} may be",
                builder.bridges.len()
            ),
        });
    }
    let mut names = HashSet::new();
    for spec in &builder.bridges {
        let mut wrong = |why| {
            let bridge = spec.name.to_string();
            problems.push(StartProblem::Bridge { bridge, why });
        };
        if !names.insert(&spec.name) {
            wrong("another bridge has the same name".to_owned());
        }
        if let Some(chain) = spec
            .chain
            .as_ref()
            .filter(|chain| !builder.chains.contains_key(*chain))
        {
            wrong(format!("there is no chain `{chain}`"));
        }
        let rules = spec.outgoing.iter().chain(&spec.incoming);
        rules
            .filter_map(|rule| rule.compile().err())
            .for_each(|error| wrong(error.to_string()));
    }
}

/// Returns how many connections the process may have once it takes all the file descriptors that the system allows; `None`: the
/// system sets no limit.
#[must_use]
pub fn connections_possible() -> Option<usize> {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum?;
    usize::try_from(files.saturating_sub(OWN_FILES)).ok()
}

/// Returns how many connections the process may have by its file descriptors.
fn files_for_connections() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = limit.unwrap_or(u64::MAX).saturating_sub(OWN_FILES).max(1);
    usize::try_from(files).unwrap_or(usize::MAX)
}

//! What a chain's plugins did so far, read when somebody asks for metrics.

use std::sync::Arc;

use plugin_api::FaultKind;

use super::ChainSet;
use crate::chain::Hook;

/// What one plugin did in one chain since that was compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PluginCounts {
    /// The plugin, by its name in the chain.
    pub plugin: Arc<str>,
    /// How often each of its hooks was called. Without events, which are told in batches.
    pub calls: Vec<(Hook, u64)>,
    /// How often it failed, for every kind of failure.
    pub faults: Vec<(FaultKind, u64)>,
    /// It failed too often and isn't asked at present.
    pub circuit_open: bool,
    /// Calls that held up a shard, with all clients of it, for at least a tenth of a second.
    pub stalls: u64,
    /// Events that were lost because it was too slow, in all chains together.
    pub events_dropped: u64,
    /// Batches of events that it failed to take, in all chains together.
    pub events_failed: u64,
}

impl ChainSet {
    /// Returns what each use did, in the order of the chain.
    pub(crate) fn counts(&self) -> Vec<PluginCounts> {
        let mut counts: Vec<_> = { self.uses().iter() }
            .map(|state| PluginCounts {
                plugin: state.name().clone(),
                calls: Vec::new(),
                faults: state.faults().collect(),
                circuit_open: state.is_open(),
                stalls: state.stalls(),
                events_dropped: 0,
                events_failed: 0,
            })
            .collect();
        for guard in self.guards() {
            counts[guard.state().position]
                .calls
                .push((guard.hook(), guard.calls()));
        }
        for told in self.events().told() {
            counts[told.position].events_dropped = told.dropped;
            counts[told.position].events_failed = told.failed;
        }
        counts
    }
}

//! From a builder to everything that is to be. Made and checked beside what runs, and thrown away if something is wrong.

use std::sync::Arc;

use plugin_api::{Bridge as Carrier, Capabilities};

use super::Altered;
use super::steward::Steward;
use crate::bridge::Bridge;
use crate::builder::BrokerBuilder;
use crate::chain::Chain;
use crate::engine::listener::{ChainCell, Entrance, ListenerState};
use crate::error::StartProblem;
use crate::hooks::{ChainError, ChainSet, HookMask, InUse, Instance};
use crate::listener::Bind;

/// Everything that is to be.
pub(super) struct Plan {
    pub(super) listeners: Vec<PlannedListener>,
    pub(super) bridges: Vec<PlannedBridge>,
    /// The chains of listeners that are gone but still have clients, by their place in the steward's list.
    pub(super) lingering: Vec<(usize, Chain, Arc<ChainSet>)>,
}

/// A listener that is to be.
pub(super) struct PlannedListener {
    pub(super) state: Arc<ListenerState>,
    pub(super) set: Arc<ChainSet>,
    pub(super) entrance: Way,
    pub(super) changes: Vec<Altered>,
}

/// Where a listener's connections come in.
pub(super) enum Way {
    /// Through an entrance that is there, by its place.
    Kept(usize),
    /// Through a new one.
    New(Entrance),
}

/// A bridge that is to be.
pub(super) struct PlannedBridge {
    pub(super) bridge: Arc<Bridge>,
    pub(super) set: Option<Arc<ChainSet>>,
    /// What it carries by, if it isn't the one that is there already.
    pub(super) carrier: Option<(Arc<dyn Carrier>, InUse)>,
    pub(super) changes: Vec<Altered>,
}

impl Steward {
    /// Finds or opens the entrance of each listener. A socket that is bound already is handed on, also to a listener of
    /// another name, unless the system chose its port.
    pub(super) fn entrances(
        &self,
        builder: &BrokerBuilder,
        states: &[Arc<ListenerState>],
        problems: &mut Vec<StartProblem>,
    ) -> Vec<Way> {
        let present: Vec<_> = {
            let entrances = self.core.entrances();
            let wanted = entrances.iter().map(|entrance| entrance.wanted.clone());
            wanted
                .zip(self.core.listeners().iter().map(|listener| listener.name.clone()))
                .collect()
        };
        let mut taken = vec![false; present.len()];
        let mut ways = Vec::new();
        for (listener, state) in builder.listeners.iter().zip(states) {
            let Ok(bind) = &listener.bind else { continue };
            let fits = |own_name: bool| {
                present.iter().enumerate().position(|(at, (wanted, name))| {
                    !taken[at] && wanted == bind && (*name == state.name || !own_name)
                })
            };
            let found = match has_own_port(bind) {
                true => fits(true).or_else(|| fits(false)),
                false => fits(true),
            };
            if let Some(at) = found {
                taken[at] = true;
                ways.push(Way::Kept(at));
                continue;
            }
            match Entrance::open(bind, state) {
                Ok(entrance) => ways.push(Way::New(entrance)),
                Err(problem) => problems.push(problem),
            }
        }
        ways
    }

    /// Returns the terms of each listener, in the place of those it has.
    pub(super) fn in_place(&self, states: Vec<ListenerState>) -> Vec<Arc<ListenerState>> {
        let place = |state: ListenerState| match self.listener_before(&state.name) {
            Some(before) if before.has_terms_of(&state) => before,
            Some(before) => Arc::new(state.in_place_of(&before)),
            None => Arc::new(state),
        };
        states.into_iter().map(place).collect()
    }

    /// Puts chains and bridges together.
    pub(super) fn plan(
        &self,
        builder: &BrokerBuilder,
        states: Vec<Arc<ListenerState>>,
        ways: Vec<Way>,
        problems: &mut Vec<StartProblem>,
    ) -> Plan {
        let mut listeners = Vec::new();
        for ((listener, state), entrance) in builder.listeners.iter().zip(states).zip(ways) {
            let Some(chain) = builder.chain_of(listener) else {
                continue;
            };
            let before = self.listener_before(&state.name);
            let known = self.chain_before(&state.name);
            let set = match (&before, known) {
                (Some(before), Some(known)) if known.is_same(chain) => Ok(before.chain.load_full()),
                _ => self.compile(chain),
            };
            let set = match set {
                Ok(set) => set,
                Err(source) => {
                    problems.push(StartProblem::Chain {
                        listener: state.name.to_string(),
                        source,
                    });
                    continue;
                }
            };
            let decides = HookMask::AUTHENTICATE.or(HookMask::EXCHANGE);
            if listener.bind != Ok(Bind::Internal) && !state.anonymous && !set.mask().has(decides) {
                problems.push(StartProblem::NoAuthenticator(state.name.to_string()));
            }
            let changes = changes(before.as_ref(), &state, &set, &entrance);
            listeners.push(PlannedListener {
                state,
                set,
                entrance,
                changes,
            });
        }
        Plan {
            listeners,
            bridges: self.bridges(builder, problems),
            lingering: self.lingering_chains(builder),
        }
    }

    /// Compiles a chain from the instances there are.
    pub(super) fn compile(&self, chain: &Chain) -> Result<Arc<ChainSet>, ChainError> {
        self.compile_with(chain, &[])
    }

    /// Compiles a chain in which some instances have a stand-in.
    pub(super) fn compile_with(
        &self,
        chain: &Chain,
        stand_ins: &[(Arc<Instance>, Arc<Instance>)],
    ) -> Result<Arc<ChainSet>, ChainError> {
        let find = |plugin: &Arc<dyn plugin_api::Plugin>| {
            let member = self.members.iter().find(|member| member.is(plugin));
            let instance = member.map_or_else(
                || Instance::new(plugin.clone(), Capabilities::default()),
                |member| member.instance.clone(),
            );
            let mut stand_ins = stand_ins.iter();
            match stand_ins.find(|(before, _)| Arc::ptr_eq(before, &instance)) {
                Some((_, stand_in)) => stand_in.clone(),
                None => instance,
            }
        };
        ChainSet::compile(chain, &find, self.core.new_generation(), &self.hub).map(Arc::new)
    }

    fn bridges(&self, builder: &BrokerBuilder, problems: &mut Vec<StartProblem>) -> Vec<PlannedBridge> {
        let present = self.core.bridges.get();
        let mut planned = Vec::new();
        for spec in &builder.bridges {
            let mut wrong = |why| {
                let bridge = spec.name.to_string();
                problems.push(StartProblem::Bridge { bridge, why });
            };
            let all = present.iter().flat_map(|bridges| bridges.all());
            let before = all.into_iter().find(|bridge| bridge.name == spec.name);
            let known = self.builder.bridges.iter().find(|known| known.name == spec.name);
            let member = self.members.iter().find(|member| member.is(&spec.plugin));
            let carrier = member.and_then(|member| {
                let carrier = member.instance.offered.bridge.clone()?;
                Some((carrier, member.instance.at_work.hold()))
            });
            let Some(carrier) = carrier else {
                wrong("its plugin has no hook `bridge`".to_owned());
                continue;
            };
            let cell = before.and_then(|before| before.chain.clone());
            let chain = builder.chain_of_bridge(spec);
            let chain_known = known.and_then(|known| self.builder.chain_of_bridge(known));
            let set = match (chain, chain_known, &cell) {
                (None, ..) => None,
                (Some(chain), Some(known), Some(cell)) if known.is_same(chain) => Some(Ok(cell.load_full())),
                (Some(chain), ..) => Some(self.compile(chain)),
            };
            let set = match set.transpose() {
                Ok(set) => set,
                Err(error) => {
                    wrong(error.to_string());
                    continue;
                }
            };
            let mut changes = Vec::new();
            let rechained = match (&set, &cell) {
                (Some(set), Some(cell)) => set.generation() != cell.generation(),
                (None, None) => false,
                _ => true,
            };
            if let (Some(before), Some(known)) = (before, known)
                && known.is_same(spec)
            {
                changes.extend(rechained.then_some(Altered::Chain));
                planned.push(PlannedBridge {
                    bridge: before.clone(),
                    set,
                    carrier: None,
                    changes,
                });
                continue;
            }
            changes.push(match before {
                Some(_) => Altered::Changed,
                None => Altered::Added,
            });
            let cell = set
                .as_ref()
                .map(|_| cell.unwrap_or_else(|| Arc::new(ChainCell::default())));
            let session = self.core.new_session_id();
            planned.push(PlannedBridge {
                bridge: Bridge::new(spec, session, cell, before.map(|before| &**before)),
                set,
                carrier: Some(carrier),
                changes,
            });
        }
        planned
    }

    /// Returns the chains of listeners that are gone but still have clients, where these chains have changed.
    fn lingering_chains(&self, builder: &BrokerBuilder) -> Vec<(usize, Chain, Arc<ChainSet>)> {
        let lingering = self.lingering.iter().enumerate();
        lingering
            .filter_map(|(at, lingering)| {
                let chain = builder.chains.get(lingering.named.as_ref()?)?;
                if lingering.chain.is_same(chain) {
                    return None;
                }
                // What is wrong with a chain is told by those who are there to use it.
                Some((at, chain.clone(), self.compile(chain).ok()?))
            })
            .collect()
    }
}

fn changes(
    before: Option<&Arc<ListenerState>>,
    state: &Arc<ListenerState>,
    set: &Arc<ChainSet>,
    entrance: &Way,
) -> Vec<Altered> {
    let Some(before) = before else {
        return vec![Altered::Added];
    };
    let facts = [
        (Altered::Changed, !before.has_terms_of(state)),
        (Altered::Chain, before.chain.generation() != set.generation()),
        (Altered::Moved, matches!(entrance, Way::New(_))),
    ];
    facts
        .into_iter()
        .filter_map(|(change, is)| is.then_some(change))
        .collect()
}

/// Tells whether an address is the same for everybody who names it.
fn has_own_port(bind: &Bind) -> bool {
    match bind {
        Bind::Tcp(address) => address.port() != 0,
        Bind::Unix(_) => true,
        Bind::Internal => false,
    }
}

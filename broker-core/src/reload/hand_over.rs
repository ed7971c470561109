//! An instance gives its state to the one that takes its place. Meanwhile calls wait: in all chains a stand-in takes the place
//! of the old one, and when nobody has a call there any more, its state is saved and loaded into the new one.
//!
//! What no stand-in can hold up: hooks that have to answer at once, and packets that were waiting for *another* plugin when
//! it began; these are finished by the chain they began with. What they change in the old instance is lost.

use std::sync::Arc;
use std::time::Duration;

use plugin_api::{Fault, FaultKind};

use super::plugins;
use super::steward::{Pair, Steward};
use crate::chain::{Chain, address};
use crate::engine::listener::ChainCell;
use crate::error::StartProblem;
use crate::hooks::{ChainSet, Gate, Instance, pause};

/// How much longer a call may take that waits meanwhile, beside the pause: until everything is exchanged.
const PATIENCE: Duration = Duration::from_secs(30);

/// A chain in which stand-ins are, and what stood there before.
struct HeldUp {
    cell: Arc<ChainCell>,
    before: Arc<ChainSet>,
}

impl Steward {
    /// Hands on the state of those who have some. After success their callers wait at the returned gates, to be answered by
    /// the instances beside these; after an error everything is as it was.
    pub(super) async fn hand_over(
        &self,
        pairs: &[Pair],
        most: Duration,
    ) -> Result<Vec<(Gate, Arc<Instance>)>, StartProblem> {
        let mut with_state = Vec::new();
        for pair in pairs.iter().filter(|pair| pair.is_new) {
            let saved = plugins::save(&pair.before.instance.plugin, most.max(Duration::from_millis(1)));
            if saved.await.map_err(|fault| given_up(pair, &fault))?.is_some() {
                with_state.push(pair);
            }
        }
        if with_state.is_empty() {
            return Ok(Vec::new());
        }
        let mut gates = Vec::new();
        let mut stand_ins = Vec::new();
        for pair in &with_state {
            let (before, after) = (&pair.before.instance, &pair.after.instance);
            let (stand_in, gate) = pause(before, after, most.saturating_add(PATIENCE));
            stand_ins.push((before.clone(), stand_in));
            gates.push(gate);
        }
        let held_up = self
            .hold_up(&stand_ins)
            .map_err(|why| given_up(with_state[0], &why))?;
        let handed = async {
            self.follow().await;
            for pair in &with_state {
                self.hand_on(pair, most)
                    .await
                    .map_err(|fault| given_up(pair, &fault))?;
            }
            Ok(())
        };
        let result = match tokio::time::timeout(most, handed).await {
            Ok(result) => result,
            Err(_) => {
                let text = format!("calls that run, or its state, took longer than {most:?}");
                Err(given_up(with_state[0], &Fault::new(FaultKind::Timeout, text)))
            }
        };
        let pairs = with_state.into_iter();
        match result {
            Ok(()) => Ok(gates
                .into_iter()
                .zip(pairs.map(|pair| pair.after.instance.clone()))
                .collect()),
            Err(problem) => {
                for held_up in held_up {
                    held_up.cell.store(held_up.before);
                }
                self.core.chains_changed();
                for (gate, pair) in gates.into_iter().zip(pairs) {
                    gate.open(&pair.before.instance);
                }
                self.follow().await;
                Err(problem)
            }
        }
    }

    /// Puts the stand-ins into all chains that have their instances.
    fn hold_up(&self, stand_ins: &[(Arc<Instance>, Arc<Instance>)]) -> Result<Vec<HeldUp>, Fault> {
        let concerned = |chain: &Chain| {
            let mut plugins = chain.plugins().map(address);
            plugins.any(|plugin| {
                stand_ins
                    .iter()
                    .any(|(before, _)| address(&before.plugin) == plugin)
            })
        };
        let mut held_up = Vec::new();
        for (cell, chain) in self
            .chains_present()
            .into_iter()
            .filter(|(_, chain)| concerned(chain))
        {
            let set = self.compile_with(chain, stand_ins);
            let set = set.map_err(|error| Fault::new(FaultKind::Protocol, error.to_string()))?;
            let before = cell.load_full();
            held_up.push((HeldUp { cell, before }, set));
        }
        let put = |(held_up, set): (HeldUp, Arc<ChainSet>)| {
            held_up.cell.store(set);
            held_up
        };
        let held_up = held_up.into_iter().map(put).collect();
        self.core.chains_changed();
        Ok(held_up)
    }

    /// Returns every chain that somebody has, and how it is written.
    fn chains_present(&self) -> Vec<(Arc<ChainCell>, &Chain)> {
        let mut all = Vec::new();
        for listener in self.core.listeners().iter() {
            if let Some(chain) = self.chain_before(&listener.name) {
                all.push((listener.chain.clone(), chain));
            }
        }
        let lingering = self.lingering.iter();
        all.extend(lingering.map(|lingering| (lingering.state.chain.clone(), &lingering.chain)));
        for bridge in self.core.bridges.get().iter().flat_map(|bridges| bridges.all()) {
            let spec = self.builder.bridges.iter().find(|spec| spec.name == bridge.name);
            let chain = spec.and_then(|spec| self.builder.chain_of_bridge(spec));
            if let (Some(cell), Some(chain)) = (&bridge.chain, chain) {
                all.push((cell.clone(), chain));
            }
        }
        all
    }

    /// Waits until nobody has a call in the old instance, and gives its state to the new one.
    async fn hand_on(&self, pair: &Pair, most: Duration) -> Result<(), Fault> {
        let (before, after) = (&pair.before.instance, &pair.after.instance);
        self.hub.taken(&before.plugin).await;
        before.at_work.at_rest().await;
        match plugins::save(&before.plugin, most).await? {
            Some(state) => plugins::load(&after.plugin, &before.plugin, &state, most).await,
            None => Ok(()),
        }
    }
}

fn given_up(pair: &Pair, fault: &Fault) -> StartProblem {
    StartProblem::Swap {
        plugin: pair.after.name.to_string(),
        why: fault.to_string(),
    }
}

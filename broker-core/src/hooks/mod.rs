//! Chains at work: what a listener's plugins say, folded into one answer for the engine.
//!
//! [`ChainSet`] is compiled from a [`crate::Chain`] and never changes; a connection keeps the one it began a packet with. Here is
//! no socket, no Session and no packet: the engine asks, and puts the answer on the wire.
//!
//! | file | subject |
//! |---|---|
//! | `chain` | from a chain as written to slots, one list for each hook |
//! | `mask` | which hooks a chain has at all: one bit test |
//! | `guard` | one call into a plugin: its deadline, and what the operator wants to happen when it fails |
//! | `caught` | panics become faults |
//! | `breaker` | a plugin that keeps failing isn't asked for a while |
//! | `authenticate`, `authorize` | decisions: the first verdict, or everybody's consent |
//! | `fold` | accept, connect, subscribe, unsubscribe, retain: each sees what the one before made |
//! | `publish`, `deliver` | the two hot folds: what comes in, what goes out |
//! | `emission`, `will` | what plugins emit because of a message; Will Messages |
//! | `provide` | exchange, control, share-pick: one owner each |
//! | `instance` | a plugin instance, whatever the chains it stands in: who uses it, and its trial |
//! | `paused` | what stands in for an instance while its state is handed on |
//! | `counts` | what the plugins did, for metrics |
//! | `events` | telling plugins what happened, off the path of messages |
//! | `watchdog` | who holds a shard up |
//! | `watched`, `trace` | conditions of uses; what plugins said, for rehearsals |
//! | `interest`, `acl_cache` | what a connection remembers so that it needs not ask again |
//!
//! Cost: with no slot interested, a look at the mask or at an empty [`SlotBits`]. A slot that answers at once and edits nothing
//! costs a virtual call, two relaxed atomic operations and no allocation; no clock is read unless something waits or fails.

mod acl_cache;
mod authenticate;
mod authorize;
mod breaker;
mod caught;
mod chain;
mod counts;
mod deliver;
mod emission;
mod events;
mod fold;
mod guard;
mod instance;
mod interest;
mod mask;
mod paused;
mod provide;
mod publish;
#[cfg(test)]
mod tests;
mod trace;
pub(crate) mod watchdog;
mod watched;
mod will;

use std::future::Future;
use std::pin::Pin;

pub(crate) use acl_cache::{AclCache, Stamp};
pub(crate) use authenticate::AuthOutcome;
pub(crate) use authorize::{Decision, Outcome, PendingAuthorize};
pub(crate) use caught::caught_call;
pub use chain::ChainError;
pub(crate) use chain::ChainSet;
pub use counts::PluginCounts;
pub(crate) use deliver::DeliverOutcome;
pub(crate) use events::{EventHub, EventSink};
pub(crate) use fold::{AcceptOutcome, ConnectOutcome, FilterOutcome, Retained};
pub(crate) use guard::{Guard, UseState};
pub(crate) use instance::{AtWork, InUse, Instance, TRIAL_CALLS};
pub(crate) use interest::{Interest, InterestCache, SlotBits};
pub(crate) use mask::HookMask;
pub(crate) use paused::{Gate, pause};
pub(crate) use provide::{ControlOutcome, ExchangeOutcome, ExchangeOwner};
pub(crate) use publish::{Published, Verdict};
pub use trace::{Change, Said, Turn};
pub(crate) use trace::{Concluded, Trace};

use crate::chain::OnFault;

/// An answer, or a future that will have it.
pub(crate) enum Step<N, L> {
    /// Everybody answered at once.
    Now(N),
    /// Somebody didn't: await this. Dropping it cancels the calls.
    Later(L),
}

/// A future that owns all it needs.
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a fault does to the matter at hand, when it isn't skipped or allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultAction {
    /// Refused; the server is at fault.
    Deny,
    /// Acknowledged, goes nowhere.
    Drop,
    /// The connection is closed.
    Disconnect,
}

impl OnFault {
    /// Returns what a fault does in a fold; `None`: the next plugin is asked as if this one weren't there.
    const fn action(self) -> Option<FaultAction> {
        match self {
            Self::Deny => Some(FaultAction::Deny),
            Self::Drop => Some(FaultAction::Drop),
            Self::Disconnect => Some(FaultAction::Disconnect),
            Self::Skip | Self::Allow => None,
        }
    }
}

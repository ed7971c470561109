//! What plugins said, call by call: only kept in a rehearsal ([`crate::Rehearsal`]). A chain without a trace pays nothing for it:
//! verdicts are written down by what is put around the hooks (`watched`), faults where they are handled anyway (`guard`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use broker_types::Message;
use plugin_api::{AuthVerdict, Fault, FaultKind, Grant};

use super::Verdict;
use crate::chain::{Hook, OnFault};

/// One call of a plugin, or why there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// The plugin, by its name in the chain.
    pub plugin: Arc<str>,
    /// Where it stands in the chain, from 0.
    pub position: usize,
    /// The hook.
    pub hook: Hook,
    /// The topic, filter or filters it was asked about; empty where there is none.
    pub about: String,
    /// What it said.
    pub said: Said,
    /// What it changed.
    pub changes: Vec<Change>,
    /// How long it took.
    pub took: Duration,
}

/// What came of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Said {
    /// A verdict, in the words of the hook's documentation: `allow`, `skip`, `reject 0x87 Not authorized`.
    Verdict(String),
    /// It wasn't asked: its condition doesn't hold.
    PassedBy,
    /// An authenticator that wasn't asked: the client is taken for who it says it is.
    Assumed,
    /// It gave no verdict.
    Fault {
        /// The kind of failure.
        kind: FaultKind,
        /// What happened.
        text: String,
        /// What the operator wants to happen then.
        policy: OnFault,
    },
    /// It was still being asked when the matter ended otherwise.
    Nothing,
}

/// One thing that a plugin changed or granted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// What, in the configuration's manner: `payload`, `topic`, `username`.
    pub what: &'static str,
    /// What it is now.
    pub value: String,
}

impl Change {
    pub(super) fn new(what: &'static str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        Self { what, value }
    }
}

/// What became of a message that publish hooks or authorizers had a say in.
#[derive(Clone, Debug)]
pub(crate) struct Concluded {
    pub(crate) verdict: Verdict,
    pub(crate) message: Message,
    pub(crate) emitted: Vec<Message>,
}

/// Takes down what the plugins of all chains of one rehearsal say.
#[derive(Debug, Default)]
pub(crate) struct Trace(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    turns: Vec<Turn>,
    concluded: Option<Concluded>,
    /// What authenticators are to have said; taken out by the first of them.
    assumed: Option<Option<Box<Grant>>>,
}

impl Trace {
    /// Forgets everything, and takes the next client for who `assumed` says, if it is there.
    pub(crate) fn begin(&self, assumed: Option<Box<Grant>>) {
        *self.lock() = Kept {
            assumed: assumed.map(Some),
            ..Kept::default()
        };
    }

    /// Notes what became of a message.
    pub(crate) fn conclude(&self, verdict: &Verdict, emitted: &[Message], message: Message) {
        self.lock().concluded = Some(Concluded {
            verdict: verdict.clone(),
            message,
            emitted: emitted.to_vec(),
        });
    }

    /// Takes out what was noted.
    pub(crate) fn take(&self) -> (Vec<Turn>, Option<Concluded>) {
        let mut kept = self.lock();
        (std::mem::take(&mut kept.turns), kept.concluded.take())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A trace, as one use of a chain writes into it.
#[derive(Clone, Debug)]
pub(super) struct Tracer {
    trace: Arc<Trace>,
    plugin: Arc<str>,
    position: usize,
}

impl Tracer {
    pub(super) fn new(trace: &Arc<Trace>, plugin: &Arc<str>, position: usize) -> Self {
        Self {
            trace: trace.clone(),
            plugin: plugin.clone(),
            position,
        }
    }

    /// A call begins.
    pub(super) fn open(&self, hook: Hook, about: impl Into<String>) -> Open {
        Open {
            at: self.push(hook, about.into(), Said::Nothing),
            tracer: self.clone(),
            began: Instant::now(),
        }
    }

    /// There is no call: the condition doesn't hold.
    pub(super) fn passed_by(&self, hook: Hook, about: impl Into<String>) {
        self.push(hook, about.into(), Said::PassedBy);
    }

    /// Returns what an authenticator is taken to have said, if none is to be asked: the first allows, the others skip.
    pub(super) fn assumed(&self) -> Option<AuthVerdict> {
        let grant = self.trace.lock().assumed.as_mut()?.take();
        self.push(Hook::Authenticate, String::new(), Said::Assumed);
        Some(grant.map_or(AuthVerdict::Skip, AuthVerdict::Allow))
    }

    /// The call that was noted last failed, or there was none because too many failed before.
    pub(super) fn fault(&self, hook: Hook, fault: &Fault, policy: OnFault) {
        let said = Said::Fault {
            kind: fault.kind,
            text: fault.text.to_string(),
            policy,
        };
        let mut kept = self.trace.lock();
        let mine = |turn: &&mut Turn| turn.position == self.position && turn.hook == hook;
        let last = kept.turns.iter_mut().rev().find(mine);
        match last.filter(|_| fault.kind != FaultKind::CircuitOpen) {
            Some(turn) => {
                turn.said = said;
                turn.changes.clear();
            }
            None => {
                drop(kept);
                self.push(hook, String::new(), said);
            }
        }
    }

    fn push(&self, hook: Hook, about: String, said: Said) -> usize {
        let mut kept = self.trace.lock();
        kept.turns.push(Turn {
            plugin: self.plugin.clone(),
            position: self.position,
            hook,
            about,
            said,
            changes: Vec::new(),
            took: Duration::ZERO,
        });
        kept.turns.len() - 1
    }
}

/// A call that hasn't ended.
pub(super) struct Open {
    tracer: Tracer,
    at: usize,
    began: Instant,
}

impl Open {
    /// The call has ended with a verdict, or with a fault, which the guard tells more about.
    pub(super) fn close(self, verdict: Option<(String, Vec<Change>)>) {
        let took = self.began.elapsed();
        if let Some(turn) = self.tracer.trace.lock().turns.get_mut(self.at) {
            turn.took = took;
            if let Some((said, changes)) = verdict {
                turn.said = Said::Verdict(said);
                turn.changes = changes;
            }
        }
    }
}

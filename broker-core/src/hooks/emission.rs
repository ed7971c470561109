//! What plugins emit because of a message: how much, where to, and what becomes of it all together.

use std::collections::VecDeque;
use std::time::Duration;

use broker_types::{Message, TopicFilter, TopicRef};
use plugin_api::{ClientView, Fault, Patch};

use super::authenticate::nonsense;
use super::{FaultAction, Published, UseState, Verdict};

/// A message may be emitted because of one that was emitted because of one … this often.
const HOPS_MAX: u8 = 8;
/// Messages that may be emitted because of one.
const EMITTED_MAX: usize = 1024;

/// A message that a plugin emitted.
pub(super) struct Emission {
    pub(super) message: Message,
    /// The first slot that sees it.
    pub(super) from: usize,
    pub(super) hop: u8,
}

/// What came of it all so far.
#[derive(Default)]
pub(super) struct Tally {
    verdict: Option<Verdict>,
    pub(super) throttle: Duration,
    pub(super) queue: VecDeque<Emission>,
    /// Messages ever put into the queue.
    emitted: usize,
    pub(super) out: Vec<Message>,
}

impl Tally {
    pub(super) fn enqueue(&mut self, messages: Vec<Message>, from: usize, hop: u8) {
        self.emitted += messages.len();
        self.queue.extend(
            messages
                .into_iter()
                .map(|message| Emission { message, from, hop }),
        );
    }

    /// The message itself is through.
    pub(super) fn conclude(&mut self, verdict: Verdict) {
        match &verdict {
            Verdict::Pass | Verdict::Drop | Verdict::Fault(FaultAction::Drop) => {}
            Verdict::Reject(_)
            | Verdict::Disconnect(_)
            | Verdict::Fault(FaultAction::Deny | FaultAction::Disconnect) => self.discard(),
        }
        self.verdict = Some(verdict);
    }

    /// An emitted message is through. A refusal concerns it alone, for it isn't the client's; but if somebody failed, the
    /// client is to send its message again.
    pub(super) fn emission(&mut self, verdict: Verdict, message: impl FnOnce() -> Message) {
        match verdict {
            Verdict::Pass => self.out.push(message()),
            Verdict::Drop
            | Verdict::Reject(_)
            | Verdict::Disconnect(_)
            | Verdict::Fault(FaultAction::Drop) => {}
            Verdict::Fault(FaultAction::Deny | FaultAction::Disconnect) => {
                self.discard();
                self.verdict = Some(verdict);
            }
        }
    }

    fn discard(&mut self) {
        self.queue.clear();
        self.out.clear();
    }

    pub(super) fn published(self) -> Published {
        Published {
            verdict: self.verdict.unwrap_or(Verdict::Pass),
            throttle: self.throttle,
            emitted: self.out,
        }
    }
}

/// Checks what a plugin wants to do with a message at `hop`: how much it emits, and where it sends.
pub(super) fn check(
    state: &UseState,
    client: &ClientView,
    patch: Option<&Patch>,
    hop: u8,
    tally: &Tally,
) -> Result<(), Fault> {
    let Some(patch) = patch else { return Ok(()) };
    if !patch.emitted.is_empty() && hop >= HOPS_MAX {
        return Err(nonsense("emitted because of what was emitted, 8 times over"));
    }
    if tally.emitted + patch.emitted.len() > EMITTED_MAX {
        return Err(nonsense("more than 1,024 messages emitted because of one"));
    }
    let Some(allowed) = &state.allow_publish else {
        return Ok(());
    };
    // Emitted messages are absolute already; only the client's own is below its mount.
    let mount = if hop == 0 { &*client.mount } else { "" };
    let moved = patch
        .topic
        .iter()
        .all(|topic| may_publish(allowed, mount, topic.as_ref()));
    let emitted = patch
        .emitted
        .iter()
        .all(|message| may_publish(allowed, "", message.topic.as_ref()));
    if moved && emitted {
        return Ok(());
    }
    Err(nonsense("a message to where the plugin may not publish"))
}

fn may_publish(allowed: &[TopicFilter], mount: &str, topic: TopicRef<'_>) -> bool {
    let within = |topic| allowed.iter().any(|filter| filter.matches(topic));
    if mount.is_empty() {
        return within(topic);
    }
    TopicRef::new(&format!("{mount}{topic}")).is_ok_and(within)
}

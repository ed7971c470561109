//! What happens to a message that comes in, and to what plugins emit because of it.
//!
//! The message goes first, from slot to slot; what a slot emits waits and then enters behind that slot, first in, first out.
//! All is one matter: if the message is refused, nothing that was emitted goes out either, since the client sends it again.
//! As long as slots answer at once the message is only borrowed; the first that doesn't makes it owned, and the rest of the
//! chain one future.

use std::sync::Arc;
use std::time::Duration;

use broker_types::{Message, Source};
use plugin_api::{Answer, ClientView, Cx, Denial, Flow, MessageEdit, MessageParts, Patch};

use super::emission::{Tally, check};
use super::fold::PAUSE_MAX;
use super::guard::{Asked, Waiting};
use super::{ChainSet, FaultAction, Pending, SlotBits, Step};
use crate::chain::OnFault;

/// What becomes of a message that came in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// What becomes of the message itself.
    pub(crate) verdict: Verdict,
    /// Nothing is read from this client for so long.
    pub(crate) throttle: Duration,
    /// What goes out besides; has passed the rest of the chain. Topics are absolute. Empty if the message was refused.
    pub(crate) emitted: Vec<Message>,
}

/// What becomes of the message itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is routed, as edited.
    Pass,
    /// It is acknowledged as success and goes nowhere.
    Drop,
    /// It is refused with this reason.
    Reject(Denial),
    /// It is refused and the connection ends with this reason.
    Disconnect(Denial),
    /// Nobody could say.
    Fault(FaultAction),
}

/// Resolves to what became of the message, and to all that plugins changed of it.
pub(crate) type PendingPublish = Pending<(Published, Patch)>;

impl ChainSet {
    /// Shows a message to the slots that want its topic ([`ChainSet::interest`]). Answered at once, the edits are kept in
    /// `edit`. Otherwise `edit` is as it came, and the future's patch has all edits.
    pub(crate) fn publish(
        self: &Arc<Self>,
        client: &Arc<ClientView>,
        slots: SlotBits,
        edit: &mut MessageEdit<'_>,
    ) -> Step<Published, PendingPublish> {
        let mut tally = Tally::default();
        let stalled = match self.walk(client, edit, slots, 0, &mut tally) {
            Walk::End(verdict) => {
                tally.conclude(verdict);
                match self.drain(client, &mut tally) {
                    None => return Step::Now(tally.published()),
                    Some(stalled) => stalled,
                }
            }
            Walk::Stall(stall) => Stalled {
                owned: Owned::of(edit.parts()),
                kept: edit.take_kept(),
                stall,
                hop: 0,
            },
        };
        let kept = edit.take_kept();
        let (set, client) = (self.clone(), client.clone());
        Step::Later(Box::pin(async move {
            let kept = set.publish_rest(&client, &mut tally, stalled, kept).await;
            (tally.published(), kept)
        }))
    }

    /// Shows a message to the slots in `wanted`, one after the other, until it ends or one needs time.
    fn walk(
        &self,
        client: &Arc<ClientView>,
        edit: &mut MessageEdit<'_>,
        mut wanted: SlotBits,
        hop: u8,
        tally: &mut Tally,
    ) -> Walk {
        while let Some(at) = wanted.first() {
            wanted = wanted.from(at + 1);
            let message_slot = &self.publish[at];
            if edit.payload().len() > message_slot.payload_bytes_max {
                continue;
            }
            let slot = &message_slot.slot;
            let cx = Cx {
                client,
                budget: slot.guard.budget(),
            };
            let asked = slot.guard.ask(|| match slot.hook.publish(&cx, edit) {
                Answer::Now(Ok(flow)) => {
                    Answer::Now(check(slot.guard.state(), client, edit.drafted(), hop, tally).map(|()| flow))
                }
                other => other,
            });
            let answer = match asked {
                Asked::Now(answer) => answer,
                Asked::Later(waiting) => {
                    edit.rollback();
                    return Walk::Stall(Stall { at, waiting });
                }
            };
            match self.enter(answer, at, edit, hop, tally) {
                Next::On => {}
                Next::Moved => wanted = self.publish_topics.slots(edit.topic()).from(at + 1),
                Next::End(verdict) => return Walk::End(verdict),
            }
        }
        Walk::End(Verdict::Pass)
    }

    /// Enters the answer of slot `at`: its edits are kept, or thrown away if it failed.
    fn enter(
        &self,
        answer: Result<Flow, OnFault>,
        at: usize,
        edit: &mut MessageEdit<'_>,
        hop: u8,
        tally: &mut Tally,
    ) -> Next {
        let flow = match answer {
            Ok(flow) => flow,
            Err(action) => {
                edit.rollback();
                return action
                    .action()
                    .map_or(Next::On, |action| Next::End(Verdict::Fault(action)));
            }
        };
        let moved = edit.drafted().is_some_and(|draft| draft.topic.is_some());
        edit.commit();
        tally.enqueue(edit.take_emitted(), at + 1, hop + 1);
        match flow {
            Flow::Continue if moved => Next::Moved,
            Flow::Continue => Next::On,
            Flow::Throttle(pause) => {
                tally.throttle = tally.throttle.max(pause.min(PAUSE_MAX));
                if moved { Next::Moved } else { Next::On }
            }
            Flow::Stop => Next::End(Verdict::Pass),
            Flow::Drop => Next::End(Verdict::Drop),
            Flow::Reject(denial) => Next::End(Verdict::Reject(denial)),
            Flow::Disconnect(denial) => Next::End(Verdict::Disconnect(denial)),
        }
    }

    /// Takes the emitted messages through the rest of the chain until none is left or a slot needs time.
    fn drain(&self, client: &Arc<ClientView>, tally: &mut Tally) -> Option<Stalled> {
        while let Some(emission) = tally.queue.pop_front() {
            let owned = Owned {
                message: emission.message,
                source: Source::Plugin,
                dup: false,
            };
            let mut edit = MessageEdit::new(owned.lend());
            let wanted = self.publish_topics.slots(edit.topic()).from(emission.from);
            match self.walk(client, &mut edit, wanted, emission.hop, tally) {
                Walk::End(verdict) => tally.emission(verdict, || edit.to_message()),
                Walk::Stall(stall) => {
                    let kept = edit.take_kept();
                    let hop = emission.hop;
                    return Some(Stalled {
                        owned,
                        kept,
                        stall,
                        hop,
                    });
                }
            }
        }
        None
    }

    /// Takes what was emitted because of a Will Message through the rest of the chain.
    pub(super) async fn pass_emitted(&self, client: &Arc<ClientView>, tally: &mut Tally) {
        if let Some(stalled) = self.drain(client, tally) {
            self.publish_rest(client, tally, stalled, None).await;
        }
    }

    /// Awaits slot after slot until the message and all that was emitted are through. Returns what was kept of the edits
    /// of the message itself; `kept` is that if it is through already.
    async fn publish_rest(
        &self,
        client: &Arc<ClientView>,
        tally: &mut Tally,
        mut stalled: Stalled,
        mut kept: Option<Box<Patch>>,
    ) -> Patch {
        loop {
            let Stalled {
                owned,
                kept: before,
                stall,
                hop,
            } = stalled;
            let mut edit =
                MessageEdit::with_patch(owned.lend(), before.map(|patch| *patch).unwrap_or_default());
            let verdict = self.resume(client, &mut edit, stall, hop, tally).await;
            if hop == 0 {
                kept = edit.take_kept();
                tally.conclude(verdict);
            } else {
                tally.emission(verdict, || edit.to_message());
            }
            match self.drain(client, tally) {
                None => return kept.map(|patch| *patch).unwrap_or_default(),
                Some(next) => stalled = next,
            }
        }
    }

    /// Takes one message from the slot that needs time to its end.
    async fn resume(
        &self,
        client: &Arc<ClientView>,
        edit: &mut MessageEdit<'_>,
        mut stall: Stall,
        hop: u8,
        tally: &mut Tally,
    ) -> Verdict {
        loop {
            let Stall { at, waiting } = stall;
            let guard = &self.publish[at].slot.guard;
            let checked = |(_, patch): &(Flow, Patch)| check(guard.state(), client, Some(patch), hop, tally);
            let answer = guard.finish(waiting, checked).await.map(|(flow, patch)| {
                edit.apply(patch);
                flow
            });
            if let Next::End(verdict) = self.enter(answer, at, edit, hop, tally) {
                return verdict;
            }
            let wanted = self.publish_topics.slots(edit.topic()).from(at + 1);
            match self.walk(client, edit, wanted, hop, tally) {
                Walk::End(verdict) => return verdict,
                Walk::Stall(next) => stall = next,
            }
        }
    }
}

/// How far a message came at once.
enum Walk {
    End(Verdict),
    Stall(Stall),
}

/// The slot that needs time.
struct Stall {
    at: usize,
    waiting: Waiting<(Flow, Patch)>,
}

/// How a message goes on after one slot.
enum Next {
    On,
    /// To the slots that want its new topic.
    Moved,
    End(Verdict),
}

/// A message that waits at a slot. Hop 0 is the message that came in.
struct Stalled {
    owned: Owned,
    kept: Option<Box<Patch>>,
    stall: Stall,
    hop: u8,
}

/// A message that outlives the packet it came with.
struct Owned {
    message: Message,
    source: Source,
    dup: bool,
}

impl Owned {
    fn of(parts: &MessageParts<'_>) -> Self {
        Self {
            message: MessageEdit::new(*parts).to_message(),
            source: parts.source,
            dup: parts.dup,
        }
    }

    fn lend(&self) -> MessageParts<'_> {
        MessageParts {
            dup: self.dup,
            ..MessageParts::of(&self.message, self.source)
        }
    }
}

//! What happens to a message that goes out, once for each subscriber class: from the chain's end to its beginning, so that
//! what comes in and what goes out pass the plugins as layers.

use std::sync::Arc;

use broker_types::{Message, Source};
use plugin_api::{DeliverFlow, MessageEdit, MessageParts, Patch};

use super::guard::{Asked, Waiting, unchecked};
use super::{ChainSet, Pending, SlotBits, Step};
use crate::chain::OnFault;

/// What a class of subscribers gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliverOutcome {
    /// The message, as edited. RETAIN and emitted messages of the edits are not to be looked at.
    Send,
    /// Nothing.
    Drop,
}

/// Resolves to what the class gets, and to all that plugins changed of it.
pub(crate) type PendingDeliver = Pending<(DeliverOutcome, Patch)>;

impl ChainSet {
    /// Shows a message to the slots that want its topic ([`ChainSet::interest`]), last slot first. Answered at once, the edits
    /// are kept in `edit`. Otherwise `edit` is as it came, and the future's patch has all edits.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        class: u32,
        slots: SlotBits,
        edit: &mut MessageEdit<'_>,
    ) -> Step<DeliverOutcome, PendingDeliver> {
        match self.walk_back(class, slots, edit) {
            Walk::End(outcome) => Step::Now(outcome),
            Walk::Stall(stall) => {
                let message = MessageEdit::new(*edit.parts()).to_message();
                let kept = edit.take_kept().map(|patch| *patch).unwrap_or_default();
                let source = edit.source();
                Step::Later(Box::pin(
                    self.clone().deliver_rest(class, message, source, kept, stall),
                ))
            }
        }
    }

    async fn deliver_rest(
        self: Arc<Self>,
        class: u32,
        message: Message,
        source: Source,
        kept: Patch,
        mut stall: Stall,
    ) -> (DeliverOutcome, Patch) {
        let mut edit = MessageEdit::with_patch(MessageParts::of(&message, source), kept);
        let outcome = loop {
            let Stall { at, waiting } = stall;
            let answer = self.deliver[at].slot.guard.finish(waiting, unchecked).await;
            let answer = answer.map(|(flow, patch)| {
                edit.apply(patch);
                flow
            });
            if let Next::End(outcome) = enter(answer, &mut edit) {
                break outcome;
            }
            let wanted = self.deliver_topics.slots(edit.topic()).before(at);
            match self.walk_back(class, wanted, &mut edit) {
                Walk::End(outcome) => break outcome,
                Walk::Stall(next) => stall = next,
            }
        };
        (outcome, edit.take_kept().map(|patch| *patch).unwrap_or_default())
    }

    fn walk_back(&self, class: u32, mut wanted: SlotBits, edit: &mut MessageEdit<'_>) -> Walk {
        while let Some(at) = wanted.last() {
            wanted = wanted.before(at);
            let message_slot = &self.deliver[at];
            if edit.payload().len() > message_slot.payload_bytes_max {
                continue;
            }
            let slot = &message_slot.slot;
            let answer = match slot.guard.ask(|| slot.hook.deliver(class, edit)) {
                Asked::Now(answer) => answer,
                Asked::Later(waiting) => {
                    edit.rollback();
                    return Walk::Stall(Stall { at, waiting });
                }
            };
            match enter(answer, edit) {
                Next::On => {}
                Next::Moved => wanted = self.deliver_topics.slots(edit.topic()).before(at),
                Next::End(outcome) => return Walk::End(outcome),
            }
        }
        Walk::End(DeliverOutcome::Send)
    }
}

/// Enters a slot's answer: its edits are kept, or thrown away if it failed.
fn enter(answer: Result<DeliverFlow, OnFault>, edit: &mut MessageEdit<'_>) -> Next {
    let flow = match answer {
        Ok(flow) => flow,
        Err(action) => {
            edit.rollback();
            return action
                .action()
                .map_or(Next::On, |_| Next::End(DeliverOutcome::Drop));
        }
    };
    let moved = edit.drafted().is_some_and(|draft| draft.topic.is_some());
    edit.commit();
    edit.take_emitted();
    match flow {
        DeliverFlow::Continue if moved => Next::Moved,
        DeliverFlow::Continue => Next::On,
        DeliverFlow::Stop => Next::End(DeliverOutcome::Send),
        DeliverFlow::Drop => Next::End(DeliverOutcome::Drop),
    }
}

/// How far a message came at once.
enum Walk {
    End(DeliverOutcome),
    Stall(Stall),
}

/// The slot that needs time.
struct Stall {
    at: usize,
    waiting: Waiting<(DeliverFlow, Patch)>,
}

/// How a message goes on after one slot.
enum Next {
    On,
    /// To the slots that want its new topic.
    Moved,
    End(DeliverOutcome),
}

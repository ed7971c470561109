//! What happens to a Will Message when it is due, before it goes the way of any other message.

use std::sync::Arc;

use broker_types::{Message, Source};
use plugin_api::{ClientView, Cx, MessageEdit, MessageParts, WillFlow};

use super::emission::{Tally, check};
use super::guard::unchecked;
use super::{ChainSet, SlotBits, UseState, Verdict};

/// What becomes of a Will Message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Willed {
    /// The message to publish; `None`: nobody gets it.
    pub(crate) message: Option<Message>,
    /// What goes out besides; has passed the publish chain behind the plugins that emitted it.
    pub(crate) emitted: Vec<Message>,
}

impl ChainSet {
    /// Lets the plugins change or drop a Will Message that is due. What follows is [`ChainSet::publish`].
    pub(crate) async fn will(&self, client: &Arc<ClientView>, message: Message) -> Willed {
        let mut tally = Tally::default();
        let message = self.will_itself(client, message, &mut tally).await;
        self.pass_emitted(client, &mut tally).await;
        Willed {
            message,
            emitted: tally.out,
        }
    }

    async fn will_itself(
        &self,
        client: &Arc<ClientView>,
        message: Message,
        tally: &mut Tally,
    ) -> Option<Message> {
        let mut edit = MessageEdit::new(MessageParts::of(&message, Source::Will));
        for slot in &self.will {
            let state = slot.guard.state();
            if !state.wants(edit.topic()) {
                continue;
            }
            let cx = Cx {
                client,
                budget: slot.guard.budget(),
            };
            let draft = &mut edit;
            let flow = slot.guard.run(|| slot.hook.will(&cx, draft), unchecked).await;
            let flow = flow.and_then(|flow| match check(state, client, edit.drafted(), 0, tally) {
                Ok(()) => Ok(flow),
                Err(fault) => Err(slot.guard.blame(&fault)),
            });
            match flow {
                Ok(flow) => {
                    edit.commit();
                    tally.enqueue(edit.take_emitted(), self.publish_behind(state), 1);
                    match flow {
                        WillFlow::Continue => {}
                        WillFlow::Stop => break,
                        WillFlow::Drop => return None,
                    }
                }
                Err(action) => {
                    edit.rollback();
                    if let Some(action) = action.action() {
                        tally.conclude(Verdict::Fault(action));
                        return None;
                    }
                }
            }
        }
        Some(edit.to_message())
    }

    /// Returns the first publish slot behind a use.
    fn publish_behind(&self, state: &UseState) -> usize {
        let mut positions = self
            .publish
            .iter()
            .map(|message| message.slot.guard.state().position);
        positions
            .position(|position| position > state.position)
            .unwrap_or(SlotBits::MAX)
    }
}

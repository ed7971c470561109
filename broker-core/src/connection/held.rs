//! Messages whose hooks on delivery don't answer at once, or that stand behind such a message. The Session's own connection
//! takes them from the queue, one after the other, so that their order stays and nobody else waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use broker_proto::{Ledger, Stored};
use broker_types::{Message, QoS, Source};
use plugin_api::{AclRequest, Action, ClientView, MessageEdit, MessageParts};

use super::run::Connection;
use crate::engine::delivery::{receive_item, unmounted};
use crate::hooks::{ChainSet, Decision, DeliverOutcome, HookMask, Outcome, Step};

/// Messages looked at in a row before others get their turn.
const ROW: usize = 64;

/// A look at the first message that waits.
pub(super) struct Looking {
    seq: u64,
    payload_bytes: usize,
    look: Pin<Box<dyn Future<Output = Looked>>>,
}

/// What came of it.
enum Looked {
    /// It goes as it is.
    Original,
    /// This copy goes in its place.
    Copy(Arc<Stored>),
    /// It doesn't go.
    Refused,
}

impl Connection {
    /// Goes on with what waits, as far as hooks answer and there is room.
    pub(super) fn look_at_waiting(&mut self, cx: &mut Context<'_>) {
        for _ in 0..ROW {
            if self.rare_mut().looking.is_none() && !self.look_at_next() {
                return;
            }
            let Some(looking) = &mut self.rare_mut().looking else {
                return;
            };
            let Poll::Ready(looked) = looking.look.as_mut().poll(cx) else {
                return;
            };
            let (seq, payload_bytes) = (looking.seq, looking.payload_bytes);
            self.rare_mut().looking = None;
            self.send_looked_at(seq, payload_bytes, looked);
        }
        cx.waker().wake_by_ref();
    }

    /// Begins to look at the first message that may leave. False: there is none, or no room.
    fn look_at_next(&mut self) -> bool {
        let now = self.shard.now();
        let mut guard = self.session.lock();
        let state = &mut *guard;
        let Some(link) = state.link_of(self.client.handle) else {
            return false;
        };
        self.shard.lend_buffer(&mut link.out);
        let (pumped, next) = state.next_ready(&self.session, now);
        self.shard.count_pumped(pumped);
        self.shard.output_added(&self.session, state);
        let Some(next) = next else {
            if let Some(link) = state.link.as_deref_mut() {
                link.held = state.outbound.is_waiting();
                link.looked_at = link.held || link.is_to_be_looked_at();
                // Room comes with an acknowledgement, or when the output is written.
                link.wants_drained |= link.held;
            }
            return false;
        };
        let class = state.subscriptions.class_for(&next.message);
        let (seq, payload_bytes) = (next.seq, next.message.payload().len());
        let look = look(
            self.shard.ledger().clone(),
            self.chain.clone(),
            self.client.clone(),
            next.message,
            next.qos,
            next.retain,
            class,
        );
        drop(guard);
        self.rare_mut().looking = Some(Box::new(Looking {
            seq,
            payload_bytes,
            look: Box::pin(look),
        }));
        true
    }

    fn send_looked_at(&self, seq: u64, payload_bytes: usize, looked: Looked) {
        let mut state = self.session.lock();
        let state = &mut *state;
        let Some(link) = state
            .link
            .as_deref_mut()
            .filter(|link| link.handle() == self.client.handle)
        else {
            return;
        };
        let (edited, payload_bytes) = match looked {
            Looked::Refused => {
                state.skip_next(&self.session, seq);
                self.shard.metrics.dropped_refused.one();
                self.shard.count_held(&self.session, state);
                return;
            }
            Looked::Original => (None, payload_bytes),
            Looked::Copy(stored) => {
                let payload_bytes = stored.payload().len();
                (Some(stored), payload_bytes)
            }
        };
        self.shard.lend_buffer(&mut link.out);
        if let Some(delivered) = state.send_next(&self.shard, &self.session, seq, edited) {
            self.shard.count_delivered(delivered, payload_bytes);
        }
        self.shard.output_added(&self.session, state);
    }
}

/// Asks the hooks on delivery about one message.
async fn look(
    ledger: Ledger,
    chain: Arc<ChainSet>,
    client: Arc<ClientView>,
    stored: Arc<Stored>,
    qos: QoS,
    retain: bool,
    class: u32,
) -> Looked {
    let lent = stored.message();
    let Some(topic) = unmounted(lent.topic, &client.mount) else {
        return Looked::Refused;
    };
    let mut message = lent.to_message();
    message.topic = topic.to_owned();
    let mut changed = topic != lent.topic;
    if chain.mask().has(HookMask::DELIVER) {
        let slots = chain.interest(topic).deliver;
        let step = {
            let mut edit = MessageEdit::new(MessageParts::of(&message, Source::Client));
            match chain.deliver(class, slots, &mut edit) {
                Step::Now(outcome) => Step::Now((outcome, edit.take_kept().map(|patch| *patch))),
                Step::Later(pending) => Step::Later(pending),
            }
        };
        let (outcome, patch) = match step {
            Step::Now(done) => done,
            Step::Later(pending) => {
                let (outcome, patch) = pending.await;
                (outcome, Some(patch))
            }
        };
        if outcome == DeliverOutcome::Drop {
            return Looked::Refused;
        }
        if let Some(patch) = patch.filter(|patch| !patch.is_empty()) {
            let edited: Message =
                MessageEdit::with_patch(MessageParts::of(&message, Source::Client), patch).to_message();
            message = edited;
            changed = true;
        }
    }
    // Asked about what the client will see.
    if chain.mask().has(HookMask::RECEIVE) {
        let item = receive_item(message.topic.as_ref(), qos, retain);
        let request = AclRequest {
            action: Action::Receive,
            items: &[item],
        };
        let mut decisions = vec![Decision::default()];
        if let Step::Later(pending) = chain.authorize(&client, &request, &mut decisions) {
            decisions = pending.await;
        }
        match decisions.pop().map(|decision| decision.outcome) {
            Some(Outcome::Allow { max_qos }) if max_qos < qos => {
                message.qos = max_qos;
                changed = true;
            }
            Some(Outcome::Allow { .. }) => {}
            _ => return Looked::Refused,
        }
    }
    match changed {
        false => Looked::Original,
        true => {
            let copy = Stored::counted(&(&message).into(), stored.received_at(), &ledger);
            Looked::Copy(Arc::new(copy))
        }
    }
}

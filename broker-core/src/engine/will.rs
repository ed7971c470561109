//! Will Messages when they are due (MQTT 5.0 section 3.1.2.5). A Will Message passes its own hook, then authorize and
//! publish as a PUBLISH of the client that left it would, with [`Source::Will`].

use std::rc::Rc;
use std::sync::Arc;

use broker_types::{Message, Source, Timestamp};
use plugin_api::{AclItem, AclRequest, Action, ClientView, EventKind, MessageEdit, MessageParts};

use super::core::tell;
use super::delivery::{Publisher, mounted, unmounted};
use super::session::{Session, Will};
use super::shard::Shard;
use crate::hooks::{ChainSet, Decision, HookMask, Outcome, Step, Verdict};

impl Shard {
    /// Publishes the Will Message of a Session whose Will Delay Interval has passed.
    pub(crate) fn fire_due_will(self: &Rc<Self>, session: &Arc<Session>, now: Timestamp) {
        let will = {
            let mut state = session.lock();
            // Resumed in the meantime: the Will Message is that of a later connection.
            if state.link.is_some() || !state.will.as_ref().is_some_and(|will| will.is_due(now)) {
                return;
            }
            state.will.take()
        };
        if let Some(will) = will {
            let listener = session.lock().listener.clone();
            self.fire_will(*will, listener.chain.load_full(), session.id, now);
        }
    }

    /// Publishes a Will Message. Hooks that don't answer at once are waited for in a task of its own.
    pub(crate) fn fire_will(self: &Rc<Self>, will: Will, chain: Arc<ChainSet>, session: u64, now: Timestamp) {
        let hooked = HookMask::WILL.or(HookMask::AUTHORIZE).or(HookMask::PUBLISH);
        if !chain.mask().has(hooked) {
            self.publish_will(will.message, &will.client, &chain, session, now);
            return;
        }
        let shard = self.clone();
        tokio::task::spawn_local(async move {
            let client = will.client.clone();
            if let Some(messages) = pass_chain(will, &chain).await {
                let now = shard.read_clock();
                for message in messages {
                    shard.publish_will(message, &client, &chain, session, now);
                }
            }
        });
    }

    fn publish_will(
        &self,
        message: Message,
        client: &Arc<ClientView>,
        chain: &Arc<ChainSet>,
        session: u64,
        now: Timestamp,
    ) {
        self.metrics.wills_fired.one();
        if message.retain {
            // A limit that is reached is counted; the client is gone.
            let _ = self.keep_retained(Some(chain), &(&message).into(), now);
        }
        let by = Publisher {
            client_id: client.id.as_str(),
            session,
        };
        self.route((&message).into(), now, by, chain.events());
        tell(chain.events(), EventKind::WillFired, |event| {
            event.client_id = Some(client.id.clone());
            event.topic = Some(message.topic.as_str().into());
        });
    }
}

/// Asks all hooks. `None`: nobody gets it. The messages have absolute topics.
async fn pass_chain(will: Will, chain: &Arc<ChainSet>) -> Option<Vec<Message>> {
    let Will {
        mut message, client, ..
    } = will;
    message.topic = unmounted(message.topic.as_ref(), &client.mount)?.to_owned();
    // What plugins emit is absolute already.
    let mut out = Vec::new();
    if chain.mask().has(HookMask::WILL) {
        let willed = chain.will(&client, message).await;
        out = willed.emitted;
        match willed.message {
            Some(kept) => message = kept,
            None => return Some(out),
        }
    }
    if chain.mask().has(HookMask::AUTHORIZE) && !is_allowed(&message, &client, chain).await {
        return Some(out);
    }
    if !chain.mask().has(HookMask::PUBLISH) {
        out.push(absolute(message, &client.mount)?);
        return Some(out);
    }
    let slots = chain.interest(message.topic.as_ref()).publish;
    let mut edit = MessageEdit::new(MessageParts::of(&message, Source::Will));
    let step = match chain.publish(&client, slots, &mut edit) {
        Step::Now(published) => Step::Now((published, edit.take_kept().map(|patch| *patch))),
        Step::Later(pending) => Step::Later(pending),
    };
    let (published, patch) = match step {
        Step::Now(done) => done,
        Step::Later(pending) => {
            let (published, patch) = pending.await;
            (published, Some(patch))
        }
    };
    out.extend(published.emitted);
    if published.verdict == Verdict::Pass {
        let patch = patch.unwrap_or_default();
        let edited = MessageEdit::with_patch(MessageParts::of(&message, Source::Will), patch).to_message();
        out.push(absolute(edited, &client.mount)?);
    }
    Some(out)
}

/// Asks whether the client may publish its Will Message, now that it fires.
async fn is_allowed(message: &Message, client: &Arc<ClientView>, chain: &Arc<ChainSet>) -> bool {
    let topic = message.topic.as_str();
    let item = AclItem {
        topic,
        qos: message.qos,
        retain: message.retain,
        share: None,
    };
    let request = AclRequest {
        action: Action::Publish,
        items: &[item],
    };
    let mut decisions = vec![Decision::default()];
    if let Step::Later(pending) = chain.authorize(client, &request, &mut decisions) {
        decisions = pending.await;
    }
    let outcome = decisions.first().map(|decision| &decision.outcome);
    matches!(outcome, Some(Outcome::Allow { max_qos }) if message.qos <= *max_qos)
}

/// Puts the mount before a message's topic.
fn absolute(mut message: Message, mount: &str) -> Option<Message> {
    if !mount.is_empty() {
        message.topic = mounted(message.topic.as_ref(), mount)?;
    }
    Some(message)
}

//! Will Messages when they are due (MQTT 5.0 section 3.1.2.5). A Will Message passes its own hook, then authorize and
//! publish as a PUBLISH of the client that left it would, with [`Source::Will`].

use std::rc::Rc;
use std::sync::Arc;

use broker_types::{Message, Source, Timestamp};
use plugin_api::{Durability, EventKind};

use super::core::tell;
use super::delivery::{Publisher, unmounted};
use super::pass::pass;
use super::session::{Session, Will};
use super::shard::Shard;
use crate::hooks::{ChainSet, HookMask};
use crate::store::WillKey;

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
            let by = Publisher {
                client_id: will.client.id.as_str(),
                session,
            };
            self.publish_will(Some(will.message), by, &chain, will.record, now);
            return;
        }
        let shard = self.clone();
        tokio::task::spawn_local(async move {
            let (client, record) = (will.client.clone(), will.record);
            let mut messages = pass_chain(will, &chain).await.unwrap_or_default();
            let by = Publisher {
                client_id: client.id.as_str(),
                session,
            };
            let now = shard.read_clock();
            let last = messages.pop();
            for message in messages {
                shard.publish_will(Some(message), by, &chain, None, now);
            }
            shard.publish_will(last, by, &chain, record, now);
        });
    }

    /// Publishes one message, and forgets the record of the Will Message together with that.
    fn publish_will(
        &self,
        message: Option<Message>,
        by: Publisher<'_>,
        chain: &Arc<ChainSet>,
        record: Option<WillKey>,
        now: Timestamp,
    ) {
        self.transact(
            || {
                if let Some(message) = &message {
                    self.route_will(message, by, chain, now);
                }
                if let (Some(record), Some(journal)) = (record, &self.core.journal) {
                    record.delete(&mut journal.pen(self.group(), Durability::Async));
                }
            },
            |()| None,
        );
    }

    fn route_will(&self, message: &Message, by: Publisher<'_>, chain: &Arc<ChainSet>, now: Timestamp) {
        self.metrics.wills_fired.one();
        if message.retain {
            // A limit that is reached is counted; the client is gone.
            let _ = self.keep_retained(Some(chain), &message.into(), now);
        }
        self.route(message.into(), now, by, chain.events());
        tell(chain.events(), EventKind::WillFired, |event| {
            event.client_id = Some(by.client_id.into());
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
    pass(message, Source::Will, &client, chain, &mut out).await;
    Some(out)
}

//! Hooks of messages: transform, deliver, retained, will. A call that runs where it is made gets topic and payload as they
//! lie; only for another thread they are owned, and that shares them.

use std::borrow::Cow;
use std::time::Duration;

use broker_types::{Message, QoS, Source};
use bytes::Bytes;
use plugin_api::{
    Answer, Cx, Deliver, DeliverFlow, Fault, Flow, MessageEdit, Patch, Publish, Retain, RetainVerdict, Will,
    WillFlow, async_trait,
};

use super::{Hooks, Who, more, who};
use crate::bindings::exported::{deliver, retained, transform, will};
use crate::bindings::types;
use crate::exports::offered;
use crate::guest::{Ask, Portable, Reply};
use crate::instance::Instance;
use crate::message::{denial, new_messages, patch, qos_out};
use crate::state::More;

/// A message as a guest sees it.
pub(super) struct Seen<'a> {
    topic: Cow<'a, str>,
    /// `None`: the guest doesn't read payloads.
    payload: Option<Payload<'a>>,
    qos: QoS,
    retain: bool,
    more: More,
}

enum Payload<'a> {
    Lent(&'a [u8]),
    Own(Bytes),
}

impl<'a> Seen<'a> {
    /// Shows `message`: as it lies, or shared if the call isn't made at once.
    fn of(hooks: &Hooks, message: &'a MessageEdit<'_>) -> Self {
        let here = hooks.guest.runs_here();
        let payload = || match here {
            true => Payload::Lent(message.payload()),
            false => Payload::Own(message.payload_bytes()),
        };
        Self {
            topic: message.topic().as_str().into(),
            payload: hooks.needs_payload.then(payload),
            qos: message.qos(),
            retain: message.retain(),
            more: More::of(message),
        }
    }

    /// Shows a message that is on its way already.
    pub(super) fn of_message(hooks: &Hooks, message: &'a Message) -> Self {
        Self {
            topic: message.topic.as_str().into(),
            payload: hooks.needs_payload.then(|| Payload::Lent(&message.payload)),
            qos: message.qos,
            retain: message.retain,
            more: More {
                source: Source::Client,
                dup: false,
                expiry: message.expiry,
                properties: message.properties.clone(),
            },
        }
    }

    fn own(self) -> Seen<'static> {
        Seen {
            topic: self.topic.into_owned().into(),
            payload: self.payload.map(|payload| {
                Payload::Own(match payload {
                    Payload::Lent(bytes) => Bytes::copy_from_slice(bytes),
                    Payload::Own(bytes) => bytes,
                })
            }),
            qos: self.qos,
            retain: self.retain,
            more: self.more,
        }
    }

    /// Returns what doesn't travel with it.
    pub(super) fn more(&self) -> More {
        self.more.clone()
    }

    /// Returns it in the contract's form.
    pub(super) fn message(&self) -> types::Message<'_> {
        types::Message {
            topic: &self.topic,
            payload: self.payload.as_ref().map(|payload| match payload {
                Payload::Lent(bytes) => *bytes,
                Payload::Own(bytes) => bytes,
            }),
            qos: qos_out(self.qos),
            retain: self.retain,
            more: more(),
        }
    }
}

struct OnPublish<'a> {
    who: Who,
    seen: Seen<'a>,
}

impl Ask for OnPublish<'_> {
    type Answer = transform::Verdict;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<transform::Verdict> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(Some(&self.who), self.seen.more());
        let function = offered(&exports.transform)?.func_on_publish();
        let (verdict,) = caller.call(function, (who(), self.seen.message())).await?;
        Ok(verdict)
    }
}

impl Portable for OnPublish<'_> {
    type Owned = OnPublish<'static>;

    fn own(self) -> OnPublish<'static> {
        OnPublish {
            who: self.who,
            seen: self.seen.own(),
        }
    }
}

impl Publish for Hooks {
    fn publish(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        let ask = OnPublish {
            who: cx.client.clone(),
            seen: Seen::of(self, message),
        };
        match self.guest.ask(ask) {
            Reply::Now(Ok(transform::Verdict::Keep)) => Answer::now(Flow::Continue),
            Reply::Now(given) => Answer::Now(given.and_then(published).map(|(flow, patch)| {
                message.apply(patch);
                flow
            })),
            Reply::Later(later) => Answer::later(async move { published(later.await?) }),
        }
    }
}

/// Reads what becomes of a message that came in.
fn published(given: transform::Verdict) -> Result<(Flow, Patch), Fault> {
    use transform::Verdict;
    let unchanged = Patch::default;
    let emitting = |given| {
        Ok::<_, Fault>(Patch {
            emitted: new_messages(given)?,
            ..Patch::default()
        })
    };
    Ok(match given {
        Verdict::Keep => (Flow::Continue, unchanged()),
        Verdict::Change(given) => (Flow::Continue, patch(given)?),
        Verdict::Stop(given) => (Flow::Stop, patch(given)?),
        Verdict::Drop => (Flow::Drop, unchanged()),
        Verdict::Emit(given) => (Flow::Drop, emitting(given)?),
        Verdict::KeepAndEmit(given) => (Flow::Continue, emitting(given)?),
        Verdict::Reject(given) => (Flow::Reject(denial(given)?), unchanged()),
        Verdict::Disconnect(given) => (Flow::Disconnect(denial(given)?), unchanged()),
        Verdict::ThrottleMs(ms) => (throttle(ms), unchanged()),
        Verdict::Outcome(given) => {
            let mut patch = patch(given.patch)?;
            patch.emitted = new_messages(given.emit)?;
            let flow = match given.flow {
                transform::Flow::Next => Flow::Continue,
                transform::Flow::Stop => Flow::Stop,
                transform::Flow::Drop => Flow::Drop,
                transform::Flow::ThrottleMs(ms) => throttle(ms),
            };
            (flow, patch)
        }
    })
}

fn throttle(ms: u32) -> Flow {
    Flow::Throttle(Duration::from_millis(ms.into()))
}

struct OnDeliver<'a> {
    class: u32,
    seen: Seen<'a>,
}

impl Ask for OnDeliver<'_> {
    type Answer = deliver::Verdict;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<deliver::Verdict> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, self.seen.more());
        let function = offered(&exports.deliver)?.func_on_deliver();
        let (verdict,) = caller.call(function, (self.class, self.seen.message())).await?;
        Ok(verdict)
    }
}

impl Portable for OnDeliver<'_> {
    type Owned = OnDeliver<'static>;

    fn own(self) -> OnDeliver<'static> {
        OnDeliver {
            class: self.class,
            seen: self.seen.own(),
        }
    }
}

impl Deliver for Hooks {
    fn deliver(
        &self,
        class: u32,
        message: &mut MessageEdit<'_>,
    ) -> Answer<DeliverFlow, (DeliverFlow, Patch)> {
        let ask = OnDeliver {
            class,
            seen: Seen::of(self, message),
        };
        match self.guest.ask(ask) {
            Reply::Now(given) => Answer::Now(given.and_then(delivered).map(|(flow, patch)| {
                message.apply(patch);
                flow
            })),
            Reply::Later(later) => Answer::later(async move { delivered(later.await?) }),
        }
    }
}

/// Reads what a class of subscribers gets.
fn delivered(given: deliver::Verdict) -> Result<(DeliverFlow, Patch), Fault> {
    Ok(match given {
        deliver::Verdict::Keep => (DeliverFlow::Continue, Patch::default()),
        deliver::Verdict::Change(given) => (DeliverFlow::Continue, patch(given)?),
        deliver::Verdict::Stop(given) => (DeliverFlow::Stop, patch(given)?),
        deliver::Verdict::Drop => (DeliverFlow::Drop, Patch::default()),
    })
}

struct OnRetain<'a>(Seen<'a>);

impl Ask for OnRetain<'_> {
    type Answer = retained::Verdict;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<retained::Verdict> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, self.0.more());
        let function = offered(&exports.retained)?.func_on_retain();
        let (verdict,) = caller.call(function, (self.0.message(),)).await?;
        Ok(verdict)
    }
}

impl Retain for Hooks {
    fn retain(&self, message: &Message) -> Result<RetainVerdict, Fault> {
        Ok(
            match self.guest.here(&OnRetain(Seen::of_message(self, message)))? {
                retained::Verdict::Store => RetainVerdict::Store,
                retained::Verdict::StoreFor(seconds) => {
                    RetainVerdict::StoreFor(Duration::from_secs(seconds.into()))
                }
                retained::Verdict::Pass => RetainVerdict::Pass,
            },
        )
    }
}

struct OnWill {
    who: Who,
    seen: Seen<'static>,
}

impl Ask for OnWill {
    type Answer = will::Verdict;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<will::Verdict> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(Some(&self.who), self.seen.more());
        let function = offered(&exports.will)?.func_on_will();
        let (verdict,) = caller.call(function, (who(), self.seen.message())).await?;
        Ok(verdict)
    }
}

#[async_trait]
impl Will for Hooks {
    async fn will(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Result<WillFlow, Fault> {
        let ask = OnWill {
            who: cx.client.clone(),
            seen: Seen::of(self, message).own(),
        };
        let (flow, change) = match self.guest.ask_owned(ask).await? {
            will::Verdict::Keep => (WillFlow::Continue, None),
            will::Verdict::Change(given) => (WillFlow::Continue, Some(given)),
            will::Verdict::Stop(given) => (WillFlow::Stop, Some(given)),
            will::Verdict::Drop => (WillFlow::Drop, None),
        };
        if let Some(given) = change {
            message.apply(patch(given)?);
        }
        Ok(flow)
    }
}

//! Hooks of messages: publish, retain, deliver, will. A message is lent as it lies; only where the call is made on another
//! thread, it is owned, and that shares topic and payload.

use std::time::Duration;

use broker_types::{Message, Properties, QoS, Source};
use plugin_abi::{self as abi, values::*};
use plugin_api::{
    Answer, Cx, Deliver, DeliverFlow, Fault, Flow, MessageEdit, Patch, Publish, Retain, RetainVerdict, Will,
    WillFlow, async_trait,
};

use super::{Hooks, ONE};
use crate::ask::{Asker, Form, Question, Reply, Shown, Step, Waiting, size_32};
use crate::border::{lend, lend_bytes};
use crate::instance::Instance;
use crate::message::protocol;
use crate::services::LentProperties;
use crate::side::Table;
use crate::sink::{EDIT, EMIT, OPEN};

/// Which function is asked about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Publish,
    Retain,
    Will,
    /// For this class of subscribers.
    Deliver(u32),
}

impl Which {
    const fn form(self) -> Form {
        Form {
            rights: match self {
                Self::Publish | Self::Will => OPEN | EDIT | EMIT,
                Self::Deliver(_) => OPEN | EDIT,
                Self::Retain => OPEN,
            },
            may_wait: !matches!(self, Self::Retain),
            ..ONE
        }
    }
}

/// A message as a plugin gets it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent<'a> {
    topic: &'a str,
    payload: &'a [u8],
    qos: QoS,
    retain: bool,
    dup: bool,
    source: Source,
    /// `None`: the plugin doesn't read them.
    properties: Option<(&'a Properties, Option<u32>)>,
}

impl<'a> Lent<'a> {
    pub(super) fn of(message: &'a Message, source: Source, with_properties: bool) -> Self {
        Self {
            topic: message.topic.as_str(),
            payload: &message.payload,
            qos: message.qos,
            retain: message.retain,
            dup: false,
            source,
            properties: with_properties.then_some((&message.properties, message.expiry)),
        }
    }

    fn of_edit(message: &'a MessageEdit<'_>, with_properties: bool) -> Self {
        Self {
            topic: message.topic().as_str(),
            payload: message.payload(),
            qos: message.qos(),
            retain: message.retain(),
            dup: message.dup(),
            source: message.source(),
            properties: with_properties.then(|| (properties(message), message.expiry())),
        }
    }

    /// Shows the message, for as long as `look` runs.
    pub(super) fn show<T>(&self, look: impl FnOnce(&abi::PubIn) -> T) -> T {
        let properties = self.lent_properties();
        look(&self.shape(properties.as_ref()))
    }

    /// Returns the properties in the form that [`Self::shape`] points to.
    pub(super) fn lent_properties(&self) -> Option<LentProperties<'a>> {
        let (properties, expiry) = self.properties?;
        Some(LentProperties::new(properties, expiry))
    }

    /// Returns the shape, which is good as long as the message and `properties` are.
    pub(super) fn shape(&self, properties: Option<&LentProperties<'_>>) -> abi::PubIn {
        let content_type = self
            .properties
            .and_then(|(properties, _)| properties.content_type());
        abi::PubIn {
            size: size_32::<abi::PubIn>(),
            qos: self.qos.bits(),
            retain: self.retain.into(),
            dup: self.dup.into(),
            source: match self.source {
                Source::Client => 0,
                Source::Will => 1,
                Source::Bridge => 2,
                Source::Plugin => 3,
                Source::Retained => 4,
                _ => 5,
            },
            topic: lend(Some(self.topic)),
            payload: lend_bytes(Some(self.payload)),
            content_type: lend(content_type),
            props: properties.map_or(std::ptr::null(), LentProperties::pointer),
        }
    }
}

/// Returns the properties of a message; nothing is copied if there are none.
fn properties<'a>(message: &'a MessageEdit<'_>) -> &'a Properties {
    static NONE: Properties = Properties::EMPTY;
    let unchanged = message.parts().properties.is_empty() && message.kept().is_none();
    if unchanged { &NONE } else { message.properties() }
}

impl Question for (Which, Lent<'_>) {
    fn form(&self) -> Form {
        self.0.form()
    }

    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32 {
        self.1.show(|message| put(self.0, message, table, shown))
    }
}

/// A message for another thread.
struct Owned {
    which: Which,
    message: Message,
    dup: bool,
    source: Source,
    with_properties: bool,
}

impl Question for Owned {
    fn form(&self) -> Form {
        self.which.form()
    }

    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32 {
        let lent = Lent {
            dup: self.dup,
            ..Lent::of(&self.message, self.source, self.with_properties)
        };
        lent.show(|message| put(self.which, message, table, shown))
    }
}

fn put(which: Which, message: &abi::PubIn, table: &Table, shown: &Shown<'_>) -> i32 {
    let function = match which {
        Which::Publish => table.0.publish,
        Which::Retain => table.0.retain,
        Which::Will => table.0.will,
        Which::Deliver(class) => return put_deliver(class, message, table, shown),
    };
    let Some(function) = function else {
        return JF_EUNSUP;
    };
    // SAFETY: a function of this instance with its own `self`; what it is lent lives until it returns.
    unsafe { function(table.0.self_, shown.ctx, std::ptr::from_ref(message), shown.out()) }
}

fn put_deliver(class: u32, message: &abi::PubIn, table: &Table, shown: &Shown<'_>) -> i32 {
    let Some(function) = table.0.deliver else {
        return JF_EUNSUP;
    };
    let asked = abi::DeliverIn {
        size: size_32::<abi::DeliverIn>(),
        subscriber_class: class,
        pub_: *message,
    };
    // SAFETY: a function of this instance with its own `self`; what it is lent lives until it returns.
    unsafe { function(table.0.self_, shown.ctx, &raw const asked, shown.out()) }
}

/// What came of asking about a message that may be edited.
enum Said {
    /// An answer; its edits are read with the properties at hand.
    Now(Result<Reply, Fault>),
    /// An answer to wait for, and the properties its edits will be laid over.
    Later(Waiting, Properties),
}

impl Hooks {
    fn ask_about(&self, which: Which, asker: Option<Asker<'_>>, message: &MessageEdit<'_>) -> Said {
        let instance = &self.0;
        let with_properties = instance.interest.needs.properties;
        if instance.interest.pooled() {
            let question = Owned::of(which, message, with_properties);
            let base = question.message.properties.clone();
            return match instance.queue(asker, question) {
                Ok(waiting) => Said::Later(waiting, base),
                Err(fault) => Said::Now(Err(fault)),
            };
        }
        let step = instance.ask(asker, &(which, Lent::of_edit(message, with_properties)));
        match step {
            Step::Now(answer) => Said::Now(answer),
            Step::Later(waiting) => Said::Later(waiting, properties(message).clone()),
        }
    }
}

impl Owned {
    fn of(which: Which, message: &MessageEdit<'_>, with_properties: bool) -> Self {
        Self {
            which,
            message: message.to_message(),
            dup: message.dup(),
            source: message.source(),
            with_properties,
        }
    }
}

/// Reads a verdict and lays the edits over the message.
fn settle<F>(
    reply: &Reply,
    message: &mut MessageEdit<'_>,
    read: impl Fn(&Reply) -> Result<F, Fault>,
) -> Result<F, Fault> {
    let flow = read(reply)?;
    if let Some(patch) = reply.patch(|| properties(message).clone())? {
        message.apply(patch);
    }
    Ok(flow)
}

/// The same for an answer that came later.
async fn settle_later<F>(
    waiting: Waiting,
    base: Properties,
    read: impl Fn(&Reply) -> Result<F, Fault>,
) -> Result<(F, Patch), Fault> {
    let reply = waiting.await?;
    let flow = read(&reply)?;
    Ok((flow, reply.patch(|| base)?.unwrap_or_default()))
}

impl Publish for Hooks {
    fn publish(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        match self.ask_about(Which::Publish, Some(cx.into()), message) {
            Said::Now(answer) => Answer::Now(answer.and_then(|reply| settle(&reply, message, flow))),
            Said::Later(waiting, base) => Answer::later(settle_later(waiting, base, flow)),
        }
    }
}

fn flow(reply: &Reply) -> Result<Flow, Fault> {
    let denial = || {
        let text = reply.with_sink(0, |sink| sink.take_text());
        reply.reason(0).map(|reason| plugin_api::Denial { reason, text })
    };
    Ok(match (reply.verdict(0).verdict, reply.delay()) {
        (JF_V_CONTINUE, None) => Flow::Continue,
        (JF_V_CONTINUE, Some(delay)) => Flow::Throttle(delay),
        (JF_V_STOP, _) => Flow::Stop,
        (JF_V_DROP, _) => Flow::Drop,
        (JF_V_REJECT, _) => Flow::Reject(denial()?),
        (JF_V_DISCONNECT, _) => Flow::Disconnect(denial()?),
        _ => return Err(reply.unknown(0)),
    })
}

impl Deliver for Hooks {
    fn deliver(
        &self,
        class: u32,
        message: &mut MessageEdit<'_>,
    ) -> Answer<DeliverFlow, (DeliverFlow, Patch)> {
        match self.ask_about(Which::Deliver(class), None, message) {
            Said::Now(answer) => Answer::Now(answer.and_then(|reply| settle(&reply, message, deliver_flow))),
            Said::Later(waiting, base) => Answer::later(settle_later(waiting, base, deliver_flow)),
        }
    }
}

fn deliver_flow(reply: &Reply) -> Result<DeliverFlow, Fault> {
    match reply.verdict(0).verdict {
        JF_V_CONTINUE => Ok(DeliverFlow::Continue),
        JF_V_STOP => Ok(DeliverFlow::Stop),
        JF_V_DROP => Ok(DeliverFlow::Drop),
        _ => Err(reply.unknown(0)),
    }
}

#[async_trait]
impl Will for Hooks {
    async fn will(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Result<WillFlow, Fault> {
        let question = Owned::of(Which::Will, message, self.0.interest.needs.properties);
        let base = question.message.properties.clone();
        let reply = self.0.answer(Some(cx.into()), question).await?;
        let flow = match reply.verdict(0).verdict {
            JF_V_CONTINUE => WillFlow::Continue,
            JF_V_STOP => WillFlow::Stop,
            JF_V_DROP => WillFlow::Drop,
            _ => return Err(reply.unknown(0)),
        };
        if let Some(patch) = reply.patch(|| base)? {
            message.apply(patch);
        }
        Ok(flow)
    }
}

impl Retain for Hooks {
    fn retain(&self, message: &Message) -> Result<RetainVerdict, Fault> {
        let instance: &std::sync::Arc<Instance> = &self.0;
        let lent = Lent::of(message, Source::Client, instance.interest.needs.properties);
        let Step::Now(answer) = instance.ask(None, &(Which::Retain, lent)) else {
            return Err(protocol("it wants to answer later"));
        };
        let reply = answer?;
        match reply.verdict(0).verdict {
            JF_V_CONTINUE => Ok(match reply.take(0).number(JF_O_RETAIN_S) {
                Some(seconds) => RetainVerdict::StoreFor(Duration::from_secs(seconds)),
                None => RetainVerdict::Store,
            }),
            JF_V_DROP => Ok(RetainVerdict::Pass),
            _ => Err(reply.unknown(0)),
        }
    }
}

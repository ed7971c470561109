//! Hooks on the way of a message: in, retained, out, as a Will, to one member of a shared group.

use core::future::Future;
use core::time::Duration;

use super::Denial;
use crate::{ClientHandle, Cx, Fault, MaybeSend, Message};

/// How the chain goes on with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To the next plugin, with the changes.
    Continue,
    /// No later plugin sees it.
    Stop,
    /// Acknowledged as success, goes nowhere. What was emitted still goes.
    Drop,
    /// Refused.
    Reject(Denial),
    /// Refused, and the connection ends.
    Disconnect(Denial),
    /// As `Continue`, and nothing more is read from this client for so long, at most 60 s.
    Throttle(Duration),
}

/// Sees, changes, drops, refuses and multiplies the messages that come in.
///
/// **When:** for each PUBLISH that [`crate::Authorize`] allowed, and for messages of bridges, Wills and the embedding program; only for topics
/// that match [`crate::Interest::publish`].
///
/// **May change:** topic, payload, properties, RETAIN; the QoS downwards; emit other messages.
///
/// **On the wire:** `Drop`: PUBACK or PUBREC 0x00. `Reject`: the reason (QoS 0 is dropped; 3.1.1: acknowledged and discarded). `Disconnect`: DISCONNECT (3.1.1: a
/// close). The acknowledgement waits for the answer.
///
/// **On failure:** changes and emitted messages are thrown away. `deny`: 0x83, and a 3.1.1 publisher of QoS 1 or 2 is disconnected unacknowledged, so that it
/// sends again; `drop`: acknowledged, goes nowhere; `disconnect` closes; `skip` and `allow` go on.
///
/// **Cost:** on the path of every message; deadline 250 ms. Only this client waits, in order.
pub trait Publish {
    /// Decides about `message`.
    ///
    /// # Errors
    /// It can't say; its changes are thrown away.
    fn publish(&self, cx: &Cx<'_>, message: &mut Message<'_>) -> Result<Flow, Fault>;
}

/// [`Publish`] for plugins that ask somebody else. The message is copied for it.
pub trait AsyncPublish {
    /// Decides about `message`, in its own time. The acknowledgement waits.
    ///
    /// # Errors
    /// It can't say; its changes are thrown away.
    fn publish(
        &self,
        cx: &Cx<'_>,
        message: &mut Message<'_>,
    ) -> impl Future<Output = Result<Flow, Fault>> + MaybeSend;
}

/// What a class of subscribers gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliverFlow {
    /// The message with the changes; ask the next plugin.
    Continue,
    /// The message with the changes.
    Stop,
    /// Nothing.
    Drop,
}

/// Changes messages on their way out, once for each subscriber class.
///
/// **When:** when a message goes to a connection, on the chain of the *subscriber's* listener from its end to its beginning; only for topics that match
/// [`crate::Interest::deliver`].
///
/// **May change:** topic, payload, properties; the QoS downwards. RETAIN and emitted messages are not looked at.
///
/// **On the wire:** `Drop`: the class gets nothing.
///
/// **On failure:** `skip` and `allow`: the message as it was; everything else: the class gets nothing.
///
/// **Cost:** on the path of every message, once for each class; deadline 50 ms. It sees no client.
pub trait Deliver {
    /// Changes `message` for the subscribers of `class`.
    ///
    /// # Errors
    /// It can't say; its changes are thrown away.
    fn deliver(&self, class: u32, message: &mut Message<'_>) -> Result<DeliverFlow, Fault>;
}

/// [`Deliver`] for plugins that ask somebody else. The message is copied for it.
pub trait AsyncDeliver {
    /// Changes `message`, in its own time.
    ///
    /// # Errors
    /// It can't say; its changes are thrown away.
    fn deliver(
        &self,
        class: u32,
        message: &mut Message<'_>,
    ) -> impl Future<Output = Result<DeliverFlow, Fault>> + MaybeSend;
}

/// Sees and changes a Will Message when it fires.
///
/// **When:** after its Will Delay Interval; [`crate::Authorize`] and [`Publish`] follow.
///
/// **May change:** what [`Publish`] may.
///
/// **On the wire:** `Drop`: nobody gets it.
///
/// **On failure:** the changes are thrown away; `skip` and `allow` go on, everything else drops it.
///
/// **Cost:** one call for each; deadline 250 ms.
pub trait Will {
    /// Changes `message` or drops it.
    ///
    /// # Errors
    /// It can't say; its changes are thrown away.
    fn will(&self, cx: &Cx<'_>, message: &mut Message<'_>) -> Result<DeliverFlow, Fault>;
}

/// [`Will`] for plugins that ask somebody else. The message is copied for it.
pub trait AsyncWill {
    /// Changes `message` or drops it, in its own time.
    ///
    /// # Errors
    /// It can't say; its changes are thrown away.
    fn will(
        &self,
        cx: &Cx<'_>,
        message: &mut Message<'_>,
    ) -> impl Future<Output = Result<DeliverFlow, Fault>> + MaybeSend;
}

/// What becomes of a message with RETAIN set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainVerdict {
    /// It is retained.
    Store,
    /// It is retained for so long.
    StoreFor(Duration),
    /// Present subscribers get it, and it is not retained.
    Pass,
}

/// Decides whether a message is retained.
///
/// **When:** for each message with RETAIN and a payload, after [`Publish`]. An empty payload, which clears, isn't asked about.
///
/// **May change:** how long it is kept; changes of the message are not looked at.
///
/// **On the wire:** nothing; the publisher is acknowledged all the same.
///
/// **On failure:** `skip` and `allow` retain, everything else passes it on without.
///
/// **Cost:** one call for each; it answers at once and never blocks.
pub trait Retain {
    /// Decides about `message`.
    ///
    /// # Errors
    /// It can't say.
    fn retain(&self, message: &Message<'_>) -> Result<RetainVerdict, Fault>;
}

/// A member of a shared group that could get a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareMember {
    /// Its Network Connection; `None`: not known.
    pub client: Option<ClientHandle>,
    /// Messages sent to it and not acknowledged.
    pub inflight: u32,
}

/// Chooses the member of a Shared Subscription that gets a message, instead of the broker's own strategy.
///
/// **When:** for each message that matches a Shared Subscription, and again when a member went before it acknowledged.
///
/// **May change:** nothing.
///
/// **On the wire:** nothing.
///
/// **On failure:** the broker's own strategy chooses.
///
/// **Cost:** on the path of every shared message; it answers at once and never blocks.
pub trait SharePick {
    /// Returns the index of a member; `None`: the broker chooses.
    fn pick(&self, group: &str, members: &[ShareMember], message: &Message<'_>) -> Option<usize>;
}

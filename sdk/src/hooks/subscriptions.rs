//! Hooks on what clients may do, and on what they subscribe to.

use alloc::string::String;
use core::future::Future;
use core::time::Duration;

use broker_types::QoS;

use super::Denial;
use crate::{Cx, Fault, MaybeSend};

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send to a Topic Name.
    Publish,
    /// Subscribe to a Topic Filter.
    Subscribe,
    /// Get from a Topic Name; only asked with [`crate::Interest::receive`].
    Receive,
}

/// One thing to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclItem<'a> {
    /// The action.
    pub action: Action,
    /// The Topic Name, or for `Subscribe` the Topic Filter, without the mount and without `$share/NAME/`.
    pub topic: &'a str,
    /// The QoS wanted.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
}

/// What an authorizer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AclVerdict {
    /// Not mine: ask the next.
    #[default]
    Skip,
    /// Yes.
    Allow,
    /// Yes, with at most this QoS.
    AllowMaxQos(QoS),
    /// No.
    Deny(Denial),
}

/// A verdict and how long it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclDecision {
    /// The verdict.
    pub verdict: AclVerdict,
    /// How long the connection may remember it; `None`: not at all.
    pub cache_for: Option<Duration>,
}

impl AclDecision {
    /// A verdict that holds until [`crate::Host::invalidate`].
    #[must_use]
    pub const fn fixed(verdict: AclVerdict) -> Self {
        Self {
            verdict,
            cache_for: Some(Duration::MAX),
        }
    }
}

impl From<AclVerdict> for AclDecision {
    /// A verdict that isn't remembered.
    fn from(verdict: AclVerdict) -> Self {
        Self {
            verdict,
            cache_for: None,
        }
    }
}

/// Decides what a client may do.
///
/// **When:** for each PUBLISH and each Will Message that fires, with the topic the client used, before [`crate::Publish`]; for each filter of a
/// SUBSCRIBE; with [`crate::Interest::receive`] also for each message before it goes to a client.
///
/// **May change:** nothing but the QoS.
///
/// **On the wire:** the first verdict that isn't `Skip` decides; if all skip, no. A denied PUBLISH is a PUBACK or PUBREC with the Reason Code (QoS 0 is
/// dropped; 3.1.1 has no negative acknowledgement: acknowledged and discarded), a denied filter its code in SUBACK (3.1.1: 0x80).
///
/// **On failure:** never remembered. `deny`: 0x83, and a 3.1.1 publisher is disconnected unacknowledged, so that it sends again; `drop`: acknowledged, goes
/// nowhere; `disconnect` closes; `skip` asks the next; `allow` allows.
///
/// **Cost:** on the path of every message whose decision isn't remembered; deadline 1 s.
pub trait Authorize {
    /// Decides about one topic. All filters of a SUBSCRIBE come one after the other, in one call of the broker.
    ///
    /// # Errors
    /// It can't say.
    fn authorize(&self, cx: &Cx<'_>, item: &AclItem<'_>) -> Result<AclDecision, Fault>;
}

/// [`Authorize`] for plugins that ask somebody else.
pub trait AsyncAuthorize {
    /// Decides about one topic, in its own time.
    ///
    /// # Errors
    /// It can't say.
    fn authorize(
        &self,
        cx: &Cx<'_>,
        item: &AclItem<'_>,
    ) -> impl Future<Output = Result<AclDecision, Fault>> + MaybeSend;
}

/// A filter of a SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// The Topic Filter, without the share.
    pub filter: &'a str,
    /// The Share Name.
    pub share: Option<&'a str>,
    /// The QoS wanted.
    pub qos: QoS,
    /// No Local.
    pub no_local: bool,
    /// The Subscription Identifier, 0: none.
    pub id: u32,
}

/// What a plugin changes of a subscription; an absent field stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeEdit {
    /// Another Topic Filter.
    pub filter: Option<String>,
    /// The highest QoS.
    pub max_qos: Option<QoS>,
    /// The subscriber class: all of one class get a message in the same form ([`crate::Deliver`]).
    pub class: Option<u32>,
}

/// How the chain goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscribeFlow {
    /// To the next plugin.
    Continue(SubscribeEdit),
    /// No later plugin is asked.
    Stop(SubscribeEdit),
    /// No subscription.
    Reject(Denial),
}

/// Sees and changes subscriptions.
///
/// **When:** for each filter of a SUBSCRIBE that [`Authorize`] allowed.
///
/// **May change:** filter, highest QoS, class. The broker remembers what the client asked for, so UNSUBSCRIBE finds it.
///
/// **On the wire:** `Reject` is the filter's code in SUBACK (3.1.1: 0x80).
///
/// **On failure:** the changes are thrown away; `deny` and `drop`: SUBACK 0x83 (3.1.1: 0x80); `disconnect` closes; `skip` and `allow` go on.
///
/// **Cost:** one call for each filter; deadline 1 s.
pub trait Subscribe {
    /// Decides about `subscription`.
    ///
    /// # Errors
    /// It can't say.
    fn subscribe(&self, cx: &Cx<'_>, subscription: &Subscription<'_>) -> Result<SubscribeFlow, Fault>;
}

/// [`Subscribe`] for plugins that ask somebody else.
pub trait AsyncSubscribe {
    /// Decides about `subscription`, in its own time.
    ///
    /// # Errors
    /// It can't say.
    fn subscribe(
        &self,
        cx: &Cx<'_>,
        subscription: &Subscription<'_>,
    ) -> impl Future<Output = Result<SubscribeFlow, Fault>> + MaybeSend;
}

/// Maps the filter of an UNSUBSCRIBE as [`Subscribe`] mapped that of the SUBSCRIBE.
///
/// **When:** for each filter of an UNSUBSCRIBE that the Session doesn't remember under the name the client used.
///
/// **May change:** the filter.
///
/// **On the wire:** UNSUBACK says whether the filter was held.
///
/// **On failure:** `deny` and `drop`: UNSUBACK 0x83, and the subscription stays; `disconnect` closes; `skip` and `allow` go on.
///
/// **Cost:** one call for each filter; deadline 1 s.
pub trait Unsubscribe {
    /// Returns another filter; `None`: the same.
    ///
    /// # Errors
    /// It can't say.
    fn unsubscribe(&self, cx: &Cx<'_>, subscription: &Subscription<'_>) -> Result<Option<String>, Fault>;
}

/// [`Unsubscribe`] for plugins that ask somebody else.
pub trait AsyncUnsubscribe {
    /// Returns another filter, in its own time; `None`: the same.
    ///
    /// # Errors
    /// It can't say.
    fn unsubscribe(
        &self,
        cx: &Cx<'_>,
        subscription: &Subscription<'_>,
    ) -> impl Future<Output = Result<Option<String>, Fault>> + MaybeSend;
}

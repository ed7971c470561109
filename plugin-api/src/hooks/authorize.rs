//! Who may publish, subscribe and receive.

use std::time::Duration;

use broker_types::QoS;

use crate::{Answer, Cx, Denial};

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send an Application Message to a Topic Name.
    Publish,
    /// Subscribe to a Topic Filter.
    Subscribe,
    /// Get an Application Message with a Topic Name. Only asked where a plugin wants it
    /// ([`crate::Capabilities::authorize_receive`]).
    Receive,
}

/// One thing to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclItem<'a> {
    /// The Topic Name, or for `Subscribe` the Topic Filter, without the mount and without `$share/NAME/`.
    pub topic: &'a str,
    /// The QoS wanted.
    pub qos: QoS,
    /// The RETAIN flag of a PUBLISH.
    pub retain: bool,
    /// The Share Name of a Shared Subscription.
    pub share: Option<&'a str>,
}

/// What is asked: one action, and all the topics of one packet.
#[derive(Clone, Copy, Debug)]
pub struct AclRequest<'a> {
    /// The action.
    pub action: Action,
    /// The topics; exactly one except for `Subscribe`.
    pub items: &'a [AclItem<'a>],
}

/// What an authorizer says about one item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AclVerdict {
    /// Not mine: ask the next.
    #[default]
    Skip,
    /// Yes.
    Allow,
    /// Yes, with at most this QoS. A PUBLISH above it is refused with 0x87, a subscription is granted less.
    AllowMaxQos(QoS),
    /// No.
    Deny(Denial),
}

/// A verdict and how long it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclDecision {
    /// The verdict.
    pub verdict: AclVerdict,
    /// How long the connection may remember it; `None`: ask again next time. The chain's answer holds as long as the
    /// shortest of those who were asked.
    pub cache_for: Option<Duration>,
}

impl AclDecision {
    /// Remembered until [`crate::Host::invalidate`] or the chain changes.
    pub const FOREVER: Duration = Duration::MAX;

    /// A verdict that holds until it is invalidated.
    #[must_use]
    pub const fn fixed(verdict: AclVerdict) -> Self {
        Self {
            verdict,
            cache_for: Some(Self::FOREVER),
        }
    }
}

/// Decides what a client may do.
///
/// **When:** for each PUBLISH (and each Will Message when it fires), with the topic the client used, before the publish
/// chain; for each SUBSCRIBE, with all its filters in one call; and, if [`crate::Capabilities::authorize_receive`] is
/// set, for each message before it goes to a client, also queued and retained ones, with the topic that the client will see.
///
/// **May change:** nothing but the QoS.
///
/// **Verdicts on the wire:** the first verdict that isn't `Skip` decides (with `authorize = "all"`: every one must allow). If all
/// skip: denied. A denied PUBLISH: PUBACK or PUBREC with the Reason Code; QoS 0 is dropped; 3.1.1 has no negative
/// acknowledgement, so it is acknowledged and discarded. A denied filter: its code in SUBACK (3.1.1: 0x80). A denied receive: the message isn't sent.
///
/// **On error, timeout or panic:** never cached and never 0x87. `deny`: PUBACK, PUBREC and SUBACK 0x83; a 3.1.1 publisher is disconnected without
/// an acknowledgement, so that it sends again; a receive isn't sent. `drop`: acknowledged, goes nowhere. `disconnect` closes. `skip` asks the next, `allow` allows.
///
/// **Cost:** on the hot path of every message that isn't cached; answer `Now` where you can. Up to 1,024 decisions are cached for each
/// connection. Deadline 1 s.
///
/// ```
/// use plugin_api::{AclDecision, AclRequest, AclVerdict, Answer, Authorize, Cx};
///
/// /// Everybody has the tree below their own Client Identifier.
/// struct OwnTree;
/// impl Authorize for OwnTree {
///     fn authorize(&self, cx: &Cx<'_>, request: &AclRequest<'_>, out: &mut [AclDecision]) -> Answer<(), Vec<AclDecision>> {
///         for (item, decision) in request.items.iter().zip(out) {
///             let own = item.topic.split('/').next() == Some(cx.client.id.as_str());
///             *decision = AclDecision::fixed(if own { AclVerdict::Allow } else { AclVerdict::Skip });
///         }
///         Answer::now(())
///     }
/// }
/// ```
pub trait Authorize: Send + Sync {
    /// Decides about each item: `out` has as many places, all `Skip`. An answer given later has one decision for each
    /// item, in order.
    fn authorize(
        &self,
        cx: &Cx<'_>,
        request: &AclRequest<'_>,
        out: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>>;
}

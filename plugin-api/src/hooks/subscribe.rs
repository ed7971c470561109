//! Changing a subscription.

use async_trait::async_trait;
use broker_types::{QoS, SubscriptionFilter, SubscriptionId};

use crate::{Cx, Denial, Fault};

/// One subscription of a SUBSCRIBE, as the plugins before have left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeEdit {
    /// The filter the client sent; stays as it is.
    pub requested: SubscriptionFilter,
    /// The filter that will be held. May change.
    pub filter: SubscriptionFilter,
    /// The highest QoS that will be granted. May fall.
    pub max_qos: QoS,
    /// No Local. Read only.
    pub no_local: bool,
    /// The Subscription Identifier. Read only.
    pub id: Option<SubscriptionId>,
    /// The subscriber class, 0 unless a plugin says otherwise: all subscribers of one listener and class get a message
    /// in the same form, made once ([`crate::Deliver`]).
    pub class: u32,
}

/// How the chain goes on for this filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscribeFlow {
    /// To the next plugin.
    Continue,
    /// The edits stay and no later plugin is asked.
    Stop,
    /// No subscription: this code in SUBACK.
    Reject(Denial),
}

/// Sees and changes subscriptions: rewriting filters, lowering QoS, choosing a subscriber class.
///
/// **When:** for each filter of a SUBSCRIBE that [`crate::Authorize`] allowed.
///
/// **May change:** filter, highest QoS, class. The engine remembers which filter the client asked for, so that UNSUBSCRIBE
/// finds it even if the plugin has changed since.
///
/// **Verdicts on the wire:** `Reject` is the filter's code in SUBACK (3.1.1: 0x80).
///
/// **On error, timeout or panic:** the edits are thrown away; `deny` and `drop`: SUBACK 0x83 (3.1.1: 0x80); `disconnect` closes; `skip` and `allow` go on.
///
/// **Cost:** one allocation for each filter. Deadline 1 s; only this client waits.
#[async_trait]
pub trait Subscribe: Send + Sync {
    /// Changes `edit` or refuses.
    ///
    /// # Errors
    /// A fault; see the trait.
    async fn subscribe(&self, cx: &Cx<'_>, edit: &mut SubscribeEdit) -> Result<SubscribeFlow, Fault>;
}

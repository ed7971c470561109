//! Changing an unsubscription.

use async_trait::async_trait;
use broker_types::SubscriptionFilter;

use crate::{Cx, Fault};

/// One filter of an UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubscribeEdit {
    /// The filter the client sent; stays as it is.
    pub requested: SubscriptionFilter,
    /// The filter that will be given up. May change.
    pub filter: SubscriptionFilter,
}

/// Maps the filter of an UNSUBSCRIBE as [`crate::Subscribe`] mapped that of the SUBSCRIBE.
///
/// **When:** for each filter of an UNSUBSCRIBE that the Session doesn't remember under the name the client used.
///
/// **May change:** the filter.
///
/// **Verdicts on the wire:** there are none; UNSUBACK says whether the filter was held (0x00 or 0x11).
///
/// **On error, timeout or panic:** the edits are thrown away; `deny` and `drop`: UNSUBACK 0x83 and the subscription stays; `disconnect` closes; `skip` and `allow` go on.
///
/// **Cost:** one allocation for each filter. Deadline 1 s.
#[async_trait]
pub trait Unsubscribe: Send + Sync {
    /// Changes `edit`.
    ///
    /// # Errors
    /// A fault; see the trait.
    async fn unsubscribe(&self, cx: &Cx<'_>, edit: &mut UnsubscribeEdit) -> Result<(), Fault>;
}

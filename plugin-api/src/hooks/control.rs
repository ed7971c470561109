//! Requests to plugins over MQTT.

use async_trait::async_trait;

use crate::{Cx, Fault};
use broker_types::{ReasonCode, TopicRef};

/// A message to `$CONTROL/<prefix>/…`.
#[derive(Clone, Copy, Debug)]
pub struct ControlRequest<'a> {
    /// The whole Topic Name.
    pub topic: TopicRef<'a>,
    /// The payload.
    pub payload: &'a [u8],
}

/// Answers requests under the prefixes it declares.
///
/// **When:** for each PUBLISH to `$CONTROL/<prefix>/…` that [`crate::Authorize`] allowed. Such a message is never routed to subscribers.
///
/// **May change:** nothing.
///
/// **Verdicts on the wire:** reply bytes are published to the request's topic followed by `/response`, to the asking client alone. A Reason Code is the PUBACK's
/// or PUBREC's. A prefix that nobody owns: 0x87 (3.1.1: acknowledged and discarded).
///
/// **On error, timeout or panic:** PUBACK or PUBREC 0x83; a 3.1.1 client of QoS 1 or 2 is disconnected; `drop`, `skip` and `allow`: acknowledged.
///
/// **Cost:** one allocation. Deadline 5 s.
#[async_trait]
pub trait Control: Send + Sync {
    /// Answers `request`: reply bytes (empty: no reply), or a Reason Code that refuses.
    ///
    /// # Errors
    /// A fault; see the trait.
    async fn control(
        &self,
        cx: &Cx<'_>,
        request: &ControlRequest<'_>,
    ) -> Result<Result<Vec<u8>, ReasonCode>, Fault>;
}

//! What happens to a Will Message when it fires.

use async_trait::async_trait;

use crate::{Cx, Fault, MessageEdit};

/// What becomes of a Will Message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WillFlow {
    /// Ask the next plugin; at the end it is published.
    Continue,
    /// Publish it; no later plugin is asked.
    Stop,
    /// Nobody gets it.
    Drop,
}

/// Sees and changes a Will Message when it fires.
///
/// **When:** when a Will Message is due, after its Will Delay Interval; then [`crate::Authorize`] and [`crate::Publish`] follow with
/// [`broker_types::Source::Will`], for the identity that left it.
///
/// **May change:** what [`MessageEdit`] can.
///
/// **Verdicts on the wire:** `Drop`: nobody gets it. Its client isn't there to be told anything.
///
/// **On error, timeout or panic:** the edits are thrown away; `skip` and `allow` go on, everything else drops it.
///
/// **Cost:** one allocation. Deadline 250 ms.
#[async_trait]
pub trait Will: Send + Sync {
    /// Changes `message` or drops it.
    ///
    /// # Errors
    /// A fault; see the trait.
    async fn will(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Result<WillFlow, Fault>;
}

//! Where messages go next, and come from.

use async_trait::async_trait;

use crate::{Fault, NewMessage};

/// Carries messages to another system and back. The engine queues and retries; a bridge only carries.
///
/// **When:** `egress` when messages match the bridge's outgoing filters; `ingress` again and again, each call may wait for
/// messages to come.
///
/// **May change:** nothing; mapping topics is the engine's (`to = …`) or a chain's affair.
///
/// **Verdicts on the wire:** none. What comes in enters the broker through the chain that the bridge's block names, with
/// [`broker_types::Source::Bridge`].
///
/// **On error or panic:** the engine tries again with growing pauses, 100 ms to 30 s; messages wait in the bridge's bounded queue.
///
/// **Cost:** one task for each direction; messages in batches.
#[async_trait]
pub trait Bridge: Send + Sync {
    /// Takes `batch` to the other side and returns how many of it, from its start, the other side has. The rest comes
    /// again.
    ///
    /// # Errors
    /// The other side has taken nothing.
    async fn egress(&self, batch: &[NewMessage]) -> Result<usize, Fault>;

    /// Waits for messages from the other side. They are acknowledged there by the next call.
    ///
    /// # Errors
    /// The other side can't be reached.
    async fn ingress(&self) -> Result<Vec<NewMessage>, Fault>;
}

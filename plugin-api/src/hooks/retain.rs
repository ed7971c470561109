//! Whether a message is retained.

use std::time::Duration;

use broker_types::Message;

use crate::Fault;

/// What becomes of a message with RETAIN set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainVerdict {
    /// Ask the next plugin; at the end it is retained.
    Store,
    /// Retained, and gone after so long.
    StoreFor(Duration),
    /// Passed on to present subscribers only.
    Pass,
}

/// Decides whether a message is kept as Retained Message.
///
/// **When:** for each message with RETAIN 1 and a payload, after the publish chain. An empty payload, which clears, isn't asked about.
///
/// **May change:** how long it is kept.
///
/// **Verdicts on the wire:** none; the publisher is acknowledged all the same.
///
/// **On error or panic:** `skip` and `allow` retain, everything else passes without retaining. There is no timeout: it must answer at once.
///
/// **Cost:** one call for each retained message; never block.
pub trait Retain: Send + Sync {
    /// Decides about `message`.
    ///
    /// # Errors
    /// A fault; see the trait.
    fn retain(&self, message: &Message) -> Result<RetainVerdict, Fault>;
}

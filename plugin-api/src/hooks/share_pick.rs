//! Which member of a shared group gets a message.

use broker_types::{ClientId, Message};

/// A member that could get it.
#[derive(Clone, Debug)]
pub struct ShareMember {
    /// The Client Identifier.
    pub client_id: ClientId,
    /// Whether it is connected.
    pub connected: bool,
    /// Messages sent to it and not acknowledged.
    pub inflight: usize,
}

/// Chooses the member of a Shared Subscription that gets a message, instead of the broker's own strategy.
///
/// **When:** for each message that matches a Shared Subscription, and again when a member went before it acknowledged.
///
/// **May change:** nothing.
///
/// **Verdicts on the wire:** none.
///
/// **On error or panic:** the broker's own strategy chooses. There is no timeout: it must answer at once.
///
/// **Cost:** on the hot path of shared subscriptions.
pub trait SharePick: Send + Sync {
    /// Returns the index of a member; `None` or an index that isn't there leaves the choice to the broker.
    fn pick(&self, share: &str, filter: &str, members: &[ShareMember], message: &Message) -> Option<usize>;
}

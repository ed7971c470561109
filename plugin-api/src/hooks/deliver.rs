//! What happens to a message that goes out.

use crate::{Answer, MessageEdit, Patch};

/// What a class of subscribers gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliverFlow {
    /// The message with the edits so far; ask the next plugin.
    Continue,
    /// The message with the edits so far; no later plugin sees it.
    Stop,
    /// Nothing.
    Drop,
}

/// Changes messages on their way out, once for each subscriber class instead of once for each subscriber.
///
/// **When:** when a message goes to a connection, on the chain of the *subscriber's* listener, from its end to its beginning,
/// once for each (message, chain, class); the result is shared by all subscribers of the class. Queues hold the original.
///
/// **May change:** topic, payload, properties, Message Expiry Interval; the QoS downwards. RETAIN and emitted messages are not looked at.
///
/// **Verdicts on the wire:** `Drop`: the class gets nothing.
///
/// **On error, timeout or panic:** `skip` and `allow`: the message as it was before this plugin; everything else: the class gets nothing.
///
/// **Cost:** on the hot path, once for each class. Deadline 50 ms. It sees no client: what differs by client belongs into the
/// class ([`crate::Subscribe`]).
pub trait Deliver: Send + Sync {
    /// Changes `message` for the subscribers of `class`.
    fn deliver(&self, class: u32, message: &mut MessageEdit<'_>)
    -> Answer<DeliverFlow, (DeliverFlow, Patch)>;
}

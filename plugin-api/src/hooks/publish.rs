//! What happens to a message that comes in.

use std::time::Duration;

use crate::{Answer, Cx, Denial, MessageEdit, Patch};

/// How the chain goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To the next plugin, with the edits.
    Continue,
    /// The edits stay and no later plugin sees the message.
    Stop,
    /// Acknowledged as success, goes nowhere. What was emitted still goes.
    Drop,
    /// Refused: PUBACK or PUBREC with this reason.
    Reject(Denial),
    /// Refused, and the connection ends with this reason.
    Disconnect(Denial),
    /// As `Continue`, and nothing more is read from this client for so long (at most 60 s).
    Throttle(Duration),
}

/// Sees, changes, drops, refuses and multiplies the messages that come in.
///
/// **When:** for each PUBLISH that [`crate::Authorize`] allowed, and for messages of bridges, Will Messages and the embedder on the
/// chain that stands for them; only for topics that match the plugin's filters.
///
/// **May change:** topic, payload, properties, RETAIN, Message Expiry Interval; the QoS downwards; emit other messages.
///
/// **Verdicts on the wire:** `Drop`: PUBACK or PUBREC 0x00. `Reject`: PUBACK or PUBREC with the reason; QoS 0 is dropped; 3.1.1 has no negative
/// acknowledgement, so it is acknowledged and discarded. `Disconnect`: DISCONNECT with the reason (3.1.1: a close). The acknowledgement is sent
/// after the message and all that was emitted are taken: whoever holds the answer back holds the acknowledgement back.
///
/// **On error, timeout or panic:** edits and emitted messages are thrown away. `deny`: PUBACK or PUBREC 0x83; a 3.1.1 publisher of QoS 1 or 2 is disconnected without
/// an acknowledgement, so that it sends again. `drop`: acknowledged, goes nowhere. `disconnect` closes. `skip` and `allow` go on as if the plugin weren't there.
///
/// **Cost:** on the hot path. `Now` allocates nothing unless it edits. Deadline 250 ms; only this client waits, in order.
///
/// ```
/// use plugin_api::{Answer, Cx, Flow, MessageEdit, Patch, Publish};
///
/// struct Shout;
/// impl Publish for Shout {
///     fn publish(&self, _cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
///         message.set_payload(message.payload().to_ascii_uppercase());
///         Answer::now(Flow::Continue)
///     }
/// }
/// ```
pub trait Publish: Send + Sync {
    /// Decides about `message`. At once: edit it in place. Later: own what you need (`message.to_message()`,
    /// `cx.client.clone()`) and return the edits as a [`Patch`].
    fn publish(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)>;
}

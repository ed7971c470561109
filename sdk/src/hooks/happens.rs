//! Being told what happens, and being asked by operators.

use alloc::vec::Vec;
use core::future::Future;

use broker_types::ReasonCode;

use crate::{ClientHandle, Cx, Fault, MaybeSend};

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum EventKind {
    /// A client is connected.
    Connected = 0,
    /// A Network Connection ended; `reason` says why, `by_server` who.
    Disconnected = 1,
    /// A new Session began.
    SessionCreated = 2,
    /// A Session was resumed.
    SessionResumed = 3,
    /// Another connection took the Session over.
    SessionTakenOver = 4,
    /// A Session ended.
    SessionExpired = 5,
    /// A subscription was made or replaced; `topic` is the filter.
    Subscribed = 6,
    /// A subscription was given up.
    Unsubscribed = 7,
    /// A message came in.
    Published = 8,
    /// A message went out to a client.
    Delivered = 9,
    /// A client acknowledged a message.
    Acked = 10,
    /// A message was dropped.
    Dropped = 11,
    /// A Will Message fired.
    WillFired = 12,
    /// A message was retained.
    RetainedSet = 13,
    /// A Retained Message was cleared or expired.
    RetainedCleared = 14,
    /// A client was not let in.
    AuthFailed = 15,
}

impl EventKind {
    /// Every kind, by number.
    pub const ALL: &'static [Self] = &[
        Self::Connected,
        Self::Disconnected,
        Self::SessionCreated,
        Self::SessionResumed,
        Self::SessionTakenOver,
        Self::SessionExpired,
        Self::Subscribed,
        Self::Unsubscribed,
        Self::Published,
        Self::Delivered,
        Self::Acked,
        Self::Dropped,
        Self::WillFired,
        Self::RetainedSet,
        Self::RetainedCleared,
        Self::AuthFailed,
    ];

    /// Returns its name, like `session-created`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::SessionCreated => "session-created",
            Self::SessionResumed => "session-resumed",
            Self::SessionTakenOver => "session-taken-over",
            Self::SessionExpired => "session-expired",
            Self::Subscribed => "subscribed",
            Self::Unsubscribed => "unsubscribed",
            Self::Published => "published",
            Self::Delivered => "delivered",
            Self::Acked => "acked",
            Self::Dropped => "dropped",
            Self::WillFired => "will-fired",
            Self::RetainedSet => "retained-set",
            Self::RetainedCleared => "retained-cleared",
            Self::AuthFailed => "auth-failed",
        }
    }

    /// Returns the kind of a number; `None`: one of a newer broker.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// Something that happened. What makes no sense for a kind is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// What.
    pub kind: EventKind,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The Network Connection.
    pub client: Option<ClientHandle>,
    /// The Client Identifier.
    pub client_id: Option<&'a str>,
    /// The topic or filter, with the mount.
    pub topic: Option<&'a str>,
    /// The Reason Code.
    pub reason: Option<ReasonCode>,
    /// Whether the broker ended it.
    pub by_server: bool,
}

/// Is told what happens, of the kinds in [`crate::Interest::events`].
///
/// **When:** after it happened, in batches, oldest first.
///
/// **May change:** nothing.
///
/// **On the wire:** nothing.
///
/// **On failure:** counted and logged, nothing else. What doesn't fit the plugin's queue (8,192 events) is dropped and counted.
///
/// **Cost:** off the path of messages; but `Published`, `Delivered` and `Acked` make every message pay for building them.
pub trait Events {
    /// Takes note of `batch`.
    fn notify(&self, batch: &[Event<'_>]);
}

/// Answers requests under `$CONTROL/`, with the prefixes of [`crate::Interest::control`].
///
/// **When:** for each PUBLISH to `$CONTROL/<prefix>/…` that [`crate::Authorize`] allowed; such a message goes to no subscriber.
///
/// **May change:** nothing.
///
/// **On the wire:** reply bytes are published to the request's topic followed by `/response`, to the asking client alone; a Reason Code is that of the PUBACK
/// or PUBREC.
///
/// **On failure:** PUBACK or PUBREC 0x83; `drop`, `skip` and `allow`: acknowledged.
///
/// **Cost:** one call for each; deadline 5 s.
pub trait Control {
    /// Answers: reply bytes (empty: none), or a Reason Code that refuses.
    ///
    /// # Errors
    /// It can't say.
    fn control(&self, cx: &Cx<'_>, topic: &str, payload: &[u8])
    -> Result<Result<Vec<u8>, ReasonCode>, Fault>;
}

/// [`Control`] for plugins that ask somebody else.
pub trait AsyncControl {
    /// Answers, in its own time.
    ///
    /// # Errors
    /// It can't say.
    fn control(
        &self,
        cx: &Cx<'_>,
        topic: &str,
        payload: &[u8],
    ) -> impl Future<Output = Result<Result<Vec<u8>, ReasonCode>, Fault>> + MaybeSend;
}

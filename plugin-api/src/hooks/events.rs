//! Being told what happens.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use broker_types::{ClientHandle, ClientId, ReasonCode, TopicName};

use crate::{Fault, Peer};

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $text:literal;)*) => {
        /// What can happen. Numbers and names are part of the plugin ABI. The list grows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum EventKind { $($(#[$doc])* $name = $bit,)* }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the name that logs use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

event_kinds! {
    /// A client is connected: its CONNACK said success.
    Connected = 0, "connected";
    /// A Network Connection ended; `reason` says why, `by_server` who.
    Disconnected = 1, "disconnected";
    /// A new Session began.
    SessionCreated = 2, "session-created";
    /// A Session was resumed.
    SessionResumed = 3, "session-resumed";
    /// Another connection took the Session over.
    SessionTakenOver = 4, "session-taken-over";
    /// A Session ended.
    SessionExpired = 5, "session-expired";
    /// A subscription was made or replaced; `topic` is the filter.
    Subscribed = 6, "subscribed";
    /// A subscription was given up.
    Unsubscribed = 7, "unsubscribed";
    /// A message came in and was routed; `count` is the number of receivers.
    Published = 8, "published";
    /// A message went out to a client.
    Delivered = 9, "delivered";
    /// A client acknowledged a message.
    Acked = 10, "acked";
    /// A message was dropped; `text` says why.
    Dropped = 11, "dropped";
    /// A Will Message fired.
    WillFired = 12, "will-fired";
    /// A message was retained.
    RetainedSet = 13, "retained-set";
    /// A Retained Message was cleared or expired.
    RetainedCleared = 14, "retained-cleared";
    /// A client was not let in.
    AuthFailed = 15, "auth-failed";
}

/// A set of [`EventKind`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventMask(u64);

impl EventMask {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything, also kinds to come.
    pub const ALL: Self = Self(u64::MAX);

    /// Returns this set with `kind` in it.
    #[must_use]
    pub const fn with(self, kind: EventKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// Returns everything that is in one of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Tells whether `kind` is in it.
    #[must_use]
    pub const fn contains(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Returns the bits: bit n for kind n.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns the set with these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// Something that happened. Fields that make no sense for a kind are empty.
#[derive(Clone, Debug)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// When, by the wall clock.
    pub at: SystemTime,
    /// The Network Connection.
    pub client: Option<ClientHandle>,
    /// The Client Identifier.
    pub client_id: Option<ClientId>,
    /// The user name.
    pub username: Option<Arc<str>>,
    /// The listener.
    pub listener: Option<Arc<str>>,
    /// The other end.
    pub peer: Option<Peer>,
    /// The Topic Name; for subscriptions the filter, with `$share/NAME/`. Absolute: with the mount.
    pub topic: Option<Arc<str>>,
    /// The Reason Code.
    pub reason: Option<ReasonCode>,
    /// Whether the broker, not the client, ended the connection.
    pub by_server: bool,
    /// How many receivers a message had.
    pub count: usize,
    /// More, for a person.
    pub text: Option<Arc<str>>,
}

impl Event {
    /// Returns an event of `kind`, now, without any details.
    #[must_use]
    pub fn new(kind: EventKind) -> Self {
        Self {
            kind,
            at: SystemTime::now(),
            client: None,
            client_id: None,
            username: None,
            listener: None,
            peer: None,
            topic: None,
            reason: None,
            by_server: false,
            count: 0,
            text: None,
        }
    }

    /// Adds a Topic Name.
    #[must_use]
    pub fn topic(mut self, topic: &TopicName) -> Self {
        self.topic = Some(topic.as_str().into());
        self
    }
}

/// Is told what happens, in batches, off the path of messages.
///
/// **When:** after it happened. The plugin's queue holds 8,192 events; what doesn't fit is dropped and counted.
///
/// **May change:** nothing.
///
/// **Verdicts on the wire:** none.
///
/// **On error, timeout or panic:** counted and logged, nothing else.
///
/// **Cost:** building an event costs some hundred nanoseconds, and only kinds that somebody asked for are built. A mask
/// with `Published`, `Delivered` or `Acked` makes every message pay.
#[async_trait]
pub trait Events: Send + Sync {
    /// Takes note of `batch`, oldest first, at most 256 at a time.
    ///
    /// # Errors
    /// A fault; see the trait.
    async fn notify(&self, batch: &[Event]) -> Result<(), Fault>;
}

//! The hooks: one trait each, with what it is asked and what it may say.
//!
//! A hook that may take time has a second trait for it, `Async…`, with the same arguments: what the broker lends is copied for
//! it, so that it is still there after an await. Only the client that is asked about waits. Which of the two a plugin has says
//! [`crate::export_plugin!`]: `authenticate`, or `async authenticate`.

mod connection;
mod happens;
mod messages;
mod providers;
mod subscriptions;

pub use connection::{
    Accept, AcceptVerdict, AsyncAuthenticate, AsyncConnect, AsyncExchange, AuthRequest, AuthVerdict,
    Authenticate, Connect, ConnectEdit, ConnectFlow, Exchange, ExchangePhase, ExchangeRequest,
    ExchangeVerdict, Grant, Incoming,
};
pub use happens::{AsyncControl, Control, Event, EventKind, Events};
pub use messages::{
    AsyncDeliver, AsyncPublish, AsyncWill, Deliver, DeliverFlow, Flow, Publish, Retain, RetainVerdict,
    ShareMember, SharePick, Will,
};
pub use providers::{Bridge, Durability, Record, SessionStore, StoreCaps, StoreFault, StoreOp};
pub use subscriptions::{
    AclDecision, AclItem, AclVerdict, Action, AsyncAuthorize, AsyncSubscribe, AsyncUnsubscribe, Authorize,
    Subscribe, SubscribeEdit, SubscribeFlow, Subscription, Unsubscribe,
};

use alloc::string::String;

use broker_types::ReasonCode;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The Reason Code, 0x80 or above. One that the packet at hand can't carry becomes 0x87 or 0x80.
    pub reason: ReasonCode,
    /// The Reason String, for a person to read.
    pub text: Option<String>,
}

impl Denial {
    /// Refuses with `reason`.
    #[must_use]
    pub const fn new(reason: ReasonCode) -> Self {
        Self { reason, text: None }
    }

    /// Refuses with 0x87, Not authorized.
    #[must_use]
    pub const fn not_authorized() -> Self {
        Self::new(ReasonCode::NotAuthorized)
    }

    /// Adds a Reason String.
    #[must_use]
    pub fn because(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }
}

//! When a plugin is asked at all: a predicate of a [`super::Use`] that the broker evaluates before the call. What it looks at is
//! here; that it is looked at, in `hooks/watched.rs`.

use broker_types::QoS;
use plugin_api::{AclItem, Action, ClientView, Fault, MessageEdit};

use super::Hook;

/// What a [`Condition`] may look at: the moment before one call of one hook. Fields that have no meaning at this hook are
/// `None`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Moment<'a> {
    /// The hook that is about to be called.
    pub hook: Hook,
    /// The client it is about. Before authentication its user name is what it claims. `None` for [`Hook::Retain`] and
    /// [`Hook::Deliver`], which don't see one.
    pub client: Option<&'a ClientView>,
    /// The Topic Name, or the Topic Filter of a subscription without its Share Name; without the mount.
    pub topic: Option<&'a str>,
    /// What the client wants to do: only for [`Hook::Authorize`].
    pub action: Option<Action>,
    /// The QoS of the message, or that of the subscription.
    pub qos: Option<QoS>,
    /// The RETAIN flag of the message.
    pub retain: Option<bool>,
    /// The payload, as earlier plugins left it.
    pub payload: Option<&'a [u8]>,
}

/// Says whether a plugin is asked. Implemented by closures `Fn(&Moment<'_>) -> bool`, and for what may fail by types of
/// their own.
///
/// The same moment must always get the same answer: an authorizer that wasn't asked counts as one that skips for good, and
/// connections remember that. It runs on the path of every message, so it must be cheap and must never wait.
pub trait Condition: Send + Sync {
    /// Tells whether the plugin is asked.
    ///
    /// # Errors
    /// There is no answer; it counts as a fault of the plugin, for which the use says what happens.
    fn holds(&self, moment: &Moment<'_>) -> Result<bool, Fault>;
}

impl<F: Fn(&Moment<'_>) -> bool + Send + Sync> Condition for F {
    fn holds(&self, moment: &Moment<'_>) -> Result<bool, Fault> {
        Ok(self(moment))
    }
}

impl Hook {
    /// Tells whether a [`Condition`] is looked at before it. Who owns a name (exchange, control, share-pick) owns it always,
    /// connections are accepted before anything is known of them, and of events everybody is told.
    #[must_use]
    pub const fn is_conditional(self) -> bool {
        match self {
            Self::Connect
            | Self::Authenticate
            | Self::Authorize
            | Self::Subscribe
            | Self::Unsubscribe
            | Self::Publish
            | Self::Retain
            | Self::Deliver
            | Self::Will => true,
            Self::Accept | Self::Exchange | Self::Events | Self::Control | Self::SharePick => false,
        }
    }
}

impl<'a> Moment<'a> {
    /// A hook that knows nothing but the client.
    pub(crate) fn of_client(hook: Hook, client: &'a ClientView) -> Self {
        Self {
            client: Some(client),
            ..Self::new(hook)
        }
    }

    /// A hook about a message.
    pub(crate) fn of_message(
        hook: Hook,
        client: Option<&'a ClientView>,
        message: &'a MessageEdit<'_>,
    ) -> Self {
        Self {
            client,
            topic: Some(message.topic().as_str()),
            qos: Some(message.qos()),
            retain: Some(message.retain()),
            payload: Some(message.payload()),
            ..Self::new(hook)
        }
    }

    /// A hook about a subscription.
    pub(crate) fn of_filter(hook: Hook, client: &'a ClientView, filter: &'a str, qos: Option<QoS>) -> Self {
        Self {
            topic: Some(filter),
            qos,
            ..Self::of_client(hook, client)
        }
    }

    /// An authorizer's question.
    pub(crate) fn of_item(client: &'a ClientView, action: Action, item: &AclItem<'a>) -> Self {
        Self {
            topic: Some(item.topic),
            action: Some(action),
            qos: Some(item.qos),
            retain: (action != Action::Subscribe).then_some(item.retain),
            ..Self::of_client(Hook::Authorize, client)
        }
    }

    /// A moment of which nothing is known but the hook. What is known can be set field by field.
    #[must_use]
    pub const fn new(hook: Hook) -> Self {
        Self {
            hook,
            client: None,
            topic: None,
            action: None,
            qos: None,
            retain: None,
            payload: None,
        }
    }
}

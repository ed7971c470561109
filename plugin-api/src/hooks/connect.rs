//! Before authentication.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use broker_types::ClientId;

use crate::{Cx, Denial, Fault};

/// What a plugin may change of a CONNECT and its CONNACK. Starts with what the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectEdit {
    /// The Client Identifier; one that differs from the client's is told as Assigned Client Identifier.
    pub client_id: ClientId,
    /// The user name it claims.
    pub username: Option<Arc<str>>,
    /// Clean Start. Read only: a change is not looked at.
    pub clean_start: bool,
    /// The longest Keep Alive in seconds, told as Server Keep Alive.
    pub keep_alive_cap: Option<u16>,
    /// The longest Session Expiry Interval, told in CONNACK.
    pub session_expiry_cap: Option<Duration>,
    /// The prefix before all topics of this client; empty: none.
    pub mount: Arc<str>,
    /// User Properties for the CONNACK.
    pub user_properties: Vec<(String, String)>,
    /// Server Reference for the CONNACK, also one that refuses with 0x9C or 0x9D.
    pub server_reference: Option<String>,
}

/// How the chain goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectFlow {
    /// To the next plugin.
    Continue,
    /// The edits stay and no later plugin is asked.
    Stop,
    /// No connection: a CONNACK with this reason.
    Reject(Denial),
}

/// Sees and changes a CONNECT before anybody is authenticated: assigning identifiers, mounting tenants, caps.
///
/// **When:** once for each CONNECT that is correct MQTT, before [`crate::Authenticate`], so that an assigned identifier is
/// what authenticators see.
///
/// **May change:** the fields of [`ConnectEdit`].
///
/// **Verdicts on the wire:** `Reject` is a CONNACK with the Reason Code (3.1.1: the nearest Return Code), then a close.
///
/// **On error, timeout or panic:** the edits are thrown away; `deny`: CONNACK 0x88 (3.1.1: 3); `drop` and `disconnect` close without
/// CONNACK; `skip` and `allow` go on.
///
/// **Cost:** one allocation for each call. Deadline 5 s; only this client waits.
///
/// ```
/// use plugin_api::{Connect, ConnectEdit, ConnectFlow, Cx, Fault, async_trait};
///
/// struct MountByListener;
/// #[async_trait]
/// impl Connect for MountByListener {
///     async fn connect(&self, cx: &Cx<'_>, edit: &mut ConnectEdit) -> Result<ConnectFlow, Fault> {
///         edit.mount = format!("{}/", cx.client.listener).into();
///         Ok(ConnectFlow::Continue)
///     }
/// }
/// ```
#[async_trait]
pub trait Connect: Send + Sync {
    /// Changes `edit` or refuses.
    ///
    /// # Errors
    /// A fault; see the trait.
    async fn connect(&self, cx: &Cx<'_>, edit: &mut ConnectEdit) -> Result<ConnectFlow, Fault>;
}

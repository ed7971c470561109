//! Who may connect: the first verdict that isn't `Skip`, or everybody's consent.

use std::sync::Arc;

use broker_types::{ReasonCode, TOPIC_LENGTH_MAX, TopicRef};
use plugin_api::{AuthRequest, AuthVerdict, ClientView, Cx, Denial, Fault, FaultKind, Grant};

use super::{ChainSet, FaultAction};
use crate::chain::OnFault;

/// What becomes of a CONNECT without an Authentication Method.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AuthOutcome {
    /// Let in.
    Allow {
        /// With this.
        grant: Box<Grant>,
        /// Whether an authenticator said so, and not only a fault's policy: [`ClientView::authenticated`].
        authenticated: bool,
    },
    /// Let in as nobody: no user name, whatever was sent.
    Anonymous,
    /// A CONNACK with this reason.
    Refuse(Denial),
    /// The connection is closed without a CONNACK.
    Close,
}

impl ChainSet {
    /// Asks the authenticators. `anonymous`: the listener lets in whom nobody knows and who sent no credentials.
    pub(crate) async fn authenticate(
        &self,
        client: &Arc<ClientView>,
        request: &AuthRequest<'_>,
        anonymous: bool,
    ) -> AuthOutcome {
        let mut consent: Option<(Box<Grant>, bool)> = None;
        for slot in &self.authenticate {
            let budget = slot.guard.budget();
            let cx = Cx { client, budget };
            let verdict = slot
                .guard
                .run(|| slot.hook.authenticate(&cx, request), check_verdict);
            let (grant, authenticated) = match verdict.await {
                Ok(AuthVerdict::Skip) | Err(OnFault::Skip) => continue,
                Ok(AuthVerdict::Deny(denial)) => return AuthOutcome::Refuse(denial),
                Ok(AuthVerdict::Allow(grant)) => (grant, true),
                Err(OnFault::Allow) => (Box::default(), false),
                Err(OnFault::Deny) => return AuthOutcome::Refuse(unavailable()),
                Err(OnFault::Drop | OnFault::Disconnect) => return AuthOutcome::Close,
            };
            consent = Some(match consent.take() {
                None => (grant, authenticated),
                Some((mut before, was)) => {
                    before.merge(*grant);
                    (before, was || authenticated)
                }
            });
            if !self.authenticate_all {
                break;
            }
        }
        match consent {
            Some((grant, authenticated)) => AuthOutcome::Allow { grant, authenticated },
            None if anonymous && self.takes_for_nobody(request) => AuthOutcome::Anonymous,
            None => AuthOutcome::Refuse(Denial::not_authorized()),
        }
    }

    /// Tells whether a client whom nobody knows came as nobody. Where nobody checks credentials, none count.
    fn takes_for_nobody(&self, request: &AuthRequest<'_>) -> bool {
        self.authenticate.is_empty() || (request.username.is_none() && request.password.is_none())
    }
}

/// The refusal of a CONNECT that a fault makes: CONNACK 0x88 (3.1.1: 3).
pub(super) const fn unavailable() -> Denial {
    Denial::new(ReasonCode::ServerUnavailable)
}

/// What a fault does to a CONNECT that can only be let in by a verdict.
pub(super) fn refused(action: FaultAction) -> Option<Denial> {
    match action {
        FaultAction::Deny => Some(unavailable()),
        FaultAction::Drop | FaultAction::Disconnect => None,
    }
}

fn check_verdict(verdict: &AuthVerdict) -> Result<(), Fault> {
    match verdict {
        AuthVerdict::Allow(grant) => check_grant(grant),
        AuthVerdict::Skip | AuthVerdict::Deny(_) => Ok(()),
    }
}

/// Checks what a plugin grants: it ends up in packets and before topics.
pub(super) fn check_grant(grant: &Grant) -> Result<(), Fault> {
    for text in [&grant.username, &grant.client_id].into_iter().flatten() {
        check_text(text)?;
    }
    grant.mount.as_deref().map_or(Ok(()), check_mount)
}

/// Checks that `text` can stand in a packet [MQTT-1.5.4-2].
pub(super) fn check_text(text: &str) -> Result<(), Fault> {
    if text.len() > TOPIC_LENGTH_MAX || text.contains('\0') {
        return Err(nonsense("a text that no packet can carry"));
    }
    Ok(())
}

/// Checks that `mount` can stand before topics.
pub(super) fn check_mount(mount: &str) -> Result<(), Fault> {
    if !mount.is_empty() && TopicRef::new(mount).is_err() {
        return Err(nonsense("a mount that is no Topic Name"));
    }
    Ok(())
}

pub(super) fn nonsense(text: &'static str) -> Fault {
    Fault::new(FaultKind::Protocol, text)
}

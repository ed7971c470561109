//! Re-authentication of a connected client (MQTT 5.0 section 4.12.1): the same challenges as at CONNECT, on a connection that
//! goes on meanwhile.

use std::sync::Arc;

use broker_proto::{AckProperties, Auth, Packet};
use broker_types::ReasonCode;
use plugin_api::{ClientView, ExchangePhase, ExchangeRequest, Grant};

use super::establish::{EXCHANGE_ROUNDS, abandon, challenge_packet};
use super::parked::{Parked, Resumed};
use super::run::{Connection, End};
use crate::hooks::{ExchangeOutcome, ExchangeOwner};

/// A step of a re-authentication.
pub(super) struct Reauthenticated {
    outcome: ExchangeOutcome,
}

/// A re-authentication under way.
pub(super) struct Exchanging {
    /// Who began it, and ends it whatever becomes of the chain.
    owner: ExchangeOwner,
    rounds: usize,
}

impl Connection {
    /// AUTH of a connected client: it begins to re-authenticate, or goes on with it.
    pub(super) fn auth(&mut self, auth: &Auth<'_>) -> Result<(), End> {
        // [MQTT-4.12.0-6] and [MQTT-4.12.1-1]
        let rare = self.rare_mut();
        let Some(method) = rare
            .auth_method
            .clone()
            .filter(|method| auth.method == Some(&**method))
        else {
            return Err(self.protocol_error("an AUTH without the authentication method of the CONNECT"));
        };
        let phase = match (auth.reason, &rare.exchanging) {
            (ReasonCode::ReAuthenticate, None) => ExchangePhase::ReAuthenticate,
            (ReasonCode::ContinueAuthentication, Some(_)) => ExchangePhase::Continue,
            _ => return Err(self.protocol_error("an AUTH that is not due")),
        };
        let begun = rare.exchanging.take();
        let known = begun.as_ref().map(|begun| begun.owner.clone());
        let Some(owner) = known.or_else(|| self.chain.exchange_owner(&method)) else {
            return Err(End::because(ReasonCode::BadAuthenticationMethod));
        };
        let rounds = begun.map_or(1, |begun| begun.rounds + 1);
        self.rare_mut().exchanging = Some(Exchanging {
            owner: owner.clone(),
            rounds,
        });
        if rounds > EXCHANGE_ROUNDS {
            return Err(End::because(ReasonCode::NotAuthorized));
        }
        let client = self.client.clone();
        let data = auth.data.map(<[u8]>::to_vec);
        self.park(Parked::new(async move {
            let exchange = client.handle.0;
            let request = ExchangeRequest {
                phase,
                exchange,
                method: &method,
                data: data.as_deref(),
            };
            Resumed::Challenged(Reauthenticated {
                outcome: owner.step(&client, &request).await,
            })
        }))
    }

    /// Goes on with a re-authentication.
    pub(super) fn challenged(&mut self, step: Reauthenticated) -> Result<(), End> {
        let method = self.rare_mut().auth_method.clone().unwrap_or_default();
        match step.outcome {
            ExchangeOutcome::Challenge(data) => {
                self.reply(&challenge_packet(&method, &data));
                Ok(())
            }
            ExchangeOutcome::Success { grant, data } => {
                self.rare_mut().exchanging = None;
                self.regrant(*grant);
                self.reply(&Packet::Auth(Auth {
                    reason: ReasonCode::Success,
                    method: Some(&method),
                    data: data.as_deref(),
                    properties: AckProperties::EMPTY,
                }));
                Ok(())
            }
            ExchangeOutcome::Deny(denial) => Err(End {
                text: denial.text.map(Into::into),
                ..End::because(denial.reason)
            }),
            ExchangeOutcome::Close => Err(End::silent(ReasonCode::NotAuthorized, true)),
        }
    }

    /// The connection ended in the middle of a re-authentication: whoever keeps state for it is told.
    pub(super) async fn abandon_exchange(&mut self) {
        // What was asked last is not waited for any more.
        self.parked = None;
        let Some(rare) = &mut self.rare else { return };
        let Some(exchanging) = rare.exchanging.take() else {
            return;
        };
        let method = rare.auth_method.take().unwrap_or_default();
        abandon(&exchanging.owner, &self.client, &method, self.client.handle.0).await;
    }

    /// Applies what a re-authentication granted. Client Identifier and mount stay.
    fn regrant(&mut self, grant: Grant) {
        let mut view = ClientView::clone(&self.client);
        view.authenticated = true;
        if let Some(username) = grant.username {
            view.username = Some(username.into());
        }
        view.attributes = grant.attributes.into();
        self.client = Arc::new(view);
        self.acl.clear();
        self.rare_mut().expires = grant.expires_in.map(|time| Box::pin(tokio::time::sleep(time)));
        if let Some(link) = self.session.lock().link_of(self.client.handle) {
            link.client = self.client.clone();
            link.receive_cache.clear();
        }
    }
}

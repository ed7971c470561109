//! Enhanced authentication. Instances are pooled, so what a guest must remember of an exchange is kept here between its steps.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use plugin_api::{
    Cx, Exchange, ExchangePhase, ExchangeRequest, ExchangeVerdict, Fault, FaultKind, async_trait,
};

use super::{Hooks, Who, who};
use crate::bindings::exported::enhanced_auth;
use crate::exports::offered;
use crate::guest::Ask;
use crate::instance::Instance;
use crate::message::{self, denial, protocol};
use crate::state::More;

/// Exchanges that may be under way at once.
const EXCHANGES_MAX: usize = 10_000;
/// What a guest may have kept for one exchange.
const STATE_BYTES_MAX: usize = 16 << 10;

/// What guests want kept, by exchange.
#[derive(Default)]
pub(super) struct Exchanges(Mutex<HashMap<u64, Vec<u8>>>);

impl std::fmt::Debug for Exchanges {
    /// Leaves what is kept out: keys may be derived from it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Exchanges").field(&self.kept().len()).finish()
    }
}

impl Exchanges {
    fn take(&self, exchange: u64) -> Option<Vec<u8>> {
        self.kept().remove(&exchange)
    }

    fn keep(&self, exchange: u64, state: Vec<u8>) -> Result<(), Fault> {
        if state.len() > STATE_BYTES_MAX {
            return Err(protocol(format!(
                "it wants more than {STATE_BYTES_MAX} bytes kept for an exchange"
            )));
        }
        let mut kept = self.kept();
        if kept.len() >= EXCHANGES_MAX {
            return Err(Fault::new(
                FaultKind::Memory,
                format!("{EXCHANGES_MAX} exchanges are under way"),
            ));
        }
        kept.insert(exchange, state);
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<u64, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Step {
    who: Who,
    method: String,
    data: Option<Vec<u8>>,
    at: At,
}

enum At {
    Start { reauthenticate: bool },
    Proceed { state: Vec<u8> },
}

impl Ask for Step {
    type Answer = enhanced_auth::Step;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<enhanced_auth::Step> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(Some(&self.who), More::NONE);
        let functions = offered(&exports.enhanced_auth)?;
        let (method, data) = (self.method.as_str(), self.data.as_deref());
        let (step,) = match &self.at {
            At::Start { reauthenticate } => {
                let arguments = (who(), method, data, *reauthenticate);
                caller.call(functions.func_start(), arguments).await?
            }
            At::Proceed { state } => {
                let arguments = (who(), method, state.as_slice(), data);
                caller.call(functions.func_proceed(), arguments).await?
            }
        };
        Ok(step)
    }
}

#[async_trait]
impl Exchange for Hooks {
    async fn exchange(&self, cx: &Cx<'_>, request: &ExchangeRequest<'_>) -> Result<ExchangeVerdict, Fault> {
        let state = self.exchanges.take(request.exchange);
        let at = match request.phase {
            ExchangePhase::Start => At::Start {
                reauthenticate: false,
            },
            ExchangePhase::ReAuthenticate => At::Start { reauthenticate: true },
            ExchangePhase::Continue => At::Proceed {
                state: state.unwrap_or_default(),
            },
            ExchangePhase::Abandoned => {
                let forgotten = plugin_api::Denial::not_authorized();
                return Ok(ExchangeVerdict::Deny(forgotten));
            }
        };
        let step = Step {
            who: cx.client.clone(),
            method: request.method.to_owned(),
            data: request.data.map(<[u8]>::to_vec),
            at,
        };
        Ok(match self.guest.ask_owned(step).await? {
            enhanced_auth::Step::Challenge(challenge) => {
                self.exchanges.keep(request.exchange, challenge.state)?;
                ExchangeVerdict::Challenge(challenge.data)
            }
            enhanced_auth::Step::Success((grant, data)) => ExchangeVerdict::Success {
                grant: Box::new(message::grant(grant)?),
                data,
            },
            enhanced_auth::Step::Deny(given) => ExchangeVerdict::Deny(denial(given)?),
        })
    }
}

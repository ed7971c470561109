//! Enhanced authentication.

use alloc::string::String;
use alloc::vec::Vec;

use super::connection::grant;
use super::denial;
use crate::wasm::bindings::base::jackfield::plugin::types::Client;
use crate::wasm::bindings::enhanced_auth::exports::jackfield::plugin::enhanced_auth::{
    Challenge, Guest, Step,
};
use crate::wasm::instance::{Export, Exported, plugin, said};
use crate::{Cx, Exchange, ExchangePhase, ExchangeRequest, ExchangeVerdict};

impl<P: Exported + Exchange> Guest for Export<P> {
    fn start(who: &Client, method: String, data: Option<Vec<u8>>, reauthenticate: bool) -> Step {
        let phase = if reauthenticate {
            ExchangePhase::ReAuthenticate
        } else {
            ExchangePhase::Start
        };
        step::<P>(who, phase, &method, data.as_deref(), &[])
    }

    fn proceed(who: &Client, method: String, state: Vec<u8>, data: Option<Vec<u8>>) -> Step {
        step::<P>(who, ExchangePhase::Continue, &method, data.as_deref(), &state)
    }
}

fn step<P: Exported + Exchange>(
    who: &Client,
    phase: ExchangePhase,
    method: &str,
    data: Option<&[u8]>,
    state: &[u8],
) -> Step {
    let request = ExchangeRequest {
        phase,
        // A connection has one exchange at a time.
        exchange: who.connection(),
        method,
        data,
        state,
    };
    match said(plugin::<P>().exchange(&Cx::new(who), &request)) {
        ExchangeVerdict::Challenge { data, state } => Step::Challenge(Challenge { data, state }),
        ExchangeVerdict::Success { grant: granted, data } => Step::Success((grant(*granted), data)),
        ExchangeVerdict::Deny(refusal) => Step::Deny(denial(refusal)),
    }
}

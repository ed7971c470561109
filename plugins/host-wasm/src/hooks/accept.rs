//! Before any MQTT byte.

use std::time::Duration;

use plugin_api::{Accept, AcceptVerdict, Fault, Incoming};

use super::Hooks;
use crate::bindings::exported::accept;
use crate::exports::offered;
use crate::guest::Ask;
use crate::instance::Instance;
use crate::state::More;

struct OnAccept(Incoming);

impl Ask for OnAccept {
    type Answer = accept::Verdict;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<accept::Verdict> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, More::NONE);
        let incoming = &self.0;
        let peer = incoming.peer.to_string();
        let certificate = incoming
            .certificate
            .as_deref()
            .filter(|_| caller.shows_certificates());
        let arguments = accept::Incoming {
            listener: &incoming.listener,
            peer: &peer,
            sni: incoming.sni.as_deref(),
            alpn: incoming.alpn.as_deref(),
            tls_version: incoming.tls_version.as_deref(),
            certificate,
        };
        let (verdict,) = caller
            .call(offered(&exports.accept)?.func_on_accept(), (arguments,))
            .await?;
        Ok(verdict)
    }
}

impl Accept for Hooks {
    fn accept(&self, incoming: &Incoming) -> Result<AcceptVerdict, Fault> {
        Ok(match self.guest.here(&OnAccept(incoming.clone()))? {
            accept::Verdict::Keep => AcceptVerdict::Continue,
            accept::Verdict::Drop => AcceptVerdict::Drop,
            accept::Verdict::DelayMs(ms) => AcceptVerdict::Delay(Duration::from_millis(ms.into())),
        })
    }
}

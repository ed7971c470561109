//! Who comes in: accept, connect, authenticate.

use alloc::string::String;
use alloc::vec::Vec;

use super::{denial, millis, seconds, user_properties};
use crate::wasm::bindings::accept::exports::jackfield::plugin::accept;
use crate::wasm::bindings::authenticate::exports::jackfield::plugin::authenticate;
use crate::wasm::bindings::base::jackfield::plugin::types::{Client, Grant};
use crate::wasm::bindings::connection::exports::jackfield::plugin::connection;
use crate::wasm::instance::{Export, Exported, plugin, said};
use crate::{
    Accept, AcceptVerdict, AuthRequest, AuthVerdict, Authenticate, Connect, ConnectEdit, ConnectFlow, Cx,
    Incoming,
};

impl<P: Exported + Accept> accept::Guest for Export<P> {
    fn on_accept(incoming: accept::Incoming) -> accept::Verdict {
        let address = incoming.peer.rsplit_once(':');
        let incoming = Incoming {
            listener: &incoming.listener,
            address: address.map(|(ip, _)| ip.trim_start_matches('[').trim_end_matches(']')),
            port: address.and_then(|(_, port)| port.parse().ok()).unwrap_or(0),
            sni: incoming.sni.as_deref(),
            alpn: incoming.alpn.as_deref(),
            tls_version: incoming.tls_version.as_deref(),
        };
        match said(plugin::<P>().accept(&incoming)) {
            AcceptVerdict::Continue => accept::Verdict::Keep,
            AcceptVerdict::Drop => accept::Verdict::Drop,
            AcceptVerdict::Delay(time) => accept::Verdict::DelayMs(millis(time)),
        }
    }
}

/// Returns the grant in the words of the interface.
pub(super) fn grant(grant: crate::Grant) -> Grant {
    Grant {
        username: grant.username,
        client_id: grant.client_id,
        attributes: grant.attributes,
        mount: grant.mount,
        session_expiry_cap: grant.session_expiry_cap.map(seconds),
        expires_in: grant.expires_in.map(seconds),
    }
}

impl<P: Exported + Authenticate> authenticate::Guest for Export<P> {
    fn on_authenticate(who: &Client, credentials: authenticate::Credentials) -> authenticate::Verdict {
        let cx = Cx::new(who);
        let certificate = who.certificate();
        let request = AuthRequest {
            client_id: cx.client_id(),
            username: credentials.username.as_deref(),
            password: credentials.password.as_deref(),
            certificate: certificate.as_deref(),
            clean_start: who.clean_start(),
        };
        match said(plugin::<P>().authenticate(&cx, &request)) {
            AuthVerdict::Skip => authenticate::Verdict::Skip,
            AuthVerdict::Allow(granted) => authenticate::Verdict::Allow(grant(granted)),
            AuthVerdict::Deny(refusal) => authenticate::Verdict::Deny(denial(refusal)),
        }
    }
}

fn edit(edit: ConnectEdit) -> connection::Edit {
    connection::Edit {
        client_id: edit.client_id,
        username: edit.username,
        keep_alive_cap: edit.keep_alive_cap,
        session_expiry_cap: edit.session_expiry_cap.map(seconds),
        mount: edit.mount,
        user: user_properties(edit.user_properties),
        server_reference: edit.server_reference,
    }
}

impl<P: Exported + Connect> connection::Guest for Export<P> {
    fn on_connect(who: &Client, request: connection::Request) -> connection::Verdict {
        let certificate: Option<Vec<u8>> = who.certificate();
        let username: Option<String> = request.username;
        let shown = AuthRequest {
            client_id: &request.client_id,
            username: username.as_deref(),
            password: None,
            certificate: certificate.as_deref(),
            clean_start: request.clean_start,
        };
        match said(plugin::<P>().connect(&Cx::new(who), &shown)) {
            ConnectFlow::Continue(changes) if changes == ConnectEdit::default() => connection::Verdict::Keep,
            ConnectFlow::Continue(changes) => connection::Verdict::Change(edit(changes)),
            ConnectFlow::Stop(changes) => connection::Verdict::Stop(edit(changes)),
            ConnectFlow::Reject(refusal) => connection::Verdict::Deny(denial(refusal)),
        }
    }
}

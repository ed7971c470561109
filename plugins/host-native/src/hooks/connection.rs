//! Hooks of a client that comes: accept, connect, authenticate, exchange.

use std::time::Duration;

use broker_types::{ClientId, ProtocolVersion};
use bytes::Bytes;
use plugin_abi::{self as abi, Str, values::*};
use plugin_api::{
    Accept, AcceptVerdict, AuthRequest, AuthVerdict, Authenticate, Connect, ConnectEdit, ConnectFlow, Cx,
    Exchange, ExchangePhase, ExchangeRequest, ExchangeVerdict, Fault, Incoming, Peer, async_trait,
};
use zeroize::Zeroizing;

use super::{DECISION, Hooks, ONE};
use crate::answer::{grant, mount, pairs};
use crate::ask::{Form, Question, Shown, Step, size_32};
use crate::border::{lend, lend_bytes};
use crate::message::protocol;
use crate::side::Table;

/// A Network Connection, with its address as text.
struct Accepted<'a> {
    incoming: &'a Incoming,
    address: Option<(String, u16)>,
}

impl Question for Accepted<'_> {
    fn form(&self) -> Form {
        Form {
            may_wait: false,
            ..ONE
        }
    }

    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32 {
        let Some(function) = table.0.accept else {
            return JF_EUNSUP;
        };
        let incoming = self.incoming;
        let asked = abi::AcceptIn {
            size: size_32::<abi::AcceptIn>(),
            port: self.address.as_ref().map_or(0, |(_, port)| (*port).into()),
            listener: lend(Some(&incoming.listener)),
            peer_ip: lend(self.address.as_ref().map(|(address, _)| address.as_str())),
            sni: lend(incoming.sni.as_deref()),
            alpn: lend(incoming.alpn.as_deref()),
            tls_version: lend(incoming.tls_version.as_deref()),
        };
        // SAFETY: a function of this instance with its own `self`; what it is lent lives until it returns.
        unsafe { function(table.0.self_, shown.ctx, &raw const asked, shown.out()) }
    }
}

impl Accept for Hooks {
    fn accept(&self, incoming: &Incoming) -> Result<AcceptVerdict, Fault> {
        let address = match incoming.peer {
            Peer::Tcp(address) => Some((address.ip().to_string(), address.port())),
            _ => None,
        };
        let Step::Now(answer) = self.0.ask(None, &Accepted { incoming, address }) else {
            return Err(protocol("it wants to answer later"));
        };
        let reply = answer?;
        match (reply.verdict(0).verdict, reply.delay()) {
            (JF_V_CONTINUE, None) => Ok(AcceptVerdict::Continue),
            (JF_V_CONTINUE, Some(delay)) => Ok(AcceptVerdict::Delay(delay)),
            (JF_V_DROP, _) => Ok(AcceptVerdict::Drop),
            _ => Err(reply.unknown(0)),
        }
    }
}

/// A CONNECT, before authentication or at it.
struct Connecting {
    decides: bool,
    version: ProtocolVersion,
    client_id: String,
    username: Option<String>,
    password: Option<Zeroizing<Vec<u8>>>,
    certificate: Option<Bytes>,
    clean_start: bool,
}

impl Question for Connecting {
    fn form(&self) -> Form {
        if self.decides { DECISION } else { ONE }
    }

    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32 {
        let function = if self.decides {
            table.0.authenticate
        } else {
            table.0.connect
        };
        let Some(function) = function else {
            return JF_EUNSUP;
        };
        let asked = abi::AuthIn {
            size: size_32::<abi::AuthIn>(),
            proto: self.version.level().into(),
            client_id: lend(Some(&self.client_id)),
            username: lend(self.username.as_deref()),
            password: lend_bytes(self.password.as_ref().map(|password| password.as_slice())),
            cert_der: lend_bytes(self.certificate.as_deref()),
            cert_cn: Str::ABSENT,
            clean_start: self.clean_start.into(),
            session_expiry: 0,
        };
        // SAFETY: a function of this instance with its own `self`; what it is lent lives until it returns.
        unsafe { function(table.0.self_, shown.ctx, &raw const asked, shown.out()) }
    }
}

#[async_trait]
impl Connect for Hooks {
    async fn connect(&self, cx: &Cx<'_>, edit: &mut ConnectEdit) -> Result<ConnectFlow, Fault> {
        let question = Connecting {
            decides: false,
            version: cx.client.version,
            client_id: edit.client_id.as_str().to_owned(),
            username: edit.username.as_deref().map(str::to_owned),
            password: None,
            certificate: cx.client.certificate.as_deref().map(Bytes::copy_from_slice),
            clean_start: edit.clean_start,
        };
        let reply = self.0.answer(Some(cx.into()), question).await?;
        let mut attached = reply.take(0);
        edit.server_reference = attached
            .take_field(JF_O_SERVER_REF)
            .or(edit.server_reference.take());
        let flow = match reply.verdict(0).verdict {
            JF_V_CONTINUE => ConnectFlow::Continue,
            JF_V_STOP => ConnectFlow::Stop,
            JF_V_REJECT => return Ok(ConnectFlow::Reject(reply.denial(0, &mut attached)?)),
            _ => return Err(reply.unknown(0)),
        };
        if let Some(id) = attached.take_field(JF_O_CLIENT_ID) {
            edit.client_id = ClientId::new(id);
        }
        if let Some(username) = attached.take_field(JF_O_USERNAME) {
            edit.username = Some(username.into());
        }
        if let Some(mount) = mount(&mut attached)? {
            edit.mount = mount.into();
        }
        if let Some(cap) = attached.number(JF_O_KEEPALIVE_CAP) {
            edit.keep_alive_cap = Some(u16::try_from(cap).unwrap_or(u16::MAX));
        }
        if let Some(cap) = attached.number(JF_O_SESSION_CAP) {
            edit.session_expiry_cap = Some(Duration::from_secs(cap));
        }
        edit.user_properties.extend(pairs(&mut attached)?);
        Ok(flow)
    }
}

#[async_trait]
impl Authenticate for Hooks {
    async fn authenticate(&self, cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        let question = Connecting {
            decides: true,
            version: request.version,
            client_id: request.client_id.to_owned(),
            username: request.username.map(str::to_owned),
            password: request.password.map(|password| Zeroizing::new(password.to_vec())),
            certificate: request.certificate.map(Bytes::copy_from_slice),
            clean_start: request.clean_start,
        };
        let reply = self.0.answer(Some(cx.into()), question).await?;
        let mut attached = reply.take(0);
        match reply.verdict(0).verdict {
            JF_V_SKIP => Ok(AuthVerdict::Skip),
            JF_V_ALLOW => Ok(AuthVerdict::Allow(Box::new(grant(&mut attached)?))),
            JF_V_DENY => Ok(AuthVerdict::Deny(reply.denial(0, &mut attached)?)),
            _ => Err(reply.unknown(0)),
        }
    }
}

/// A step of an enhanced authentication.
struct Exchanging {
    phase: ExchangePhase,
    exchange: u64,
    method: String,
    data: Option<Zeroizing<Vec<u8>>>,
}

impl Question for Exchanging {
    fn form(&self) -> Form {
        DECISION
    }

    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32 {
        let Some(function) = table.0.auth_exchange else {
            return JF_EUNSUP;
        };
        let asked = abi::ExchangeIn {
            size: size_32::<abi::ExchangeIn>(),
            phase: match self.phase {
                ExchangePhase::Start => 0,
                ExchangePhase::Continue => 1,
                ExchangePhase::ReAuthenticate => 2,
                ExchangePhase::Abandoned => 3,
            },
            exchange: self.exchange,
            method: lend(Some(&self.method)),
            data: lend_bytes(self.data.as_ref().map(|data| data.as_slice())),
        };
        // SAFETY: a function of this instance with its own `self`; what it is lent lives until it returns.
        unsafe { function(table.0.self_, shown.ctx, &raw const asked, shown.out()) }
    }
}

#[async_trait]
impl Exchange for Hooks {
    async fn exchange(&self, cx: &Cx<'_>, request: &ExchangeRequest<'_>) -> Result<ExchangeVerdict, Fault> {
        let question = Exchanging {
            phase: request.phase,
            exchange: request.exchange,
            method: request.method.to_owned(),
            data: request.data.map(|data| Zeroizing::new(data.to_vec())),
        };
        let reply = self.0.answer(Some(cx.into()), question).await?;
        let mut attached = reply.take(0);
        match reply.verdict(0).verdict {
            JF_V_CHALLENGE => Ok(ExchangeVerdict::Challenge(
                attached.data.take().unwrap_or_default(),
            )),
            JF_V_ALLOW => Ok(ExchangeVerdict::Success {
                data: attached.data.take(),
                grant: Box::new(grant(&mut attached)?),
            }),
            JF_V_DENY => Ok(ExchangeVerdict::Deny(reply.denial(0, &mut attached)?)),
            // Nobody looks at what is said about an exchange that has ended.
            _ if request.phase == ExchangePhase::Abandoned => {
                Ok(ExchangeVerdict::Deny(plugin_api::Denial::not_authorized()))
            }
            _ => Err(reply.unknown(0)),
        }
    }
}

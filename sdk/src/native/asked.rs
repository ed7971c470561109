//! What the broker asks, read: lent for hooks that answer at once, copied for those that may take their time.

use broker_types::QoS;
use plugin_abi as abi;

use super::{read_bytes, read_text};
use crate::{AuthRequest, ExchangePhase, ExchangeRequest, Incoming, Subscription};

pub(crate) fn incoming(asked: &abi::AcceptIn) -> Incoming<'_> {
    Incoming {
        listener: read_text(asked.listener).unwrap_or_default(),
        address: read_text(asked.peer_ip),
        port: u16::try_from(asked.port).unwrap_or(0),
        sni: read_text(asked.sni),
        alpn: read_text(asked.alpn),
        tls_version: read_text(asked.tls_version),
    }
}

pub(crate) fn request(asked: &abi::AuthIn) -> AuthRequest<'_> {
    AuthRequest {
        client_id: read_text(asked.client_id).unwrap_or_default(),
        username: read_text(asked.username),
        password: read_bytes(asked.password),
        certificate: read_bytes(asked.cert_der),
        clean_start: asked.clean_start != 0,
    }
}

/// A copy of an [`AuthRequest`].
pub(crate) struct KeptRequest {
    client_id: String,
    username: Option<String>,
    password: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    clean_start: bool,
}

impl KeptRequest {
    pub(crate) fn of(request: &AuthRequest<'_>) -> Self {
        Self {
            client_id: request.client_id.to_owned(),
            username: request.username.map(str::to_owned),
            password: request.password.map(<[u8]>::to_vec),
            certificate: request.certificate.map(<[u8]>::to_vec),
            clean_start: request.clean_start,
        }
    }

    pub(crate) fn lend(&self) -> AuthRequest<'_> {
        AuthRequest {
            client_id: &self.client_id,
            username: self.username.as_deref(),
            password: self.password.as_deref(),
            certificate: self.certificate.as_deref(),
            clean_start: self.clean_start,
        }
    }
}

pub(crate) fn exchange<'a>(asked: &'a abi::ExchangeIn, state: &'a [u8]) -> ExchangeRequest<'a> {
    ExchangeRequest {
        phase: match asked.phase {
            0 => ExchangePhase::Start,
            1 => ExchangePhase::Continue,
            2 => ExchangePhase::ReAuthenticate,
            _ => ExchangePhase::Abandoned,
        },
        exchange: asked.exchange,
        method: read_text(asked.method).unwrap_or_default(),
        data: read_bytes(asked.data),
        state,
    }
}

/// A copy of an [`ExchangeRequest`].
pub(crate) struct KeptExchange {
    phase: ExchangePhase,
    exchange: u64,
    method: String,
    data: Option<Vec<u8>>,
    state: Vec<u8>,
}

impl KeptExchange {
    pub(crate) fn of(request: &ExchangeRequest<'_>) -> Self {
        Self {
            phase: request.phase,
            exchange: request.exchange,
            method: request.method.to_owned(),
            data: request.data.map(<[u8]>::to_vec),
            state: request.state.to_vec(),
        }
    }

    pub(crate) fn lend(&self) -> ExchangeRequest<'_> {
        ExchangeRequest {
            phase: self.phase,
            exchange: self.exchange,
            method: &self.method,
            data: self.data.as_deref(),
            state: &self.state,
        }
    }
}

pub(crate) fn subscription(asked: &abi::SubIn) -> Subscription<'_> {
    Subscription {
        filter: read_text(asked.filter).unwrap_or_default(),
        share: read_text(asked.share),
        qos: QoS::from_bits((asked.options & 3) as u8).unwrap_or_default(),
        no_local: asked.options & 4 != 0,
        id: asked.sub_id,
    }
}

/// A copy of a [`Subscription`].
pub(crate) struct KeptSubscription {
    filter: String,
    share: Option<String>,
    qos: QoS,
    no_local: bool,
    id: u32,
}

impl KeptSubscription {
    pub(crate) fn of(subscription: &Subscription<'_>) -> Self {
        Self {
            filter: subscription.filter.to_owned(),
            share: subscription.share.map(str::to_owned),
            qos: subscription.qos,
            no_local: subscription.no_local,
            id: subscription.id,
        }
    }

    pub(crate) fn lend(&self) -> Subscription<'_> {
        Subscription {
            filter: &self.filter,
            share: self.share.as_deref(),
            qos: self.qos,
            no_local: self.no_local,
            id: self.id,
        }
    }
}

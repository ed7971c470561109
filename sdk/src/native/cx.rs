//! The client that a hook is called for.

use std::marker::PhantomData;
use std::time::Duration;

use plugin_abi::{self as abi, Ctx, Str, values::*};

use super::host::{call, found};
use super::{lend, read_bytes};
use crate::{ClientHandle, Host};

/// Attributes that are copied for a call that is awaited.
const ATTRIBUTES_MAX: usize = 1024;

/// A client, lent by the broker for one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LentClient<'a> {
    host: Host,
    there: *const abi::Client,
    lent: PhantomData<&'a ()>,
}

// SAFETY: the broker's functions may be called from any thread while the client is lent, which `'a` is bound to.
unsafe impl Send for LentClient<'_> {}
// SAFETY: as above.
unsafe impl Sync for LentClient<'_> {}

impl<'a> LentClient<'a> {
    /// # Safety
    /// `there` must be null or lent by the broker for as long as `'a`.
    pub(crate) const unsafe fn new(host: Host, there: *const abi::Client) -> Self {
        Self {
            host,
            there,
            lent: PhantomData,
        }
    }

    /// Returns a field (`JF_C_*`) that is a text.
    pub(crate) fn text(&self, field: u32) -> Option<&'a str> {
        let (status, text) = self.get(field);
        found(status, text)
    }

    fn get(&self, field: u32) -> (i32, Str) {
        let mut text = Str::ABSENT;
        let status = call!(
            self.host,
            client_get(self.host.ctx(), self.there, field, &raw mut text) or JF_EUNSUP
        );
        (status, text)
    }

    fn certificate(&self) -> Option<&'a [u8]> {
        let (status, der) = self.get(JF_C_CERT_DER);
        (status == JF_OK).then(|| read_bytes(der)).flatten()
    }

    fn attribute(&self, name: &str) -> Option<&'a str> {
        let mut text = Str::ABSENT;
        let status = call!(
            self.host,
            client_attr(self.host.ctx(), self.there, lend(name), &raw mut text) or JF_EUNSUP
        );
        found(status, text)
    }

    fn attribute_at(&self, nth: usize) -> Option<(&'a str, &'a str)> {
        let table = self.host.table();
        let covers = table.size as usize >= size_of::<abi::Host>();
        let at = table.client_attr_at.filter(|_| covers)?;
        let (mut key, mut value) = (Str::ABSENT, Str::ABSENT);
        // SAFETY: a function of the host's table, which is long enough to have it; all it is lent lives until it returns.
        let status = unsafe { at(self.host.ctx(), self.there, nth, &raw mut key, &raw mut value) };
        Some((found(status, key)?, found(status, value)?))
    }
}

/// A copy of a client, for calls that are awaited.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptClient {
    texts: [Option<String>; 6],
    attributes: Vec<(String, String)>,
    certificate: Option<Vec<u8>>,
}

impl KeptClient {
    fn of(client: &LentClient<'_>) -> Self {
        let attributes = (0..ATTRIBUTES_MAX).map_while(|nth| client.attribute_at(nth));
        Self {
            texts: FIELDS.map(|field| client.text(field).map(str::to_owned)),
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            certificate: client.certificate().map(<[u8]>::to_vec),
        }
    }
}

/// The texts of a client, in the order in which they are kept.
const FIELDS: [u32; 6] = [
    JF_C_CLIENT_ID,
    JF_C_USERNAME,
    JF_C_LISTENER,
    JF_C_PEER,
    JF_C_PROTOCOL,
    JF_C_MOUNT,
];

/// Where the facts about a client are.
#[derive(Clone, Copy, Debug)]
enum Facts<'a> {
    Lent(LentClient<'a>),
    Kept(&'a KeptClient),
}

/// What comes with a call about a client: who it is, how long the answer may take, and the broker's services.
#[derive(Clone, Copy, Debug)]
pub struct Cx<'a> {
    host: Host,
    handle: u64,
    budget_ns: u64,
    facts: Facts<'a>,
}

/// What a [`Cx`] is made of, for a call that is awaited.
#[derive(Debug)]
pub(crate) struct KeptCx {
    host: Host,
    handle: u64,
    budget_ns: u64,
    client: KeptClient,
}

impl KeptCx {
    /// # Safety
    /// The broker must lend `ctx` and its client.
    pub(crate) unsafe fn new(host: Host, ctx: &Ctx) -> Self {
        Self {
            host,
            handle: ctx.client_id,
            budget_ns: ctx.deadline_ns,
            // SAFETY: the caller's promise.
            client: KeptClient::of(&unsafe { LentClient::new(host, ctx.client) }),
        }
    }

    pub(crate) const fn cx(&self) -> Cx<'_> {
        Cx {
            host: self.host,
            handle: self.handle,
            budget_ns: self.budget_ns,
            facts: Facts::Kept(&self.client),
        }
    }
}

impl<'a> Cx<'a> {
    /// # Safety
    /// The broker must lend `ctx` and its client for as long as `'a`.
    pub(crate) const unsafe fn new(host: Host, ctx: &'a Ctx) -> Self {
        Self {
            host,
            handle: ctx.client_id,
            budget_ns: ctx.deadline_ns,
            // SAFETY: the caller's promise.
            facts: Facts::Lent(unsafe { LentClient::new(host, ctx.client) }),
        }
    }

    /// Returns the broker's services.
    #[must_use]
    pub const fn host(&self) -> Host {
        self.host
    }

    /// Names the client's Network Connection.
    #[must_use]
    pub const fn client(&self) -> ClientHandle {
        ClientHandle(self.handle)
    }

    /// Returns the time that the answer may take; `None`: not known.
    #[must_use]
    pub fn budget(&self) -> Option<Duration> {
        (self.budget_ns != 0).then(|| Duration::from_nanos(self.budget_ns))
    }

    /// Returns the Client Identifier.
    #[must_use]
    pub fn client_id(&self) -> &'a str {
        self.text(0).unwrap_or_default()
    }

    /// Returns the user name: claimed in CONNECT, or what an authenticator granted.
    #[must_use]
    pub fn username(&self) -> Option<&'a str> {
        self.text(1)
    }

    /// Returns the name of the listener.
    #[must_use]
    pub fn listener(&self) -> &'a str {
        self.text(2).unwrap_or_default()
    }

    /// Returns the other end, like `192.0.2.1:40000`.
    #[must_use]
    pub fn peer(&self) -> &'a str {
        self.text(3).unwrap_or_default()
    }

    /// Returns the version of MQTT: `3.1`, `3.1.1` or `5.0`.
    #[must_use]
    pub fn protocol(&self) -> &'a str {
        self.text(4).unwrap_or_default()
    }

    /// Returns the prefix before all its topics; hooks see topics without it.
    #[must_use]
    pub fn mount(&self) -> &'a str {
        self.text(5).unwrap_or_default()
    }

    /// Returns what an authenticator said about the client under `name`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        match self.facts {
            Facts::Lent(client) => client.attribute(name),
            Facts::Kept(client) => {
                let mut newest_first = client.attributes.iter().rev();
                newest_first
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value.as_str())
            }
        }
    }

    /// Returns the client certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> Option<&'a [u8]> {
        match self.facts {
            Facts::Lent(client) => client.certificate(),
            Facts::Kept(client) => client.certificate.as_deref(),
        }
    }

    fn text(&self, at: usize) -> Option<&'a str> {
        match self.facts {
            Facts::Lent(client) => client.text(FIELDS[at]),
            Facts::Kept(client) => client.texts[at].as_deref(),
        }
    }
}

//! The client a hook is called for: asked for what the plugin reads, and only then.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::time::Duration;

use super::bindings::base::jackfield::plugin::types::{Client, Protocol};
use crate::{ClientHandle, Host};

/// What comes with a call about a client. Each answer is asked for once.
#[derive(Debug)]
pub struct Cx<'a> {
    client: &'a Client,
    id: OnceCell<String>,
    username: OnceCell<Option<String>>,
    listener: OnceCell<String>,
    peer: OnceCell<String>,
    mount: OnceCell<String>,
    certificate: OnceCell<Option<Vec<u8>>>,
    attributes: OnceCell<Box<Attribute>>,
}

/// A list that only grows at its end, so that what was found can be lent.
#[derive(Debug)]
struct Attribute {
    name: String,
    value: Option<String>,
    next: OnceCell<Box<Attribute>>,
}

impl<'a> Cx<'a> {
    pub(crate) const fn new(client: &'a Client) -> Self {
        Self {
            client,
            id: OnceCell::new(),
            username: OnceCell::new(),
            listener: OnceCell::new(),
            peer: OnceCell::new(),
            mount: OnceCell::new(),
            certificate: OnceCell::new(),
            attributes: OnceCell::new(),
        }
    }

    /// Returns the broker's services.
    #[must_use]
    pub const fn host(&self) -> Host {
        Host::HERE
    }

    /// Names the client's Network Connection.
    #[must_use]
    pub fn client(&self) -> ClientHandle {
        ClientHandle(self.client.connection())
    }

    /// Returns the time that the answer may take: not known here.
    #[must_use]
    pub const fn budget(&self) -> Option<Duration> {
        None
    }

    /// Returns the Client Identifier.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.id.get_or_init(|| self.client.id())
    }

    /// Returns the user name: claimed in CONNECT, or what an authenticator granted.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.get_or_init(|| self.client.username()).as_deref()
    }

    /// Returns the name of the listener.
    #[must_use]
    pub fn listener(&self) -> &str {
        self.listener.get_or_init(|| self.client.listener())
    }

    /// Returns the other end, like `192.0.2.1:40000`.
    #[must_use]
    pub fn peer(&self) -> &str {
        self.peer.get_or_init(|| self.client.peer())
    }

    /// Returns the version of MQTT: `3.1`, `3.1.1` or `5.0`.
    #[must_use]
    pub fn protocol(&self) -> &str {
        match self.client.protocol() {
            Protocol::Mqtt31 => "3.1",
            Protocol::Mqtt311 => "3.1.1",
            Protocol::Mqtt5 => "5.0",
        }
    }

    /// Returns the prefix before all its topics; hooks see topics without it.
    #[must_use]
    pub fn mount(&self) -> &str {
        self.mount.get_or_init(|| self.client.mount())
    }

    /// Returns what an authenticator said about the client under `name`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let mut place = &self.attributes;
        while let Some(known) = place.get() {
            if known.name == name {
                return known.value.as_deref();
            }
            place = &known.next;
        }
        let asked = place.get_or_init(|| {
            Box::new(Attribute {
                name: String::from(name),
                value: self.client.attribute(name),
                next: OnceCell::new(),
            })
        });
        asked.value.as_deref()
    }

    /// Returns the client certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate
            .get_or_init(|| self.client.certificate())
            .as_deref()
    }
}

//! The client that a hook is called for.

use std::net::SocketAddr;
use std::sync::Arc;

use broker_types::{ClientHandle, ClientId, ProtocolVersion};
use plugin_api::{ClientView, Grant, Peer};

/// A client for tests. Starts as one that speaks MQTT 5.0 from 127.0.0.1:40000 to the listener `main`, without a user name.
///
/// ```
/// use plugin_testkit::Client;
///
/// let client = Client::new("d1").username("anna").attribute("group", "blue");
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    view: ClientView,
    password: Option<Vec<u8>>,
}

impl Client {
    /// A client with this Client Identifier.
    #[must_use]
    pub fn new(id: &str) -> Self {
        let view = ClientView {
            handle: ClientHandle(1),
            id: ClientId::new(id),
            username: None,
            authenticated: false,
            listener: "main".into(),
            peer: Peer::Tcp(SocketAddr::from(([127, 0, 0, 1], 40_000))),
            version: ProtocolVersion::V5,
            clean_start: true,
            mount: "".into(),
            attributes: Arc::default(),
            certificate: None,
            unrestricted: false,
        };
        Self { view, password: None }
    }

    /// With this User Name.
    #[must_use]
    pub fn username(mut self, name: &str) -> Self {
        self.view.username = Some(name.into());
        self
    }

    /// With this Password, for [`crate::Harness::login`].
    #[must_use]
    pub fn password(mut self, password: impl Into<Vec<u8>>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// With an attribute, as an authenticator would have given it.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        let mut attributes = self.view.attributes.to_vec();
        attributes.push((name.to_owned(), value.to_owned()));
        self.view.attributes = attributes.into();
        self
    }

    /// On this listener.
    #[must_use]
    pub fn listener(mut self, name: &str) -> Self {
        self.view.listener = name.into();
        self
    }

    /// From this address.
    #[must_use]
    pub fn peer(mut self, address: SocketAddr) -> Self {
        self.view.peer = Peer::Tcp(address);
        self
    }

    /// Speaking this version.
    #[must_use]
    pub fn version(mut self, version: ProtocolVersion) -> Self {
        self.view.version = version;
        self
    }

    /// Returns what hooks see of it.
    #[must_use]
    pub fn view(&self) -> Arc<ClientView> {
        Arc::new(self.view.clone())
    }

    /// Becomes the client that was let in with `grant`.
    pub(crate) fn granted(&mut self, grant: &Grant) {
        let view = &mut self.view;
        view.authenticated = true;
        if let Some(name) = &grant.username {
            view.username = Some(name.as_str().into());
        }
        if let Some(id) = &grant.client_id {
            view.id = ClientId::new(id.as_str());
        }
        if let Some(mount) = &grant.mount {
            view.mount = mount.as_str().into();
        }
        view.attributes = view.attributes.iter().chain(&grant.attributes).cloned().collect();
    }

    pub(crate) fn secret(&self) -> Option<&[u8]> {
        self.password.as_deref()
    }
}

impl Default for Client {
    /// `Client::new("test")`.
    fn default() -> Self {
        Self::new("test")
    }
}

//! Who a link is, and its way in.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use broker_proto::{Client, ClientLimits, Connect, PropertyBlock, UserBlock, Will};
use broker_types::{Message, ProtocolVersion};
use tokio::sync::{mpsc, oneshot};

use super::driver::{Driver, Ended};
use super::{Link, LinkError, LinkSender};
use crate::broker::Handle;
use crate::connection::{self, Identity, Origin, PeerInfo};
use crate::engine::listener::ListenerState;
use crate::engine::shard::Shard;
use crate::net::{Carrier, pipe};

/// Commands that wait for the link's task, and messages that wait for [`Link::recv`].
const COMMANDS: usize = 64;
const DELIVERIES: usize = 64;

/// A link before it is connected. See [`Handle::link`].
#[derive(Clone)]
#[must_use = "nothing happens before `connect`"]
pub struct LinkBuilder {
    handle: Handle,
    client_id: String,
    listener: Option<String>,
    /// `None`: authenticators say who it is.
    identity: Option<Identity>,
    login: (Option<String>, Option<Vec<u8>>),
    clean_start: bool,
    session_expiry: u32,
    receive_maximum: u16,
    will: Option<(Message, u32)>,
}

impl std::fmt::Debug for LinkBuilder {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkBuilder")
            .field("client_id", &self.client_id)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Makes the program a client of its broker. It says who it is and no authenticator is asked; apart from that it passes the
    /// listener's chain as every client does.
    pub fn link(&self, client_id: impl Into<String>) -> LinkBuilder {
        LinkBuilder {
            handle: self.clone(),
            client_id: client_id.into(),
            listener: None,
            identity: Some(Identity::default()),
            login: (None, None),
            clean_start: true,
            session_expiry: 0,
            receive_maximum: 1024,
            will: None,
        }
    }
}

impl LinkBuilder {
    /// Comes in at this listener, through its chain. Default: the first.
    pub fn listener(mut self, name: impl Into<String>) -> Self {
        self.listener = Some(name.into());
        self
    }

    /// Has this user name. Plugins see it as that of an authenticated client. Default: none.
    pub fn username(mut self, name: impl Into<Arc<str>>) -> Self {
        self.identity.get_or_insert_default().username = Some(name.into());
        self
    }

    /// Shows a user name and a password, and lets the chain's authenticators decide about them, as for any other client. What
    /// [`Self::username`] and [`Self::unrestricted`] say no longer holds.
    pub fn login(mut self, username: impl Into<String>, password: impl Into<Vec<u8>>) -> Self {
        self.login = (Some(username.into()), Some(password.into()));
        self.identity = None;
        self
    }

    /// Is asked for by no authorizer, also when messages are delivered to it. Other plugins still see what it does. Default: no.
    pub fn unrestricted(mut self) -> Self {
        self.identity.get_or_insert_default().unrestricted = true;
        self
    }

    /// Resumes the Session of its Client Identifier, which lives on for `expiry` (in whole seconds; more than 136 years: for
    /// ever) when the link ends. Default: a new Session, which ends with the link.
    pub fn resume(mut self, expiry: Duration) -> Self {
        self.clean_start = false;
        self.session_expiry = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
        self
    }

    /// Has at most so many messages of QoS 1 and 2 that it hasn't acknowledged. Default 1,024, at least 1.
    pub fn receive_maximum(mut self, most: u16) -> Self {
        self.receive_maximum = most.max(1);
        self
    }

    /// Leaves a Will Message, which is published `delay` (in whole seconds) after the link was dropped.
    pub fn will(mut self, message: Message, delay: Duration) -> Self {
        let delay = u32::try_from(delay.as_secs()).unwrap_or(u32::MAX);
        self.will = Some((message, delay));
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// There is no such listener, a plugin or a limit refuses the link, or the broker has stopped.
    pub async fn connect(self) -> Result<Link, LinkError> {
        let listener = self.handle.listener_state(self.listener.as_deref());
        let listener =
            listener.map_err(|_| LinkError::NoListener(self.listener.clone().unwrap_or_default()))?;
        let (commands, orders) = mpsc::channel(COMMANDS);
        let (deliver, deliveries) = mpsc::channel(DELIVERIES);
        let (welcome, welcomed) = oneshot::channel();
        let ended = Arc::new(Ended::default());
        let (handle, wished, ending) = (self.handle.clone(), self.client_id.clone(), ended.clone());
        let begun = handle.on_a_shard(move |shard| {
            let client = self.begin()?;
            let stream = self.open(shard, &listener);
            let driver = Driver::new(client, stream, shard.core.clock.clone(), orders, deliver, ending);
            tokio::task::spawn_local(driver.run(welcome));
            Ok(())
        });
        begun.await.map_err(|_| LinkError::Stopped)??;
        match welcomed.await {
            Ok(welcome) => Ok(Link {
                sender: LinkSender { commands, ended },
                deliveries,
                session_present: welcome.session_present,
                client_id: welcome.assigned_client_id.unwrap_or(wished),
            }),
            Err(_) => Err(ended.refusal()),
        }
    }

    /// Returns the MQTT client that begins with its CONNECT.
    fn begin(&self) -> Result<Client, LinkError> {
        let invalid = |error: &dyn std::fmt::Display| LinkError::Invalid(error.to_string());
        let mut connect = Connect::new(ProtocolVersion::V5, &self.client_id);
        connect.clean_start = self.clean_start;
        connect.session_expiry = self.session_expiry;
        connect.receive_maximum = self.receive_maximum;
        connect.keep_alive = 0;
        connect.username = self.login.0.as_deref();
        connect.password = self.login.1.as_deref();
        connect.user = UserBlock::EMPTY;
        if let Some((will, delay)) = &self.will {
            connect.will = Some(Will {
                topic: will.topic.as_ref(),
                payload: &will.payload,
                qos: will.qos,
                retain: will.retain,
                delay: *delay,
                expiry: will.expiry,
                properties: PropertyBlock::from(&will.properties),
            });
        }
        let mut client = Client::new(ClientLimits::default());
        client.connect(&connect).map_err(|error| invalid(&error))?;
        Ok(client)
    }

    /// Opens the connection, on the shard that will also drive it.
    fn open(&self, shard: &Rc<Shard>, listener: &Arc<ListenerState>) -> crate::net::LocalStream {
        let (end, stream) = pipe();
        let origin = Origin::brought(PeerInfo::default(), self.identity.clone());
        connection::admit(shard, listener, Carrier::Local(end), origin);
        stream
    }
}

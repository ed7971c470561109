//! What the broker gives a plugin: services, and the client that a hook is called for.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::time::Duration;

use broker_types::ReasonCode;
use plugin_abi::{self as abi, Str, values::*};

use crate::native::{lend, read_text, read_text_of};
use crate::{ClientHandle, Level, NewMessage, Refused, TimerId};

/// The broker's services. Cheap to copy; may be used from any thread until the instance is dropped.
#[derive(Clone, Copy, Debug)]
pub struct Host(pub(crate) *const abi::Host);

// SAFETY: the table is immutable and its functions may be called from any thread (the header says so).
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

/// Calls a service if the broker has it.
macro_rules! call {
    ($host:expr, $service:ident($($argument:expr),*) or $otherwise:expr) => {
        match $host.table().$service {
            // SAFETY: a function of the host's table; what it is lent lives until it returns.
            Some(service) => unsafe { service($($argument),*) },
            None => $otherwise,
        }
    };
}
pub(crate) use call;

impl Host {
    /// Returns the table of services.
    pub(crate) fn table(&self) -> &abi::Host {
        // SAFETY: the broker keeps the table until the instance is destroyed, and copies of this value stay with it.
        unsafe { &*self.0 }
    }

    pub(crate) fn ctx(&self) -> *mut c_void {
        self.table().ctx
    }

    /// Writes a log line under the instance's name.
    pub fn log(&self, level: Level, text: &str) {
        call!(self, log(self.ctx(), level as u32, lend(text)) or ());
    }

    /// Says what is wrong with the call that is about to fail.
    pub(crate) fn fault(&self, text: &str) {
        call!(self, fault(self.ctx(), lend(text)) or ());
    }

    /// Publishes a message; only enqueued when this returns.
    ///
    /// # Errors
    /// The topic is none, or the broker takes nothing.
    pub fn publish(&self, message: &NewMessage<'_>) -> Result<(), Refused> {
        let made = call!(self, msg_new(self.ctx()) or std::ptr::null_mut());
        let filled = self.fill(made, message);
        let sent = filled.and_then(|()| ok(call!(self, publish(self.ctx(), made) or JF_EUNSUP)));
        call!(self, msg_free(made) or ());
        sent
    }

    pub(crate) fn fill(&self, made: *mut abi::Msg, message: &NewMessage<'_>) -> Result<(), Refused> {
        if made.is_null() {
            return Err(Refused { status: JF_EUNSUP });
        }
        ok(call!(self, msg_set_topic(made, lend(message.topic)) or JF_EUNSUP))?;
        ok(call!(self, msg_set_payload(made, Str::of(message.payload)) or JF_EUNSUP))?;
        let (qos, retain) = (message.qos.bits().into(), message.retain.into());
        ok(call!(self, msg_set_flags(made, qos, retain) or JF_EUNSUP))
    }

    /// Ends a client's Network Connection.
    ///
    /// # Errors
    /// It is gone already.
    pub fn kick(&self, client: ClientHandle, reason: ReasonCode, with_will: bool) -> Result<(), Refused> {
        let (reason, will) = (reason.byte().into(), with_will.into());
        ok(call!(self, kick(self.ctx(), client.0, reason, will) or JF_EUNSUP))
    }

    /// Drops decisions of this plugin that connections have cached: one client's, or everybody's.
    pub fn invalidate(&self, client: Option<ClientHandle>) {
        call!(self, invalidate(self.ctx(), client.map_or(0, |client| client.0)) or JF_EUNSUP);
    }

    /// Starts a timer: [`crate::Plugin::on_timer`] is called after `first`, then every `every`.
    pub fn timer(&self, first: Duration, every: Option<Duration>) -> TimerId {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let every = every.map_or(0, |every| millis(every).max(1));
        TimerId(call!(self, timer(self.ctx(), millis(first), every) or 0))
    }

    /// Stops a timer.
    pub fn cancel_timer(&self, timer: TimerId) {
        call!(self, timer_stop(self.ctx(), timer.0) or ());
    }

    /// Adds to a counter that the metrics show under the instance's name.
    pub fn counter(&self, name: &str, add: u64) {
        call!(self, counter_add(self.ctx(), lend(name), add) or ());
    }

    /// Sets a gauge that the metrics show under the instance's name.
    pub fn gauge(&self, name: &str, value: f64) {
        call!(self, gauge_set(self.ctx(), lend(name), value) or ());
    }
}

/// Turns a status into a result.
pub(crate) fn ok(status: i32) -> Result<(), Refused> {
    if status == JF_OK {
        Ok(())
    } else {
        Err(Refused { status })
    }
}

/// What comes with a call about a client.
#[derive(Debug)]
pub struct Cx<'a> {
    host: Host,
    ctx: &'a abi::Ctx,
    lent: PhantomData<&'a ()>,
}

impl<'a> Cx<'a> {
    pub(crate) const fn new(host: Host, ctx: &'a abi::Ctx) -> Self {
        Self {
            host,
            ctx,
            lent: PhantomData,
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
        ClientHandle(self.ctx.client_id)
    }

    /// Returns the time that the answer may take; `None`: not known.
    #[must_use]
    pub fn budget(&self) -> Option<Duration> {
        (self.ctx.deadline_ns != 0).then(|| Duration::from_nanos(self.ctx.deadline_ns))
    }

    /// Returns the Client Identifier.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.get(JF_C_CLIENT_ID).unwrap_or_default()
    }

    /// Returns the user name: claimed in CONNECT, or what an authenticator granted.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.get(JF_C_USERNAME)
    }

    /// Returns the name of the listener.
    #[must_use]
    pub fn listener(&self) -> &str {
        self.get(JF_C_LISTENER).unwrap_or_default()
    }

    /// Returns the other end, like `192.0.2.1:40000`.
    #[must_use]
    pub fn peer(&self) -> &str {
        self.get(JF_C_PEER).unwrap_or_default()
    }

    /// Returns the version of MQTT: `3.1`, `3.1.1` or `5.0`.
    #[must_use]
    pub fn protocol(&self) -> &str {
        self.get(JF_C_PROTOCOL).unwrap_or_default()
    }

    /// Returns the prefix before all its topics; hooks see topics without it.
    #[must_use]
    pub fn mount(&self) -> &str {
        self.get(JF_C_MOUNT).unwrap_or_default()
    }

    /// Returns what an authenticator said about the client under `name`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let mut found = Str::ABSENT;
        let status = call!(
            self.host,
            client_attr(self.host.ctx(), self.ctx.client, lend(name), &raw mut found) or JF_EUNSUP
        );
        read_text_of(self, status, found)
    }

    fn get(&self, field: u32) -> Option<&str> {
        let mut found = Str::ABSENT;
        let status = call!(
            self.host,
            client_get(self.host.ctx(), self.ctx.client, field, &raw mut found) or JF_EUNSUP
        );
        read_text_of(self, status, found)
    }
}

/// Reads a text that lives as long as the message or call it belongs to.
pub(crate) fn found<'a>(status: i32, text: Str) -> Option<&'a str> {
    (status == JF_OK).then(|| read_text(text)).flatten()
}

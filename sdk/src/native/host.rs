//! What the broker gives a plugin: its services.

use std::ffi::c_void;
use std::time::Duration;

use broker_types::ReasonCode;
use plugin_abi::{self as abi, Str, values::*};

use super::cx::LentClient;
use super::message::set_property;
use super::{lend, read_text};
use crate::{ClientHandle, ClientInfo, Level, NewMessage, Refused, TimerId};

/// The broker's services. Cheap to copy; may be used from any thread. What is called after the instance has ended does nothing.
///
/// Before [`crate::Plugin::start`] only [`Self::log`] does anything.
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
        // SAFETY: the header: the table stays valid from `create` on.
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
            return Err(Refused::Unsupported);
        }
        ok(call!(self, msg_set_topic(made, lend(message.topic)) or JF_EUNSUP))?;
        ok(call!(self, msg_set_payload(made, Str::of(message.payload)) or JF_EUNSUP))?;
        let (qos, retain) = (message.qos.bits().into(), message.retain.into());
        ok(call!(self, msg_set_flags(made, qos, retain) or JF_EUNSUP))?;
        let mut properties = message.properties.into_iter().flat_map(crate::Properties::each);
        properties.try_for_each(|property| set_property(*self, made, property))
    }

    /// Returns milliseconds since 1970, by the broker's clock.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        call!(self, now_ms(self.ctx()) or 0)
    }

    /// Looks a connected client up; `None`: it is gone.
    #[must_use]
    pub fn client(&self, client: ClientHandle) -> Option<ClientInfo> {
        let mut asked = LookUp {
            host: *self,
            found: None,
        };
        let user = (&raw mut asked).cast::<c_void>();
        call!(self, client_by_id(self.ctx(), client.0, Some(look), user) or JF_EUNSUP);
        asked.found
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
    Err(match status {
        JF_OK => return Ok(()),
        JF_EINVAL => Refused::Invalid,
        JF_EDENIED => Refused::Denied,
        JF_ETOOBIG => Refused::TooLarge,
        JF_EQUOTA => Refused::Quota,
        JF_ENOENT => Refused::NotFound,
        JF_EUNSUP => Refused::Unsupported,
        JF_ESTALE => Refused::TooLate,
        _ => Refused::Unavailable,
    })
}

/// Reads a text that lives as long as the message or call it belongs to.
pub(crate) fn found<'a>(status: i32, text: Str) -> Option<&'a str> {
    (status == JF_OK).then(|| read_text(text)).flatten()
}

/// What a look-up is told in its callback.
struct LookUp {
    host: Host,
    found: Option<ClientInfo>,
}

unsafe extern "C" fn look(user: *mut c_void, client: *const abi::Client) {
    // SAFETY: `user` is what `Host::client` gave, for this call alone; the client is lent until this returns.
    let (asked, client) = unsafe {
        (
            &mut *user.cast::<LookUp>(),
            LentClient::new((*user.cast::<LookUp>()).host, client),
        )
    };
    let text = |field| client.text(field).unwrap_or_default().to_owned();
    asked.found = Some(ClientInfo {
        client_id: text(JF_C_CLIENT_ID),
        username: client.text(JF_C_USERNAME).map(str::to_owned),
        listener: text(JF_C_LISTENER),
        peer: text(JF_C_PEER),
        protocol: text(JF_C_PROTOCOL),
    });
}

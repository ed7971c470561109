//! The broker's services, as the imports of the component: what a plugin never calls isn't imported and needs no grant.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use broker_types::ReasonCode;

use super::bindings::base::jackfield::plugin::{clients, clock, decisions, log, metrics, publish, types};
use super::timers::timers;
use crate::{ClientHandle, ClientInfo, Level, NewMessage, Refused, TimerId};

/// The broker's services.
#[derive(Clone, Copy, Debug)]
pub struct Host(());

impl Host {
    pub(crate) const HERE: Self = Self(());

    /// Writes a log line under the instance's name.
    pub fn log(&self, level: Level, text: &str) {
        let level = match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(level, text);
    }

    /// Publishes a message; only enqueued when this returns. Needs the grant `publish`.
    ///
    /// # Errors
    /// The topic is none or isn't granted, or the broker takes nothing.
    pub fn publish(&self, message: &NewMessage<'_>) -> Result<(), Refused> {
        publish::send(&new_message(message)).map_err(|error| match error {
            publish::Error::Denied => Refused::Denied,
            publish::Error::Quota => Refused::Quota,
            publish::Error::Invalid => Refused::Invalid,
        })
    }

    /// Returns milliseconds since 1970, by the broker's clock. Needs the grant `clock`.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    /// Looks a connected client up; `None`: it is gone. Needs the grant `clients`. The version of MQTT isn't told here.
    #[must_use]
    pub fn client(&self, client: ClientHandle) -> Option<ClientInfo> {
        let info = clients::by_handle(client.0)?;
        Some(ClientInfo {
            client_id: info.id,
            username: info.username,
            listener: info.listener,
            peer: info.peer.unwrap_or_default(),
            protocol: String::new(),
        })
    }

    /// Ends a client's Network Connection. Needs the grant `clients`.
    ///
    /// # Errors
    /// It is gone already.
    pub fn kick(&self, client: ClientHandle, reason: ReasonCode, with_will: bool) -> Result<(), Refused> {
        if clients::kick(client.0, reason.byte(), with_will) {
            Ok(())
        } else {
            Err(Refused::NotFound)
        }
    }

    /// Drops decisions of this plugin that connections have cached: one client's, or everybody's.
    pub fn invalidate(&self, client: Option<ClientHandle>) {
        decisions::invalidate(client.map(|client| client.0));
    }

    /// Starts a timer: [`crate::Plugin::on_timer`] is called after `first`, then every `every`. Timers are to be started before
    /// [`crate::Plugin::start`] returns: how often an instance is woken is settled then.
    pub fn timer(&self, first: Duration, every: Option<Duration>) -> TimerId {
        timers().start(first, every)
    }

    /// Stops a timer.
    pub fn cancel_timer(&self, timer: TimerId) {
        timers().stop(timer);
    }

    /// Adds to a counter that the metrics show under the instance's name.
    pub fn counter(&self, name: &str, add: u64) {
        metrics::add(name, add);
    }

    /// Sets a gauge that the metrics show under the instance's name.
    pub fn gauge(&self, name: &str, value: f64) {
        metrics::gauge(name, value);
    }
}

/// Says a message in the words of the interface.
pub(crate) fn new_message(message: &NewMessage<'_>) -> types::NewMessage {
    types::NewMessage {
        topic: String::from(message.topic),
        payload: Vec::from(message.payload),
        qos: super::message::to_qos(message.qos),
        retain: message.retain,
        properties: message.properties.map(super::message::to_properties),
    }
}

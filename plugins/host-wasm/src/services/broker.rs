//! Services that answer at once: metrics, remembered decisions, time, chance, publishing, clients.

use std::time::{SystemTime, UNIX_EPOCH};

use broker_types::{ClientHandle, ReasonCode};
use plugin_api::{ClientInfo, FaultKind};

use crate::bindings::imported::{clients, clock, decisions, metrics, publish, random};
use crate::bindings::types::NewMessageResult;
use crate::message;
use crate::state::State;

/// Bytes that one call of `random.fill` gives at most.
const RANDOM_BYTES_MAX: u32 = 65_536;

impl metrics::Host for State {
    fn add(&mut self, counter: String, delta: u64) {
        if let Some(host) = self.services.host()
            && self.services.has_metric(&counter)
        {
            host.counter(&counter, delta);
        }
    }

    fn gauge(&mut self, name: String, value: f64) {
        if let Some(host) = self.services.host()
            && self.services.has_metric(&name)
        {
            host.gauge(&name, value);
        }
    }
}

impl decisions::Host for State {
    fn invalidate(&mut self, client: Option<u64>) {
        if let Some(host) = self.services.host() {
            host.invalidate(client.map(ClientHandle));
        }
    }
}

impl clock::Host for State {
    fn now_ms(&mut self) -> u64 {
        unix_ms(SystemTime::now())
    }

    fn monotonic_ns(&mut self) -> u64 {
        u64::try_from(self.services.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Returns milliseconds since 1970; a clock before that shows 0.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl random::Host for State {
    /// Without the system's randomness the list is empty: better none than one that can be guessed.
    fn fill(&mut self, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len.min(RANDOM_BYTES_MAX) as usize];
        match getrandom::fill(&mut bytes) {
            Ok(()) => bytes,
            Err(_) => Vec::new(),
        }
    }
}

impl publish::Host for State {
    fn send(&mut self, message: NewMessageResult) -> Result<(), publish::Error> {
        let message = message::new_message(message).map_err(|_| publish::Error::Invalid)?;
        let host = self.services.host().ok_or(publish::Error::Quota)?;
        host.publish(message).map_err(|fault| match fault.kind {
            FaultKind::Protocol => publish::Error::Denied,
            _ => publish::Error::Quota,
        })
    }
}

impl clients::Host for State {
    fn get(&mut self, client_id: String) -> Option<clients::Info> {
        self.services.host()?.clients()?.get(&client_id).map(info)
    }

    fn by_handle(&mut self, client: u64) -> Option<clients::Info> {
        self.services
            .host()?
            .clients()?
            .by_handle(ClientHandle(client))
            .map(info)
    }

    fn connected(&mut self) -> u32 {
        let clients = self.services.host().and_then(|host| host.clients());
        clients.map_or(0, |clients| count(clients.connected()))
    }

    fn kick(&mut self, client: u64, reason: u8, with_will: bool) -> bool {
        let Some(reason) = ReasonCode::from_byte(reason).filter(|reason| reason.is_error()) else {
            return false;
        };
        let host = self.services.host();
        host.is_some_and(|host| host.kick(ClientHandle(client), reason, with_will))
    }
}

fn info(client: ClientInfo) -> clients::Info {
    clients::Info {
        handle: client.handle.map(|handle| handle.0),
        id: client.id,
        username: client.username,
        listener: client.listener,
        peer: client.peer.map(|peer| peer.to_string()),
        subscriptions: count(client.subscriptions),
        queued: count(client.queued),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

//! Sockets: opening listeners, accepting, one connected socket, and which of a shard's sockets are ready. No MQTT.

mod listen;
mod poller;
mod socket;
mod wakes;

pub(crate) use listen::{AcceptFailure, Acceptor, Bound, Shared};
pub(crate) use poller::{Poller, Registrar};
pub(crate) use socket::{Read, Ready, Socket};
pub(crate) use wakes::Wakes;

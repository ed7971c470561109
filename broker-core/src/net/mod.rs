//! Sockets: opening listeners, accepting, one connected socket. No MQTT.

mod listen;
mod socket;

pub(crate) use listen::{AcceptFailure, Acceptor, Bound};
pub(crate) use socket::{Read, Socket};

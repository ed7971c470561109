//! What carries bytes: opening listeners, accepting, one connected socket or what stands for one inside the process, and which
//! of a shard's sockets are ready. No MQTT.

mod listen;
mod pipe;
mod poller;
mod socket;
mod wakes;

pub use pipe::LocalStream;

pub(crate) use listen::{AcceptFailure, Acceptor, Bound, Shared};
pub(crate) use pipe::{Pipe, pipe};
pub(crate) use poller::{Poller, Registrar};
pub(crate) use socket::{Carrier, Read, Ready, Socket};
pub(crate) use wakes::Wakes;

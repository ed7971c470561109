//! What `pub` and `sub` share: a connection to some broker. The protocol is `broker-proto`'s client; here are the flags,
//! the socket, and how messages are printed.

mod args;
mod format;
mod link;
mod properties;

pub(crate) use args::{Connection, qos, version};
pub(crate) use format::{Received, Style};
pub(crate) use link::{Happened, Incoming, Link};
pub(crate) use properties::Packet;

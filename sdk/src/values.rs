//! What plugins and the broker's services say to each other, whatever lies between the two.

use broker_types::QoS;
use plugin_abi::values::*;

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Every step.
    Trace = 0,
    /// What a developer wants to see.
    Debug = 1,
    /// What an operator wants to see.
    Info = 2,
    /// Something is odd but goes on.
    Warn = 3,
    /// Something failed.
    Error = 4,
}

/// Names a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId(pub u64);

/// Names a Network Connection; keep it to act on the client later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientHandle(pub u64);

/// The broker didn't do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status of the header (`JF_E…`).
    pub status: i32,
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self.status {
            JF_EINVAL => "a value makes no sense",
            JF_EDENIED => "not permitted",
            JF_ETOOBIG => "too large",
            JF_EQUOTA => "too many",
            JF_ENOENT => "there is no such thing",
            JF_EUNAVAIL => "the broker can't now",
            JF_EUNSUP => "the broker doesn't have this",
            JF_ESTALE => "too late",
            _ => "the broker refused",
        })
    }
}

impl core::error::Error for Refused {}

/// A message to publish.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewMessage<'a> {
    /// The Topic Name.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// The QoS.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
}

//! Loads an MQTT broker over the network and says what became of each message: one thread, raw sockets, packets that are
//! encoded once and patched, an epoll loop that writes once a round. Much cheaper than any broker, so that what is
//! measured is the broker.
//!
//! A [`Bed`] says which broker, as whom and how much; a scenario of [`scenario`] does it and returns [`Figure`]s. Knows
//! no broker from inside, prints nothing, and needs Linux: epoll, and `/proc` for what a broker costs.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod bed;
mod clients;
mod error;
mod figure;
mod histogram;
mod ledger;
pub mod packet;
mod process;
pub mod scenario;

pub use bed::{Bed, Login, Phase, Progress, raise_file_limit};
pub use clients::{Clients, Outs, Talk};
pub use error::LoadError;
pub use figure::{Figure, Latency, Spent};
pub use histogram::Histogram;
pub use ledger::Faults;
pub use process::Process;

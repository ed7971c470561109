//! What survives the broker. A store is a map that someone else provides; what is in it, and what must be in it before
//! what, is decided here.
//!
//! | file | subject |
//! |---|---|
//! | `memory` | the store in memory: for tests, and as the model of all others |
//! | `codec`, `records` | the bytes of records, and what they mean |
//! | `journal` | what must become durable, gathered into groups |
//! | `kept` | which change of a Session becomes which record |
//! | `staging` | output that must not leave before its records are durable |
//! | `writer` | the one task that commits, and tells those who wait |
//! | `recovery` | what the store holds becomes Sessions again |
//! | `refill` | what waits only in the store |
//! | `kv` | what plugins keep |
//!
//! **What an acknowledgement means.** A Session is durable if it outlives its connection and its listener asks for more
//! than [`Durability::Memory`](plugin_api::Durability::Memory) (the default with a store that promises more). Then:
//!
//! - PUBACK and PUBREC leave when everything the message caused is committed: its place in the queue of each durable
//!   Session that gets it, the Retained Message, and, if the publisher's Session is durable, its Packet Identifier
//!   (QoS 2). All that is one batch. PUBCOMP leaves when the Packet Identifier's removal is committed.
//! - CONNACK, SUBACK and UNSUBACK of a durable Session leave when the Session and its subscriptions are committed.
//! - A QoS 2 PUBLISH to a durable Session leaves when its Packet Identifier is committed, PUBREL when PUBREC is.
//! - What isn't committed isn't acknowledged, however long that takes; a client notices nothing else of a store that is
//!   slow. When the store fails for good, durable Sessions are refused with 0x88.
//!
//! Will Messages of durable Sessions survive too; those of Sessions that end with their connection don't. Without a
//! durable store all of this costs a branch.

mod codec;
mod journal;
mod keeper;
mod kept;
mod kv;
mod memory;
mod records;
mod recovery;
mod refill;
mod staging;
mod writer;

/// A map whose keys clients may have a say in.
type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::RandomState>;

pub(crate) use journal::{Group, Journal, Waiter};
pub(crate) use keeper::Keeper;
pub(crate) use kept::{Kept, Transaction, WINDOW, WillKey};
pub(crate) use kv::PluginRecords;
pub use memory::MemoryStore;
pub(crate) use records::{
    CHUNK, Entry, EntryPhase, Moment, OVERHEAD, SessionRecord, WillRecord, chunks_of, retained_key,
    retained_len, retained_value, stored_len,
};
pub(crate) use recovery::Recovered;
pub(crate) use staging::Staging;
pub(crate) use writer::{Recovering, spawn};

//! The engine: what all shards share, and what each has for itself.
//!
//! | file | subject |
//! |---|---|
//! | `core` | the broker's shared state, and what a broker does by itself |
//! | `shard` | one thread: its runtime, its memory, writing out what was appended |
//! | `seats` | what polls the connections of a shard |
//! | `registry`, `session` | Sessions by Client Identifier, and what stands behind a Session's lock |
//! | `attach` | a connection takes a Session, gives it back, and how a Session ends |
//! | `sending` | what makes a Session's sending half do something, with or without records |
//! | `delivery` | from a message to the outputs of its receivers |
//! | `pass` | the way through a chain of a message that no client's packet brings |
//! | `retain` | keeping Retained Messages, and sending them for a new subscription |
//! | `subscribe`, `subscriptions` | what SUBSCRIBE and UNSUBSCRIBE change, and what one client is subscribed to |
//! | `memory` | what messages take, and what is refused when memory runs out |
//! | `status` | publishing what the broker says of itself |
//! | `will` | Will Messages when they are due |
//! | `wheel`, `timers` | Keep Alives; everything else that happens later |
//! | `listener` | a listener at run time |

pub(crate) mod attach;
pub(crate) mod core;
pub(crate) mod delivery;
pub(crate) mod listener;
pub(crate) mod memory;
pub(crate) mod pass;
pub(crate) mod registry;
pub(crate) mod retain;
pub(crate) mod seats;
pub(crate) mod sending;
pub(crate) mod session;
pub(crate) mod shard;
pub(crate) mod status;
pub(crate) mod subscribe;
pub(crate) mod subscriptions;
pub(crate) mod timers;
pub(crate) mod wheel;
pub(crate) mod will;

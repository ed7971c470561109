//! The calls of a plugin in a broker, written down, and put again to the same plugin or to another version of it.
//!
//! [`Recorded`] wraps any plugin and hands each call with its answer to a [`Recorder`]; [`replay`] reads what was written
//! and tells where a plugin now says something else. Hooks are recorded, session stores and bridges are not: what
//! they do depends on what they hold.
//!
//! A recording is a file of JSON lines:
//!
//! ```json
//! {"n":1,"us":3,"call":{"hook":"publish","client":{"id":"d1"},"topic":"a/b","payload":"21.5"},"said":{"verdict":"continue","payload":"70.7"}}
//! ```
//!
//! It has payloads in it, and so is as confidential as the messages. Passwords and Authentication Data are replaced by
//! `***` unless they are asked for; such calls can't be put again.

mod read;
mod recorder;
mod replay;
mod said;
mod wrap;
mod write;

pub use recorder::{Limits, Recorder};
pub use replay::{Difference, Replayed, replay};
pub use said::said_json;
pub use wrap::Recorded;
pub use write::question_json;

/// What stands for something that isn't told.
const SECRET: &str = "***";

//! What can be done to a broker. Each scenario is a struct that says how much, with a `run` that does it once against a
//! [`Bed`](crate::Bed) and returns figures.

mod connects;
mod handshake;
mod idle;
mod large;
mod offline;
mod paced;
mod retained;
mod saturation;
mod stream;
mod ticker;
mod traffic;

use std::time::Duration;

use crate::LoadError;

pub use connects::Connects;
pub use idle::Idle;
pub use large::Large;
pub use offline::Offline;
pub use paced::Paced;
pub use retained::Retained;
pub use saturation::Saturation;
pub use traffic::{To, Traffic};

/// Nothing came for so long: it won't.
const PATIENCE: Duration = Duration::from_secs(5);

/// Messages of one publisher under way, where it waits for acknowledgements only.
const UNDER_WAY: u64 = 1000;

/// Payload bytes of small messages that are stored.
const SMALL_BYTES: usize = 64;

/// What a wait that may end in silence says.
fn waited(came: bool, doing: &'static str) -> Result<(), LoadError> {
    match came {
        true => Ok(()),
        false => Err(LoadError::Silence {
            doing,
            waited: PATIENCE,
        }),
    }
}

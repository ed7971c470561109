//! Where Sessions, queues, Retained and Will Messages live.

use async_trait::async_trait;
use bytes::Bytes;

/// How safe a commit is when it returns. Ordered: each promises more than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Applied; a stop of the process loses it.
    #[default]
    Memory,
    /// With the operating system; survives a kill of the process, not a loss of power.
    Async,
    /// On the disk; survives a loss of power.
    Fsync,
    /// With a quorum of machines.
    Replicated,
}

/// What a store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreCaps {
    /// The strongest promise of its commits. A store that can only promise `Memory` is sent nothing on the hot path.
    pub strongest: Durability,
    /// Whether several brokers may use it at once.
    pub shared: bool,
    /// The largest batch in bytes.
    pub batch_bytes_max: usize,
    /// The largest value in bytes.
    pub value_bytes_max: usize,
}

/// One operation of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// Sets a key.
    Put {
        /// The key.
        key: Bytes,
        /// Its value from now on.
        value: Bytes,
    },
    /// Removes a key; one that isn't there is no error.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Refuses the whole batch with [`StoreFault::Conflict`] unless the key holds exactly this.
    Expect {
        /// The key.
        key: Bytes,
        /// What it must hold; `None`: it must be absent.
        value: Option<Bytes>,
    },
}

/// Why a store operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreFault {
    /// An `Expect` of the batch didn't hold; nothing was written.
    #[error("another writer was here first")]
    Conflict,
    /// The store can't be reached now.
    #[error("store is unavailable: {0}")]
    Unavailable(String),
    /// The store takes no more writes.
    #[error("store is read-only: {0}")]
    ReadOnly(String),
    /// A batch or value is larger than [`StoreCaps`] says.
    #[error("batch or value is too large for the store")]
    TooLarge,
    /// What was read is damaged.
    #[error("store is damaged: {0}")]
    Corrupt(String),
}

/// An ordered key-value store with atomic, durable batches. What the records mean is the engine's affair.
///
/// **When:** `commit` when something must survive that isn't safe yet: the engine merges operations of a few
/// milliseconds into one batch and holds the acknowledgements back until it returns. `scan` at start and when a queue
/// outgrows memory. `get` rarely. One commit at a time, from one task.
///
/// **May change:** nothing; values come back as they were put.
///
/// **Verdicts on the wire:** none. A commit that fails withholds the acknowledgements that depend on it.
///
/// **On error:** the broker stops acknowledging QoS 1 and 2 for what must be durable until the operator acts; it never
/// acknowledges what wasn't committed. `Conflict` means another broker owns the records: this one stops.
///
/// **Cost:** off the path of messages that nobody has to keep.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Returns what the store can do. Doesn't change while it runs.
    fn caps(&self) -> StoreCaps;

    /// Applies `batch` in order, all or nothing, and returns when it is as durable as `want`.
    ///
    /// # Errors
    /// Nothing of the batch was applied.
    async fn commit(&self, batch: &[StoreOp], want: Durability) -> Result<(), StoreFault>;

    /// Returns the value of `key`.
    ///
    /// # Errors
    /// It can't be read.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreFault>;

    /// Returns records whose keys begin with `prefix`, in key order, behind the key `after`, at most `limit`.
    ///
    /// # Errors
    /// They can't be read.
    async fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreFault>;
}

//! The store in memory: an ordered map with atomic batches. It survives nothing by itself, so a broker sends it nothing
//! but plugins' records; and it is the reference model of every other store. For tests it can claim to be a better one,
//! hold commits back, let them fail, and show what a crash would leave.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use plugin_api::{Durability, SessionStore, StoreCaps, StoreFault, StoreOp};
use tokio::sync::watch;

/// An ordered map behind the store trait. Cloning gives the same store.
///
/// ```
/// use broker_core::MemoryStore;
/// use plugin_api::{Durability, SessionStore};
///
/// // What a test uses as a disk: committed records survive the broker, see `MemoryStore::crash`.
/// let disk = MemoryStore::claiming(Durability::Fsync);
/// assert_eq!(disk.caps().strongest, Durability::Fsync);
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    caps: StoreCaps,
    state: Mutex<State>,
    /// Commits wait while it says so.
    held: watch::Sender<bool>,
    /// Commits that were asked for; for tests that wait until one has come.
    asked: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Bytes, Bytes>,
    /// Commits that were applied.
    commits: u64,
    /// Operations that were applied.
    operations: u64,
    fault: Option<PlannedFault>,
}

/// Commits that are to fail.
#[derive(Debug)]
struct PlannedFault {
    /// Commits that still succeed.
    after: u64,
    /// Commits that then fail.
    times: u64,
    fault: StoreFault,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// Returns an empty store that claims what is true: [`Durability::Memory`].
    #[must_use]
    pub fn new() -> Self {
        Self::claiming(Durability::Memory)
    }

    /// Returns an empty store that claims to be as durable as `strongest`.
    #[must_use]
    pub fn claiming(strongest: Durability) -> Self {
        Self::claiming_with(strongest, usize::MAX)
    }

    /// Returns an empty store that claims to be as durable as `strongest` and takes batches of `batch_bytes_max`: keys and
    /// values together.
    #[must_use]
    pub fn claiming_with(strongest: Durability, batch_bytes_max: usize) -> Self {
        let caps = StoreCaps {
            strongest,
            shared: false,
            batch_bytes_max,
            value_bytes_max: batch_bytes_max,
        };
        Self::with(caps, BTreeMap::new())
    }

    fn with(caps: StoreCaps, records: BTreeMap<Bytes, Bytes>) -> Self {
        Self(Arc::new(Inner {
            caps,
            state: Mutex::new(State {
                records,
                ..State::default()
            }),
            held: watch::Sender::new(false),
            asked: watch::Sender::new(0),
        }))
    }

    /// Returns another store with what is committed now, as a crash at this moment would leave it. This one takes nothing
    /// more: whoever still uses it is as good as dead.
    #[must_use]
    pub fn crash(&self) -> Self {
        let mut state = self.lock();
        state.fault = Some(PlannedFault {
            after: 0,
            times: u64::MAX,
            fault: StoreFault::ReadOnly("crashed".to_owned()),
        });
        Self::with(self.0.caps, state.records.clone())
    }

    /// Lets commits wait until [`Self::release`]: each is applied only then.
    pub fn hold(&self) {
        self.0.held.send_replace(true);
    }

    /// Lets commits go on.
    pub fn release(&self) {
        self.0.held.send_replace(false);
    }

    /// Lets `times` commits fail with `fault`, after `after` that succeed.
    pub fn fail(&self, after: u64, times: u64, fault: StoreFault) {
        self.lock().fault = Some(PlannedFault { after, times, fault });
    }

    /// Waits until `commits` commits have been asked for, those that are held and that fail included.
    pub async fn asked(&self, commits: u64) {
        // An error is impossible: this store holds the sender.
        let _ = self.0.asked.subscribe().wait_for(|asked| *asked >= commits).await;
    }

    /// Returns how many commits have been asked for.
    #[must_use]
    pub fn commits_asked(&self) -> u64 {
        *self.0.asked.borrow()
    }

    /// Returns how many commits and how many operations have been applied.
    #[must_use]
    pub fn applied(&self) -> (u64, u64) {
        let state = self.lock();
        (state.commits, state.operations)
    }

    /// Returns all records, in key order.
    #[must_use]
    pub fn records(&self) -> Vec<(Bytes, Bytes)> {
        let state = self.lock();
        let all = state.records.iter();
        all.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn planned_fault(&mut self) -> Option<StoreFault> {
        let planned = self.fault.as_mut()?;
        if planned.after > 0 {
            planned.after -= 1;
            return None;
        }
        if planned.times == 0 {
            self.fault = None;
            return None;
        }
        planned.times -= 1;
        Some(planned.fault.clone())
    }

    fn apply(&mut self, batch: &[StoreOp]) -> Result<(), StoreFault> {
        // An `Expect` looks at what the operations before it have done, so a batch is tried before it is kept.
        let expects = batch.iter().any(|op| matches!(op, StoreOp::Expect { .. }));
        let before = expects.then(|| self.records.clone());
        for op in batch {
            match op {
                StoreOp::Put { key, value } => _ = self.records.insert(key.clone(), value.clone()),
                StoreOp::Delete { key } => _ = self.records.remove(key),
                StoreOp::Expect { key, value } => {
                    if self.records.get(key) != value.as_ref() {
                        self.records = before.unwrap_or_default();
                        return Err(StoreFault::Conflict);
                    }
                }
            }
        }
        self.commits += 1;
        self.operations += batch.len() as u64;
        Ok(())
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    fn caps(&self) -> StoreCaps {
        self.0.caps
    }

    async fn commit(&self, batch: &[StoreOp], _want: Durability) -> Result<(), StoreFault> {
        self.0.asked.send_modify(|asked| *asked += 1);
        // An error is impossible: this store holds the sender.
        let _ = self.0.held.subscribe().wait_for(|held| !*held).await;
        let mut state = self.lock();
        match state.planned_fault() {
            Some(fault) => Err(fault),
            None if bytes_of(batch) > self.0.caps.batch_bytes_max => Err(StoreFault::TooLarge),
            None => state.apply(batch),
        }
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        Ok(self.lock().records.get(key).cloned())
    }

    async fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreFault> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let state = self.lock();
        let range = state.records.range::<[u8], _>((from, Bound::Unbounded));
        let found = range.take_while(|(key, _)| key.starts_with(prefix));
        Ok(found
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}

fn bytes_of(batch: &[StoreOp]) -> usize {
    let bytes = |op: &StoreOp| match op {
        StoreOp::Put { key, value } => key.len() + value.len(),
        StoreOp::Delete { key } | StoreOp::Expect { key, .. } => key.len(),
    };
    batch.iter().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn put(key: &str, value: &str) -> StoreOp {
        StoreOp::Put {
            key: bytes(key),
            value: bytes(value),
        }
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn a_batch_whose_expectation_fails_leaves_nothing() {
        let store = MemoryStore::new();
        let expect = |value: Option<&str>| StoreOp::Expect {
            key: bytes("a"),
            value: value.map(bytes),
        };
        now(async {
            store
                .commit(&[expect(None), put("a", "1")], Durability::Memory)
                .await
                .unwrap();
            let refused = store
                .commit(&[put("b", "2"), expect(Some("0"))], Durability::Memory)
                .await;
            assert_eq!(refused, Err(StoreFault::Conflict));
            assert_eq!(store.records(), [(bytes("a"), bytes("1"))]);
            // It sees what the batch itself has done.
            let batch = [put("a", "2"), expect(Some("2"))];
            store.commit(&batch, Durability::Memory).await.unwrap();
        });
    }

    #[test]
    fn faults_come_when_they_were_planned_and_a_crash_keeps_what_was_committed() {
        let store = MemoryStore::claiming(Durability::Fsync);
        let fault = StoreFault::Unavailable("gone".to_owned());
        store.fail(1, 1, fault.clone());
        now(async {
            store.commit(&[put("a", "1")], Durability::Fsync).await.unwrap();
            assert_eq!(
                store.commit(&[put("b", "1")], Durability::Fsync).await,
                Err(fault)
            );
            store.commit(&[put("c", "1")], Durability::Fsync).await.unwrap();
            let disk = store.crash();
            assert!(store.commit(&[put("d", "1")], Durability::Fsync).await.is_err());
            let keys: Vec<_> = disk.records().into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys, [bytes("a"), bytes("c")]);
            disk.commit(&[put("d", "1")], Durability::Fsync).await.unwrap();
        });
    }

    #[test]
    fn a_held_commit_is_applied_when_it_is_released() {
        let store = MemoryStore::new();
        store.hold();
        now(async {
            let other = store.clone();
            let batch = [put("a", "1")];
            let commit = other.commit(&batch, Durability::Memory);
            let release = async {
                store.asked(1).await;
                assert_eq!(store.records(), []);
                store.release();
            };
            let (committed, ()) = tokio::join!(commit, release);
            committed.unwrap();
            assert_eq!(store.records().len(), 1);
        });
    }

    proptest! {
        #[test]
        fn pages_of_a_scan_are_what_a_filter_finds(
            keys in prop::collection::btree_set("[ab]{0,4}", 0..20),
            prefix in "[ab]{0,2}",
            limit in 1usize..4,
        ) {
            let store = MemoryStore::new();
            let batch: Vec<_> = keys.iter().map(|key| put(key, key)).collect();
            let found = now(async {
                store.commit(&batch, Durability::Memory).await.unwrap();
                let mut found = Vec::new();
                let mut after: Option<Bytes> = None;
                loop {
                    let page = store.scan(prefix.as_bytes(), after.as_deref(), limit).await.unwrap();
                    let Some((last, _)) = page.last() else { return found };
                    after = Some(last.clone());
                    found.extend(page.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()));
                }
            });
            let expected: Vec<_> = keys.into_iter().filter(|key| key.starts_with(&prefix)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

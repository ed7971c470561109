//! A session store in a guest. It has one instance, on a thread of its own: one commit after the other.

use std::sync::Arc;

use bytes::Bytes;
use plugin_api::{Durability, Fault, SessionStore, StoreCaps, StoreFault, StoreOp, async_trait};

use crate::bindings::exported::session_store as contract;
use crate::exports::offered;
use crate::guest::{Ask, Guest};
use crate::instance::Instance;
use crate::state::More;

/// A session store whose abilities were asked for.
#[derive(Debug)]
struct Store {
    guest: Arc<Guest>,
    caps: StoreCaps,
}

/// Asks a guest that has a session store what it can do, and returns the store.
///
/// # Errors
/// It failed over the question.
pub(crate) async fn caps(guest: &Arc<Guest>) -> Result<Option<Arc<dyn SessionStore>>, Fault> {
    if guest.code.indices.session_store.is_none() {
        return Ok(None);
    }
    let given = guest.ask_owned(Caps).await?;
    let bytes = |max: u64| usize::try_from(max).unwrap_or(usize::MAX);
    Ok(Some(Arc::new(Store {
        guest: guest.clone(),
        caps: StoreCaps {
            strongest: match given.strongest {
                contract::Durability::Memory => Durability::Memory,
                contract::Durability::Async => Durability::Async,
                contract::Durability::Fsync => Durability::Fsync,
                contract::Durability::Replicated => Durability::Replicated,
            },
            shared: given.shared,
            batch_bytes_max: bytes(given.max_batch),
            value_bytes_max: bytes(given.max_value),
        },
    })))
}

struct Caps;

impl Ask for Caps {
    type Answer = contract::Capabilities;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<contract::Capabilities> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, More::NONE);
        let (caps,) = caller
            .call(offered(&exports.session_store)?.func_caps(), ())
            .await?;
        Ok(caps)
    }
}

struct Commit(Vec<StoreOp>, Durability);

impl Ask for Commit {
    type Answer = Result<(), contract::Fault>;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<Self::Answer> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, More::NONE);
        let batch = self.0.iter().map(|op| match op {
            StoreOp::Put { key, value } => contract::Op::Put((key, value)),
            StoreOp::Delete { key } => contract::Op::Delete(key),
            StoreOp::Expect { key, value } => contract::Op::Expect((key, value.as_deref())),
        });
        let batch: Vec<_> = batch.collect();
        let want = match self.1 {
            Durability::Memory => contract::Durability::Memory,
            Durability::Async => contract::Durability::Async,
            Durability::Fsync => contract::Durability::Fsync,
            Durability::Replicated => contract::Durability::Replicated,
        };
        let function = offered(&exports.session_store)?.func_commit();
        let (done,) = caller.call(function, (batch.as_slice(), want)).await?;
        Ok(done)
    }
}

struct Get(Vec<u8>);

impl Ask for Get {
    type Answer = Result<Option<Vec<u8>>, contract::Fault>;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<Self::Answer> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, More::NONE);
        let function = offered(&exports.session_store)?.func_get();
        let (value,) = caller.call(function, (self.0.as_slice(),)).await?;
        Ok(value)
    }
}

struct Scan {
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    max: u32,
}

impl Ask for Scan {
    type Answer = Result<Vec<(Vec<u8>, Vec<u8>)>, contract::Fault>;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<Self::Answer> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, More::NONE);
        let function = offered(&exports.session_store)?.func_scan();
        let arguments = (self.prefix.as_slice(), self.after.as_deref(), self.max);
        let (records,) = caller.call(function, arguments).await?;
        Ok(records)
    }
}

#[async_trait]
impl SessionStore for Store {
    fn caps(&self) -> StoreCaps {
        self.caps
    }

    async fn commit(&self, batch: &[StoreOp], want: Durability) -> Result<(), StoreFault> {
        let done = self.guest.ask_owned(Commit(batch.to_vec(), want)).await;
        done.map_err(failed)?.map_err(refused)
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        let value = self.guest.ask_owned(Get(key.to_vec())).await;
        let value = value.map_err(failed)?.map_err(refused)?;
        Ok(value.map(Bytes::from))
    }

    async fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreFault> {
        let scan = Scan {
            prefix: prefix.to_vec(),
            after: after.map(<[u8]>::to_vec),
            max: u32::try_from(limit).unwrap_or(u32::MAX),
        };
        let records = self.guest.ask_owned(scan).await;
        let records = records.map_err(failed)?.map_err(refused)?;
        in_order(records, prefix, after, limit)
    }
}

/// Checks that what a scan gave is what was asked for: the broker goes on behind the last key, so a wrong order would lose
/// records or never end.
fn in_order(
    records: Vec<(Vec<u8>, Vec<u8>)>,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Bytes, Bytes)>, StoreFault> {
    let mut last = after;
    for (key, _) in &records {
        if !key.starts_with(prefix) || last.is_some_and(|last| last >= key.as_slice()) {
            return Err(StoreFault::Corrupt(
                "its scan gave keys that weren't asked for".to_owned(),
            ));
        }
        last = Some(key);
    }
    if records.len() > limit {
        return Err(StoreFault::Corrupt(
            "its scan gave more records than were asked for".to_owned(),
        ));
    }
    let records = records.into_iter();
    Ok(records.map(|(key, value)| (key.into(), value.into())).collect())
}

fn failed(fault: Fault) -> StoreFault {
    StoreFault::Unavailable(fault.to_string())
}

fn refused(fault: contract::Fault) -> StoreFault {
    match fault {
        contract::Fault::Conflict => StoreFault::Conflict,
        contract::Fault::Unavailable(why) => StoreFault::Unavailable(why),
        contract::Fault::ReadOnly(why) => StoreFault::ReadOnly(why),
        contract::Fault::TooLarge => StoreFault::TooLarge,
        contract::Fault::Corrupt(why) => StoreFault::Corrupt(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_that_would_lose_records_is_damage() {
        let records = |keys: &[&str]| {
            keys.iter()
                .map(|key| (key.as_bytes().to_vec(), Vec::new()))
                .collect()
        };
        let read = |keys: &[&str], limit| in_order(records(keys), b"a", Some(b"a1"), limit);
        assert_eq!(read(&["a2", "a3"], 2).unwrap().len(), 2);
        assert!(read(&[], 2).unwrap().is_empty());
        assert!(read(&["a3", "a2"], 2).is_err(), "out of order");
        assert!(read(&["a1"], 2).is_err(), "where the scan began");
        assert!(read(&["b"], 2).is_err(), "another prefix");
        assert!(read(&["a2", "a2"], 2).is_err(), "twice");
        assert!(read(&["a2", "a3"], 1).is_err(), "too many");
    }
}

//! The extension "session-store/1": a store for the broker's records.

use std::sync::Arc;

use bytes::Bytes;
use plugin_abi::{self as abi, Str, values::*};
use plugin_api::{Durability, Fault, SessionStore, StoreCaps, StoreFault, StoreOp, async_trait};

use super::NONE;
use crate::ask::{Form, Question, Shown, failure, size_32};
use crate::instance::Instance;
use crate::side::Table;
use crate::sink::{Attached, Sink};

/// What the plugin's table says, copied.
#[derive(Clone, Copy, Debug)]
struct Functions(abi::SessionStore);

// SAFETY: functions that the header lets be called from any thread, and numbers.
unsafe impl Send for Functions {}
// SAFETY: as above.
unsafe impl Sync for Functions {}

/// A store behind the border.
#[derive(Debug)]
pub(crate) struct NativeStore {
    instance: Arc<Instance>,
    functions: Functions,
    caps: StoreCaps,
}

impl NativeStore {
    /// Wraps a table that was copied from the plugin.
    ///
    /// # Errors
    /// What it lacks.
    pub(crate) fn new(instance: &Arc<Instance>, table: abi::SessionStore) -> Result<Self, String> {
        if table.commit.is_none() || table.get.is_none() || table.scan.is_none() {
            return Err("its session store lacks a function".to_owned());
        }
        let strongest = match table.durability {
            JF_D_MEMORY => Durability::Memory,
            JF_D_ASYNC => Durability::Async,
            JF_D_FSYNC => Durability::Fsync,
            JF_D_REPLICATED => Durability::Replicated,
            other => return Err(format!("its session store promises durability {other}")),
        };
        let bytes = |max: u64| usize::try_from(max).unwrap_or(usize::MAX);
        Ok(Self {
            instance: instance.clone(),
            functions: Functions(table),
            caps: StoreCaps {
                strongest,
                shared: table.shared == 1,
                batch_bytes_max: bytes(table.max_batch),
                value_bytes_max: bytes(table.max_value),
            },
        })
    }

    /// Returns what the plugin attached; `None`: there is nothing.
    async fn call(&self, what: What) -> Result<Option<Attached>, StoreFault> {
        let question = Operation {
            functions: self.functions,
            what,
        };
        let (outcome, call) = self
            .instance
            .outcome(question)
            .await
            .map_err(|fault| unavailable(&fault))?;
        match outcome.status {
            JF_OK => Ok(call.map(|call| call.frame().with_sink(0, Sink::take))),
            JF_ENOENT => Ok(None),
            status => Err(store_fault(status, outcome.fault)),
        }
    }
}

enum What {
    Commit(Vec<StoreOp>, Durability),
    Get(Vec<u8>),
    Scan {
        prefix: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: u32,
    },
}

struct Operation {
    functions: Functions,
    what: What,
}

impl Question for Operation {
    fn form(&self) -> Form {
        Form {
            may_wait: true,
            ..NONE
        }
    }

    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32 {
        let (functions, this) = (&self.functions.0, table.0.self_);
        match (&self.what, functions.commit, functions.get, functions.scan) {
            (What::Commit(batch, want), Some(commit), _, _) => {
                let operations: Vec<abi::StoreOp> = batch.iter().map(operation).collect();
                let pointers: Vec<*const abi::StoreOp> = operations.iter().map(std::ptr::from_ref).collect();
                let want = match want {
                    Durability::Memory => JF_D_MEMORY,
                    Durability::Async => JF_D_ASYNC,
                    Durability::Fsync => JF_D_FSYNC,
                    Durability::Replicated => JF_D_REPLICATED,
                };
                // SAFETY: a function of this instance with its own `self`; what it is lent lives until it returns.
                unsafe { commit(this, shown.token, pointers.as_ptr(), pointers.len(), want) }
            }
            (What::Get(key), _, Some(get), _) => {
                // SAFETY: as above; the sink lives until the call is completed.
                unsafe { get(this, shown.token, Str::of(key), shown.sink) }
            }
            (What::Scan { prefix, after, limit }, _, _, Some(scan)) => {
                let after = after.as_deref().map_or(Str::ABSENT, Str::of);
                // SAFETY: as above.
                unsafe { scan(this, shown.token, Str::of(prefix), after, *limit, shown.sink) }
            }
            _ => JF_EUNSUP,
        }
    }
}

fn operation(operation: &StoreOp) -> abi::StoreOp {
    let (kind, key, value) = match operation {
        StoreOp::Put { key, value } => (0, key, Some(value)),
        StoreOp::Delete { key } => (1, key, None),
        StoreOp::Expect { key, value } => (2, key, value.as_ref()),
    };
    abi::StoreOp {
        size: size_32::<abi::StoreOp>(),
        kind,
        key: Str::of(key),
        value: value.map_or(Str::ABSENT, |value| Str::of(value)),
    }
}

fn unavailable(fault: &Fault) -> StoreFault {
    StoreFault::Unavailable(fault.text.to_string())
}

fn store_fault(status: i32, text: Option<String>) -> StoreFault {
    let said = |otherwise: &str| text.clone().unwrap_or_else(|| otherwise.to_owned());
    match status {
        JF_ECONFLICT => StoreFault::Conflict,
        JF_EREADONLY => StoreFault::ReadOnly(said("it takes no writes")),
        JF_ETOOBIG => StoreFault::TooLarge,
        JF_ECORRUPT => StoreFault::Corrupt(said("it says so")),
        status => unavailable(&failure(status, text)),
    }
}

#[async_trait]
impl SessionStore for NativeStore {
    fn caps(&self) -> StoreCaps {
        self.caps
    }

    async fn commit(&self, batch: &[StoreOp], want: Durability) -> Result<(), StoreFault> {
        match self.call(What::Commit(batch.to_vec(), want)).await? {
            Some(_) => Ok(()),
            None => Err(store_fault(JF_ENOENT, None)),
        }
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        let found = self.call(What::Get(key.to_vec())).await?;
        Ok(found.map(|attached| attached.data.unwrap_or_default().into()))
    }

    async fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreFault> {
        let what = What::Scan {
            prefix: prefix.to_vec(),
            after: after.map(<[u8]>::to_vec),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        };
        let rows = self.call(what).await?.unwrap_or_default().attributes;
        let rows: Vec<(Bytes, Bytes)> = rows
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        let wrong = rows.len() > limit
            || !rows.is_sorted_by(|(a, _), (b, _)| a < b)
            || rows.iter().any(|(key, _)| !key.starts_with(prefix))
            || rows
                .first()
                .is_some_and(|(key, _)| after.is_some_and(|after| &key[..] <= after));
        if wrong {
            return Err(StoreFault::Corrupt(
                "its scan gave records that were not asked for".to_owned(),
            ));
        }
        Ok(rows)
    }
}

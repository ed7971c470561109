//! What plugins keep: small records under the name of each configured plugin, in the broker's store. With a store that
//! survives nothing they are in memory like everything else.
//!
//! Sizes and times of a plugin's records are known in memory, so that its quota holds and what has expired is removed at
//! the next write; the values are read from the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use plugin_api::{Durability, KeyValue, KvError, SessionStore, StoreFault, StoreOp};
use tokio::sync::Mutex as AsyncMutex;

use super::journal::Journal;
use super::records::{plugin_key, plugin_prefix, plugin_value, read_plugin_key, read_plugin_value};
use crate::clock::Clock;

/// The longest key and value.
const KEY_BYTES_MAX: usize = 1024;
const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Keys and values of one plugin.
const QUOTA_BYTES: usize = 64 * 1024 * 1024;
/// What a record costs besides key and value.
const RECORD_BYTES: usize = 64;
/// Records read at a time.
const PAGE: usize = 256;

/// The records of all plugins.
#[derive(Debug)]
pub(crate) struct PluginRecords {
    store: Where,
    clock: Clock,
    plugins: Mutex<HashMap<Arc<str>, Arc<PluginRecordsOf>>>,
}

/// How records get into the store.
#[derive(Clone)]
enum Where {
    /// With everything else.
    Journal(Arc<dyn SessionStore>, Arc<Journal>),
    /// At once: nothing else is written. One at a time, as the store wants it.
    Direct(Arc<dyn SessionStore>, Arc<AsyncMutex<()>>),
}

impl std::fmt::Debug for Where {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Journal(..) => "Journal",
            Self::Direct(..) => "Direct",
        })
    }
}

impl PluginRecords {
    /// Returns the records in `store`: written through `journal` if there is one.
    pub(crate) fn new(store: Arc<dyn SessionStore>, journal: Option<Arc<Journal>>, clock: Clock) -> Self {
        let store = match journal {
            Some(journal) => Where::Journal(store, journal),
            None => Where::Direct(store, Arc::default()),
        };
        Self {
            store,
            clock,
            plugins: Mutex::default(),
        }
    }

    /// Returns the records of one plugin; the same for everybody who asks.
    pub(crate) fn of(&self, plugin: &Arc<str>) -> Arc<dyn KeyValue> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let records = plugins.entry(plugin.clone()).or_insert_with(|| {
            Arc::new(PluginRecordsOf {
                plugin: plugin.clone(),
                store: self.store.clone(),
                clock: self.clock.clone(),
                known: AsyncMutex::new(None),
            })
        });
        records.clone()
    }
}

impl Where {
    fn store(&self) -> &dyn SessionStore {
        match self {
            Self::Journal(store, _) | Self::Direct(store, _) => &**store,
        }
    }

    /// Writes, and returns when it is as durable as the store can make it.
    async fn commit(&self, batch: Vec<StoreOp>) -> Result<(), KvError> {
        match self {
            Self::Direct(store, turn) => {
                let _turn = turn.lock().await;
                store
                    .commit(&batch, Durability::Memory)
                    .await
                    .map_err(unavailable)
            }
            Self::Journal(_, journal) => {
                let group = {
                    let mut pen = journal.pen(None, journal.strongest);
                    for op in batch {
                        match op {
                            StoreOp::Put { key, value } => pen.put(key, value),
                            StoreOp::Delete { key } => pen.delete(key),
                            StoreOp::Expect { .. } => unreachable!("what is expected was compared before"),
                        }
                    }
                    pen.group()
                };
                match journal.durable(group).await {
                    true => Ok(()),
                    false => Err(KvError::Unavailable(
                        "the store takes nothing any more".to_owned(),
                    )),
                }
            }
        }
    }
}

/// The records of one plugin.
#[derive(Debug)]
struct PluginRecordsOf {
    plugin: Arc<str>,
    store: Where,
    clock: Clock,
    /// What there is, once somebody has asked. Held while something is written, so that a comparison holds.
    known: AsyncMutex<Option<Known>>,
}

/// What a plugin holds.
#[derive(Debug, Default)]
struct Known {
    bytes: usize,
    records: BTreeMap<String, Record>,
    expiring: BTreeSet<(u64, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    bytes: usize,
    /// By the wall clock, in milliseconds; `u64::MAX`: never.
    expires: u64,
}

impl Known {
    fn insert(&mut self, key: &str, record: Record) {
        self.remove(key);
        self.bytes += record.bytes;
        if record.expires != u64::MAX {
            self.expiring.insert((record.expires, key.to_owned()));
        }
        self.records.insert(key.to_owned(), record);
    }

    fn remove(&mut self, key: &str) -> bool {
        let Some(record) = self.records.remove(key) else {
            return false;
        };
        self.bytes -= record.bytes;
        self.expiring.remove(&(record.expires, key.to_owned()));
        true
    }

    fn has(&self, key: &str, now: u64) -> bool {
        self.records.get(key).is_some_and(|record| record.expires > now)
    }

    /// Takes out what has expired.
    fn take_expired(&mut self, now: u64) -> Vec<String> {
        let mut expired = Vec::new();
        while let Some((_, key)) = self
            .expiring
            .first()
            .filter(|(expires, _)| *expires <= now)
            .cloned()
        {
            self.remove(&key);
            expired.push(key);
        }
        expired
    }
}

impl PluginRecordsOf {
    /// Reads what there is, the first time.
    async fn known<'k>(&self, known: &'k mut Option<Known>) -> Result<&'k mut Known, KvError> {
        if known.is_none() {
            let mut read = Known::default();
            let prefix = plugin_prefix(&self.plugin);
            let mut after: Option<Bytes> = None;
            loop {
                let page = self.store.store().scan(&prefix, after.as_deref(), PAGE);
                let page = page.await.map_err(unavailable)?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                for (key, value) in &page {
                    let key = read_plugin_key(&self.plugin, key).map_err(damaged)?;
                    let (value, expires) = read_plugin_value(value).map_err(damaged)?;
                    read.insert(
                        key,
                        Record {
                            bytes: RECORD_BYTES + key.len() + value.len(),
                            expires,
                        },
                    );
                }
            }
            *known = Some(read);
        }
        Ok(known.get_or_insert_default())
    }

    /// Writes one record, removes what has expired, and only then changes what is known.
    async fn put(
        &self,
        known: &mut Known,
        key: &str,
        value: &Bytes,
        ttl: Option<Duration>,
    ) -> Result<(), KvError> {
        if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return Err(KvError::TooLarge);
        }
        let now = self.clock.wall_millis();
        let mut batch = self.purge(known, now);
        let bytes = RECORD_BYTES + key.len() + value.len();
        let before = known.records.get(key).map_or(0, |record| record.bytes);
        if known.bytes - before + bytes > QUOTA_BYTES {
            self.store.commit(batch).await?;
            return Err(KvError::Quota);
        }
        let expires = ttl.map_or(u64::MAX, |ttl| {
            now.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
        });
        batch.push(StoreOp::Put {
            key: plugin_key(&self.plugin, key),
            value: plugin_value(value, expires),
        });
        self.store.commit(batch).await?;
        known.insert(key, Record { bytes, expires });
        Ok(())
    }

    fn purge(&self, known: &mut Known, now: u64) -> Vec<StoreOp> {
        let expired = known.take_expired(now).into_iter();
        expired
            .map(|key| StoreOp::Delete {
                key: plugin_key(&self.plugin, &key),
            })
            .collect()
    }

    async fn read(&self, key: &str) -> Result<Option<Bytes>, KvError> {
        let key = plugin_key(&self.plugin, key);
        match self.store.store().get(&key).await.map_err(unavailable)? {
            None => Ok(None),
            Some(value) => {
                let (value, expires) = read_plugin_value(&value).map_err(damaged)?;
                Ok((expires > self.clock.wall_millis()).then_some(value))
            }
        }
    }
}

#[async_trait]
impl KeyValue for PluginRecordsOf {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, KvError> {
        self.read(key).await
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), KvError> {
        let mut known = self.known.lock().await;
        let known = self.known(&mut known).await?;
        self.put(known, key, &value, ttl).await
    }

    async fn delete(&self, key: &str) -> Result<(), KvError> {
        let mut known = self.known.lock().await;
        let known = self.known(&mut known).await?;
        if !known.records.contains_key(key) {
            return Ok(());
        }
        let batch = vec![StoreOp::Delete {
            key: plugin_key(&self.plugin, key),
        }];
        self.store.commit(batch).await?;
        known.remove(key);
        Ok(())
    }

    async fn compare_and_set(&self, key: &str, old: Option<Bytes>, new: Bytes) -> Result<bool, KvError> {
        let mut known = self.known.lock().await;
        let known = self.known(&mut known).await?;
        let held = match known.has(key, self.clock.wall_millis()) {
            true => self.read(key).await?,
            false => None,
        };
        if held != old {
            return Ok(false);
        }
        self.put(known, key, &new, None).await?;
        Ok(true)
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<(String, Bytes)>, KvError> {
        let mut found = Vec::new();
        let prefix = plugin_key(&self.plugin, prefix);
        let mut after = after.map(|after| plugin_key(&self.plugin, after));
        while found.len() < max {
            let page = self.store.store().scan(&prefix, after.as_deref(), PAGE);
            let page = page.await.map_err(unavailable)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, value) in &page {
                let key = read_plugin_key(&self.plugin, key).map_err(damaged)?;
                let (value, expires) = read_plugin_value(value).map_err(damaged)?;
                if expires > self.clock.wall_millis() && found.len() < max {
                    found.push((key.to_owned(), value));
                }
            }
        }
        Ok(found)
    }
}

fn unavailable(fault: StoreFault) -> KvError {
    KvError::Unavailable(fault.to_string())
}

fn damaged(damaged: super::codec::Damaged) -> KvError {
    KvError::Unavailable(damaged.to_string())
}

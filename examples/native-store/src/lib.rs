//! A session store in one file: a log of batches, and all records in memory. Sessions, queues, Retained and Will Messages
//! survive the broker.
//!
//! The broker gives records that it alone understands; a store keeps them in order, takes batches wholly or not at all, and says
//! how safe a commit is. This one is for reading: everything must fit into memory, and the log is only made shorter when it
//! starts.
#![deny(unsafe_code)]

mod log;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use plugin_sdk::prelude::*;

use crate::log::Log;

/// The options.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The file of the log.
    file: PathBuf,
    /// Whether a commit waits for the disk. Without it, what the last seconds brought is lost with the power.
    #[serde(default = "yes")]
    sync: bool,
}

const fn yes() -> bool {
    true
}

/// The plugin.
#[derive(Debug)]
pub struct LogStore {
    options: Options,
    host: Host,
    /// Open from `start` on.
    log: Mutex<Option<Log>>,
}

impl LogStore {
    fn log(&self) -> MutexGuard<'_, Option<Log>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the log.
    fn with<T>(&self, work: impl FnOnce(&mut Log) -> Result<T, StoreFault>) -> Result<T, StoreFault> {
        match &mut *self.log() {
            Some(log) => work(log),
            None => Err(StoreFault::Unavailable("the log isn't open".to_owned())),
        }
    }
}

impl Plugin for LogStore {
    type Config = Options;

    fn create(options: Options, host: Host) -> Result<Self, String> {
        let log = Mutex::default();
        Ok(Self { options, host, log })
    }

    fn interest(&self) -> Interest {
        Interest {
            // It waits for the disk.
            blocking: true,
            ..Interest::default()
        }
    }

    fn start(&self) -> Result<(), Fault> {
        let file = self.options.file.display();
        let log = Log::open(&self.options.file, self.options.sync)
            .map_err(|error| Fault(format!("{file}: {error}")))?;
        if log.lost > 0 {
            let text = format!("{file}: {} bytes at its end were no whole batch", log.lost);
            self.host.log(Level::Warn, &text);
        }
        let text = format!("{file}: {} records", log.records.len());
        self.host.log(Level::Info, &text);
        *self.log() = Some(log);
        Ok(())
    }

    fn stop(&self, _time: std::time::Duration) {
        *self.log() = None;
    }
}

impl SessionStore for LogStore {
    fn caps(&self) -> StoreCaps {
        StoreCaps {
            strongest: if self.options.sync {
                Durability::Fsync
            } else {
                Durability::Async
            },
            shared: false,
            batch_bytes_max: 64 << 20,
            value_bytes_max: 32 << 20,
        }
    }

    async fn commit(&self, batch: &[StoreOp], _want: Durability) -> Result<(), StoreFault> {
        self.with(|log| log.commit(batch))
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        self.with(|log| Ok(log.records.get(key).cloned()))
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Result<Vec<Record>, StoreFault> {
        self.with(|log| {
            let from = after.map_or(prefix, |after| after.max(prefix));
            let rows = log.records.range(from.to_vec()..);
            let rows = rows.take_while(|(key, _)| key.starts_with(prefix));
            let rows = rows.filter(|(key, _)| after.is_none_or(|after| &key[..] > after));
            Ok(rows
                .take(max)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect())
        })
    }
}

plugin_sdk::export_plugin!(LogStore: session_store);

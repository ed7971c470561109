//! Keeps Sessions, queues and Retained Messages in one file: a log of batches, read into memory at start. Simple and safe;
//! the file only grows, so what a busy broker wants is yours to add.
#![deny(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use plugin_sdk::prelude::*;

/// What stands under `config` in the broker's configuration.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The file, which is made if it isn't there.
    file: String,
}

/// Operations as they stand in the file: a key, and its value if it is set.
type Batch = Vec<(Vec<u8>, Option<Vec<u8>>)>;

struct Log {
    /// None: not started, or broken by a write that failed half-way.
    file: Option<File>,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

struct {{type}} {
    options: Options,
    log: Mutex<Log>,
}

impl Plugin for {{type}} {
    type Config = Options;

    fn create(options: Options, _host: Host) -> Result<Self, String> {
        let log = Mutex::new(Log { file: None, records: BTreeMap::new() });
        Ok(Self { options, log })
    }

    /// Its calls wait for the disk, so they are made where waiting is allowed.
    fn interest(&self) -> Interest {
        Interest { blocking: true, ..Interest::default() }
    }

    fn start(&self) -> Result<(), Fault> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.options.file)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let mut log = self.log();
        let mut rest = &content[..];
        while let Some(batch) = read_batch(&mut rest) {
            log.apply(batch);
        }
        // What a crash left of a last batch was never promised to anybody.
        file.set_len((content.len() - rest.len()) as u64)?;
        log.file = Some(file);
        Ok(())
    }
}

impl SessionStore for {{type}} {
    fn caps(&self) -> StoreCaps {
        StoreCaps {
            strongest: Durability::Fsync,
            shared: false,
            batch_bytes_max: 64 << 20,
            value_bytes_max: 16 << 20,
        }
    }

    async fn commit(&self, batch: &[StoreOp], want: Durability) -> Result<(), StoreFault> {
        let mut log = self.log();
        let mut changes = Batch::new();
        for op in batch {
            match op {
                StoreOp::Put { key, value } => changes.push((key.clone(), Some(value.clone()))),
                StoreOp::Delete { key } => changes.push((key.clone(), None)),
                StoreOp::Expect { key, value } if log.records.get(key) == value.as_ref() => {}
                StoreOp::Expect { .. } => return Err(StoreFault::Conflict),
            }
        }
        log.append(&changes, want >= Durability::Fsync)?;
        log.apply(changes);
        Ok(())
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        Ok(self.log().records.get(key).cloned())
    }

    async fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreFault> {
        let log = self.log();
        let from = after.map_or(prefix, |after| after.max(prefix)).to_vec();
        let found = log.records.range(from..).filter(|(key, _)| after != Some(key.as_slice()));
        let found = found.take_while(|(key, _)| key.starts_with(prefix)).take(max);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl {{type}} {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn apply(&mut self, batch: Batch) {
        for (key, value) in batch {
            match value {
                Some(value) => self.records.insert(key, value),
                None => self.records.remove(&key),
            };
        }
    }

    /// Writes a batch: its length, its checksum, its operations. After a failure nobody knows what the file has, so nothing
    /// more is written to it.
    fn append(&mut self, batch: &Batch, sync: bool) -> Result<(), StoreFault> {
        let body = write_batch(batch);
        let mut frame = (body.len() as u32).to_le_bytes().to_vec();
        frame.extend(checksum(&body).to_le_bytes());
        frame.extend(body);
        let mut file = self.file.take().ok_or_else(|| StoreFault::ReadOnly("the file is broken".to_string()))?;
        let written = file.write_all(&frame).and_then(|()| if sync { file.sync_data() } else { Ok(()) });
        written.map_err(|error: io::Error| StoreFault::Unavailable(error.to_string()))?;
        self.file = Some(file);
        Ok(())
    }
}

fn write_batch(batch: &Batch) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in batch {
        body.push(u8::from(value.is_some()));
        for part in [Some(key), value.as_ref()].into_iter().flatten() {
            body.extend((part.len() as u32).to_le_bytes());
            body.extend(part);
        }
    }
    body
}

/// Takes a batch from the front; `None`: there is no whole one.
fn read_batch(rest: &mut &[u8]) -> Option<Batch> {
    let mut ahead = *rest;
    let len = read_number(&mut ahead)?;
    let sum = u64::from_le_bytes(take(&mut ahead, 8)?.try_into().ok()?);
    let mut body = take(&mut ahead, len)?;
    if checksum(body) != sum {
        return None;
    }
    let mut batch = Batch::new();
    while let Some((&is_set, tail)) = body.split_first() {
        body = tail;
        let key = read_part(&mut body)?;
        batch.push((key, if is_set == 1 { Some(read_part(&mut body)?) } else { None }));
    }
    *rest = ahead;
    Some(batch)
}

fn read_part(from: &mut &[u8]) -> Option<Vec<u8>> {
    let len = read_number(from)?;
    Some(take(from, len)?.to_vec())
}

fn read_number(from: &mut &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(take(from, 4)?.try_into().ok()?) as usize)
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(taken)
}

/// FNV-1a: finds a write that was cut, not somebody who means harm.
fn checksum(bytes: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325;
    bytes.iter().fold(start, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

plugin_sdk::export_plugin!({{type}}: session_store);

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use plugin_testkit::plugin_api::StoreOp;
    use plugin_testkit::{Harness, json};

    use super::{{type}};

    fn put(key: &'static str, value: &'static str) -> StoreOp {
        StoreOp::Put { key: key.into(), value: value.into() }
    }

    #[test]
    fn what_was_committed_is_there_after_a_crash() {
        let file = std::env::temp_dir().join(format!("{{name}}-{}.log", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let load = || Harness::load::<{{type}}>(json!({ "file": file })).unwrap();
        let store = load();
        store.commit(&[put("a", "1"), put("b", "2")]).unwrap();
        store.commit(&[StoreOp::Delete { key: "a".into() }, put("b", "3")]).unwrap();
        drop(store);
        // The crash cut the second batch.
        let len = std::fs::metadata(&file).unwrap().len();
        OpenOptions::new().write(true).open(&file).unwrap().set_len(len - 1).unwrap();
        let store = load();
        assert_eq!(store.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
        store.commit(&[put("c", "4")]).unwrap();
        drop(store);
        let found = load().scan(b"", Some(b"a"), 10).unwrap();
        assert_eq!(found, [("b".into(), "2".into()), ("c".into(), "4".into())]);
        std::fs::remove_file(&file).unwrap();
    }
}

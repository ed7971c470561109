//! The log: batches one after the other, each with its length and a checksum. What comes after the last whole batch was
//! never confirmed, and is cut off.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, rename};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use plugin_sdk::{StoreFault, StoreOp};

/// Length and checksum.
const HEAD: usize = 12;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// A log that is open, and what it says.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    /// Up to where everything is whole.
    end: u64,
    sync: bool,
    /// Bytes that were cut off when it was opened.
    pub(crate) lost: u64,
    pub(crate) records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Log {
    /// Opens the log, or begins one, and reads it. Nobody else may have it open.
    pub(crate) fn open(path: &Path, sync: bool) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        lock(&file)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut records = BTreeMap::new();
        let mut rest = &bytes[..];
        while let Some((batch, behind)) = next(rest) {
            replay(batch, &mut records).ok_or_else(|| damaged(bytes.len() - rest.len()))?;
            rest = behind;
        }
        let mut log = Self {
            file,
            end: (bytes.len() - rest.len()) as u64,
            sync,
            lost: rest.len() as u64,
            records,
        };
        log.shorten(path)?;
        Ok(log)
    }

    /// Writes what is left of the records as a log of one batch, if that is much shorter.
    fn shorten(&mut self, path: &Path) -> io::Result<()> {
        let mut batch = Vec::new();
        for (key, value) in &self.records {
            put(&mut batch, key, value);
        }
        if self.end < 2 * (batch.len() + HEAD) as u64 {
            return self.file.set_len(self.end);
        }
        let new = path.with_extension("new");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&new)?;
        lock(&file)?;
        let whole = framed(&batch);
        file.write_all(&whole)?;
        file.sync_all()?;
        rename(&new, path)?;
        // The name of the file must be on the disk, too.
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        (self.file, self.end) = (file, whole.len() as u64);
        Ok(())
    }

    /// Takes a batch, or nothing of it.
    pub(crate) fn commit(&mut self, batch: &[StoreOp]) -> Result<(), StoreFault> {
        let mut bytes = Vec::new();
        let mut changed: BTreeMap<&[u8], Option<&[u8]>> = BTreeMap::new();
        for operation in batch {
            match operation {
                StoreOp::Put { key, value } => {
                    put(&mut bytes, key, value);
                    changed.insert(key, Some(value));
                }
                StoreOp::Delete { key } => {
                    bytes.push(DELETE);
                    text(&mut bytes, key);
                    changed.insert(key, None);
                }
                StoreOp::Expect { key, value } => {
                    let present = match changed.get(&key[..]) {
                        Some(present) => *present,
                        None => self.records.get(key).map(Vec::as_slice),
                    };
                    if present != value.as_deref() {
                        return Err(StoreFault::Conflict);
                    }
                }
            }
        }
        self.append(&framed(&bytes))
            .map_err(|error| StoreFault::ReadOnly(error.to_string()))?;
        for (key, value) in changed {
            match value {
                Some(value) => self.records.insert(key.to_vec(), value.to_vec()),
                None => self.records.remove(key),
            };
        }
        Ok(())
    }

    /// Writes behind the last whole batch: whatever a failed write has left there is written over.
    fn append(&mut self, whole: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(whole)?;
        if self.sync {
            self.file.sync_data()?;
        }
        self.end += whole.len() as u64;
        Ok(())
    }
}

fn lock(file: &File) -> io::Result<()> {
    file.try_lock()
        .map_err(|error| io::Error::other(format!("another broker has it open ({error})")))
}

fn damaged(at: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("it is damaged behind byte {at}"),
    )
}

fn put(batch: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    batch.push(PUT);
    text(batch, key);
    text(batch, value);
}

/// Writes bytes with their length. The broker's batches and values have bounds below 4 GiB.
fn text(batch: &mut Vec<u8>, text: &[u8]) {
    let len = u32::try_from(text.len()).expect("a value is at most 32 MiB");
    batch.extend_from_slice(&len.to_le_bytes());
    batch.extend_from_slice(text);
}

fn framed(batch: &[u8]) -> Vec<u8> {
    let len = u32::try_from(batch.len())
        .expect("a batch is at most 64 MiB, all records as many as fit into memory");
    let mut whole = Vec::with_capacity(HEAD + batch.len());
    whole.extend_from_slice(&len.to_le_bytes());
    whole.extend_from_slice(&checksum(batch).to_le_bytes());
    whole.extend_from_slice(batch);
    whole
}

/// Returns the next whole batch and what is behind it.
fn next(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, behind) = rest.split_first_chunk()?;
    let (sum, behind) = behind.split_first_chunk()?;
    let (batch, behind) = behind.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    (checksum(batch) == u64::from_le_bytes(*sum)).then_some((batch, behind))
}

/// Makes a batch's changes; `None`: it is none of ours.
fn replay(mut batch: &[u8], records: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Option<()> {
    while let Some((kind, behind)) = batch.split_first() {
        batch = behind;
        let key = take(&mut batch)?.to_vec();
        match *kind {
            PUT => _ = records.insert(key, take(&mut batch)?.to_vec()),
            DELETE => _ = records.remove(&key),
            _ => return None,
        }
    }
    Some(())
}

fn take<'a>(batch: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, behind) = batch.split_first_chunk()?;
    let (text, behind) = behind.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    *batch = behind;
    Some(text)
}

/// FNV-1a: finds what a cut or torn write leaves, not what somebody has forged.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> StoreOp {
        StoreOp::Put {
            key: key.into(),
            value: value.into(),
        }
    }

    /// However the process ends, what was confirmed is there, and nothing else.
    #[test]
    fn a_log_that_is_cut_anywhere_has_its_whole_batches() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut ends = vec![0];
        {
            let mut log = Log::open(&path, false).unwrap();
            for i in 0..5 {
                let delete = StoreOp::Delete {
                    key: format!("k{}", i - 1).into(),
                };
                log.commit(&[put(&format!("k{i}"), "value"), delete]).unwrap();
                ends.push(log.end);
            }
        }
        let bytes = std::fs::read(&path).unwrap();
        for len in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..len]).unwrap();
            let log = Log::open(&path, false).unwrap();
            let whole = ends.iter().filter(|end| **end > 0 && **end <= len as u64).count();
            let expected: Vec<Vec<u8>> = whole
                .checked_sub(1)
                .map(|i| format!("k{i}").into())
                .into_iter()
                .collect();
            assert_eq!(log.records.keys().cloned().collect::<Vec<_>>(), expected, "{len}");
        }
    }

    #[test]
    fn a_batch_is_taken_wholly_or_not_at_all_and_by_one_broker() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Log::open(&path, true).unwrap();
        assert!(
            Log::open(&path, true)
                .unwrap_err()
                .to_string()
                .contains("another broker")
        );
        let expect = |key: &str, value: Option<&str>| StoreOp::Expect {
            key: key.into(),
            value: value.map(Into::into),
        };
        log.commit(&[expect("a", None), put("a", "1"), expect("a", Some("1"))])
            .unwrap();
        assert_eq!(
            log.commit(&[put("b", "2"), expect("a", None)]),
            Err(StoreFault::Conflict)
        );
        assert_eq!(log.records.len(), 1);
        for _ in 0..100 {
            log.commit(&[put("a", "again")]).unwrap();
        }
        let long = log.end;
        drop(log);
        let log = Log::open(&path, true).unwrap();
        assert!(log.end < long / 10, "it is shorter now");
        assert_eq!(log.records.get(&b"a"[..]).map(Vec::as_slice), Some(&b"again"[..]));
    }
}

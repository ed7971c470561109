//! A file whose content is a value, read again when the file changes. A content that makes no sense changes nothing: the
//! value before stays in force, and is told about once.
//!
//! Looking is polling: one `stat` in two seconds costs nothing, works on every file system and sees renames, symlink
//! swaps and edits in place alike.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use plugin_api::{Host, Level, TimerId, run_blocking};

use crate::Stamp;

/// The largest file that is read, in bytes; 100 times what a hundred thousand users need.
pub const FILE_BYTES_MAX: u64 = 1 << 30;

/// How often a watched file is looked at.
const POLL: Duration = Duration::from_secs(2);

/// Why a file gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It can't be read.
    #[error("can't read `{}`: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// Its content is wrong.
    #[error("`{}`{}: {why}", path.display(), line.map(|n| format!(", line {n}")).unwrap_or_default())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, when there is one to blame.
        line: Option<usize>,
        /// What is wrong with it.
        why: String,
    },
}

/// What a parser says about a content that is wrong: the line, counted from 1, and what is wrong.
type Complaint = (Option<usize>, String);

type Parser<T> = Box<dyn Fn(&str) -> Result<T, Complaint> + Send + Sync>;

/// A value that stands in a file.
pub struct WatchedFile<T> {
    path: PathBuf,
    parse: Parser<T>,
    /// The file as it was when it was last read, with or without success.
    seen: Mutex<Option<Stamp>>,
    value: ArcSwap<T>,
}

impl<T: Send + Sync + 'static> WatchedFile<T> {
    /// Reads the file for the first time. `parse` turns its text into the value, now and later; where it can't, it names
    /// the line, counted from 1, and says what is wrong.
    ///
    /// # Errors
    /// The file can't be read, is larger than [`FILE_BYTES_MAX`] or not UTF-8, or `parse` refuses it.
    pub fn open<E>(
        path: impl Into<PathBuf>,
        parse: impl Fn(&str) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, FileError>
    where
        E: Into<(Option<usize>, String)>,
    {
        let path = path.into();
        let parse: Parser<T> = Box::new(move |text| parse(text).map_err(Into::into));
        let seen = Stamp::of(&path);
        let value = ArcSwap::from_pointee(read(&path, &parse)?);
        Ok(Self {
            path,
            parse,
            seen: Mutex::new(seen),
            value,
        })
    }

    /// Returns the file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the value in force. Costs no lock and no count of references.
    pub fn value(&self) -> arc_swap::Guard<Arc<T>> {
        self.value.load()
    }

    /// Returns the value in force, to keep.
    pub fn shared(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// Reads the file again if it isn't the one that was read last. Returns whether a new value is in force. Blocks.
    ///
    /// # Errors
    /// As [`Self::open`]; the value before stays, and the same file isn't complained about twice.
    pub fn refresh(&self) -> Result<bool, FileError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = Stamp::of(&self.path);
        if before == *seen {
            return Ok(false);
        }
        let value = read(&self.path, &self.parse);
        if Stamp::of(&self.path) != before {
            // Somebody is writing to it: what was read may be half of it. The next look finds it finished.
            return Ok(false);
        }
        *seen = before;
        self.value.store(Arc::new(value?));
        Ok(true)
    }

    /// Reads the file again in any case. Blocks.
    ///
    /// # Errors
    /// As [`Self::open`]; the value before stays.
    pub fn reread(&self) -> Result<(), FileError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Stamp::of(&self.path);
        self.value.store(Arc::new(read(&self.path, &self.parse)?));
        Ok(())
    }

    /// Puts `value` in force until the file changes: for who has read the file elsewhere.
    pub fn replace(&self, value: Arc<T>) {
        self.value.store(value);
    }

    /// Starts the timer at which [`Self::poll`] wants to be called.
    pub fn watch(&self, host: &dyn Host) -> TimerId {
        host.timer(POLL, Some(POLL))
    }

    /// Does what is due at each tick of the timer: refreshes on the pool for blocking work and logs what came of it.
    /// Returns whether a new value is in force.
    pub async fn poll(self: &Arc<Self>, host: &dyn Host) -> bool {
        let this = self.clone();
        match run_blocking(host, move || this.refresh()).await {
            Ok(Ok(false)) => false,
            Ok(Ok(true)) => {
                host.log(
                    Level::Info,
                    &format!("`{}` has changed and is in force", self.path.display()),
                );
                true
            }
            Ok(Err(error)) => {
                host.log(
                    Level::Error,
                    &format!("{error}; what was read before stays in force"),
                );
                false
            }
            // The pool is full: the next tick tries again.
            Err(fault) => {
                host.log(
                    Level::Warn,
                    &format!("can't look at `{}`: {fault}", self.path.display()),
                );
                false
            }
        }
    }
}

impl<T> std::fmt::Debug for WatchedFile<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchedFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn read<T>(path: &Path, parse: &Parser<T>) -> Result<T, FileError> {
    let unreadable = |error: std::io::Error| FileError::Read {
        path: path.into(),
        why: error.to_string(),
    };
    let wrong = |(line, why)| FileError::Content {
        path: path.into(),
        line,
        why,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong((None, format!("is larger than {FILE_BYTES_MAX} bytes"))));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|&&b| b == b'\n').count();
        wrong((Some(line), "is not UTF-8".into()))
    })?;
    parse(&text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use plugin_api::NoHost;

    use super::*;

    fn number(text: &str) -> Result<u32, Complaint> {
        text.trim()
            .parse()
            .map_err(|_| (Some(1), format!("`{}` is no number", text.trim())))
    }

    fn file(content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn a_change_is_taken_and_a_bad_one_is_told_once() {
        let (_folder, path) = file("1");
        let watched = WatchedFile::open(&path, number).unwrap();
        assert_eq!(watched.refresh(), Ok(false));
        std::fs::write(&path, "22").unwrap();
        assert_eq!(watched.refresh(), Ok(true));
        std::fs::write(&path, "three").unwrap();
        assert_eq!(
            watched.refresh().unwrap_err().to_string(),
            format!("`{}`, line 1: `three` is no number", path.display())
        );
        assert_eq!(watched.refresh(), Ok(false));
        assert_eq!(**watched.value(), 22);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(watched.refresh(), Err(FileError::Read { .. })));
        assert_eq!(watched.refresh(), Ok(false));
        std::fs::write(&path, "4").unwrap();
        assert_eq!(watched.refresh(), Ok(true));
        assert_eq!(*watched.shared(), 4);
    }

    #[test]
    fn reading_again_reads_in_any_case() {
        let (_folder, path) = file("1");
        let watched = WatchedFile::open(&path, number).unwrap();
        assert_eq!(watched.reread(), Ok(()));
        std::fs::write(&path, "x").unwrap();
        assert!(watched.reread().is_err());
        assert_eq!(**watched.value(), 1);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_by_line() {
        let (_folder, path) = file(b"1\n2\n\xFF");
        let error = WatchedFile::open(&path, number).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{}`, line 3: is not UTF-8", path.display())
        );
    }

    #[test]
    fn a_tick_refreshes() {
        let (_folder, path) = file("1");
        let watched = Arc::new(WatchedFile::open(&path, number).unwrap());
        let tick = || {
            let mut future = pin!(watched.poll(&NoHost));
            future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
        assert_eq!(tick(), Poll::Ready(false));
        std::fs::write(&path, "56").unwrap();
        assert_eq!(tick(), Poll::Ready(true));
    }
}

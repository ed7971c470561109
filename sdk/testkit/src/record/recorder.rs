//! Takes calls and answers and writes them down on a thread of its own, so that no worker of a broker waits for a disk.

use std::io::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use plugin_api::Fault;
use serde_json::{Value, json};

use super::said::said_json;
use super::write::question_json;
use crate::{Question, Verdict};

/// What a recording may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole recording; then it ends. Default 64 MiB.
    pub bytes_max: u64,
    /// A call whose line is longer is written without its content, in bytes. Default 256 KiB.
    pub line_bytes_max: usize,
    /// Whether passwords and Authentication Data are written. Default: they are not.
    pub secrets: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            line_bytes_max: 256 << 10,
            secrets: false,
        }
    }
}

/// Calls that wait to be written. What doesn't fit is counted and lost: a recording never holds a broker up.
const WAITING_MAX: usize = 4096;
/// Bytes of payload that wait to be written.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// How long [`Recorder::sync`] waits.
const SYNC_WAIT: Duration = Duration::from_secs(5);

enum Job {
    Write(Box<Taken>),
    Sync(SyncSender<()>),
}

struct Taken {
    question: Question,
    said: Result<Verdict, Fault>,
    time: Duration,
}

/// Writes calls down. Cloning shares it; when the last clone is gone, what was taken is written and the thread ends.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    jobs: SyncSender<Job>,
    lost: AtomicU64,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    written: AtomicU64,
    waiting_bytes: AtomicUsize,
    failed: Mutex<Option<String>>,
}

impl Recorder {
    /// Starts a recorder that writes JSON lines to `out`.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn new(out: impl Write + Send + 'static, limits: Limits) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel(WAITING_MAX);
        let state = Arc::new(State::default());
        let mut sheet = Sheet {
            out,
            limits,
            bytes: 0,
            state: state.clone(),
        };
        let writer = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || sheet.work(&waiting))?;
        Ok(Self(Arc::new(Shared {
            jobs,
            lost: AtomicU64::new(0),
            writer: Mutex::new(Some(writer)),
            state,
        })))
    }

    /// Takes a call, what was said, and how long it took. Never waits.
    pub(super) fn take(&self, question: Question, said: Result<Verdict, Fault>, time: Duration) {
        let bytes = question.payload_bytes();
        let waiting = &self.0.state.waiting_bytes;
        let full = waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > WAITING_BYTES_MAX;
        let taken = Taken { question, said, time };
        if full
            || matches!(
                self.0.jobs.try_send(Job::Write(Box::new(taken))),
                Err(TrySendError::Full(_))
            )
        {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was taken so far is written. May block, up to 5 s.
    pub fn sync(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.0.jobs.send(Job::Sync(done)).is_ok() {
            // A writer that takes longer goes on.
            let _ = wait.recv_timeout(SYNC_WAIT);
        }
    }

    /// Returns the number of calls that were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.0.state.written.load(Ordering::Relaxed)
    }

    /// Returns the number of calls that were lost because they came quicker than they could be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Returns why nothing more is written, if that is so.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        self.0
            .state
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Shared {
    /// Lets the writer end, without waiting for it: it may be a worker that drops the last plugin.
    fn drop(&mut self) {
        drop(
            self.writer
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }
}

/// What is written to, on the writer's thread.
struct Sheet<W> {
    out: W,
    limits: Limits,
    bytes: u64,
    state: Arc<State>,
}

impl<W: Write> Sheet<W> {
    fn work(&mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Write(taken) => {
                    self.write(&taken);
                    let bytes = taken.question.payload_bytes();
                    self.state.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
                Job::Sync(done) => {
                    // Whoever waited has gone or is told.
                    let _ = done.try_send(());
                }
            }
        }
    }

    fn write(&mut self, taken: &Taken) {
        let mut failed = self.state.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_some() {
            return;
        }
        let number = self.state.written.load(Ordering::Relaxed) + 1;
        let mut line = self.line(number, taken).to_string();
        if line.len() > self.limits.line_bytes_max {
            let (hook, length) = (taken.question.hook(), line.len());
            line = json!({ "n": number, "too_long": { "hook": hook, "bytes": length } }).to_string();
        }
        line.push('\n');
        let bytes = self.bytes + line.len() as u64;
        if bytes > self.limits.bytes_max {
            *failed = Some(format!(
                "the recording has reached {} bytes",
                self.limits.bytes_max
            ));
            return;
        }
        // One write, so that a process that is killed leaves whole lines.
        match self
            .out
            .write_all(line.as_bytes())
            .and_then(|()| self.out.flush())
        {
            Ok(()) => {
                self.bytes = bytes;
                self.state.written.store(number, Ordering::Relaxed);
            }
            Err(error) => *failed = Some(error.to_string()),
        }
    }

    fn line(&self, number: u64, taken: &Taken) -> Value {
        let micros = u64::try_from(taken.time.as_micros()).unwrap_or(u64::MAX);
        json!({
            "n": number,
            "us": micros,
            "call": question_json(&taken.question, self.limits.secrets),
            "said": said_json(&taken.said, self.limits.secrets),
        })
    }
}

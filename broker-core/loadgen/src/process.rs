//! What a process cost so far: CPU time of all its threads and resident memory, as the kernel tells them under `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

/// A process under measurement.
#[derive(Clone, Copy, Debug)]
pub struct Process(
    /// Its number.
    pub u32,
);

impl Process {
    /// CPU time, user and system, of all threads. From `schedstat`, which counts nanoseconds; `stat` counts hundredths
    /// of a second.
    ///
    /// # Errors
    /// There is no such process, or it isn't ours to look at.
    pub fn cpu(self) -> io::Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            // A thread may end while we look.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            nanos += first_number(&text)?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident bytes.
    ///
    /// # Errors
    /// There is no such process, or it isn't ours to look at.
    pub fn resident(self) -> io::Result<u64> {
        self.status("VmRSS:")
    }

    /// The most resident bytes it had.
    ///
    /// # Errors
    /// There is no such process, or it isn't ours to look at.
    pub fn peak(self) -> io::Result<u64> {
        self.status("VmHWM:")
    }

    fn status(self, key: &str) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let value = text.lines().find_map(|line| line.strip_prefix(key));
        Ok(first_number(value.unwrap_or_default())? * 1024)
    }
}

fn first_number(text: &str) -> io::Result<u64> {
    let number = text.split_whitespace().next().and_then(|word| word.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("the kernel told no number: {text:?}")))
}

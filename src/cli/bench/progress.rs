//! How far a load has come, on one line of a terminal.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use broker_loadgen::{Phase, Progress};

use super::report::grouped;

/// Shows progress on standard error, if that is a terminal, until it is dropped.
pub(super) struct Watch(Option<(Sender<()>, JoinHandle<()>)>);

impl Watch {
    pub(super) fn start(scenario: String, progress: &Arc<Progress>, wanted: bool) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let progress = Arc::clone(progress);
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut last = (Phase::Preparing, 0, Instant::now());
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                let (phase, units) = progress.now();
                let since = if phase == last.0 { last.1 } else { 0 };
                let rate = units.saturating_sub(since) as f64 / last.2.elapsed().as_secs_f64();
                last = (phase, units, Instant::now());
                show(&format!("{scenario}: {}", line(phase, units, rate)));
            }
            show("");
        });
        Self(Some((end, thread)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.0.take() {
            drop(end);
            // It has nothing to say that matters here.
            let _ended = thread.join();
        }
    }
}

fn line(phase: Phase, units: u64, rate: f64) -> String {
    let (units, rate) = (grouped(units), grouped(rate as u64));
    match phase {
        Phase::Preparing => format!("preparing, {units} connections"),
        Phase::WarmUp => format!("warming up, {rate}/s"),
        Phase::Measuring => format!("measuring, {units}, {rate}/s"),
    }
}

/// Replaces the line. That the terminal has gone is no reason to stop.
fn show(text: &str) {
    let mut err = std::io::stderr().lock();
    let _shown = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
}

const LOOK: Duration = Duration::from_millis(250);

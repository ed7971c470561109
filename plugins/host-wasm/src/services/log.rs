//! A guest's log lines, at most so many a second: a guest that nobody trusts must not fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use plugin_api::Level;

use super::Services;
use crate::bindings::imported::log;
use crate::state::State;

/// Lines that one plugin may write in a second.
const LINES_MAX: u32 = 100;
/// The longest line; the rest is cut off.
const LINE_BYTES_MAX: usize = 4096;

/// How many lines were written in the second that runs, and how many were not.
#[derive(Debug, Default)]
pub(crate) struct LogBudget(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    began: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl LogBudget {
    /// Takes a line off the budget. `Err`: there is nothing left. `Ok`: how many lines were left out before this one.
    fn take(&self, now: Instant) -> Result<u64, ()> {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if second
            .began
            .is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1))
        {
            second.began = Some(now);
            second.lines = 0;
        }
        if second.lines >= LINES_MAX {
            second.suppressed += 1;
            return Err(());
        }
        second.lines += 1;
        Ok(std::mem::take(&mut second.suppressed))
    }
}

impl Services {
    /// Writes a log line under the plugin's name.
    pub(crate) fn log(&self, level: Level, text: &str) {
        let Ok(suppressed) = self.log_budget.take(Instant::now()) else {
            return;
        };
        if suppressed > 0 {
            self.line(
                Level::Warn,
                &format!("{suppressed} log lines of this plugin were left out"),
            );
        }
        let end = text.floor_char_boundary(LINE_BYTES_MAX);
        self.line(level, &text[..end]);
    }

    fn line(&self, level: Level, text: &str) {
        if let Some(host) = self.host() {
            return host.log(level, text);
        }
        let plugin = &*self.name;
        match level {
            Level::Trace => tracing::trace!(plugin, "{text}"),
            Level::Debug => tracing::debug!(plugin, "{text}"),
            Level::Info => tracing::info!(plugin, "{text}"),
            Level::Warn => tracing::warn!(plugin, "{text}"),
            Level::Error => tracing::error!(plugin, "{text}"),
        }
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, text: String) {
        let level = match level {
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warn,
            log::Level::Info => Level::Info,
            log::Level::Debug => Level::Debug,
            log::Level::Trace => Level::Trace,
        };
        self.services.log(level, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_budget_are_counted() {
        let budget = LogBudget::default();
        let now = Instant::now();
        assert!((0..LINES_MAX).all(|_| budget.take(now) == Ok(0)));
        assert_eq!(budget.take(now), Err(()));
        assert_eq!(budget.take(now), Err(()));
        let later = now + Duration::from_secs(1);
        assert_eq!(budget.take(later), Ok(2));
        assert_eq!(budget.take(later), Ok(0));
    }
}

//! What a loader of code that nobody trusts makes of it.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Where calls of a plugin run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    /// Where they are made as long as they are short, else on threads of the plugin's own.
    #[default]
    Auto,
    /// Where they are made. One that runs for more than 2 ms fails each time.
    Inline,
    /// On threads of the plugin's own.
    Pool,
}

/// The bounds of one configured plugin. Loaders of trusted code (built in, native) don't look at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The memory of each instance, in bytes. JavaScript needs 64 MiB and more.
    pub memory_bytes_max: u64,
    /// The time that a call may run on a thread of the plugin's own; counted is only what it was seen running, in milliseconds.
    pub cpu_max: Duration,
    /// How many calls may run at once on threads of the plugin's own, each in an instance.
    pub instances: NonZeroUsize,
    /// Where calls run.
    pub run: Run,
    /// Whether each call has a new instance, so that nothing of one is left for the next. Costs some 40 µs a call.
    pub fresh: bool,
}

impl Default for Sandbox {
    /// 16 MiB, 50 ms, 2 instances.
    fn default() -> Self {
        Self {
            memory_bytes_max: 16 << 20,
            cpu_max: Duration::from_millis(50),
            instances: NonZeroUsize::MIN.saturating_add(1),
            run: Run::Auto,
            fresh: false,
        }
    }
}

//! Where the program's log goes: standard error. Set up once, here; a library never does this.

use std::io::{self, IsTerminal};

use jackfield::config_file::{LogFormat, LogLevel, LogSettings};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, registry, reload};

/// Logging at work.
pub(crate) struct Logging(reload::Handle<Targets, Registry>);

impl Logging {
    /// Logs at the levels that `settings` say.
    pub(crate) fn set_levels(&self, settings: &LogSettings) {
        // An error means that another logger was there before.
        let _ = self.0.reload(targets(settings));
    }
}

/// Starts logging as `settings` say.
pub(crate) fn start(settings: &LogSettings) -> Logging {
    let (filter, levels) = reload::Layer::new(targets(settings));
    let lines = fmt::layer().with_writer(io::stderr);
    let layer = match settings.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Auto => lines.with_ansi(wants_colour()).boxed(),
    };
    // Fails only where a logger was set before; then that one stays.
    let _ = registry().with(layer.with_filter(filter)).try_init();
    Logging(levels)
}

fn targets(settings: &LogSettings) -> Targets {
    let targets = settings.targets.iter();
    Targets::new()
        .with_default(filter(settings.level))
        .with_targets(targets.map(|(target, level)| (target.clone(), filter(*level))))
}

/// Colours are for a terminal, and not where NO_COLOR says so.
fn wants_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

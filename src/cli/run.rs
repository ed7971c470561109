//! `jackfield run`: the broker itself, from configuration to the last goodbye.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jackfield::assemble::assemble;
use jackfield::config_file::{self, ListenerSettings, Settings};
use jackfield::{Broker, StartError, StartProblem};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::{Exit, Failure, Outcome};
use super::output;
use super::record::{Recordings, Wish, wish};
use super::source::{Overrides, flag, listen, loaders, runtime};

/// How long clients have to take what waits for them when the broker ends.
const GOODBYE: Duration = Duration::from_secs(10);

/// `jackfield run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration; without one: 127.0.0.1:1883, everybody comes in, nothing is kept on disk
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here too: a port on loopback, HOST:PORT or unix:PATH
    #[arg(short, long, value_name = "ADDRESS")]
    listen: Vec<String>,
    #[command(flatten)]
    overrides: Overrides,
    /// Write down what a plugin is asked and says, for `jackfield plugin replay`; FILE must not be there yet
    #[arg(long, value_name = "NAME=FILE", value_parser = wish)]
    record: Vec<Wish>,
    /// Log from this level on: off, error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How log records look: auto, text, json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Run {
    pub(crate) fn run(self) -> Outcome {
        let mut sources = self.overrides.sources(self.config.clone());
        sources.flags.extend(listen(&self.listen, self.config.is_some()));
        let log = [
            ("--log-level", "level", &self.log_level),
            ("--log-format", "format", &self.log_format),
        ];
        for (name, key, value) in log {
            let flags = value.iter().map(|value| flag(name, value, &["log", key], value));
            sources.flags.extend(flags);
        }
        runtime()?.block_on(async {
            // Kept to the end: debuggers look for the copies of native plugins that a loader has made.
            let recordings = Recordings::default();
            let loaders = recordings.before(loaders());
            let loaded = config_file::load(&sources, &loaders).await.map_err(|report| {
                output::report(&report);
                Failure::silent(Exit::Configuration as u8)
            })?;
            let names = loaded.settings.instances.iter();
            recordings.open(&self.record, names.map(|instance| instance.name.as_str()))?;
            super::logging::start(&loaded.settings.log);
            for warning in loaded.report.iter() {
                let place = warning.place.as_ref().map(ToString::to_string);
                tracing::warn!(code = %warning.code, place, "{}", warning.message);
            }
            raise_file_limit();
            // Before anybody is told that the broker is there: a signal that came sooner would end it like any program.
            let mut signals = Signals::new()?;
            let builder = assemble(&loaded.settings, &loaders).await.map_err(|errors| {
                let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
                Failure::new(Exit::Configuration, texts.join("\njackfield: "))
            })?;
            let broker = builder.start().await.map_err(|error| start_failure(&error))?;
            let unconfigured = self.config.is_none() && self.listen.is_empty();
            greet(&broker, unconfigured && is_for_trying(&loaded.settings));
            // Not within the record: what isn't logged isn't evaluated.
            let signal = signals.next().await;
            tracing::info!(signal, "stopping");
            stop(broker, &mut signals).await
        })
    }
}

/// Tells whether everybody on this machine may do everything, and nobody else anything.
fn is_for_trying(settings: &Settings) -> bool {
    let open = |listener: &ListenerSettings| {
        listener.bind.is_local() && listener.anonymous && listener.chain.uses.is_empty()
    };
    settings.listeners.iter().all(open)
}

/// Says where the broker listens. Who only tries it is told what that means and what to do next.
fn greet(broker: &Broker, only_tried: bool) {
    for (name, bind) in broker.listeners() {
        if only_tried {
            eprintln!(
                "listening on {bind} (loopback only, anonymous, memory store). \
                 Next: jackfield sub -v -t '#', or jackfield init"
            );
        } else {
            tracing::info!(listener = name, bind = %bind, "listening");
        }
    }
}

/// The signals that end the broker. SIGHUP would end the program; it is what other brokers reload for, so it is answered
/// instead.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::new(Exit::Internal, format!("can't listen for signals: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Returns the name of the next that ends the broker.
    async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.hangup.recv() => tracing::warn!("reloading is not available in this version; nothing was changed"),
            }
        }
    }
}

/// Stops in order; a second signal doesn't wait for anybody.
async fn stop(broker: Broker, signals: &mut Signals) -> Outcome {
    tokio::select! {
        shutdown = broker.shutdown(GOODBYE) => tracing::info!("stopped: {shutdown}"),
        signal = signals.next() => tracing::warn!(signal, "stopped at once"),
    }
    Ok(())
}

/// The exit code of the first problem; all of them in words.
fn start_failure(error: &StartError) -> Failure {
    let exit = match error.problems.first() {
        Some(StartProblem::Bind { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            Exit::Permission
        }
        Some(StartProblem::Bind { .. } | StartProblem::Plugin { .. }) => Exit::Unavailable,
        Some(StartProblem::Worker(_)) => Exit::Internal,
        Some(StartProblem::Store(_)) => Exit::Io,
        _ => Exit::Configuration,
    };
    let in_use = |problem: &StartProblem| match problem {
        StartProblem::Bind { source, .. } => source.kind() == io::ErrorKind::AddrInUse,
        _ => false,
    };
    let texts: Vec<_> = error.problems.iter().map(ToString::to_string).collect();
    let failure = Failure::new(exit, texts.join("\njackfield: "));
    if error.problems.iter().any(in_use) {
        return failure.hint("another broker may run already; --listen 1884 takes another port");
    }
    failure
}

/// Each connection is a file. The system's soft limit is low for the sake of old programs; the hard one is ours to take.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

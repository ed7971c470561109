//! `jackfield run`: the broker itself, from configuration to the last goodbye.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jackfield::config_file::{self, ListenerSettings, Settings};
use jackfield::reload::{Configured, Refused, Watch};
use jackfield::{Broker, StartError, StartProblem};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::{Exit, Failure, Outcome};
use super::logging::Logging;
use super::output;
use super::record::{Recordings, Wish, wish};
use super::source::{Overrides, flag, listen, loaders, runtime};

/// How long clients have to take what waits for them when the broker ends.
const GOODBYE: Duration = Duration::from_secs(10);
/// How often files that are watched are looked at.
const LOOK: Duration = Duration::from_millis(500);

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
    /// Reload when the configuration or a plugin's file has changed, as SIGHUP does
    #[arg(short, long)]
    watch: bool,
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
            let logging = super::logging::start(&loaded.settings.log);
            for warning in loaded.report.iter() {
                let place = warning.place.as_ref().map(ToString::to_string);
                tracing::warn!(code = %warning.code, place, "{}", warning.message);
            }
            raise_file_limit();
            // Before anybody is told that the broker is there: a signal that came sooner would end it like any program.
            let mut signals = Signals::new()?;
            let (mut configured, builder) =
                Configured::of(sources, loaders, loaded)
                    .await
                    .map_err(|refused| {
                        let text = match &refused {
                            Refused::Plugins(errors) => lines(errors),
                            other => other.to_string(),
                        };
                        Failure::new(Exit::Configuration, text)
                    })?;
            let broker = builder.start().await.map_err(|error| start_failure(&error))?;
            let unconfigured = self.config.is_none() && self.listen.is_empty();
            greet(&broker, unconfigured && is_for_trying(configured.settings()));
            let mut watch = self.watch.then(|| configured.watch());
            let signal = loop {
                match signals.next(watch.as_mut()).await {
                    Call::End(signal) => break signal,
                    Call::Reload(why) => {
                        let reloaded = reload(&mut configured, &broker, &logging, why).await;
                        // What was refused is looked at again when it has changed.
                        if let Some(watch) = watch.as_mut().filter(|_| reloaded) {
                            *watch = configured.watch();
                        }
                    }
                }
            };
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

/// What the program is called upon to do.
enum Call {
    /// End, because of this signal.
    End(&'static str),
    /// Read the configuration again, because of this.
    Reload(&'static str),
}

/// Reads the configuration again, and tells what has changed. False: it told what is wrong, and everything goes on as it was.
async fn reload(configured: &mut Configured, broker: &Broker, logging: &Logging, why: &'static str) -> bool {
    tracing::info!(why, "reading the configuration again");
    match configured.reload(&broker.handle()).await {
        Ok(changed) => {
            logging.set_levels(&configured.settings().log);
            for warning in &changed.warnings {
                tracing::warn!("{warning}");
            }
            if !changed.refreshed.is_empty() {
                let plugins = changed.refreshed.join(", ");
                tracing::info!(plugins, "their files were read again");
            }
            for difference in &changed.differences {
                tracing::info!("{difference}");
            }
            return true;
        }
        Err(Refused::Configuration(report)) => {
            output::report(&report);
            tracing::error!("not reloaded: the configuration is wrong; everything goes on as it was");
        }
        Err(Refused::Broker(_)) => {} // The broker has told.
        Err(refused) => tracing::error!("not reloaded, everything goes on as it was: {refused}"),
    }
    false
}

/// The signals that the broker heeds.
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

    /// Waits for the next call, also for a change of the files that are watched.
    async fn next(&mut self, watch: Option<&mut Watch>) -> Call {
        let changed = async {
            match watch {
                None => std::future::pending().await,
                Some(watch) => {
                    while !watch.look() {
                        tokio::time::sleep(LOOK).await;
                    }
                }
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Call::End("SIGINT"),
            _ = self.terminate.recv() => Call::End("SIGTERM"),
            _ = self.hangup.recv() => Call::Reload("SIGHUP"),
            () = changed => Call::Reload("files have changed"),
        }
    }

    /// Waits for the next signal that ends the broker, and returns its name.
    async fn end(&mut self) -> &'static str {
        loop {
            if let Call::End(signal) = self.next(None).await {
                return signal;
            }
        }
    }
}

/// Stops in order; a second signal doesn't wait for anybody.
async fn stop(broker: Broker, signals: &mut Signals) -> Outcome {
    tokio::select! {
        shutdown = broker.shutdown(GOODBYE) => tracing::info!("stopped: {shutdown}"),
        signal = signals.end() => tracing::warn!(signal, "stopped at once"),
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
    let failure = Failure::new(exit, lines(&error.problems));
    if error.problems.iter().any(in_use) {
        return failure.hint("another broker may run already; --listen 1884 takes another port");
    }
    failure
}

/// Each on a line of its own, as the program tells them.
fn lines<T: std::fmt::Display>(all: &[T]) -> String {
    all.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\njackfield: ")
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

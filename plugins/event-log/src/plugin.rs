//! The plugin: from batches of events to lines in the sink.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use plugin_api::{
    Capabilities, Event, Events, Fault, Host, Level, LoadError, NoHost, Plugin, PluginInfo, TimerId,
    run_blocking,
};
use plugin_basis::{options, schema};

use crate::Options;
use crate::line::write_line;
use crate::sink::Sink;

/// How often it is looked whether the file was moved.
const LOOK: Duration = Duration::from_secs(2);

/// Makes the plugin from its options, a JSON object.
///
/// # Errors
/// The options are wrong. Whether the file can be written is seen when the plugin starts.
pub fn load(_name: &str, options_json: &str) -> Result<Arc<dyn Plugin>, LoadError> {
    let options: Options = options(options_json)?;
    if options.path.is_empty() {
        return Err(LoadError::Options {
            key: "path".into(),
            why: "must name a file, or be `-` or `stderr`".into(),
        });
    }
    Ok(Arc::new(EventLog::new(options)))
}

/// Returns what is known of the plugin before it runs.
#[must_use]
pub fn info() -> PluginInfo {
    PluginInfo {
        id: "event-log".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        config_schema: Some(schema::<Options>()),
        hooks: vec!["events".into()],
    }
}

/// Writes what happens as JSON lines.
#[derive(Debug)]
pub struct EventLog {
    options: Options,
    writer: Arc<Writer>,
    timer: OnceLock<TimerId>,
}

/// The part that the broker tells.
#[derive(Default)]
struct Writer {
    /// Opened by `start`; locked only on the pool for blocking work.
    sink: Arc<Mutex<Option<Sink>>>,
    host: OnceLock<Arc<dyn Host>>,
}

impl EventLog {
    /// Makes the plugin as `options` say. Nothing is opened before it starts.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            writer: Arc::default(),
            timer: OnceLock::new(),
        }
    }

    /// Appends to the file at `path`.
    #[must_use]
    pub fn to_file(path: impl AsRef<Path>) -> Self {
        Self::new(Options {
            path: path.as_ref().to_string_lossy().into_owned(),
            ..Options::default()
        })
    }

    /// Writes to standard output.
    #[must_use]
    pub fn to_stdout() -> Self {
        Self::new(Options::default())
    }
}

#[async_trait]
impl Plugin for EventLog {
    fn info(&self) -> PluginInfo {
        info()
    }

    async fn start(&self, host: Arc<dyn Host>) -> Result<(), Fault> {
        let host = self.writer.host.get_or_init(|| host);
        let path = self.options.path.clone();
        let sink = run_blocking(&**host, move || Sink::open(&path))
            .await?
            .map_err(|error| Fault::backend(format!("can't open `{}`: {error}", self.options.path)))?;
        *lock(&self.writer.sink) = Some(sink);
        self.timer.get_or_init(|| host.timer(LOOK, Some(LOOK)));
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            events: Some((self.options.mask(), self.writer.clone())),
            ..Capabilities::default()
        }
    }

    async fn on_timer(&self, _timer: TimerId) {
        let host = self.writer.host();
        let sink = self.writer.sink.clone();
        let path = &self.options.path;
        let looked = run_blocking(host, move || lock(&sink).as_mut().map(Sink::reopen_if_moved)).await;
        match looked {
            Ok(Some(Ok(true))) => host.log(Level::Info, &format!("`{path}` was moved: a new one is open")),
            Ok(Some(Err(error))) => host.log(
                Level::Error,
                &format!("`{path}` was moved and can't be opened anew: {error}; the old one is written to"),
            ),
            // Nothing moved, or the pool is full and the next tick looks again.
            Ok(None | Some(Ok(false))) | Err(_) => {}
        }
    }

    async fn stop(&self, _drain: Duration) {
        if let Some(timer) = self.timer.get() {
            self.writer.host().cancel_timer(*timer);
        }
    }
}

impl Writer {
    fn host(&self) -> &dyn Host {
        self.host.get().map_or(&NoHost, |host| &**host)
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Events for Writer {
    /// One batch is under way at a time, and the next one waits in the plugin's queue: that is the bound.
    async fn notify(&self, batch: &[Event]) -> Result<(), Fault> {
        let mut lines = String::with_capacity(batch.len() * 256);
        for event in batch {
            write_line(event, &mut lines);
        }
        let sink = self.sink.clone();
        let written = run_blocking(self.host(), move || match lock(&sink).as_mut() {
            Some(sink) => sink
                .write(&lines)
                .map_err(|error| Fault::backend(error.to_string())),
            None => Err(Fault::backend("events came before the log was open")),
        });
        let written = written.await.flatten();
        if written.is_err() {
            self.host().counter("events_lost", batch.len() as u64);
        }
        written
    }
}

fn lock(sink: &Mutex<Option<Sink>>) -> std::sync::MutexGuard<'_, Option<Sink>> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use plugin_api::{EventKind, FaultKind};

    use super::*;

    /// Without a broker, blocking jobs run at once and every call is done at its first poll.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("not done at the first poll"),
        }
    }

    #[test]
    fn a_batch_becomes_lines_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let plugin = EventLog::to_file(&path);
        now(plugin.start(Arc::new(NoHost))).unwrap();
        let (mask, events) = plugin.capabilities().events.unwrap();
        assert_eq!(mask, Options::default().mask());
        let batch = [
            Event::new(EventKind::Connected),
            Event::new(EventKind::Disconnected),
        ];
        now(events.notify(&batch)).unwrap();
        now(events.notify(&batch[..1])).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let kinds: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].clone())
            .collect();
        assert_eq!(kinds, ["connected", "disconnected", "connected"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_tick_follows_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let plugin = EventLog::to_file(&path);
        now(plugin.start(Arc::new(NoHost))).unwrap();
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        now(plugin.on_timer(TimerId(0)));
        let (_, events) = plugin.capabilities().events.unwrap();
        now(events.notify(&[Event::new(EventKind::Connected)])).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn loading_opens_nothing_and_starting_says_what_it_cant_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/log");
        let json = format!("{{\"path\":{:?}}}", path.to_str().unwrap());
        let plugin = load("journal", &json).unwrap();
        let fault = now(plugin.start(Arc::new(NoHost))).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Backend);
        assert!(fault.text.contains("missing/log"), "{fault}");
        assert!(load("journal", r#"{"path":""}"#).is_err());
        assert!(load("journal", r#"{"file":"x"}"#).is_err());
    }
}

//! A plugin in C that is compiled for the test, and a broker that only remembers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use broker_types::{ClientHandle, ClientId, ProtocolVersion, ReasonCode};
use plugin_api::{
    ClientView, Cx, Fault, Host, Level, NewMessage, Peer, Plugin, PluginLoader, PluginSource, TimerId,
};
use plugin_host_native::NativeLoader;

/// A compiled plugin in a folder of its own.
pub(crate) struct Compiled {
    folder: tempfile::TempDir,
    loader: NativeLoader,
}

/// Compiles the plugin with macros; nothing where there is no compiler.
pub(crate) fn compiled(macros: &[&str]) -> Option<Compiled> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let include = here.join("../../plugin-api/abi/include");
    compiled_from(&include, &here.join("tests/native/plugin.c"), macros)
}

/// Compiles a plugin against the header in `include`; nothing where there is no compiler.
pub(crate) fn compiled_from(include: &Path, source: &Path, macros: &[&str]) -> Option<Compiled> {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("gcc")
        .args([
            "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-pthread", "-I",
        ])
        .arg(include)
        .args(macros.iter().map(|name| format!("-D{name}")))
        .arg("-o")
        .args([&folder.path().join("plugin.so"), source])
        .output();
    let Ok(output) = output else {
        assert!(
            std::env::var_os("JACKFIELD_ALL_TOOLS").is_none(),
            "gcc is not installed"
        );
        println!("not tested: gcc is not installed");
        return None;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let loader = NativeLoader::new([folder.path().to_owned()]);
    Some(Compiled { folder, loader })
}

impl Compiled {
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("plugin.so")
    }

    pub(crate) fn loader(&self) -> &NativeLoader {
        &self.loader
    }

    pub(crate) fn source(&self) -> PluginSource {
        PluginSource {
            what: "plugin.so".to_owned(),
            ..PluginSource::default()
        }
    }

    /// Loads an instance in a mode.
    pub(crate) async fn try_load(&self, mode: &str, also: &str) -> Result<Arc<dyn Plugin>, String> {
        let options = format!("{{\"mode\":\"{mode}\",\"also\":\"{also}\"}}");
        let loaded = self.loader.load("test", &self.source(), &options).await;
        loaded.map_err(|error| error.to_string())
    }

    /// Loads and starts an instance in a mode.
    pub(crate) async fn start(&self, mode: &str, also: &str) -> (Arc<dyn Plugin>, Arc<Remembers>) {
        let plugin = self.try_load(mode, also).await.unwrap();
        let host = Arc::new(Remembers::default());
        plugin.start(host.clone()).await.unwrap();
        (plugin, host)
    }
}

/// What plugins did with the services.
#[derive(Default)]
pub(crate) struct Remembers {
    counters: Mutex<HashMap<String, u64>>,
    changed: Condvar,
    pub(crate) lines: Mutex<Vec<String>>,
}

impl Remembers {
    pub(crate) fn counter_of(&self, name: &str) -> u64 {
        self.counters.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    /// Waits until a counter has reached a value.
    pub(crate) fn await_counter(&self, name: &str, value: u64) {
        let below = |all: &mut HashMap<String, u64>| all.get(name).copied().unwrap_or(0) < value;
        let all = self.counters.lock().unwrap();
        let (all, waited) = self
            .changed
            .wait_timeout_while(all, Duration::from_secs(20), below)
            .unwrap();
        assert!(!waited.timed_out(), "{name} is not {value}: {all:?}");
    }
}

impl Host for Remembers {
    fn log(&self, _level: Level, text: &str) {
        self.lines.lock().unwrap().push(text.to_owned());
    }
    fn publish(&self, _message: NewMessage) -> Result<(), Fault> {
        Ok(())
    }
    fn kick(&self, _client: ClientHandle, _reason: ReasonCode, _with_will: bool) -> bool {
        false
    }
    fn timer(&self, _first: Duration, _every: Option<Duration>) -> TimerId {
        TimerId(1)
    }
    fn cancel_timer(&self, _timer: TimerId) {}
    fn counter(&self, name: &str, add: u64) {
        *self.counters.lock().unwrap().entry(name.to_owned()).or_default() += add;
        self.changed.notify_all();
    }
    fn gauge(&self, _name: &str, _value: f64) {}
    fn invalidate(&self, _client: Option<ClientHandle>) {}
    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
        std::thread::spawn(job);
        Ok(())
    }
}

/// A client.
pub(crate) fn client() -> Arc<ClientView> {
    Arc::new(ClientView {
        handle: ClientHandle(7),
        id: ClientId::new("c"),
        username: Some("u".into()),
        authenticated: false,
        listener: "main".into(),
        peer: Peer::Unix,
        version: ProtocolVersion::V5,
        clean_start: true,
        mount: "".into(),
        attributes: Arc::default(),
        certificate: None,
        unrestricted: false,
    })
}

/// What comes with a call for `client`.
pub(crate) fn cx(client: &Arc<ClientView>) -> Cx<'_> {
    Cx {
        client,
        budget: Duration::from_secs(5),
    }
}

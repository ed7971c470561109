//! Which broker is loaded, as whom, how much, and how far it has come.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use broker_proto::Connect;
use broker_types::ProtocolVersion;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{LoadError, Process, Spent, packet};

/// A broker under load, and how much of it.
#[derive(Clone, Debug)]
pub struct Bed {
    /// Where it listens.
    pub addr: SocketAddr,
    /// As whom connections are made.
    pub login: Login,
    /// `None`: nobody knows what it costs.
    pub process: Option<Process>,
    /// How long messages flow before it counts.
    pub warm_up: Duration,
    /// How long messages flow.
    pub time: Duration,
    /// Do so many instead, without a warm-up, so that two runs do the same work.
    pub count: Option<u64>,
    /// Told while it runs.
    pub progress: Arc<Progress>,
}

/// As whom connections are made.
#[derive(Clone, Debug)]
pub struct Login {
    /// What all of them speak.
    pub version: ProtocolVersion,
    /// User Name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// What Client Identifiers and topics begin with; two loads on one broker need two.
    pub name: String,
}

impl Default for Login {
    /// MQTT 3.1.1, nobody, `bench`.
    fn default() -> Self {
        Self {
            version: ProtocolVersion::V311,
            username: None,
            password: None,
            name: "bench".to_owned(),
        }
    }
}

/// How far a scenario has come, to be looked at from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    units: AtomicU64,
}

/// What a scenario does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Connections are opened, filters subscribed.
    Preparing = 0,
    /// Messages flow and don't count yet.
    WarmUp,
    /// It counts.
    Measuring,
}

impl Progress {
    /// Returns what happens, and how many messages or connections there were since it began.
    #[must_use]
    pub fn now(&self) -> (Phase, u64) {
        let phase = match self.phase.load(Relaxed) {
            0 => Phase::Preparing,
            1 => Phase::WarmUp,
            _ => Phase::Measuring,
        };
        (phase, self.units.load(Relaxed))
    }

    pub(crate) fn begins(&self, phase: Phase) {
        self.units.store(0, Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    pub(crate) fn stands_at(&self, units: u64) {
        self.units.store(units, Relaxed);
    }
}

impl Login {
    /// Encodes the CONNECT of one client, after `change` had its way with it.
    ///
    /// # Errors
    /// User Name, Password or name are longer than MQTT allows.
    pub fn connect(&self, client: &str, change: impl FnOnce(&mut Connect<'_>)) -> Result<Vec<u8>, LoadError> {
        let id = format!("{}-{client}", self.name);
        let mut connect = Connect {
            username: self.username.as_deref(),
            password: self.password.as_deref().map(str::as_bytes),
            keep_alive: KEEP_ALIVE,
            ..Connect::new(self.version, &id)
        };
        change(&mut connect);
        packet::connect(connect)
    }

    /// Returns a topic of this load.
    #[must_use]
    pub fn topic(&self, rest: &str) -> String {
        format!("{}/{rest}", self.name)
    }
}

/// Clients that don't ping are let live for so many seconds.
const KEEP_ALIVE: u16 = 3600;

impl Bed {
    /// A broker that is loaded for one second, after a fifth of a second that doesn't count, by anonymous clients.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            login: Login::default(),
            process: None,
            warm_up: Duration::from_millis(200),
            time: Duration::from_secs(1),
            count: None,
            progress: Arc::default(),
        }
    }

    /// Notes where the broker stands.
    pub(crate) fn begin(&self) -> Result<Meter, LoadError> {
        self.progress.begins(Phase::Measuring);
        Ok(Meter {
            cpu: self.cpu()?,
            at: Instant::now(),
        })
    }

    fn cpu(&self) -> Result<Duration, LoadError> {
        Ok(self.process.map_or(Ok(Duration::ZERO), Process::cpu)?)
    }

    /// Resident bytes after the broker has had a moment to settle.
    pub(crate) fn resident(&self) -> Result<f64, LoadError> {
        let Some(process) = self.process else {
            return Ok(0.0);
        };
        std::thread::sleep(SETTLE);
        Ok(process.resident()? as f64)
    }
}

const SETTLE: Duration = Duration::from_millis(300);

/// Where the broker stood when a measurement began.
#[derive(Debug)]
pub(crate) struct Meter {
    cpu: Duration,
    at: Instant,
}

impl Meter {
    pub(crate) fn end(&self, bed: &Bed) -> Result<Spent, LoadError> {
        Ok(Spent {
            wall: self.at.elapsed(),
            cpu: bed.cpu()?.saturating_sub(self.cpu),
        })
    }
}

/// Lets this process, and those that it starts, open as many files as the system allows, and returns how many that are.
/// A load of ten thousand connections needs as many.
///
/// # Errors
/// The system refuses; the limit stays as it was.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.current.unwrap_or(u64::MAX))
}

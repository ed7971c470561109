//! WASI for guests that link it merely because their language's library does: an empty world. No arguments, no environment, no
//! files, no sockets; what is written to stdout and stderr becomes log lines; clocks stand still within a call unless the guest was
//! granted `clock`. What the configuration grants beyond that is added here.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use plugin_api::{Grants, Level};
use tokio::io::AsyncWrite;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{
    FsPerms, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView,
};

use crate::services::Services;
use crate::state::State;

/// The longest line; a longer one is broken.
const LINE_BYTES_MAX: usize = 4096;

/// What a guest sees of the world.
pub(crate) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    stopped: Arc<Stopped>,
}

impl Wasi {
    /// Makes the world that `grants` allow.
    ///
    /// # Errors
    /// A folder that was granted can't be opened.
    pub(crate) fn new(grants: &Grants, services: &Arc<Services>) -> wasmtime::Result<Self> {
        let stopped = Arc::new(Stopped::new());
        let mut builder = WasiCtxBuilder::new();
        builder
            .stdout(Lines::new(services, Level::Info))
            .stderr(Lines::new(services, Level::Warn));
        if !grants.clock {
            builder
                .wall_clock(Frozen(stopped.clone()))
                .monotonic_clock(Frozen(stopped.clone()));
        }
        for name in &grants.env {
            if let Ok(value) = std::env::var(name) {
                builder.env(name, value);
            }
        }
        for folder in grants.dirs.iter().flatten() {
            let perms = if folder.writable {
                FsPerms::ReadWrite
            } else {
                FsPerms::ReadOnly
            };
            let path = folder.path.to_string_lossy();
            builder.preopened_dir(&folder.path, path, perms)?;
        }
        if !grants.sockets.is_empty() {
            let allowed: Arc<[SocketAddr]> = grants.sockets.as_slice().into();
            builder
                .allow_udp(false)
                .socket_addr_check(move |address, wanted| {
                    let may = match wanted {
                        SocketAddrUse::TcpConnect => allowed.contains(&address),
                        // Every outgoing connection begins at some port of this machine.
                        SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
                        _ => false,
                    };
                    Box::pin(std::future::ready(may))
                });
        }
        Ok(Self {
            context: builder.build(),
            table: ResourceTable::new(),
            stopped,
        })
    }

    /// Moves the clock of a guest that may not look at the real one to now.
    pub(crate) fn set_clock(&self) {
        self.stopped.set();
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self
            .wasi
            .as_mut()
            .expect("whoever links WASI gets a world with its instance");
        WasiCtxView {
            ctx: &mut wasi.context,
            table: &mut wasi.table,
        }
    }
}

/// A clock that shows when the call at hand began.
struct Stopped {
    epoch: Instant,
    shown: Mutex<(SystemTime, Instant)>,
}

struct Frozen(Arc<Stopped>);

impl Stopped {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            epoch: now,
            shown: Mutex::new((SystemTime::now(), now)),
        }
    }

    fn set(&self) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = (SystemTime::now(), Instant::now());
    }

    fn shown(&self) -> (SystemTime, Instant) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostWallClock for Frozen {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.0.shown().0.duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

impl HostMonotonicClock for Frozen {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        let since = self.0.shown().1.duration_since(self.0.epoch);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Makes log lines of what is written. What has no line end yet waits for it.
#[derive(Clone)]
struct Lines {
    services: Arc<Services>,
    level: Level,
    begun: Arc<Mutex<Vec<u8>>>,
}

impl Lines {
    fn new(services: &Arc<Services>, level: Level) -> Self {
        Self {
            services: services.clone(),
            level,
            begun: Arc::default(),
        }
    }

    fn take(&self, bytes: &[u8]) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        for &byte in bytes {
            if byte != b'\n' {
                begun.push(byte);
            }
            if byte == b'\n' || begun.len() == LINE_BYTES_MAX {
                self.services.log(self.level, &String::from_utf8_lossy(&begun));
                begun.clear();
            }
        }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Lines {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LINE_BYTES_MAX)
    }
}

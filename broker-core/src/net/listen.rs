//! Opening a listener and accepting from it. Every shard has its own handle of the same listening socket, so whoever has
//! time accepts; a connection stays where it was accepted.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plugin_api::Peer;
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::listener::Bind;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long accepting pauses when the process or the system is out of file descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A bound listening socket. Dropping it removes the file of a unix socket.
#[derive(Debug)]
pub(crate) struct Bound {
    /// `None`: nobody can come in here.
    socket: Option<RawSocket>,
    bind: Bind,
}

impl Bound {
    /// Binds and listens.
    pub(crate) fn open(bind: &Bind) -> io::Result<Self> {
        match bind {
            Bind::Tcp(address) => Self::tcp(*address),
            Bind::Unix(path) => Self::unix(path),
            Bind::Internal => Ok(Self {
                socket: None,
                bind: Bind::Internal,
            }),
        }
    }

    /// Returns where it listens, with the port that the system chose.
    pub(crate) fn bind(&self) -> &Bind {
        &self.bind
    }

    /// Returns one more handle of the same socket, if there is one.
    pub(crate) fn share(&self) -> io::Result<Option<Shared>> {
        let Some(socket) = &self.socket else {
            return Ok(None);
        };
        Ok(Some(Shared {
            socket: socket.try_clone()?,
            tcp: matches!(self.bind, Bind::Tcp(_)),
        }))
    }

    fn tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = RawSocket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        // What is accepted inherits it. Without it a pipelined exchange waits 40 ms a batch.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let local = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self {
            socket: Some(socket),
            bind: Bind::Tcp(local),
        })
    }

    fn unix(path: &Path) -> io::Result<Self> {
        let socket = RawSocket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        let address = SockAddr::unix(path)?;
        if let Err(error) = socket.bind(&address) {
            if error.kind() != io::ErrorKind::AddrInUse || !is_stale(path, &address) {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        socket.listen(BACKLOG)?;
        Ok(Self {
            socket: Some(socket),
            bind: Bind::Unix(PathBuf::from(path)),
        })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Bind::Unix(path) = &self.bind {
            // Somebody may have removed it already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A handle of a listening socket, on its way to a shard.
#[derive(Debug)]
pub(crate) struct Shared {
    socket: RawSocket,
    tcp: bool,
}

impl Shared {
    /// Returns the acceptor on the present runtime.
    pub(crate) fn acceptor(self) -> io::Result<Acceptor> {
        Ok(Acceptor {
            socket: super::poller::readable(self.socket)?,
            tcp: self.tcp,
        })
    }
}

/// Tells whether a socket file is left over from a process that is gone.
fn is_stale(path: &Path, address: &SockAddr) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    let refused = || {
        let probe = RawSocket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)
            .map(|probe| probe.connect(address));
        matches!(probe, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
    };
    is_socket && refused()
}

/// Accepts for one shard.
#[derive(Debug)]
pub(crate) struct Acceptor {
    socket: AsyncFd<RawSocket>,
    tcp: bool,
}

/// Why nothing was accepted.
#[derive(Debug)]
pub(crate) enum AcceptFailure {
    /// Out of file descriptors or memory; accepting pauses.
    Exhausted(io::Error),
    /// This one connection failed.
    One(io::Error),
}

impl Acceptor {
    /// Waits for the next connection; its socket doesn't block. Out of file descriptors it reports so, and waits a moment before
    /// it goes on.
    pub(crate) async fn accept(&self) -> Result<(OwnedFd, Peer), AcceptFailure> {
        let accepted = self
            .socket
            .async_io(Interest::READABLE, |socket| self.accept_one(socket));
        match accepted.await {
            Ok(accepted) => Ok(accepted),
            Err(error) if is_exhaustion(&error) => {
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
                Err(AcceptFailure::Exhausted(error))
            }
            Err(error) => Err(AcceptFailure::One(error)),
        }
    }

    fn accept_one(&self, socket: &RawSocket) -> io::Result<(OwnedFd, Peer)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (fd, address) = rustix::net::acceptfrom_with(socket, flags)?;
        let peer = match address.filter(|_| self.tcp) {
            Some(address) => Peer::Tcp(address.try_into()?),
            None => Peer::Unix,
        };
        Ok((fd, peer))
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error
        .raw_os_error()
        .is_some_and(|code| exhausted.iter().any(|errno| errno.raw_os_error() == code))
}

//! One connected socket, whatever its kind. Reading belongs to the connection's task; writing may come from any thread,
//! but from one at a time (the Session's lock sees to that).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// A stream socket that is registered with the runtime of the shard that owns it.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// This many bytes, and there may be more.
    More(usize),
    /// This many bytes, and no more for now.
    Drained(usize),
    /// The other end has closed its half.
    Closed,
}

impl Socket {
    /// Reads once into `buf`, when there is something.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<Read>> {
        let most = buf.len();
        self.poll_recv(cx, most, |fd| {
            rustix::net::recv(fd, &mut *buf, RecvFlags::empty()).map(|(n, _)| n)
        })
    }

    /// Reads once to the end of `buf`, at most as much as it has room for, when there is something.
    pub(crate) fn poll_read_to_end_of(
        &self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<Read>> {
        let most = buf.capacity() - buf.len();
        self.poll_recv(cx, most, |fd| {
            rustix::net::recv(fd, rustix::buffer::spare_capacity(buf), RecvFlags::empty()).map(|(n, _)| n)
        })
    }

    /// One system call for each wake: after a short read the socket is empty, so the runtime is told so without asking the
    /// system again. (That the other end has closed is told anew each time.)
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        most: usize,
        mut recv: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> Poll<io::Result<Read>> {
        loop {
            match self {
                Self::Tcp(stream) => ready!(stream.poll_read_ready(cx))?,
                Self::Unix(stream) => ready!(stream.poll_read_ready(cx))?,
            }
            let mut drained = None;
            let once = || match recv(self.fd()) {
                Ok(0) => Ok(Read::Closed),
                Ok(n) if n < most => {
                    drained = Some(n);
                    Err(io::ErrorKind::WouldBlock.into())
                }
                Ok(n) => Ok(Read::More(n)),
                Err(Errno::INTR) => Ok(Read::More(0)),
                Err(error) => Err(error.into()),
            };
            let result = match self {
                Self::Tcp(stream) => stream.try_io(Interest::READABLE, once),
                Self::Unix(stream) => stream.try_io(Interest::READABLE, once),
            };
            match (result, drained) {
                (_, Some(n)) => return Poll::Ready(Ok(Read::Drained(n))),
                (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => {}
                (result, None) => return Poll::Ready(result),
            }
        }
    }

    /// Writes as much as the system takes, from any thread, without asking the runtime. `WouldBlock` when it takes nothing.
    pub(crate) fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let sent = match slices {
                [one] => rustix::net::send(self.fd(), one, SendFlags::NOSIGNAL),
                many => rustix::net::sendmsg(
                    self.fd(),
                    many,
                    &mut rustix::net::SendAncillaryBuffer::default(),
                    SendFlags::NOSIGNAL,
                ),
            };
            match sent {
                Err(Errno::INTR) => {}
                sent => return Ok(sent?),
            }
        }
    }

    /// Waits until the system may take bytes again: for the owner's task, after [`Self::send`] said `WouldBlock`.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Writes as [`Self::send`], and lets the runtime know when nothing more fits: for the owner's task.
    pub(crate) fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::WRITABLE, || self.send(slices)),
            Self::Unix(stream) => stream.try_io(Interest::WRITABLE, || self.send(slices)),
        }
    }

    /// Ends both directions at once, so that the other end sees it even while the socket is still held somewhere.
    pub(crate) fn shutdown(&self) {
        // The other end may be gone already; there is nobody to tell.
        let _ = rustix::net::shutdown(self.fd(), rustix::net::Shutdown::Both);
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

//! Which sockets of a shard are ready: one selector of the operating system (epoll, kqueue) for all of them, which itself is one
//! source of events for the shard's runtime.
//!
//! The runtime could watch each socket, but keeps 256 bytes for each; here an idle one costs what the system keeps. The
//! price is one more system call for each wake of a shard, not for each socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Token};
use tokio::io::unix::AsyncFd;

use super::Ready;

/// Sockets that are served before the shard's runtime has its turn.
const EVENTS: usize = 256;

/// Waits for the sockets of one shard.
#[derive(Debug)]
pub(crate) struct Poller {
    selector: AsyncFd<mio::Poll>,
    events: mio::Events,
}

/// Puts sockets under a [`Poller`]'s eye.
#[derive(Debug)]
pub(crate) struct Registrar(mio::Registry);

impl Poller {
    /// Returns one that watches nothing, on the present runtime.
    pub(crate) fn new() -> io::Result<(Self, Registrar)> {
        let selector = mio::Poll::new()?;
        let registrar = Registrar(selector.registry().try_clone()?);
        let poller = Self {
            selector: readable(selector)?,
            events: mio::Events::with_capacity(EVENTS),
        };
        Ok((poller, registrar))
    }

    /// Hands the number of each socket that has become ready to `each`, once there are some.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut each: impl FnMut(usize, Ready),
    ) -> Poll<io::Result<()>> {
        let mut watched = ready!(self.selector.poll_read_ready_mut(cx))?;
        let selector = watched.get_inner_mut();
        match selector.poll(&mut self.events, Some(Duration::ZERO)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Poll::Ready(Ok(())),
            Err(error) => return Poll::Ready(Err(error)),
        }
        let mut count = 0;
        for event in &self.events {
            count += 1;
            each(event.token().0, Ready::of(event));
        }
        if count < EVENTS {
            watched.clear_ready();
        }
        Poll::Ready(Ok(()))
    }
}

/// Has the present runtime tell when there is something to read from `source`.
#[expect(
    deprecated,
    reason = "its successor is unsafe, for types that change or close their descriptor; ours keep theirs until they are dropped"
)]
pub(super) fn readable<T: AsRawFd>(source: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(source, tokio::io::Interest::READABLE)
}

impl Registrar {
    /// Watches `socket`, known as `number`, until it is closed. Each change is told once.
    pub(crate) fn add(&self, socket: impl AsFd, number: usize) -> io::Result<()> {
        let fd = socket.as_fd().as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.0.register(&mut SourceFd(&fd), Token(number), interest)
    }
}

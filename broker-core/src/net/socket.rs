//! One connected socket, or what stands for one inside the process. Reading belongs to the connection, on its shard; writing may come from any thread,
//! but from one at a time (the Session's lock sees to that). It is also the connection's bell: who wakes it, wakes the
//! connection.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Poll, Wake};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::{Pipe, Wakes};

/// What carries the bytes.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// A stream socket of the system, which doesn't block.
    System(OwnedFd),
    /// The other end is in this process.
    Local(Pipe),
}

impl From<OwnedFd> for Carrier {
    fn from(fd: OwnedFd) -> Self {
        Self::System(fd)
    }
}

/// A stream that doesn't block, at its seat in the shard that owns it.
#[derive(Debug)]
pub(crate) struct Socket {
    carrier: Carrier,
    /// What is known of it. Only the owner's thread looks at it and changes it.
    state: AtomicU8,
    /// It is among `wakes`, or about to go on.
    woken: AtomicBool,
    seat: u32,
    wakes: Arc<Wakes>,
}

/// A read may bring something.
const READABLE: u8 = 1;
/// The system may take bytes.
const WRITABLE: u8 = 1 << 1;
/// The other end has closed its half: reads never run dry.
const ENDS: u8 = 1 << 2;
/// The owner waits for [`WRITABLE`].
const WANTS_TO_WRITE: u8 = 1 << 3;
/// Nothing came within the Keep Alive.
const LATE: u8 = 1 << 4;

/// What has become possible with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready(u8);

impl Ready {
    /// Reads an event of the system.
    pub(super) fn of(event: &mio::event::Event) -> Self {
        let ends = event.is_read_closed() || event.is_error();
        let mut ready = 0;
        if event.is_readable() || ends {
            ready |= READABLE;
        }
        if event.is_writable() || event.is_write_closed() || event.is_error() {
            ready |= WRITABLE;
        }
        if ends {
            ready |= ENDS;
        }
        Self(ready)
    }
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
    /// Puts `carrier` at a seat. There may be something to read already.
    pub(crate) fn new(carrier: Carrier, seat: usize, wakes: Arc<Wakes>) -> Arc<Self> {
        let socket = Arc::new(Self {
            carrier,
            state: (READABLE | WRITABLE).into(),
            woken: false.into(),
            seat: u32::try_from(seat).expect("there are fewer sockets than that"),
            wakes,
        });
        if let Carrier::Local(pipe) = &socket.carrier {
            pipe.rings(Arc::new(Bell(Arc::downgrade(&socket))).into());
        }
        socket
    }

    /// Returns what the system knows it by.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.carrier {
            Carrier::System(fd) => Some(fd.as_fd()),
            Carrier::Local(_) => None,
        }
    }

    /// Returns its seat.
    pub(crate) const fn seat(&self) -> usize {
        self.seat as usize
    }

    /// Notes what has become possible. True: the connection is to go on, and the caller sees to it.
    pub(crate) fn note(&self, ready: Ready) -> bool {
        let before = self.state();
        self.set(ready.0);
        let concerns = ready.0 & READABLE != 0 || before & WANTS_TO_WRITE != 0;
        concerns && !self.woken.swap(true, Ordering::AcqRel)
    }

    /// Says that the connection goes on now: who wakes it from here on, wakes it again.
    pub(crate) fn going_on(&self) {
        self.woken.store(false, Ordering::Release);
    }

    /// Wakes the connection because nothing came within its Keep Alive. It asks the system once more before it believes that.
    pub(crate) fn be_late(self: &Arc<Self>) {
        self.set(LATE | READABLE);
        self.wake_by_ref();
    }

    /// Tells whether [`Self::be_late`] was called since.
    pub(crate) fn take_late(&self) -> bool {
        let late = self.state() & LATE != 0;
        self.clear(LATE);
        late
    }

    /// Reads once into `buf`, when there is something.
    pub(crate) fn poll_read(&self, buf: &mut [u8]) -> Poll<io::Result<Read>> {
        let most = buf.len();
        match &self.carrier {
            Carrier::System(fd) => self.poll_recv(most, || {
                rustix::net::recv(fd, &mut *buf, RecvFlags::empty()).map(|(n, _)| n)
            }),
            Carrier::Local(pipe) => {
                let mut filled = 0;
                pipe.poll_read(most, |bytes| {
                    buf[filled..filled + bytes.len()].copy_from_slice(bytes);
                    filled += bytes.len();
                })
            }
        }
    }

    /// Reads once to the end of `buf`, at most as much as it has room for, when there is something.
    pub(crate) fn poll_read_to_end_of(&self, buf: &mut Vec<u8>) -> Poll<io::Result<Read>> {
        let most = buf.capacity() - buf.len();
        match &self.carrier {
            Carrier::System(fd) => self.poll_recv(most, || {
                rustix::net::recv(fd, rustix::buffer::spare_capacity(buf), RecvFlags::empty()).map(|(n, _)| n)
            }),
            Carrier::Local(pipe) => pipe.poll_read(most, |bytes| buf.extend_from_slice(bytes)),
        }
    }

    /// One system call for each wake: after a short read the socket is empty, and the system tells when it no longer is.
    /// (That the other end has closed may have been told already, so then the read goes on to the end.)
    fn poll_recv(
        &self,
        most: usize,
        mut recv: impl FnMut() -> Result<usize, Errno>,
    ) -> Poll<io::Result<Read>> {
        while self.state() & READABLE != 0 {
            match recv() {
                Ok(0) => return Poll::Ready(Ok(Read::Closed)),
                Ok(n) if n < most && self.state() & ENDS == 0 => {
                    self.clear(READABLE);
                    return Poll::Ready(Ok(Read::Drained(n)));
                }
                Ok(n) => return Poll::Ready(Ok(Read::More(n))),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.clear(READABLE),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Pending
    }

    /// Writes as much as is taken, from any thread. `WouldBlock` when nothing is.
    pub(crate) fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let fd = match &self.carrier {
            Carrier::System(fd) => fd,
            Carrier::Local(pipe) => return pipe.send(slices),
        };
        loop {
            let sent = match slices {
                [one] => rustix::net::send(fd, one, SendFlags::NOSIGNAL),
                many => rustix::net::sendmsg(
                    fd,
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

    /// Tells whether the system may take bytes again; if not, the connection is woken when it does. For the owner, after
    /// [`Self::send`] said `WouldBlock`.
    pub(crate) fn poll_write_ready(&self) -> Poll<()> {
        if let Carrier::Local(pipe) = &self.carrier {
            return pipe.poll_write_ready();
        }
        if self.state() & WRITABLE != 0 {
            self.clear(WANTS_TO_WRITE);
            return Poll::Ready(());
        }
        self.set(WANTS_TO_WRITE);
        Poll::Pending
    }

    /// Writes as [`Self::send`], and remembers when nothing more fits: for the owner.
    pub(crate) fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let sent = self.send(slices);
        if matches!(&sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.clear(WRITABLE);
        }
        sent
    }

    /// Ends both directions at once, so that the other end sees it even while the socket is still held somewhere.
    pub(crate) fn shutdown(&self) {
        match &self.carrier {
            // The other end may be gone already; there is nobody to tell.
            Carrier::System(fd) => _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Both),
            Carrier::Local(pipe) => pipe.shutdown(),
        }
    }

    fn state(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }

    fn set(&self, bits: u8) {
        self.state.store(self.state() | bits, Ordering::Relaxed);
    }

    fn clear(&self, bits: u8) {
        self.state.store(self.state() & !bits, Ordering::Relaxed);
    }
}

impl Wake for Socket {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.wakes.add(self.clone());
        }
    }
}

/// What the other end of a pipe rings. It keeps no connection.
struct Bell(Weak<Socket>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(socket) = self.0.upgrade() {
            socket.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::task::Waker;

    use super::*;

    fn pair() -> (Arc<Socket>, UnixStream, Arc<Wakes>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let wakes = Arc::<Wakes>::default();
        let socket = Socket::new(OwnedFd::from(ours).into(), 0, wakes.clone());
        (socket, theirs, wakes)
    }

    fn woken(wakes: &Wakes) -> usize {
        let mut sockets = Vec::new();
        wakes.take(&mut sockets);
        sockets.iter().for_each(|socket| socket.going_on());
        sockets.len()
    }

    #[test]
    fn an_empty_socket_is_not_read_until_the_system_says_so() {
        let (socket, mut theirs, _) = pair();
        let mut buf = [0; 8];
        assert!(socket.poll_read(&mut buf).is_pending());
        theirs.write_all(b"abc").unwrap();
        assert!(socket.poll_read(&mut buf).is_pending(), "nobody has said so");
        assert!(socket.note(Ready(READABLE)));
        let Poll::Ready(Ok(read)) = socket.poll_read(&mut buf) else {
            panic!("nothing")
        };
        assert_eq!(read, Read::Drained(3));
        assert!(socket.poll_read(&mut buf).is_pending());
    }

    /// The end may be told together with the last bytes, and never again.
    #[test]
    fn the_end_behind_a_short_read_is_found() {
        let (socket, mut theirs, _) = pair();
        theirs.write_all(b"abc").unwrap();
        drop(theirs);
        assert!(socket.note(Ready(READABLE | ENDS)));
        let mut buf = [0; 8];
        assert!(matches!(
            socket.poll_read(&mut buf),
            Poll::Ready(Ok(Read::More(3)))
        ));
        assert!(matches!(
            socket.poll_read(&mut buf),
            Poll::Ready(Ok(Read::Closed))
        ));
    }

    #[test]
    fn who_is_late_is_asked_once_more() {
        let (socket, mut theirs, wakes) = pair();
        let mut buf = [0; 8];
        assert!(socket.poll_read(&mut buf).is_pending());
        theirs.write_all(b"abc").unwrap();
        socket.be_late();
        assert_eq!(woken(&wakes), 1);
        assert!(socket.take_late() && !socket.take_late());
        assert!(socket.poll_read(&mut buf).is_ready());
    }

    #[test]
    fn a_connection_is_woken_once_until_it_goes_on() {
        let (socket, _theirs, wakes) = pair();
        socket.wake_by_ref();
        Waker::from(socket.clone()).wake();
        assert!(!socket.note(Ready(READABLE)));
        assert_eq!(woken(&wakes), 1);
        assert!(socket.note(Ready(READABLE)));
    }

    #[test]
    fn room_to_write_wakes_only_who_waits_for_it() {
        let (socket, _theirs, _) = pair();
        assert!(!socket.note(Ready(WRITABLE)));
        while socket.try_send(&[IoSlice::new(&[0; 4096])]).is_ok() {}
        assert!(socket.poll_write_ready().is_pending());
        assert!(socket.note(Ready(WRITABLE)));
        assert!(socket.poll_write_ready().is_ready());
        socket.going_on();
        assert!(!socket.note(Ready(WRITABLE)));
    }
}

//! A connection inside the process: two lanes of bytes between a shard and the embedding program. No system call, no file
//! descriptor; the shard's end behaves as a socket does, the program's end is an ordinary asynchronous stream.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Read;

/// Bytes that wait in one direction at most; whoever writes more is told to wait.
const LANE_BYTES: usize = 64 * 1024;
/// Memory that an empty lane keeps.
const LANE_KEPT: usize = 4 * 1024;

/// Returns the two ends of a new connection: the shard's and the program's.
pub(crate) fn pipe() -> (Pipe, LocalStream) {
    let lanes = Arc::new(Lanes {
        to_broker: Mutex::default(),
        to_program: Mutex::default(),
    });
    (Pipe(lanes.clone()), LocalStream(lanes))
}

#[derive(Debug)]
struct Lanes {
    to_broker: Mutex<Lane>,
    to_program: Mutex<Lane>,
}

/// One direction. What was written before it was closed can still be read.
#[derive(Debug, Default)]
struct Lane {
    bytes: VecDeque<u8>,
    closed: bool,
    reader: Waiting,
    writer: Waiting,
}

/// Who is told of a change at the other side of a lane.
#[derive(Debug, Default)]
enum Waiting {
    #[default]
    Nobody,
    /// A task that found nothing.
    Once(Waker),
    /// A connection, every time, as with a socket that the system watches.
    Always(Waker),
}

impl Waiting {
    fn note(&mut self, cx: &Context<'_>) {
        match self {
            Self::Once(waker) => waker.clone_from(cx.waker()),
            _ => *self = Self::Once(cx.waker().clone()),
        }
    }

    fn tell(&mut self) {
        match self {
            Self::Nobody => {}
            Self::Always(waker) => waker.wake_by_ref(),
            Self::Once(_) => {
                if let Self::Once(waker) = std::mem::take(self) {
                    waker.wake();
                }
            }
        }
    }
}

impl Lane {
    /// Takes what is there: 0 when nothing is and nothing will come; `None` when nothing is yet.
    fn take(&mut self, most: usize, mut put: impl FnMut(&[u8])) -> Option<usize> {
        if self.bytes.is_empty() && !self.closed && most > 0 {
            return None;
        }
        let was_full = self.is_full();
        let count = most.min(self.bytes.len());
        let (front, back) = self.bytes.as_slices();
        let of_front = count.min(front.len());
        put(&front[..of_front]);
        put(&back[..count - of_front]);
        self.bytes.drain(..count);
        if self.bytes.is_empty() && self.bytes.capacity() > LANE_KEPT {
            self.bytes = VecDeque::new();
        }
        if was_full && count > 0 {
            self.writer.tell();
        }
        Some(count)
    }

    /// Writes as much as there is room for: `WouldBlock` when there is none.
    fn put(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.is_full() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut count = 0;
        for slice in slices {
            let room = LANE_BYTES - self.bytes.len();
            let now = room.min(slice.len());
            self.bytes.extend(&slice[..now]);
            count += now;
        }
        if count > 0 {
            self.reader.tell();
        }
        Ok(count)
    }

    fn is_full(&self) -> bool {
        self.bytes.len() == LANE_BYTES
    }

    fn close(&mut self) {
        self.closed = true;
        self.reader.tell();
        self.writer.tell();
    }
}

/// A lane is only bytes and wakers: whatever panicked, it is still whole.
fn lock(lane: &Mutex<Lane>) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shard's end. Dropping it closes both directions.
#[derive(Debug)]
pub(crate) struct Pipe(Arc<Lanes>);

impl Pipe {
    /// Rings `bell` whenever something can be read, there is room after there was none, or the other end has closed.
    pub(super) fn rings(&self, bell: Waker) {
        lock(&self.0.to_broker).reader = Waiting::Always(bell.clone());
        lock(&self.0.to_program).writer = Waiting::Always(bell);
    }

    /// Reads at most `most` bytes into `put`.
    pub(super) fn poll_read(&self, most: usize, put: impl FnMut(&[u8])) -> Poll<io::Result<Read>> {
        match lock(&self.0.to_broker).take(most, put) {
            None => Poll::Pending,
            Some(0) => Poll::Ready(Ok(Read::Closed)),
            Some(n) if n < most => Poll::Ready(Ok(Read::Drained(n))),
            Some(n) => Poll::Ready(Ok(Read::More(n))),
        }
    }

    /// Writes as much as there is room for.
    pub(super) fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        lock(&self.0.to_program).put(slices)
    }

    /// Tells whether there is room, or will never be.
    pub(super) fn poll_write_ready(&self) -> Poll<()> {
        let lane = lock(&self.0.to_program);
        match lane.is_full() && !lane.closed {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }

    /// Ends both directions.
    pub(super) fn shutdown(&self) {
        lock(&self.0.to_broker).close();
        lock(&self.0.to_program).close();
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// The program's end of a connection to its own broker: bytes of MQTT in both directions, without a socket. Works on any
/// runtime. Each direction holds up to 64 KiB; who writes more waits. Dropping it ends the connection, without DISCONNECT.
#[derive(Debug)]
#[must_use = "the connection ends when it is dropped"]
pub struct LocalStream(Arc<Lanes>);

impl LocalStream {
    /// Reads what is there; 0 when nothing more comes.
    pub(crate) fn poll_receive(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<usize> {
        let mut filled = 0;
        let mut lane = lock(&self.0.to_program);
        let taken = lane.take(buf.len(), |bytes| {
            buf[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        });
        match taken {
            Some(count) => Poll::Ready(count),
            None => {
                lane.reader.note(cx);
                Poll::Pending
            }
        }
    }

    /// Writes as much as there is room for, when there is some.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut lane = lock(&self.0.to_broker);
        match lane.put(slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                lane.writer.note(cx);
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn finish(&self) {
        lock(&self.0.to_broker).close();
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = ready!(self.poll_receive(cx, buf.initialize_unfilled()));
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for LocalStream {
    fn drop(&mut self) {
        self.finish();
        let mut lane = lock(&self.0.to_program);
        lane.close();
        // Nobody will read them.
        lane.bytes = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    /// Counts how often it is told.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// As with a socket that the system watches: nobody has to ask again to be told again.
    #[test]
    fn a_connection_is_told_every_time() {
        let (pipe, mut stream) = pipe();
        let told = Arc::<Count>::default();
        pipe.rings(told.clone().into());
        let count = || told.0.load(Ordering::Relaxed);
        write(&mut stream, b"a").unwrap().unwrap();
        write(&mut stream, b"b").unwrap().unwrap();
        assert_eq!(count(), 2);
        pipe.send(&[IoSlice::new(&[0; 10])]).unwrap();
        let mut buf = [0; 10];
        assert!(stream.poll_receive(&mut cx(), &mut buf).is_ready());
        assert_eq!(count(), 2, "there was room all the time");
        pipe.send(&[IoSlice::new(&vec![0; LANE_BYTES])]).unwrap();
        assert!(stream.poll_receive(&mut cx(), &mut buf).is_ready());
        assert_eq!(count(), 3);
        drop(stream);
        assert_eq!(count(), 5, "both lanes are closed");
    }

    fn read(pipe: &Pipe, most: usize) -> Option<(Read, Vec<u8>)> {
        let mut came = Vec::new();
        match pipe.poll_read(most, |bytes| came.extend_from_slice(bytes)) {
            Poll::Ready(read) => Some((read.unwrap(), came)),
            Poll::Pending => None,
        }
    }

    fn write(stream: &mut LocalStream, bytes: &[u8]) -> Option<io::Result<usize>> {
        match Pin::new(stream).poll_write(&mut cx(), bytes) {
            Poll::Ready(written) => Some(written),
            Poll::Pending => None,
        }
    }

    #[test]
    fn bytes_come_in_order_and_the_end_comes_last() {
        let (pipe, mut stream) = pipe();
        assert_eq!(read(&pipe, 10), None);
        assert_eq!(write(&mut stream, b"abcdef").unwrap().unwrap(), 6);
        assert_eq!(read(&pipe, 4), Some((Read::More(4), b"abcd".to_vec())));
        drop(stream);
        assert_eq!(read(&pipe, 4), Some((Read::Drained(2), b"ef".to_vec())));
        assert_eq!(read(&pipe, 4), Some((Read::Closed, Vec::new())));
        assert_eq!(
            pipe.send(&[IoSlice::new(b"x")]).unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    #[test]
    fn a_full_lane_takes_nothing_until_it_is_read() {
        let (pipe, mut stream) = pipe();
        let much = vec![7; LANE_BYTES + 1];
        assert_eq!(write(&mut stream, &much).unwrap().unwrap(), LANE_BYTES);
        assert!(write(&mut stream, &much).is_none());
        assert!(matches!(read(&pipe, 1), Some((Read::More(1), _))));
        assert_eq!(write(&mut stream, &much).unwrap().unwrap(), 1);

        assert_eq!(pipe.send(&[IoSlice::new(&much)]).unwrap(), LANE_BYTES);
        let blocked = pipe.send(&[IoSlice::new(b"x")]).unwrap_err();
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
        assert!(pipe.poll_write_ready().is_pending());
        let mut buf = [0; 100];
        let mut buf = ReadBuf::new(&mut buf);
        assert!(Pin::new(&mut stream).poll_read(&mut cx(), &mut buf).is_ready());
        assert_eq!(buf.filled().len(), 100);
        assert!(pipe.poll_write_ready().is_ready());
    }

    #[test]
    fn what_the_broker_said_before_it_closed_can_be_read() {
        let (pipe, mut stream) = pipe();
        pipe.send(&[IoSlice::new(b"bye"), IoSlice::new(b"!")]).unwrap();
        drop(pipe);
        let mut buf = [0; 10];
        let mut buf = ReadBuf::new(&mut buf);
        assert!(Pin::new(&mut stream).poll_read(&mut cx(), &mut buf).is_ready());
        assert_eq!(buf.filled(), b"bye!");
        assert!(Pin::new(&mut stream).poll_read(&mut cx(), &mut buf).is_ready());
        assert_eq!(buf.filled(), b"bye!", "nothing more comes, and that is said");
        assert!(write(&mut stream, b"x").unwrap().is_err());
    }
}

//! One shard: a thread with a runtime of its own. It accepts for itself and keeps what it accepted; whoever has a message
//! for a Session of another shard appends to that Session's output and writes it out from here, so a delivery never
//! changes threads.
//!
//! It goes round by round: every connection whose socket is ready goes on, then every output is written that was appended to.
//! Cost of a delivery: one lock, one copy of the frame. Cost of a round: two questions to the system which sockets are ready
//! (the runtime's, and the shard's own for all connections), a `recv` for each connection that is, and a `send` for each output.

use std::cell::{Cell, RefCell, RefMut};
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use broker_proto::{OutboundLimits, OutgoingScratch, WriteBuf};
use broker_types::{ClientHandle, PacketId, ReasonCode, Timestamp};
use tokio::sync::{mpsc, watch};

use super::core::Core;
use super::memory::Others;
use super::seats::Seats;
use super::session::{Kick, Session};
use super::wheel::Wheel;
use crate::metrics::ShardMetrics;
use crate::net::{Poller, Socket};
use crate::routing::TopicCache;
use crate::store::{Group, Journal, Transaction, Waiter};
use crate::sys::SysTree;

/// Bytes that one read takes at most.
pub(crate) const READ_BYTES: usize = 512 * 1024;
/// Buffers that wait to be used again, and the largest that is kept.
const POOL_BUFFERS: usize = 256;
const POOL_BUFFER_BYTES: usize = 256 * 1024;
/// Slices of one `sendmsg`.
const SLICES: usize = 64;
/// Bytes written to one output before others get their turn.
const FLUSH_BYTES: usize = 1024 * 1024;
/// Topics and matches that a shard remembers.
const CACHED_TOPICS: usize = 8192;
const CACHED_MATCHES: usize = 128 * 1024;

/// Work that another thread hands to a shard.
pub(crate) type Job = Box<dyn FnOnce(&Rc<Shard>) + Send>;

/// What a shard has for itself. Never leaves its thread.
pub(crate) struct Shard {
    /// What all share.
    pub(crate) core: Arc<Core>,
    /// Which one it is.
    pub(crate) index: usize,
    /// What it counts.
    pub(crate) metrics: Arc<ShardMetrics>,
    /// Its connections.
    pub(crate) seats: Seats,
    /// Keep Alives; whoever is late is told.
    pub(crate) wheel: RefCell<Wheel<Arc<Socket>>>,
    /// Where every read of this shard goes first.
    read_buf: RefCell<Vec<u8>>,
    /// Answers of one burst, before they are appended to the connection's output.
    replies: RefCell<Vec<u8>>,
    topics: RefCell<TopicCache<Arc<Session>>>,
    scratch: RefCell<OutgoingScratch>,
    /// Outputs to be written, each with the connection that it belongs to: meanwhile the Session may have another one.
    dirty: RefCell<Vec<(Arc<Session>, ClientHandle)>>,
    /// Wakes the shard when there is something to write, if it sleeps.
    flusher: RefCell<Option<Waker>>,
    pool: RefCell<Vec<WriteBuf>>,
    /// Bounds that Sessions share.
    pub(super) outbound_limits: RefCell<Vec<Arc<OutboundLimits>>>,
    now: Cell<Timestamp>,
    /// What was published of `$SYS`; only one shard does that.
    pub(super) sys: RefCell<Option<SysTree>>,
    /// What is being done at the moment and becomes durable together.
    transaction: RefCell<Option<Transaction>>,
    /// What the other shards hold.
    pub(super) others: Cell<Others>,
}

impl Shard {
    /// Returns the shard `index` of `core`, with `seats` for its connections.
    pub(crate) fn new(core: Arc<Core>, index: usize, seats: Seats) -> Rc<Self> {
        let now = core.clock.now();
        let interval = core.settings().sys_interval.filter(|_| index == 0);
        let sys = interval.map(|interval| SysTree::new(interval, now));
        Rc::new(Self {
            metrics: core.metrics[index].clone(),
            seats,
            wheel: RefCell::new(Wheel::new(now)),
            read_buf: RefCell::new(vec![0; READ_BYTES]),
            replies: RefCell::default(),
            topics: RefCell::new(TopicCache::new(CACHED_TOPICS, CACHED_MATCHES)),
            scratch: RefCell::new(OutgoingScratch::with_ledger(core.ledgers[index].clone())),
            dirty: RefCell::default(),
            flusher: RefCell::default(),
            pool: RefCell::default(),
            outbound_limits: RefCell::default(),
            now: Cell::new(now),
            transaction: RefCell::default(),
            others: Cell::default(),
            sys: RefCell::new(sys),
            core,
            index,
        })
    }

    /// Publishes `$SYS` so often from now on, or no more.
    pub(crate) fn set_sys_interval(&self, interval: Option<Duration>) {
        let now = self.read_clock();
        *self.sys.borrow_mut() = interval.map(|interval| SysTree::new(interval, now));
    }

    /// Runs until the broker stops: connections, jobs of others, ticks.
    pub(crate) async fn run(
        self: Rc<Self>,
        poller: Poller,
        mut jobs: mpsc::Receiver<Job>,
        mut end: watch::Receiver<bool>,
    ) {
        // A connection has a turn of its own; the runtime's budget for a task would be one for all of them.
        let rounds = tokio::task::coop::unconstrained(self.clone().rounds(poller));
        let rounds = tokio::task::spawn_local(rounds);
        let mut ticks = self.core.clock.ticks();
        loop {
            tokio::select! {
                _ = end.wait_for(|end| *end) => break,
                job = jobs.recv() => match job {
                    Some(job) => self.survive(|| job(&self)),
                    None => break,
                },
                () = ticks.next() => self.survive(|| self.tick()),
            }
        }
        rounds.abort();
        self.seats.close();
    }

    /// Runs what belongs to no connection. A panic in it must not end all connections of the shard.
    fn survive(&self, run: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            self.metrics.panics.one();
        }
    }

    /// Returns the present moment, as the broker's clock says, and remembers it for [`Self::now`].
    pub(crate) fn read_clock(&self) -> Timestamp {
        let now = self.core.clock.now();
        self.now.set(now);
        now
    }

    /// Returns the moment at which the clock was read last: once for each wake.
    pub(crate) fn now(&self) -> Timestamp {
        self.now.get()
    }

    /// Runs `work`, and makes all that must become durable by it so at once. If there is anything, whoever `waiter` names is
    /// told when it is; true: somebody will be.
    #[inline]
    pub(crate) fn transact<T>(
        &self,
        work: impl FnOnce() -> T,
        waiter: impl FnOnce(&T) -> Option<Waiter>,
    ) -> (T, bool) {
        match &self.core.journal {
            None => (work(), false),
            Some(journal) => self.transact_durably(journal, work, waiter),
        }
    }

    #[inline(never)]
    fn transact_durably<T>(
        &self,
        journal: &Arc<Journal>,
        work: impl FnOnce() -> T,
        waiter: impl FnOnce(&T) -> Option<Waiter>,
    ) -> (T, bool) {
        if self.transaction.borrow().is_some() {
            // It is part of something larger.
            return (work(), false);
        }
        self.transaction.replace(Some(Transaction::new(journal.clone())));
        let begun = Begun(&self.transaction);
        let done = work();
        let Some(transaction) = begun.0.take().filter(|transaction| transaction.used().is_some()) else {
            return (done, false);
        };
        let waiter = waiter(&done);
        let waits = waiter.is_some();
        transaction.end(waiter);
        (done, waits)
    }

    /// Runs `work` as a part of `transaction`, which has begun already, if there is one.
    pub(crate) fn transact_in(&self, transaction: Option<Transaction>, work: impl FnOnce()) {
        let Some(transaction) = transaction else {
            return work();
        };
        self.transaction.replace(Some(transaction));
        let begun = Begun(&self.transaction);
        work();
        if let Some(transaction) = begun.0.take() {
            transaction.end(None);
        }
    }

    /// Returns what is being done at the moment.
    pub(crate) fn transaction(&self) -> RefMut<'_, Option<Transaction>> {
        self.transaction.borrow_mut()
    }

    /// Returns the group of what is being done at the moment.
    pub(crate) fn group(&self) -> Option<Group> {
        self.transaction.borrow_mut().as_mut().map(Transaction::group)
    }

    /// Writes down that a QoS 2 message was received, if the publisher's Session must survive: together with all that it
    /// causes.
    pub(crate) fn note_received(&self, session: &Session, packet_id: PacketId) {
        if let Some(kept) = &mut session.lock().kept {
            kept.put_received(packet_id, self.group());
        }
    }

    /// Takes the buffer for reading out.
    pub(crate) fn take_read_buf(&self) -> Vec<u8> {
        self.read_buf.take()
    }

    /// Puts the buffer for reading back.
    pub(crate) fn put_read_buf(&self, buf: Vec<u8>) {
        self.read_buf.replace(buf);
    }

    /// Returns the answers of the present burst. Whoever begins or ends one clears them.
    pub(crate) fn replies(&self) -> RefMut<'_, Vec<u8>> {
        self.replies.borrow_mut()
    }

    /// Returns the memory for encoding.
    pub(crate) fn scratch(&self) -> RefMut<'_, OutgoingScratch> {
        self.scratch.borrow_mut()
    }

    /// Returns the topics it remembers.
    pub(crate) fn topics(&self) -> RefMut<'_, TopicCache<Arc<Session>>> {
        self.topics.borrow_mut()
    }

    /// Gives `out` a buffer of the pool if it has none.
    #[inline]
    pub(crate) fn lend_buffer(&self, out: &mut WriteBuf) {
        if out.capacity() == 0
            && let Some(buffer) = self.pool.borrow_mut().pop()
        {
            *out = buffer;
        }
    }

    /// Takes back the buffer of an output that is empty.
    pub(crate) fn take_buffer(&self, out: WriteBuf) {
        debug_assert!(out.is_empty());
        let mut pool = self.pool.borrow_mut();
        if (1..=POOL_BUFFER_BYTES).contains(&out.capacity()) && pool.len() < POOL_BUFFERS {
            pool.push(out);
        }
    }

    /// Has `session`'s output written at the end of this round. The caller has set `flushing` under its lock.
    #[inline]
    pub(crate) fn flush_later(&self, session: &Arc<Session>, handle: ClientHandle) {
        self.dirty.borrow_mut().push((session.clone(), handle));
        if let Some(waker) = self.flusher.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Round by round: every connection whose socket is ready or that was woken goes on once, then everything is written
    /// that they left.
    async fn rounds(self: Rc<Self>, mut poller: Poller) {
        let (mut due, mut unwritten) = (Vec::new(), Vec::new());
        loop {
            std::future::poll_fn(|cx| self.poll_due(cx, &mut poller, &mut due)).await;
            for socket in due.drain(..) {
                self.seats.go_on(socket);
            }
            std::mem::swap(&mut unwritten, &mut *self.dirty.borrow_mut());
            for (session, handle) in unwritten.drain(..) {
                self.flush_or_end(&session, handle);
            }
            // Otherwise what comes next wakes this task; a yield would ask the system for events once more.
            if !self.dirty.borrow().is_empty() || self.seats.wakes().any() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Collects the connections that are to go on. Pending: there are none, and nothing to write.
    fn poll_due(&self, cx: &mut Context<'_>, poller: &mut Poller, due: &mut Vec<Arc<Socket>>) -> Poll<()> {
        loop {
            let ready = poller.poll(cx, |seat, ready| due.extend(self.seats.note(seat, ready)));
            self.seats.wakes().take(due);
            if !due.is_empty() || !self.dirty.borrow().is_empty() {
                self.flusher.take();
                return Poll::Ready(());
            }
            match ready {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    tracing::error!(%error, "cannot ask which sockets are ready");
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending if self.seats.wakes().wait(cx) => {
                    *self.flusher.borrow_mut() = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Poll::Pending => {}
            }
        }
    }

    /// Writes what waits for a connection. A panic on the way costs this connection, not all that the shard writes to.
    pub(crate) fn flush_or_end(&self, session: &Arc<Session>, handle: ClientHandle) {
        let flush = AssertUnwindSafe(|| self.flush(session, handle));
        if catch_unwind(flush).is_err() {
            self.metrics.panics.one();
            if let Some(link) = session.lock().link_of(handle) {
                link.flushing = false;
                link.kick(Kick {
                    silent: true,
                    ..Kick::because(ReasonCode::UnspecifiedError)
                });
            }
        }
    }

    /// Writes what waits for the connection `handle` of `session`. The bytes are taken out under the lock and written outside
    /// of it; `flushing` keeps everybody else from doing the same.
    fn flush(&self, session: &Arc<Session>, handle: ClientHandle) {
        let (mut out, socket) = {
            let mut state = session.lock();
            let Some(link) = state.link_of(handle) else {
                return;
            };
            if link.blocked || link.closing {
                link.flushing = false;
                link.wake();
                return;
            }
            (std::mem::take(&mut link.out), link.socket.clone())
        };
        let (sent, result) = write_out(&socket, &mut out, FLUSH_BYTES, Socket::send);
        self.metrics.bytes_sent.add(sent as u64);
        let mut state = session.lock();
        let state = &mut *state;
        let Some(link) = state.link.as_deref_mut().filter(|link| link.handle() == handle) else {
            return;
        };
        if sent > 0 {
            link.progress = self.now();
        }
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                link.blocked = true;
                link.wake();
            }
            Err(_) => {
                link.flushing = false;
                link.kick(Kick {
                    silent: true,
                    ..Kick::because(ReasonCode::UnspecifiedError)
                });
                return;
            }
        }
        if out.is_empty() {
            self.take_buffer(out);
        } else {
            link.out.put_back(out);
        }
        if link.closing {
            link.flushing = false;
            link.wake();
            return;
        }
        if !link.looked_at {
            self.lend_buffer(&mut link.out);
            let pumped = state.pump(session, self.now());
            self.count_pumped(pumped);
        }
        let Some(link) = state.link.as_deref_mut() else {
            return;
        };
        if link.blocked {
            link.flushing = false;
        } else if !link.out.is_empty() {
            self.flush_later(session, handle);
        } else {
            link.flushing = false;
            self.take_buffer(std::mem::take(&mut link.out));
            if std::mem::take(&mut link.wants_drained) {
                link.wake();
            }
        }
        self.count_held(session, state);
    }

    /// Once a tick: what is due.
    fn tick(self: &Rc<Self>) {
        let now = self.read_clock();
        self.wheel.borrow_mut().turn(now, Socket::be_late);
        self.topics.borrow_mut().forget_stale(&self.core.routes);
        self.look_at_others();
        if self.index == 0 {
            self.core.tick(self, now);
            self.publish_sys(now);
        }
    }
}

/// What is being done at the moment; a panic in it doesn't leave it open.
struct Begun<'a>(&'a RefCell<Option<Transaction>>);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// Writes `out` until it is empty, `most` bytes are written or the socket takes no more (`WouldBlock`). Returns the bytes written
/// and how it ended.
pub(crate) fn write_out(
    socket: &Socket,
    out: &mut WriteBuf,
    most: usize,
    send: impl Fn(&Socket, &[IoSlice<'_>]) -> io::Result<usize>,
) -> (usize, io::Result<()>) {
    let mut total = 0;
    while !out.is_empty() && total < most {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = out.io_slices(&mut slices);
        match send(socket, &slices[..used]) {
            Ok(sent) => {
                out.advance(sent);
                total += sent;
            }
            Err(error) => return (total, Err(error)),
        }
    }
    (total, Ok(()))
}

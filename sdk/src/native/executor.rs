//! Where answers that take time are worked on: up to two threads of each instance, started when the first one waits.
//!
//! An async hook is polled on the broker's thread first: what it can say at once costs no thread. Only when it waits does the task
//! move here, and the broker's thread goes on. With the feature `tokio` all of it happens inside a tokio runtime of
//! the instance, so that its sockets and timers work; without, futures may await what wakes them from other
//! threads: the broker's services, channels, one's own threads.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use plugin_abi::Token;

/// Threads that an instance starts at most.
const THREADS_MAX: usize = 2;

/// What is left of an async hook: ends with the completion of its call.
pub(crate) type Rest = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The threads of one instance and what they have to do.
pub(crate) struct Executor {
    queue: Mutex<Queue>,
    turn: Condvar,
    #[cfg(feature = "tokio")]
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
    #[cfg(feature = "tokio")]
    handle: Option<tokio::runtime::Handle>,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Executor")
    }
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Arc<Task>>,
    threads: usize,
    idle: usize,
    closing: bool,
}

impl Executor {
    #[cfg(not(feature = "tokio"))]
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            turn: Condvar::new(),
        })
    }

    /// A runtime that can't be made leaves hooks without one; tokio then says so where it is needed.
    #[cfg(feature = "tokio")]
    pub(crate) fn new() -> Arc<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("plugin")
            .enable_all()
            .build()
            .ok();
        Arc::new(Self {
            queue: Mutex::default(),
            turn: Condvar::new(),
            handle: runtime.as_ref().map(|runtime| runtime.handle().clone()),
            runtime: Mutex::new(runtime),
        })
    }

    /// Makes this thread one on which the author's code may run, for as long as the result lives.
    pub(crate) fn enter(&self) -> Inside<'_> {
        Inside {
            #[cfg(feature = "tokio")]
            _runtime: self.handle.as_ref().map(tokio::runtime::Handle::enter),
            _executor: self,
        }
    }

    /// Ends the threads when they have done what they are at. Doesn't wait for them.
    pub(crate) fn close(&self) {
        let tasks = {
            let mut queue = self.lock();
            queue.closing = true;
            std::mem::take(&mut queue.tasks)
        };
        self.turn.notify_all();
        drop(tasks);
        #[cfg(feature = "tokio")]
        if let Some(runtime) = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.shutdown_background();
        }
    }

    fn push(self: &Arc<Self>, task: Arc<Task>) {
        let mut queue = self.lock();
        if queue.closing {
            return;
        }
        queue.tasks.push_back(task);
        if queue.idle == 0 && queue.threads < THREADS_MAX {
            let executor = self.clone();
            let started = thread::Builder::new()
                .name("plugin-later".to_owned())
                .spawn(move || executor.work());
            // Without a thread at all the calls run into their deadlines, which the broker tells.
            queue.threads += usize::from(started.is_ok());
        }
        drop(queue);
        self.turn.notify_one();
    }

    fn work(&self) {
        while let Some(task) = self.next() {
            task.run();
        }
    }

    fn next(&self) -> Option<Arc<Task>> {
        let mut queue = self.lock();
        loop {
            if queue.closing {
                queue.threads -= 1;
                return None;
            }
            if let Some(task) = queue.tasks.pop_front() {
                return Some(task);
            }
            queue.idle += 1;
            queue = self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread is one on which the author's code may run.
pub(crate) struct Inside<'a> {
    #[cfg(feature = "tokio")]
    _runtime: Option<tokio::runtime::EnterGuard<'a>>,
    _executor: &'a Executor,
}

/// A call that is awaited. Its waker may be used from any thread, and after its end.
pub(crate) struct Task {
    pub(crate) token: Token,
    executor: Arc<Executor>,
    slot: Mutex<Slot>,
    /// Ends a call that was given up.
    end: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Slot {
    rest: Option<Rest>,
    state: State,
    cancelled: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The future is being polled, at first on the broker's thread.
    #[default]
    Running,
    /// The same, and it was woken meanwhile.
    Again,
    /// It waits to be woken.
    Waiting,
    /// It waits for a thread.
    Queued,
    /// It has ended.
    Over,
}

impl Task {
    /// A task whose first poll is under way. `end` is called when it was given up and its future is gone: what the
    /// future may write to must not be used again before.
    pub(crate) fn new(token: Token, executor: &Arc<Executor>, end: Box<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self {
            token,
            executor: executor.clone(),
            slot: Mutex::default(),
            end,
        })
    }

    /// Keeps what is left after a poll.
    pub(crate) fn keep(self: &Arc<Self>, rest: Rest) {
        let mut slot = self.lock();
        if slot.cancelled {
            slot.state = State::Over;
            drop(slot);
            return self.give_up(rest);
        }
        slot.rest = Some(rest);
        let again = slot.state == State::Again;
        slot.state = if again { State::Queued } else { State::Waiting };
        drop(slot);
        if again {
            self.executor.push(self.clone());
        }
    }

    /// Gives the future up, now or as soon as its poll has ended.
    pub(crate) fn cancel(&self) {
        let rest = {
            let mut slot = self.lock();
            slot.cancelled = true;
            if matches!(slot.state, State::Waiting | State::Queued) {
                slot.state = State::Over;
            }
            slot.rest.take()
        };
        if let Some(rest) = rest {
            self.give_up(rest);
        }
    }

    fn give_up(&self, rest: Rest) {
        // The author's `drop`s run here; a panic of them has nobody to tell.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(rest)));
        (self.end)();
    }

    fn run(self: &Arc<Self>) {
        let rest = {
            let mut slot = self.lock();
            if slot.state != State::Queued {
                return;
            }
            slot.state = State::Running;
            slot.rest.take()
        };
        let Some(mut rest) = rest else { return };
        let waker = Waker::from(self.clone());
        let _inside = self.executor.enter();
        match rest.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => self.lock().state = State::Over,
            Poll::Pending => self.keep(rest),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let mut slot = self.lock();
        match slot.state {
            State::Running => slot.state = State::Again,
            State::Waiting => {
                slot.state = State::Queued;
                drop(slot);
                let executor = self.executor.clone();
                executor.push(self);
            }
            State::Again | State::Queued | State::Over => {}
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread until `future` is done: for hooks that may block ([`crate::Interest::blocking`]) and for
/// [`crate::Plugin::start`]. Nowhere else: whoever waits on a thread of the broker holds up all its clients.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}

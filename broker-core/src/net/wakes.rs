//! Which connections of a shard are to go on, said from any thread: by whoever wants one to end, made room in its output, or
//! answers what it asked a plugin.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use super::Socket;

/// The sockets of a shard whose connections were woken. Each is in here once at most.
#[derive(Debug, Default)]
pub(crate) struct Wakes(Mutex<Woken>);

#[derive(Debug, Default)]
struct Woken {
    sockets: Vec<Arc<Socket>>,
    /// Wakes the shard, if it sleeps.
    shard: Option<Waker>,
    /// The shard has ended.
    closed: bool,
}

impl Wakes {
    /// Adds a socket, and wakes the shard.
    pub(super) fn add(&self, socket: Arc<Socket>) {
        let shard = {
            let mut woken = self.lock();
            if woken.closed {
                return;
            }
            woken.sockets.push(socket);
            woken.shard.take()
        };
        if let Some(shard) = shard {
            shard.wake();
        }
    }

    /// Moves all to the end of `to`. The shard is awake.
    pub(crate) fn take(&self, to: &mut Vec<Arc<Socket>>) {
        let mut woken = self.lock();
        to.append(&mut woken.sockets);
        woken.shard = None;
    }

    /// Has the shard woken with the next, unless there is one already.
    pub(crate) fn wait(&self, cx: &Context<'_>) -> bool {
        let mut woken = self.lock();
        let none = woken.sockets.is_empty();
        if none {
            woken.shard = Some(cx.waker().clone());
        }
        none
    }

    /// Tells whether there are any.
    pub(crate) fn any(&self) -> bool {
        !self.lock().sockets.is_empty()
    }

    /// Wakes nobody any more.
    pub(crate) fn close(&self) {
        let sockets = {
            let mut woken = self.lock();
            woken.closed = true;
            std::mem::take(&mut woken.sockets)
        };
        drop(sockets);
    }

    fn lock(&self) -> MutexGuard<'_, Woken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

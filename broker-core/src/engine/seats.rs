//! The connections of a shard as things that go on when their socket is ready or somebody wakes them: what a runtime does for
//! tasks, at 24 bytes for each instead of 256. Knows no MQTT.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake as _, Waker};

use slab::Slab;

use crate::net::{Carrier, Ready, Registrar, Socket, Wakes};

/// Who sits at a seat: one stage of a connection.
pub(crate) type Occupant = Pin<Box<dyn Occupy>>;

/// One stage of a connection.
pub(crate) trait Occupy {
    /// Does what can be done now. Returns itself, or the next stage if that has nothing to do now either, or nothing at the end.
    fn go_on(self: Pin<Box<Self>>, cx: &mut Context<'_>) -> Option<Occupant>;
}

/// A future is a stage that returns the next.
impl<F: Future<Output = Option<Occupant>> + 'static> Occupy for F {
    fn go_on(mut self: Pin<Box<Self>>, cx: &mut Context<'_>) -> Option<Occupant> {
        match self.as_mut().poll(cx) {
            Poll::Pending => Some(self),
            Poll::Ready(next) => {
                drop(self);
                next?.go_on(cx)
            }
        }
    }
}

/// All seats of a shard.
pub(crate) struct Seats {
    seats: RefCell<Slab<Seat>>,
    registrar: Registrar,
    wakes: Arc<Wakes>,
}

struct Seat {
    socket: Arc<Socket>,
    /// Absent while it goes on.
    occupant: Option<Occupant>,
}

impl Seats {
    /// Returns seats for sockets that `registrar` has watched.
    pub(crate) fn new(registrar: Registrar) -> Self {
        Self {
            seats: RefCell::default(),
            registrar,
            wakes: Arc::default(),
        }
    }

    /// Returns who was woken.
    pub(crate) fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    /// Seats a connection; it goes on for the first time when the shard comes to it.
    ///
    /// # Errors
    /// The system can't watch its socket.
    pub(crate) fn seat(
        &self,
        carrier: Carrier,
        occupant: impl FnOnce(Arc<Socket>) -> Occupant,
    ) -> io::Result<()> {
        let mut seats = self.seats.borrow_mut();
        let place = seats.vacant_entry();
        let socket = Socket::new(carrier, place.key(), self.wakes.clone());
        if let Some(fd) = socket.fd() {
            self.registrar.add(fd, place.key())?;
        }
        socket.wake_by_ref();
        let occupant = Some(occupant(socket.clone()));
        place.insert(Seat { socket, occupant });
        Ok(())
    }

    /// Notes what has become possible at a seat. Returns the socket if its connection is to go on.
    pub(crate) fn note(&self, seat: usize, ready: Ready) -> Option<Arc<Socket>> {
        let seats = self.seats.borrow();
        // A socket that outlives its connection, because somebody still writes to it, may speak for whoever has its seat
        // now; that one finds nothing.
        let socket = &seats.get(seat)?.socket;
        socket.note(ready).then(|| socket.clone())
    }

    /// Lets the connection of `socket` go on. A panic in it ends this connection alone.
    pub(crate) fn go_on(&self, socket: Arc<Socket>) {
        socket.going_on();
        let seat = socket.seat();
        let occupant = match self.seats.borrow_mut().get_mut(seat) {
            Some(held) if Arc::ptr_eq(&held.socket, &socket) => held.occupant.take(),
            // It has ended.
            _ => return,
        };
        let Some(occupant) = occupant else { return };
        let waker = Waker::from(socket);
        let go_on = AssertUnwindSafe(|| occupant.go_on(&mut Context::from_waker(&waker)));
        // What panicked was dropped, and has counted that.
        let next = catch_unwind(go_on).unwrap_or_default();
        drop(waker);
        let mut seats = self.seats.borrow_mut();
        if next.is_some() {
            seats[seat].occupant = next;
            return;
        }
        let socket = seats.remove(seat).socket;
        // With the last handle it closes anyway.
        if Arc::strong_count(&socket) > 1 {
            socket.shutdown();
        }
    }

    /// Cuts all connections, for good.
    pub(crate) fn close(&self) {
        self.wakes.close();
        let seats = self.seats.take();
        drop(seats);
    }
}

//! One Network Connection, from accept to close: the driver between a socket and the protocol's state machines.
//!
//! | file | subject |
//! |---|---|
//! | `origin` | what is known before the first byte |
//! | `establish` | from the first byte to CONNACK: hooks, identity, Session |
//! | `reauthenticate` | enhanced authentication once more, while connected |
//! | `run` | the loop of an established connection: wake, read, hand on, write |
//! | `packets` | what each Control Packet does |
//! | `publish` | the way of a PUBLISH through chain, store and routes, at once or later |
//! | `held` | messages whose hooks on delivery don't answer at once |
//! | `parked` | a packet that waits for a plugin, and what goes on meanwhile |
//!
//! A connection never leaves the shard that accepted it. Its task owns the receiving half; the sending half stands in the
//! Session, where every shard can reach it.

mod establish;
mod held;
mod origin;
mod packets;
mod parked;
mod publish;
mod reauthenticate;
mod run;

pub use origin::PeerInfo;

pub(crate) use origin::{Identity, Origin};
pub(crate) use packets::describe;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use plugin_api::EventKind;

use crate::engine::core::tell;
use crate::engine::listener::{Admission, Door, Keeper, ListenerState};
use crate::engine::seats::Occupant;
use crate::engine::shard::Shard;
use crate::hooks::AcceptOutcome;
use crate::net::{AcceptFailure, Acceptor, Carrier, Socket};

/// Connections accepted in a row before the shard's other tasks get their turn.
const ACCEPT_BATCH: usize = 16;

/// Accepts for one shard from when the door opens until it closes or the broker stops.
pub(crate) async fn accept(shard: Rc<Shard>, door: Arc<Door>, mut keeper: Keeper, acceptor: Acceptor) {
    if !keeper.opened().await {
        return;
    }
    let mut row = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shard.core.stopping() => return,
            () = keeper.closed() => return,
            accepted = acceptor.accept() => accepted,
        };
        let listener = door.terms.load_full();
        match accepted {
            Ok((fd, peer)) => admit(&shard, &listener, fd.into(), peer.into()),
            Err(AcceptFailure::Exhausted(error)) => {
                shard.metrics.accept_exhausted.one();
                if shard.core.may_complain() {
                    tracing::error!(listener = %listener.name, %error, "cannot accept connections: out of file descriptors or memory");
                }
            }
            Err(AcceptFailure::One(error)) => {
                tracing::debug!(listener = %listener.name, %error, "a connection failed before it was accepted");
            }
        }
        row += 1;
        if row % ACCEPT_BATCH == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Begins to serve a connection if there is a place for it.
pub(crate) fn admit(shard: &Rc<Shard>, listener: &Arc<ListenerState>, carrier: Carrier, origin: Origin) {
    let Some(admission) = listener.admit() else {
        shard.metrics.connections_refused.one();
        if shard.core.may_complain() {
            let limit = listener.connections_max;
            tracing::warn!(listener = %listener.name, limit, "connection refused: connections_max is reached");
        }
        return;
    };
    shard.metrics.connections_opened.one();
    let open = Open::new(shard.clone(), admission);
    let seated = shard.seats.seat(carrier, |socket| {
        Box::pin(begin(open, shard.clone(), listener.clone(), socket, origin))
    });
    if let Err(error) = seated {
        tracing::error!(listener = %listener.name, %error, "cannot watch a connection");
    }
}

/// A connection that is open but has no Session yet, for those who count.
struct Open {
    shard: Rc<Shard>,
    /// Absent once somebody else sees to it.
    admission: Option<Admission>,
}

impl Open {
    fn new(shard: Rc<Shard>, admission: Admission) -> Self {
        shard.core.connections.fetch_add(1, Ordering::AcqRel);
        Self {
            shard,
            admission: Some(admission),
        }
    }

    /// Leaves it to the caller to [`close`] the connection.
    fn into_admission(mut self) -> Option<Admission> {
        self.admission.take()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            close(&self.shard, admission);
        }
    }
}

/// Counts a connection as closed. To be called where it is dropped, which tells whether it panicked.
fn close(shard: &Shard, admission: Admission) {
    drop(admission);
    shard.metrics.connections_closed.one();
    if std::thread::panicking() {
        shard.metrics.panics.one();
    }
    shard.core.connections.fetch_sub(1, Ordering::AcqRel);
    shard.core.connection_ended.notify_waiters();
}

/// Establishes the connection, unless the broker stops before.
async fn begin(
    open: Open,
    shard: Rc<Shard>,
    listener: Arc<ListenerState>,
    socket: Arc<Socket>,
    origin: Origin,
) -> Option<Occupant> {
    let connection = tokio::select! {
        biased;
        () = shard.core.stopping() => None,
        connection = establish(&shard, &listener, socket, origin) => connection,
    };
    connection.map(|connection| connection.seated(open))
}

async fn establish(
    shard: &Rc<Shard>,
    listener: &Arc<ListenerState>,
    socket: Arc<Socket>,
    origin: Origin,
) -> Option<Box<run::Connection>> {
    match listener
        .chain
        .load_full()
        .accept(&origin.incoming(&listener.name))
    {
        AcceptOutcome::Close => return None,
        AcceptOutcome::Go { delay } if delay.is_zero() => {}
        AcceptOutcome::Go { delay } => tokio::time::sleep(delay).await,
    }
    let peer = origin.peer;
    match establish::establish(shard, listener, socket, origin).await {
        Ok(connection) => Some(connection),
        Err(failure) => {
            shard.metrics.connects_refused.one();
            tracing::debug!(listener = %listener.name, %peer, %failure, "no connection");
            if let Some(client_id) = failure.refused() {
                tell(
                    listener.chain.load_full().events(),
                    EventKind::AuthFailed,
                    |event| {
                        event.client_id = Some(client_id.clone());
                        event.listener = Some(listener.name.clone());
                        event.peer = Some(peer);
                        event.reason = failure.reason();
                        event.by_server = true;
                    },
                );
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::ClientView;

    use super::run::Connection;
    use crate::engine::session::{Link, Session};
    use crate::engine::subscriptions::Held;
    use crate::net::Socket;

    /// Everybody who is connected and says nothing has one of each.
    #[test]
    fn what_an_idle_connection_has_is_small() {
        let sizes = [
            ("Connection", size_of::<Connection>(), 232),
            ("Session", size_of::<Session>(), 248),
            ("Link", size_of::<Link>(), 72),
            ("ClientView", size_of::<ClientView>(), 144),
            ("Socket", size_of::<Socket>(), 32),
            ("Held", size_of::<Held>(), 56),
        ];
        for (what, size, most) in sizes {
            assert!(size <= most, "{what} takes {size} bytes");
        }
    }
}

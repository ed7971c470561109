//! Streams that the program brings to its broker: TLS, WebSocket, a tunnel, a test's duplex, whatever carries bytes.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};

use crate::broker::Handle;
use crate::connection::{self, Origin, PeerInfo};
use crate::engine::listener::ListenerState;
use crate::error::HandleError;
use crate::net::{Carrier, LocalStream, pipe};

impl Handle {
    /// Opens a connection to a listener from inside the process: a stream that carries the bytes of MQTT, for a client that is
    /// part of the program. It passes the listener's chain as one that came through a socket, `accept` and limits included.
    ///
    /// # Errors
    /// There is no such listener, or the broker has stopped. That a plugin refuses the connection, or the listener is full, shows
    /// as the end of the stream.
    pub async fn open(&self, listener: &str, info: PeerInfo) -> Result<LocalStream, HandleError> {
        let state = self.listener_state(Some(listener))?;
        self.on_a_shard(move |shard| {
            let (end, stream) = pipe();
            connection::admit(shard, &state, Carrier::Local(end), Origin::brought(info, None));
            stream
        })
        .await
    }

    /// Serves a connection that the program accepted itself, until it ends: any stream is a transport. `info` is what the
    /// listener's chain sees of it. Dropping the future cuts the connection. Costs one copy of all bytes more than a socket.
    ///
    /// ```no_run
    /// # async fn example(broker: broker_core::Broker) -> Result<(), Box<dyn std::error::Error>> {
    /// use broker_core::PeerInfo;
    ///
    /// let (client, server) = tokio::io::duplex(4096);
    /// let handle = broker.handle();
    /// tokio::spawn(async move { handle.serve_io("tunnel", server, PeerInfo::default()).await });
    /// # drop(client);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is no such listener or the broker has stopped (`NotConnected`), or `io` failed.
    pub async fn serve_io<T>(&self, listener: &str, io: T, info: PeerInfo) -> io::Result<()>
    where
        T: AsyncRead + AsyncWrite,
    {
        let stream = self.open(listener, info).await;
        let stream = stream.map_err(|error| io::Error::new(io::ErrorKind::NotConnected, error))?;
        carry(io, stream).await
    }

    /// Returns a listener: the first if no name is given.
    pub(super) fn listener_state(&self, name: Option<&str>) -> Result<Arc<ListenerState>, HandleError> {
        let listeners = self.core.listeners();
        let found = { listeners.iter() }.find(|listener| name.is_none_or(|name| *listener.name == *name));
        found
            .cloned()
            .ok_or_else(|| HandleError::NoListener(name.unwrap_or_default().to_owned()))
    }
}

/// Carries bytes both ways until the broker has closed its end and all that it said is written.
async fn carry<T: AsyncRead + AsyncWrite>(io: T, stream: LocalStream) -> io::Result<()> {
    let (mut io_reader, mut io_writer) = split(io);
    let (mut reader, mut writer) = split(stream);
    let inwards = async {
        match copy(&mut io_reader, &mut writer).await {
            // The other end has closed its half: the broker may still answer.
            Ok(_) => writer.shutdown().await,
            // The broker has closed; what it said last is on its way out.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(error),
        }
    };
    let outwards = async {
        copy(&mut reader, &mut io_writer).await?;
        // The other end may be gone already; nothing is left to be said.
        let _ = io_writer.shutdown().await;
        Ok(())
    };
    tokio::pin!(inwards, outwards);
    tokio::select! {
        ended = &mut outwards => ended,
        ended = &mut inwards => match ended {
            Ok(()) => outwards.await,
            Err(error) => Err(error),
        },
    }
}

//! Many MQTT connections on one thread: an epoll loop that cuts frames out of what comes in and writes what is to go
//! out once a round. Shared by the load generator and the floor. Knows nothing of what the packets mean.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use crate::LoadError;
use crate::packet::{Frame, cut};

/// Bytes read at once: a round's worth of small packets, or a few large ones.
const READ_BYTES: usize = 512 * 1024;
const EVENTS: usize = 1024;

/// Connections by number, in the order in which they were added.
pub struct Clients {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    sockets: Vec<Option<Socket>>,
    outs: Outs,
    buffer: Vec<u8>,
    write_through: bool,
}

#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    /// The beginning of a packet whose end has not come.
    rest: Vec<u8>,
    /// Nothing is read any more.
    deaf: bool,
}

/// What is to be written, by connection.
#[derive(Debug, Default)]
pub struct Outs {
    buffers: Vec<Vec<u8>>,
    dirty: Vec<usize>,
    closing: Vec<usize>,
}

/// What the program does with what comes.
pub trait Talk {
    /// A packet came.
    ///
    /// # Errors
    /// The load can't go on.
    fn packet(&mut self, outs: &mut Outs, from: usize, frame: &Frame<'_>) -> Result<(), LoadError>;

    /// The other side closed the connection.
    ///
    /// # Errors
    /// The load can't go on; by default it can't.
    fn closed(&mut self, who: usize) -> Result<(), LoadError> {
        Err(LoadError::Closed(who))
    }

    /// The watched descriptor is readable.
    ///
    /// # Errors
    /// The load can't go on.
    fn woken(&mut self) -> Result<(), LoadError> {
        Ok(())
    }

    /// All that came in this round has been told.
    ///
    /// # Errors
    /// The load can't go on.
    fn round_ends(&mut self, outs: &mut Outs) -> Result<(), LoadError> {
        let _nothing_more = outs;
        Ok(())
    }

    /// Whether the talk is over.
    fn done(&self) -> bool {
        false
    }
}

impl Outs {
    /// Appends to what goes to a connection at the end of the round.
    pub fn send(&mut self, to: usize, bytes: &[u8]) {
        self.send_with(to, |buffer| buffer.extend_from_slice(bytes));
    }

    /// Lets `append` write to what goes to a connection at the end of the round.
    pub fn send_with(&mut self, to: usize, append: impl FnOnce(&mut Vec<u8>)) {
        let buffer = &mut self.buffers[to];
        if buffer.is_empty() {
            self.dirty.push(to);
        }
        append(buffer);
    }

    /// Bytes that wait to be written to a connection.
    #[must_use]
    pub fn waiting(&self, to: usize) -> usize {
        self.buffers[to].len()
    }

    /// Closes a connection after its packet has been handled.
    pub fn close(&mut self, who: usize) {
        self.closing.push(who);
    }
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients")
            .field("sockets", &self.sockets)
            .finish_non_exhaustive()
    }
}

impl Clients {
    /// Makes an empty set.
    ///
    /// # Errors
    /// The system has no epoll for us.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS),
            sockets: Vec::new(),
            outs: Outs::default(),
            buffer: Vec::with_capacity(READ_BYTES),
            write_through: false,
        })
    }

    /// Writes after each packet instead of once a round.
    #[must_use]
    pub fn write_through(mut self) -> Self {
        self.write_through = true;
        self
    }

    /// Watches a descriptor that is no connection; it is told as [`Talk::woken`].
    ///
    /// # Errors
    /// It can't be watched.
    pub fn watch(&self, other: impl AsFd) -> io::Result<()> {
        let token = EventData::new_u64(WATCHED);
        Ok(epoll::add(&self.epoll, other, token, EventFlags::IN)?)
    }

    /// Adds a connection and returns its number.
    ///
    /// # Errors
    /// It can't be watched.
    pub fn add(&mut self, stream: TcpStream) -> io::Result<usize> {
        let who = self.sockets.len();
        self.sockets.push(None);
        self.outs.buffers.push(Vec::new());
        self.put(who, stream)?;
        Ok(who)
    }

    /// Puts another connection in the place of one that was closed.
    ///
    /// # Errors
    /// It can't be watched.
    pub fn put(&mut self, who: usize, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        // Edge-triggered for both directions: never an `epoll_ctl` later.
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &stream, EventData::new_u64(who as u64), flags)?;
        self.outs.buffers[who].clear();
        self.sockets[who] = Some(Socket {
            stream,
            rest: Vec::new(),
            deaf: false,
        });
        Ok(())
    }

    /// Closes a connection; its number stays taken.
    pub fn close(&mut self, who: usize) {
        self.sockets[who] = None;
        self.outs.buffers[who] = Vec::new();
    }

    /// Reads nothing from a connection any more, as a client that hangs.
    pub fn deafen(&mut self, who: usize) {
        if let Some(socket) = &mut self.sockets[who] {
            socket.deaf = true;
        }
    }

    /// What is to be written.
    pub fn outs(&mut self) -> &mut Outs {
        &mut self.outs
    }

    /// Talks until it is over or nothing came for so long. False: nothing came.
    ///
    /// # Errors
    /// The talk says so, or the system.
    pub fn talk(&mut self, patience: Duration, talk: &mut impl Talk) -> Result<bool, LoadError> {
        let mut last = Instant::now();
        while !talk.done() {
            if self.round(LOOK_UP, talk)? {
                last = Instant::now();
            } else if last.elapsed() > patience {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes what there is, waits for something to happen and tells what it was. True: something was.
    ///
    /// # Errors
    /// The talk says so, or the system.
    pub fn round(&mut self, timeout: Duration, talk: &mut impl Talk) -> Result<bool, LoadError> {
        self.flush();
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        let mut events = std::mem::take(&mut self.events);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let happened = !events.is_empty();
        for event in events.drain(..) {
            self.event(event.data.u64(), event.flags, talk)?;
        }
        self.events = events;
        talk.round_ends(&mut self.outs)?;
        Ok(happened)
    }

    fn event(&mut self, token: u64, flags: EventFlags, talk: &mut impl Talk) -> Result<(), LoadError> {
        if token == WATCHED {
            return talk.woken();
        }
        let who = token as usize;
        if flags.contains(EventFlags::OUT) && !self.outs.buffers[who].is_empty() {
            self.write(who);
        }
        let ending = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if ending || flags.contains(EventFlags::IN) {
            self.read(who, ending, talk)?;
        }
        Ok(())
    }

    fn read(&mut self, who: usize, to_the_end: bool, talk: &mut impl Talk) -> Result<(), LoadError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut closed = false;
        while let Some(socket) = &mut self.sockets[who]
            && !socket.deaf
        {
            buffer.clear();
            buffer.append(&mut socket.rest);
            let room = buffer.capacity() - buffer.len();
            let count = match rustix::io::read(&socket.stream, spare_capacity(&mut buffer)) {
                Ok(count) if count > 0 => count,
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Ok(_) | Err(_) => {
                    closed = true;
                    break;
                }
            };
            let mut at = 0;
            while let Some(frame) = cut(&buffer[at..])? {
                at += frame.size();
                talk.packet(&mut self.outs, who, &frame)?;
                if self.write_through {
                    self.flush();
                }
            }
            if let Some(socket) = &mut self.sockets[who] {
                socket.rest.extend_from_slice(&buffer[at..]);
            }
            while let Some(who) = self.outs.closing.pop() {
                self.close(who);
            }
            // A short read took all there was; the next byte is a new event.
            if count < room && !(to_the_end && count > 0) {
                break;
            }
        }
        self.buffer = buffer;
        if closed {
            self.close(who);
            talk.closed(who)?;
        }
        Ok(())
    }

    fn flush(&mut self) {
        while let Some(who) = self.outs.dirty.pop() {
            self.write(who);
        }
    }

    /// Writes what goes; the rest follows when there is room, and a broken connection is told by reading it.
    fn write(&mut self, who: usize) {
        let buffer = &mut self.outs.buffers[who];
        let Some(socket) = &self.sockets[who] else {
            buffer.clear();
            return;
        };
        let mut written = 0;
        while written < buffer.len() {
            match rustix::io::write(&socket.stream, &buffer[written..]) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => written = buffer.len(),
            }
        }
        buffer.drain(..written);
    }
}

/// The token of the watched descriptor.
const WATCHED: u64 = u64::MAX;
/// How often a wait without events looks at its patience.
const LOOK_UP: Duration = Duration::from_millis(100);

//! A client that publishes as fast as the broker takes it, and one that takes what it is sent, each on a thread of its own.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};

use jackfield_tests::harness::TestBroker;
use jackfield_tests::wire::{Version, Wire as _, publish};

/// What flows, until it is dropped.
#[derive(Debug)]
pub(crate) struct Flood {
    over: Arc<AtomicBool>,
    taken: Arc<AtomicU64>,
    sockets: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

/// Packets that are written at once.
const BLOCK: usize = 200;

impl Flood {
    /// Floods `topic` with QoS 0 messages of so many bytes. With `receiver` somebody takes them.
    pub(crate) fn start(broker: &TestBroker, topic: &str, payload: usize, receiver: bool) -> Self {
        let mut flood = Self {
            over: Arc::default(),
            taken: Arc::default(),
            sockets: Vec::new(),
            threads: Vec::new(),
        };
        if receiver {
            let mut client = broker.v311(format!("{topic}-taker")).connect();
            client.subscribe(topic, 0);
            flood.spawn(client.socket(), |flood| {
                let taken = flood.taken.clone();
                move |mut socket| {
                    let mut bytes = vec![0; 256 * 1024];
                    while let Ok(count @ 1..) = socket.read(&mut bytes) {
                        taken.fetch_add(count as u64, SeqCst);
                    }
                }
            });
        }
        let client = broker.v311(format!("{topic}-flooder")).connect();
        let block = publish(topic, vec![b'f'; payload])
            .wire(Version::V311)
            .repeat(BLOCK);
        flood.spawn(client.socket(), |flood| {
            let over = flood.over.clone();
            move |mut socket| {
                while !over.load(SeqCst) {
                    match socket.write_all(&block) {
                        Err(error) if error.kind() != ErrorKind::WouldBlock => return,
                        _ => {}
                    }
                }
            }
        });
        flood
    }

    fn spawn<F: FnOnce(TcpStream) + Send + 'static>(
        &mut self,
        socket: &TcpStream,
        work: impl FnOnce(&Self) -> F,
    ) {
        let [ours, theirs] = [(); 2].map(|()| socket.try_clone().expect("a socket can be shared"));
        ours.set_read_timeout(None).expect("a timeout can be lifted");
        ours.set_write_timeout(None).expect("a timeout can be lifted");
        let work = work(self);
        self.sockets.push(ours);
        self.threads.push(thread::spawn(move || work(theirs)));
    }

    /// Bytes that were taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(SeqCst)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        for socket in &self.sockets {
            // It may be closed already.
            let _closed = socket.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(
                ended.is_ok() || thread::panicking(),
                "a thread of the flood panicked"
            );
        }
    }
}

//! One very large message to several receivers. Nothing here holds it: it is written from one block over and over, and
//! counted as it comes, so that only the broker needs the memory.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use broker_types::QoS;

use crate::packet::{Template, cut, subscribe};
use crate::{Bed, Faults, Figure, LoadError};

/// One large message, QoS 0.
#[derive(Clone, Copy, Debug)]
pub struct Large {
    /// Who gets it.
    pub receivers: usize,
    /// Bytes of its payload; MQTT ends at 268,435,455 for the whole packet.
    pub payload_bytes: usize,
}

/// Bytes written and read at once.
const BLOCK_BYTES: usize = 1024 * 1024;
/// Nothing moved for so long: it won't.
const STALLED: Duration = Duration::from_secs(20);

impl Large {
    /// Publishes it and waits until everybody has all of it. The bytes for each are how much the broker's peak grew.
    ///
    /// # Errors
    /// The broker can't be reached, refuses, or doesn't answer. A receiver that didn't get all of it is told as lost.
    pub fn run(&self, bed: &Bed) -> Result<Vec<Figure>, LoadError> {
        let version = bed.login.version;
        let topic = bed.login.topic("large");
        // The head of the packet, from one with as long a length.
        let template = Template::new(version, &topic, QoS::AtMostOnce, false, self.payload_bytes)?;
        let head = template.head().to_vec();
        drop(template);
        let packet_bytes = head.len() + self.payload_bytes;

        let (done, all) = channel();
        let mut threads = Vec::new();
        for at in 0..self.receivers {
            let mut stream = open(bed, &format!("sub-{at}"))?;
            stream.write_all(&subscribe(version, QoS::AtMostOnce, [topic.as_str()])?)?;
            answer(&mut stream)?;
            let done = done.clone();
            threads.push(thread::spawn(move || count(&mut stream, packet_bytes, &done)));
        }
        drop(done);
        let mut publisher = open(bed, "pub")?;
        let before = bed.process.map_or(Ok(0), |process| process.peak())?;
        let meter = bed.begin()?;
        publisher.write_all(&head)?;
        let block = vec![b'x'; BLOCK_BYTES.min(self.payload_bytes)];
        let mut left = self.payload_bytes;
        while left > 0 {
            let part = &block[..left.min(block.len())];
            publisher.write_all(part)?;
            left -= part.len();
        }
        let received = arrived(&all, packet_bytes);
        let spent = meter.end(bed)?;
        let peak = bed.process.map_or(Ok(0), |process| process.peak())?;
        publisher.shutdown(Shutdown::Both)?;
        threads.into_iter().for_each(|thread| drop(thread.join()));
        let faults = Faults {
            lost: self.receivers as u64 - received,
            ..Faults::default()
        };
        let mut figure = Figure::new("", received, spent, faults);
        figure.bytes_each = bed.process.map(|_| peak.saturating_sub(before) as f64);
        Ok(vec![figure])
    }
}

/// Opens a connection that blocks.
fn open(bed: &Bed, client: &str) -> Result<TcpStream, LoadError> {
    let mut stream = TcpStream::connect(bed.addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALLED))?;
    stream.set_write_timeout(Some(STALLED))?;
    stream.write_all(&bed.login.connect(client, |_| {})?)?;
    let connack = answer(&mut stream)?;
    match cut(&connack)? {
        Some(frame) if frame.body()[1] == 0 => Ok(stream),
        Some(frame) => Err(LoadError::connack(&frame, bed.login.version)),
        None => Err(LoadError::Closed(0)),
    }
}

/// Reads one small packet.
fn answer(stream: &mut TcpStream) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::new();
    while cut(&bytes)?.is_none() {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    Ok(bytes)
}

/// Reads so many bytes and tells how many came.
fn count(stream: &mut TcpStream, wanted: usize, done: &Sender<usize>) {
    let mut block = vec![0; BLOCK_BYTES];
    let mut came = 0;
    while came < wanted {
        match stream.read(&mut block) {
            Ok(0) | Err(_) => break,
            Ok(bytes) => came += bytes,
        }
    }
    // Nobody listens: the scenario has ended with an error.
    let _told = done.send(came);
}

/// Waits for all receivers and returns how many got exactly so many bytes.
fn arrived(all: &Receiver<usize>, wanted: usize) -> u64 {
    all.iter().filter(|&came| came == wanted).count() as u64
}

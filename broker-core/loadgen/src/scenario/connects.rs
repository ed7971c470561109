//! Connections that come and go: CONNECT, CONNACK, DISCONNECT, and the end as the broker closes.

use std::net::TcpStream;
use std::time::Instant;

use super::{PATIENCE, waited};
use crate::clients::{Clients, Outs, Talk};
use crate::packet::{CONNACK, Frame, disconnect};
use crate::{Bed, Faults, Figure, Histogram, LoadError};

/// Connections that come and go, so many at a time; [`Bed::count`] says how many there are in all, else the time.
#[derive(Clone, Copy, Debug)]
pub struct Connects {
    /// How many are open or being opened at a time.
    pub together: usize,
}

impl Connects {
    /// Lets them come and go. The latency is from the beginning of the connection to CONNACK.
    ///
    /// # Errors
    /// The broker can't be reached, refuses, or doesn't answer.
    pub fn run(&self, bed: &Bed) -> Result<Vec<Figure>, LoadError> {
        let mut clients = Clients::new()?;
        let together = bed.count.map_or(self.together, |count| {
            self.together.min(usize::try_from(count).unwrap_or(usize::MAX))
        });
        let mut visits = Visits {
            bed,
            goodbye: disconnect(bed.login.version)?,
            began: vec![Instant::now(); together],
            latency: Histogram::new(),
            ended: Vec::new(),
            begun: 0,
            open: 0,
        };
        let meter = bed.begin()?;
        let until = Instant::now() + bed.time;
        for _ in 0..together {
            let who = clients.add(TcpStream::connect(bed.addr)?)?;
            visits.greet(&mut clients, who)?;
        }
        while visits.open > 0 {
            waited(clients.talk(PATIENCE, &mut visits)?, "connecting")?;
            bed.progress.stands_at(visits.begun - visits.open);
            for who in std::mem::take(&mut visits.ended) {
                let more = match bed.count {
                    Some(count) => visits.begun < count,
                    None => Instant::now() < until,
                };
                if more {
                    visits.began[who] = Instant::now();
                    clients.put(who, TcpStream::connect(bed.addr)?)?;
                    visits.greet(&mut clients, who)?;
                }
            }
        }
        let spent = meter.end(bed)?;
        let mut figure = Figure::new("", visits.begun, spent, Faults::default());
        figure.latency = visits.latency.latency();
        Ok(vec![figure])
    }
}

struct Visits<'a> {
    bed: &'a Bed,
    goodbye: Vec<u8>,
    /// When each place's connection began.
    began: Vec<Instant>,
    latency: Histogram,
    /// Connections that the broker closed since they were last looked at.
    ended: Vec<usize>,
    begun: u64,
    open: u64,
}

impl Visits<'_> {
    fn greet(&mut self, clients: &mut Clients, who: usize) -> Result<(), LoadError> {
        let packet = self
            .bed
            .login
            .connect(&format!("visitor-{}", self.begun), |_| {})?;
        clients.outs().send(who, &packet);
        self.begun += 1;
        self.open += 1;
        Ok(())
    }
}

impl Talk for Visits<'_> {
    fn packet(&mut self, outs: &mut Outs, from: usize, frame: &Frame<'_>) -> Result<(), LoadError> {
        if frame.kind() != CONNACK || frame.body()[1] != 0 {
            return Err(LoadError::connack(frame, self.bed.login.version));
        }
        self.latency.note(self.began[from].elapsed());
        outs.send(from, &self.goodbye);
        Ok(())
    }

    fn closed(&mut self, who: usize) -> Result<(), LoadError> {
        self.ended.push(who);
        self.open -= 1;
        Ok(())
    }

    fn done(&self) -> bool {
        !self.ended.is_empty()
    }
}

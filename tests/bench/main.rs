//! What MQTT brokers cost: a load generator much cheaper than any broker, and a table of CPU time for each message.
//!
//! Brokers run side by side, taking turns row by row, several times, on the same machine; the table shows medians. One
//! command makes the table of `docs/benchmarks.md`, which says how to read it:
//!
//! ```text
//! cargo build --release -p jackfield && cargo run --release -p jackfield-tests --example bench
//! ```
#![forbid(unsafe_code)]

mod broker;
mod clients;
mod floor;
mod ledger;
mod packet;
mod process;
mod report;
mod scenario;
mod table;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, getrlimit, setrlimit};

use broker::Broker;
use report::Report;
use scenario::{Bed, Figure, Row};

/// Measures what MQTT brokers cost for each message.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Option<Mode>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Is the relay that others are compared with
    Floor {
        /// Where to listen, on loopback
        port: u16,
        /// Write after each packet instead of once a round
        #[arg(long)]
        direct: bool,
    },
    /// Prints the names of the rows
    Rows,
}

#[derive(Debug, Args)]
struct Run {
    /// The brokers: names of the configuration, separated by commas [default: all]
    #[arg(long, value_delimiter = ',')]
    brokers: Vec<String>,
    /// The rows: beginnings of their names, separated by commas [default: all]
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// How often each broker does each row
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long messages flow in one row
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Publish so many messages, the same work each time, instead of so many seconds
    #[arg(long)]
    messages: Option<u64>,
    /// With a million filters and Retained Messages too; by its whole name such a row needs no flag
    #[arg(long)]
    large: bool,
    /// How the brokers are started [default: tests/bench/brokers.toml as built in]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Every figure of every run, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Drive a broker that runs already, here; nobody knows what it costs
    #[arg(long, value_name = "ADDRESS")]
    address: Option<SocketAddr>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Mode::Floor { port, direct }) => floor::run(port, direct),
        Some(Mode::Rows) => {
            scenario::rows().iter().for_each(|row| println!("{}", row.name));
            Ok(())
        }
        None => cli.run.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Run {
    fn run(&self) -> io::Result<()> {
        raise_file_limit();
        match self.address {
            Some(addr) => self.drive(addr),
            None => self.compare(),
        }
    }

    fn wants(&self, row: &Row) -> bool {
        let named = |start: &String| row.name.starts_with(start.as_str());
        let chosen = self.rows.is_empty() || self.rows.iter().any(named);
        chosen && (self.large || !row.large || self.rows.contains(&row.name))
    }

    fn bed(&self, addr: SocketAddr) -> Bed {
        Bed {
            addr,
            process: None,
            time: Duration::from_secs_f64(self.seconds),
            messages: self.messages,
        }
    }

    fn drive(&self, addr: SocketAddr) -> io::Result<()> {
        for row in scenario::rows().iter().filter(|row| self.wants(row)) {
            for figure in row.run(&self.bed(addr))? {
                let rate = figure.units as f64 / figure.spent.wall.as_secs_f64();
                println!(
                    "{}: {} at {rate:.0}/s, {:?}",
                    figure.row, figure.units, figure.faults
                );
            }
        }
        Ok(())
    }

    fn compare(&self) -> io::Result<()> {
        let mut brokers = broker::brokers(self.config.as_deref())?;
        brokers.retain(|broker| self.brokers.is_empty() || self.brokers.contains(&broker.name));
        let mut report = Report::new(brokers.iter().map(|broker| broker.name.clone()).collect());
        let rows = scenario::rows();
        for round in 1..=self.rounds {
            for row in rows.iter().filter(|row| self.wants(row)) {
                for broker in brokers.iter().filter(|broker| broker.plays(&row.name)) {
                    eprintln!("round {round}/{}  {:<12} {}", self.rounds, broker.name, row.name);
                    report.add(&broker.name, &row.name, round, self.measure(broker, row));
                }
            }
        }
        if let Some(path) = &self.json {
            std::fs::write(path, report.json()?)?;
        }
        println!("{}", table::markdown(&report));
        Ok(())
    }

    /// Runs a row against a broker of its own. Returns the figures and the most memory it had.
    fn measure(&self, broker: &Broker, row: &Row) -> io::Result<(Vec<Figure>, u64)> {
        let running = broker.start()?;
        let mut bed = self.bed(running.addr);
        bed.process = Some(running.process);
        let figures = row.run(&bed)?;
        Ok((figures, running.process.peak()?))
    }
}

/// Ten thousand connections need as many descriptors, here and in the brokers, which inherit the limit.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!("bench: the limit of open files stays: {error}");
    }
}

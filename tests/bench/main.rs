//! What MQTT brokers cost: a load generator much cheaper than any broker, and a table of CPU time for each message.
//!
//! Brokers run side by side, taking turns row by row, several times, on the same machine; the table shows medians. One
//! command makes the table of `docs/benchmarks.md`, which says how to read it:
//!
//! ```text
//! cargo build --release -p jackfield -p jackfield-tests --bin jackfield --examples && target/release/examples/bench
//! ```
#![forbid(unsafe_code)]

mod broker;
mod chains;
mod floor;
mod report;
mod rows;
mod table;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use broker_loadgen::{Bed, Figure, LoadError, raise_file_limit};
use clap::{Args, Parser, Subcommand};

use broker::Broker;
use report::Report;
use rows::{Row, rows};

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
    /// Is Jackfield with a chain of plugins that do nothing
    Chain(chains::Chained),
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
    /// Puts the tables into this page, between its two marks
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Drive a broker that runs already, here; nobody knows what it costs
    #[arg(long, value_name = "ADDRESS")]
    address: Option<SocketAddr>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Mode::Floor { port, direct }) => floor::run(port, direct),
        Some(Mode::Chain(chained)) => chained.run().map_err(LoadError::Io),
        Some(Mode::Rows) => {
            rows().iter().for_each(|row| println!("{}", row.name));
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
    fn run(&self) -> Result<(), LoadError> {
        // Ten thousand connections need as many descriptors, here and in the brokers, which inherit the limit.
        if let Err(error) = raise_file_limit() {
            eprintln!("bench: the limit of open files stays: {error}");
        }
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
        let time = Duration::from_secs_f64(self.seconds);
        Bed {
            warm_up: time / 5,
            time,
            count: self.messages,
            ..Bed::new(addr)
        }
    }

    fn drive(&self, addr: SocketAddr) -> Result<(), LoadError> {
        for row in rows().iter().filter(|row| self.wants(row)) {
            for figure in row.run(&self.bed(addr))? {
                let (name, rate) = (report::name(row, &figure), figure.per_second());
                println!("{name}: {} at {rate:.0}/s, {:?}", figure.units, figure.faults);
            }
        }
        Ok(())
    }

    fn compare(&self) -> Result<(), LoadError> {
        let mut brokers = broker::brokers(self.config.as_deref())?;
        brokers.retain(|broker| self.brokers.is_empty() || self.brokers.contains(&broker.name));
        let mut report = Report::new(&brokers);
        let rows: Vec<_> = rows().into_iter().filter(|row| self.wants(row)).collect();
        for round in 1..=self.rounds {
            for row in &rows {
                let mut played = Vec::new();
                for broker in brokers.iter().filter(|broker| broker.plays(row)) {
                    if played.contains(&&broker.name) {
                        continue;
                    }
                    played.push(&broker.name);
                    eprintln!("round {round}/{}  {:<12} {}", self.rounds, broker.name, row.name);
                    report.add(broker, row, round, self.measure(broker, row));
                }
            }
        }
        if let Some(path) = &self.json {
            std::fs::write(path, report.json()?)?;
        }
        let conditions = report::conditions(self.rounds, self.seconds);
        let tables = format!("{conditions}\n{}", table::markdown(&report));
        if let Some(path) = &self.markdown {
            table::put(path, &tables)?;
        }
        println!("{tables}");
        Ok(())
    }

    /// Runs a row against a broker of its own. Returns the figures and the most memory it had.
    fn measure(&self, broker: &Broker, row: &Row) -> Result<(Vec<Figure>, u64), LoadError> {
        let running = broker.start()?;
        let mut bed = self.bed(running.addr);
        bed.process = Some(running.process);
        let figures = row.run(&bed)?;
        Ok((figures, running.process.peak()?))
    }
}

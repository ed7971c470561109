//! `jackfield bench`: loads any broker over the network and says what became of each message. What a load is stands in
//! `broker-loadgen`; here are its flags, its progress and its report.

mod progress;
mod report;

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use broker_loadgen::scenario::{Connects, Idle, Paced, To, Traffic};
use broker_loadgen::{Bed, Faults, Figure, LoadError, Login, Process, raise_file_limit};
use broker_types::{ProtocolVersion, QoS};
use clap::{ArgAction, Args, ValueEnum};

use super::client::{qos, version};
use super::exit::{Exit, Failure, Outcome};
use super::output;
use progress::Watch;
use report::Told;

/// `jackfield bench`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = after_help()
)]
pub(crate) struct Bench {
    /// What to do, one after the other
    #[arg(
        value_enum,
        value_name = "SCENARIO",
        default_value = "pairs",
        hide_possible_values = true
    )]
    scenarios: Vec<Scenario>,
    /// The broker's host
    #[arg(short = 'h', long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// The broker's port
    #[arg(short, long, default_value_t = 1883)]
    port: u16,
    /// The User Name
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// The Password; everybody on this machine can read it there, so better JACKFIELD_PASSWORD in the environment
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD")]
    password: Option<String>,
    /// The version of MQTT: 5, 311 or 31, with or without `mqttv` before it
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5", value_parser = version)]
    protocol_version: ProtocolVersion,
    /// QoS: 0, 1 or 2
    #[arg(short, long, default_value = "0", value_parser = qos)]
    qos: QoS,
    /// Bytes of a payload; the first 16 are the message's number
    #[arg(short, long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=268_000_000))]
    size: u32,
    /// How many clients, in each role that has many [default: 100; idle: 1000]
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    clients: Option<u32>,
    /// Seconds that count, for each scenario
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    duration: Duration,
    /// Seconds before them that don't
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    warm_up: Duration,
    /// Send exactly so many messages (connect: connections), without a warm-up, instead
    #[arg(long, value_name = "COUNT", conflicts_with = "duration")]
    messages: Option<u64>,
    /// Messages under way at a time, all publishers together [default: 1000; fan-out: 16]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=50_000))]
    in_flight: Option<u16>,
    /// Messages a second of `latency`, all publishers together
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// The broker's process, if it runs on this machine: what it costs is told too
    #[arg(long)]
    pid: Option<u32>,
    /// Print one JSON object for each part of a scenario
    #[arg(long)]
    json: bool,
    /// Show no progress (it is only shown on a terminal)
    #[arg(long)]
    quiet: bool,
    /// Print help
    #[arg(long, action = ArgAction::HelpShort)]
    help: Option<bool>,
}

/// What is done to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Publishers, each with a receiver of its own
    Pairs,
    /// Many publishers, one receiver
    FanIn,
    /// One publisher, many receivers
    FanOut,
    /// Many publishers, and as many members of one Shared Subscription
    Shared,
    /// Pairs at a fixed rate
    Latency,
    /// Connections that come and go, so many at a time
    Connect,
    /// Connections that do nothing, each with a subscription
    Idle,
}

impl Bench {
    pub(crate) fn run(self) -> Outcome {
        // A load of many connections; if there are too few files, opening the first too many says so.
        let _stays = raise_file_limit();
        let bed = self.bed()?;
        let mut wrong = Faults::default();
        for &scenario in &self.scenarios {
            let bed = Bed {
                progress: Arc::default(),
                ..bed.clone()
            };
            let figures = {
                let _watch = Watch::start(name(scenario), &bed.progress, !self.quiet);
                self.load(scenario, &bed)
            };
            for figure in &figures.map_err(|error| self.failure(&error))? {
                let told = Told::new(&self, scenario, figure)?;
                output::line(if self.json { told.json() } else { told.text() })?;
                wrong += figure.faults;
            }
        }
        match wrong.is_none() {
            true => Ok(()),
            false => Err(Failure::new(Exit::Failed, report::wrong(&wrong))),
        }
    }

    /// Finds the broker.
    fn bed(&self) -> Result<Bed, Failure> {
        let process = self.pid.map(Process);
        if let Some(process) = process {
            let seen = process.cpu().and_then(|_| process.peak());
            seen.map_err(|error| Failure::io(format_args!("process {}", process.0), &error))?;
        }
        let password = self.password.clone();
        Ok(Bed {
            login: Login {
                version: self.protocol_version,
                username: self.username.clone(),
                password: password.or_else(|| std::env::var("JACKFIELD_PASSWORD").ok()),
                // Short, since Client Identifiers of 3.1 have 23 characters at most.
                name: format!("bench{}", std::process::id()),
            },
            process,
            warm_up: self.warm_up,
            time: self.duration,
            count: self.messages,
            ..Bed::new(self.reach()?)
        })
    }

    /// Returns the first of the host's addresses where somebody listens.
    fn reach(&self) -> Result<SocketAddr, Failure> {
        let unknown = |error: io::Error| Failure::new(Exit::Unavailable, format!("{}: {error}", self.host));
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for addr in (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(unknown)?
        {
            match TcpStream::connect_timeout(&addr, CONNECT_MAX) {
                Ok(_) => return Ok(addr),
                Err(error) => last = error,
            }
        }
        Err(self.failure(&last.into()))
    }

    /// How many clients, in each role that has many.
    fn many(&self, scenario: Scenario) -> usize {
        let default = if scenario == Scenario::Idle { 1000 } else { 100 };
        self.clients.unwrap_or(default) as usize
    }

    fn load(&self, scenario: Scenario, bed: &Bed) -> Result<Vec<Figure>, LoadError> {
        let many = self.many(scenario);
        match scenario {
            Scenario::Pairs => self.traffic(many, many, To::Own).run(bed),
            Scenario::FanIn => self.traffic(many, 1, To::Everybody).run(bed),
            Scenario::FanOut => self.traffic(1, many, To::Everybody).run(bed),
            Scenario::Shared => self.traffic(many, many, To::Shared).run(bed),
            Scenario::Latency => Paced {
                pairs: many,
                per_second: self.rate.into(),
                qos: self.qos,
                payload_bytes: self.size as usize,
                flood: false,
            }
            .run(bed),
            Scenario::Connect => Connects { together: many }.run(bed),
            Scenario::Idle => Idle {
                count: many,
                stay: true,
            }
            .run(bed),
        }
    }

    fn traffic(&self, publishers: usize, receivers: usize, to: To) -> Traffic {
        let default = if publishers == 1 && receivers > 1 {
            16
        } else {
            1000
        };
        let under_way = u64::from(self.in_flight.unwrap_or(default));
        Traffic {
            publishers,
            receivers,
            to,
            window: (under_way / publishers as u64).max(1),
            qos: self.qos,
            payload_bytes: self.size as usize,
            timed: true,
        }
    }

    fn failure(&self, error: &LoadError) -> Failure {
        let broker = format!("{}:{}", self.host, self.port);
        let LoadError::Io(error) = error else {
            return match error {
                LoadError::Refused { code, .. } => Failure::refused(*code, error.to_string()),
                _ => Failure::new(Exit::Failed, format!("{broker}: {error}")),
            };
        };
        let failure = Failure::io(broker, error);
        match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                failure.hint("no broker listens there; `jackfield` starts one")
            }
            io::ErrorKind::AddrNotAvailable => {
                failure.hint("one address has about 28,000 ports to connect from: use fewer --clients")
            }
            _ if error.raw_os_error() == Some(TOO_MANY_FILES) => {
                failure.hint("each connection is an open file: use fewer --clients or raise `ulimit -Hn`")
            }
            _ => failure,
        }
    }
}

/// The scenarios, how they are driven and how it ends.
fn after_help() -> String {
    let mut text = "Scenarios:\n".to_owned();
    for value in Scenario::value_variants()
        .iter()
        .filter_map(ValueEnum::to_possible_value)
    {
        let what = value.get_help().map_or_else(String::new, ToString::to_string);
        text += &format!("  {:<9}{what}\n", value.get_name());
    }
    text + "\nPublishers send the next message when one has arrived everywhere and was acknowledged, so a slow broker is \
            asked less; `latency` asks at a fixed rate, and its times count from the moment a message was due. Every \
            message has a number: what is lost, comes twice or out of order is told. The load is one thread of this \
            program; on the broker's own machine it takes processors from it.\n\n\
            Ends with 0, with the Reason Code of a refused CONNECT, with 1 when a message was lost, came twice, out of \
            order or was refused, with 69 when the broker can't be reached."
}

/// How a scenario is written on the command line.
fn name(scenario: Scenario) -> String {
    let value = scenario.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "must be a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(time) if time <= TIME_MAX => Ok(time),
        _ => Err(format!("must be 0 to {} seconds", TIME_MAX.as_secs())),
    }
}

/// A host that doesn't answer is given up after so long.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Idle connections don't ping; this is less than the Keep Alive that they ask for.
const TIME_MAX: Duration = Duration::from_secs(3600);
/// EMFILE.
const TOO_MANY_FILES: i32 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_bounds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "x", "-1", "1e9", "nan"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}

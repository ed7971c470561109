//! What a load brought, as text for people and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use broker_loadgen::{Faults, Figure, Latency, Process};
use serde_json::{Value, json};

use super::{Bench, Scenario, name};
use crate::cli::exit::Failure;

/// One figure, and what was asked for.
pub(super) struct Told<'a> {
    bench: &'a Bench,
    scenario: Scenario,
    figure: &'a Figure,
    /// The most memory that the broker ever had, if we may know.
    peak: Option<u64>,
}

impl<'a> Told<'a> {
    pub(super) fn new(bench: &'a Bench, scenario: Scenario, figure: &'a Figure) -> Result<Self, Failure> {
        let peak = bench.pid.map(|pid| Process(pid).peak()).transpose();
        Ok(Self {
            bench,
            scenario,
            figure,
            peak: peak.map_err(|error| Failure::io("the broker's process", &error))?,
        })
    }

    /// Whether it is about messages, not about connections.
    fn messages(&self) -> bool {
        !matches!(self.scenario, Scenario::Connect | Scenario::Idle)
    }

    fn title(&self) -> String {
        let Bench {
            qos,
            size,
            protocol_version,
            ..
        } = self.bench;
        let many = grouped(self.bench.many(self.scenario) as u64);
        let what = match self.scenario {
            Scenario::Pairs => format!("{many} publishers, each with a receiver"),
            Scenario::FanIn => format!("{many} publishers, 1 receiver"),
            Scenario::FanOut => format!("1 publisher, {many} receivers"),
            Scenario::Shared => format!("{many} publishers, {many} receivers that share"),
            Scenario::Latency => format!("{many} pairs, {} messages/s", grouped(self.bench.rate.into())),
            Scenario::Connect => format!("{many} at a time"),
            Scenario::Idle => format!("{many} connections, {}", self.figure.part),
        };
        let mut title = format!("{}: {what}", name(self.scenario));
        if self.messages() {
            let _ = write!(title, ", QoS {}, {} bytes", qos.bits(), grouped((*size).into()));
        }
        let _ = write!(title, ", MQTT {protocol_version}");
        title
    }

    pub(super) fn text(&self) -> String {
        let figure = self.figure;
        let unit = if self.messages() {
            "messages"
        } else {
            "connections"
        };
        let one = &unit[..unit.len() - 1];
        let mut text = self.title();
        let mut line = |label: &str, value: String| {
            let _ = write!(text, "\n  {label:<10}{value}");
        };
        let (units, rate) = (grouped(figure.units), grouped(figure.per_second() as u64));
        let seconds = figure.spent.wall.as_secs_f64();
        line("done", format!("{units} {unit} in {seconds:.1} s: {rate}/s"));
        if self.messages() {
            let bytes = figure.per_second() * f64::from(self.bench.size);
            line("payload", format!("{:.1} MiB/s", bytes / MIB));
        }
        if let Some(latency) = &figure.latency {
            line("latency", percentiles(latency));
        }
        if let Some(peak) = self.peak {
            let busy = figure.spent.cpu.as_secs_f64() / seconds * 100.0;
            line(
                "CPU",
                format!("{:.2} µs a {one}, {busy:.0} % of a processor", figure.micros()),
            );
            let mut memory = format!("{:.1} MiB at the most", peak as f64 / MIB);
            if let Some(bytes) = figure.bytes_each {
                let _ = write!(memory, ", {} bytes a {one}", grouped(bytes.max(0.0) as u64));
            }
            line("memory", memory);
        }
        line(
            "faults",
            match figure.faults.is_none() {
                true => "none".to_owned(),
                false => list(&figure.faults),
            },
        );
        text
    }

    pub(super) fn json(&self) -> String {
        let figure = self.figure;
        let faults = figure.faults;
        let mut all = json!({
            "scenario": name(self.scenario),
            "clients": self.bench.many(self.scenario),
            "version": self.bench.protocol_version.to_string(),
            "units": figure.units,
            "seconds": figure.spent.wall.as_secs_f64(),
            "per_second": figure.per_second(),
            "lost": faults.lost,
            "twice": faults.twice,
            "out_of_order": faults.disordered,
            "refused": faults.refused,
        });
        let mut add = |key: &str, value: Value| all[key] = value;
        if !figure.part.is_empty() {
            add("part", figure.part.into());
        }
        if self.messages() {
            add("qos", self.bench.qos.bits().into());
            add("payload_bytes", self.bench.size.into());
        }
        if let Some(latency) = &figure.latency {
            let micros = |time: Duration| time.as_secs_f64() * 1e6;
            add(
                "latency_us",
                json!({
                    "p50": micros(latency.p50),
                    "p90": micros(latency.p90),
                    "p99": micros(latency.p99),
                    "p999": micros(latency.p999),
                    "max": micros(latency.max),
                }),
            );
        }
        if let Some(peak) = self.peak {
            add("cpu_us_each", figure.micros().into());
            add("memory_peak_bytes", peak.into());
        }
        if let Some(bytes) = figure.bytes_each {
            add("memory_bytes_each", bytes.into());
        }
        all.to_string()
    }
}

/// What went wrong in all of it, as a sentence.
pub(super) fn wrong(faults: &Faults) -> String {
    format!("not everything arrived once and in order: {}", list(faults))
}

fn list(faults: &Faults) -> String {
    let parts = [
        (faults.lost, "lost"),
        (faults.twice, "twice"),
        (faults.disordered, "out of order"),
        (faults.refused, "refused"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts
        .map(|(count, what)| format!("{} {what}", grouped(*count)))
        .collect();
    parts.join(", ")
}

fn percentiles(latency: &Latency) -> String {
    let Latency {
        p50,
        p90,
        p99,
        p999,
        max,
    } = latency;
    let parts = [
        ("p50", p50),
        ("p90", p90),
        ("p99", p99),
        ("p99.9", p999),
        ("max", max),
    ];
    parts
        .map(|(label, time)| format!("{label} {}", short(*time)))
        .join("  ")
}

/// A time in the unit in which it has few digits.
fn short(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        ..1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// A number with a comma at every third digit.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

const MIB: f64 = 1024.0 * 1024.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn times_are_short() {
        for (micros, text) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_500, "1.50 ms"),
            (2_000_000, "2.00 s"),
        ] {
            assert_eq!(short(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn only_what_went_wrong_is_told() {
        let faults = Faults {
            lost: 1200,
            refused: 1,
            ..Faults::default()
        };
        assert_eq!(list(&faults), "1,200 lost, 1 refused");
    }
}

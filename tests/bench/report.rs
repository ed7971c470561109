//! Everything that was measured: kept by row and broker, told while it happens, written as JSON.

use std::io;
use std::time::Duration;

use broker_loadgen::{Figure, LoadError};
use serde::Serialize;

use crate::broker::Broker;
use crate::rows::{Row, Table};

/// Figures by row, in the order in which rows first came.
pub(crate) struct Report {
    brokers: Vec<(Table, String)>,
    pub(crate) rows: Vec<Line>,
    /// What couldn't be measured, and why.
    pub(crate) failures: Vec<String>,
}

/// One row of the table.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) table: Table,
    pub(crate) runs: Vec<Run>,
}

/// One run of one row.
pub(crate) struct Run {
    pub(crate) broker: String,
    pub(crate) round: usize,
    /// The most resident bytes the broker had.
    pub(crate) peak: u64,
    pub(crate) figure: Figure,
}

#[derive(Serialize)]
struct Record<'a> {
    row: &'a str,
    broker: &'a str,
    round: usize,
    units: u64,
    cpu_us_each: f64,
    per_second: f64,
    lost: u64,
    twice: u64,
    disordered: u64,
    refused: u64,
    peak_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_each: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Percentiles>,
}

#[derive(Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// What a figure is called: the row, and the part of it if it has several.
pub(crate) fn name(row: &Row, figure: &Figure) -> String {
    match figure.part {
        "" => row.name.clone(),
        part => format!("{}: {part}", row.name),
    }
}

impl Report {
    pub(crate) fn new(brokers: &[Broker]) -> Self {
        let mut names: Vec<(Table, String)> = Vec::new();
        for broker in brokers {
            if !names.iter().any(|(_, name)| *name == broker.name) {
                names.push((broker.table, broker.name.clone()));
            }
        }
        Self {
            brokers: names,
            rows: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Takes what a run brought, and tells it in a line each.
    pub(crate) fn add(
        &mut self,
        broker: &Broker,
        row: &Row,
        round: usize,
        measured: Result<(Vec<Figure>, u64), LoadError>,
    ) {
        let (figures, peak) = match measured {
            Ok(measured) => measured,
            Err(error) => {
                let failure = format!("{}, {}, round {round}: {error}", row.name, broker.name);
                eprintln!("    failed: {error}");
                self.failures.push(failure);
                return;
            }
        };
        for figure in figures {
            let (name, faults) = (name(row, &figure), figure.faults);
            let told = match faults.is_none() {
                true => String::new(),
                false => format!("  {faults:?}"),
            };
            eprintln!("    {name}: {:.2} µs{told}", figure.micros());
            let run = Run {
                broker: broker.name.clone(),
                round,
                peak,
                figure,
            };
            match self.rows.iter_mut().find(|line| line.name == name) {
                Some(line) => line.runs.push(run),
                None => self.rows.push(Line {
                    name,
                    table: row.table,
                    runs: vec![run],
                }),
            }
        }
    }

    /// The brokers of a table, in the order of the configuration.
    pub(crate) fn brokers(&self, of: Table) -> Vec<&str> {
        let brokers = self.brokers.iter().filter(|(table, _)| *table == of);
        brokers.map(|(_, name)| name.as_str()).collect()
    }

    /// Every figure of every run.
    pub(crate) fn json<'a>(&'a self) -> io::Result<String> {
        let of_line = |line: &'a Line| line.runs.iter().map(|run| run.record(&line.name));
        let records: Vec<_> = self.rows.iter().flat_map(of_line).collect();
        serde_json::to_string_pretty(&records).map_err(io::Error::other)
    }
}

impl Line {
    /// What all runs of a broker say of one thing.
    pub(crate) fn values(&self, broker: &str, of: impl Fn(&Run) -> Option<f64>) -> Vec<f64> {
        let runs = self.runs.iter().filter(|run| run.broker == broker);
        runs.filter_map(of).collect()
    }
}

impl Run {
    fn record<'a>(&'a self, row: &'a str) -> Record<'a> {
        let Figure {
            units,
            faults,
            bytes_each,
            latency,
            ..
        } = &self.figure;
        Record {
            row,
            broker: &self.broker,
            round: self.round,
            units: *units,
            cpu_us_each: self.figure.micros(),
            per_second: self.figure.per_second(),
            lost: faults.lost,
            twice: faults.twice,
            disordered: faults.disordered,
            refused: faults.refused,
            peak_bytes: self.peak,
            bytes_each: *bytes_each,
            latency_us: latency.map(|latency| Percentiles {
                p50: micros(latency.p50),
                p90: micros(latency.p90),
                p99: micros(latency.p99),
                p999: micros(latency.p999),
                max: micros(latency.max),
            }),
        }
    }
}

/// What a reader has to know of the run: how much was done, on what, and what else went on there.
pub(crate) fn conditions(rounds: usize, seconds: f64) -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (cpus, load) = (read("/proc/cpuinfo"), read("/proc/loadavg"));
    let processors = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown", |(_, model)| model);
    let load = load.split(' ').next().unwrap_or("unknown");
    format!(
        "{rounds} rounds of {seconds} s on {processors} processors ({model}), load average {load} at the end."
    )
}

/// A time in microseconds.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The middle of some values.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }
}

//! Everything that was measured: kept by row and broker, told while it happens, written as JSON.

use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::scenario::Figure;

/// Figures by row, in the order in which rows first came.
pub(crate) struct Report {
    pub(crate) brokers: Vec<String>,
    pub(crate) rows: Vec<Line>,
    /// What couldn't be measured, and why.
    pub(crate) failures: Vec<String>,
}

/// One row of the table.
pub(crate) struct Line {
    pub(crate) name: String,
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
    p99: f64,
    max: f64,
}

impl Report {
    pub(crate) fn new(brokers: Vec<String>) -> Self {
        Self {
            brokers,
            rows: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Takes what a run brought, and tells it in a line each.
    pub(crate) fn add(
        &mut self,
        broker: &str,
        row: &str,
        round: usize,
        measured: io::Result<(Vec<Figure>, u64)>,
    ) {
        let (figures, peak) = match measured {
            Ok(measured) => measured,
            Err(error) => {
                let failure = format!("{row}, {broker}, round {round}: {error}");
                eprintln!("    failed: {error}");
                self.failures.push(failure);
                return;
            }
        };
        for figure in figures {
            let faults = figure.faults;
            let told = if faults == Default::default() {
                String::new()
            } else {
                format!("  {faults:?}")
            };
            eprintln!("    {}: {:.2} µs{told}", figure.row, figure.micros());
            let run = Run {
                broker: broker.to_owned(),
                round,
                peak,
                figure,
            };
            match self.rows.iter_mut().find(|line| line.name == run.figure.row) {
                Some(line) => line.runs.push(run),
                None => self.rows.push(Line {
                    name: run.figure.row.clone(),
                    runs: vec![run],
                }),
            }
        }
    }

    /// Every figure of every run.
    pub(crate) fn json(&self) -> io::Result<String> {
        let runs = self.rows.iter().flat_map(|line| &line.runs);
        let records: Vec<_> = runs.map(Run::record).collect();
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
    fn record(&self) -> Record<'_> {
        let Figure {
            row,
            units,
            spent,
            faults,
            bytes_each,
            latency,
        } = &self.figure;
        Record {
            row,
            broker: &self.broker,
            round: self.round,
            units: *units,
            cpu_us_each: self.figure.micros(),
            per_second: *units as f64 / spent.wall.as_secs_f64(),
            lost: faults.lost,
            twice: faults.twice,
            disordered: faults.disordered,
            refused: faults.refused,
            peak_bytes: self.peak,
            bytes_each: *bytes_each,
            latency_us: latency.map(|latency| Percentiles {
                p50: micros(latency.p50),
                p99: micros(latency.p99),
                max: micros(latency.max),
            }),
        }
    }
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

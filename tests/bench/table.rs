//! The report as tables that people read: medians of all rounds, and what went wrong.

use std::fmt::Write as _;

use crate::ledger::Faults;
use crate::report::{Line, Report, Run, median, micros};

/// The broker that others are compared with, if it takes part.
const FLOOR: &str = "floor";

/// Returns the tables in Markdown: CPU time, latency, memory.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = String::new();
    section(
        &mut text,
        report,
        "CPU µs of the broker for each message delivered or connection (× the floor)",
        cpu,
    );
    section(&mut text, report, "Latency in µs: p50 / p99 / max", latency);
    section(&mut text, report, "Resident bytes for each", bytes_each);
    section(&mut text, report, "Resident MiB at the most", peak);
    for failure in &report.failures {
        let _ = writeln!(text, "\n**Failed:** {failure}");
    }
    text
}

type Cell = fn(&Line, &str) -> Option<String>;

/// Writes a table of the rows that have something to say.
fn section(text: &mut String, report: &Report, title: &str, cell: Cell) {
    let lines: Vec<_> = report
        .rows
        .iter()
        .filter_map(|line| {
            let cells: Vec<_> = report.brokers.iter().map(|broker| cell(line, broker)).collect();
            cells.iter().any(Option::is_some).then_some((line, cells))
        })
        .collect();
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n**{title}**\n\n| row | {} |", report.brokers.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(report.brokers.len()));
    for (line, cells) in lines {
        let cells: Vec<_> = cells
            .into_iter()
            .map(|cell| cell.unwrap_or_else(|| "–".to_owned()))
            .collect();
        let _ = writeln!(text, "| {} | {} |", line.name, cells.join(" | "));
    }
}

fn cpu(line: &Line, broker: &str) -> Option<String> {
    let all = line.values(broker, |run| Some(run.figure.micros()));
    let mut cell = short(median(all)?);
    if broker != FLOOR
        && let Some(times) = median(times_floor(line, broker))
    {
        let _ = write!(cell, " (×{times:.2})");
    }
    cell.push_str(&wrong(line, broker));
    Some(cell)
}

/// The ratios to the floor, each within its round.
fn times_floor(line: &Line, broker: &str) -> Vec<f64> {
    line.values(broker, |run| {
        let same_round = |other: &&Run| other.broker == FLOOR && other.round == run.round;
        let floor = line.runs.iter().find(same_round)?;
        Some(run.figure.micros() / floor.figure.micros())
    })
}

/// What went wrong in all rounds together; empty if nothing did.
fn wrong(line: &Line, broker: &str) -> String {
    let mut all = Faults::default();
    let runs = line.runs.iter().filter(|run| run.broker == broker);
    runs.for_each(|run| all += run.figure.faults);
    let Faults {
        lost,
        twice,
        disordered,
        refused,
    } = all;
    [
        (lost, "lost"),
        (twice, "twice"),
        (disordered, "out of order"),
        (refused, "refused"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!(", **{count} {what}**"))
    .collect()
}

fn latency(line: &Line, broker: &str) -> Option<String> {
    let of = |pick: fn(&crate::scenario::Latency) -> std::time::Duration| {
        median(line.values(broker, |run| {
            run.figure.latency.as_ref().map(|all| micros(pick(all)))
        }))
    };
    let (p50, p99, max) = (of(|all| all.p50)?, of(|all| all.p99)?, of(|all| all.max)?);
    Some(format!("{p50:.0} / {p99:.0} / {max:.0}"))
}

fn bytes_each(line: &Line, broker: &str) -> Option<String> {
    let bytes = median(line.values(broker, |run| run.figure.bytes_each))?;
    Some(format!("{bytes:.0}"))
}

fn peak(line: &Line, broker: &str) -> Option<String> {
    let bytes = median(line.values(broker, |run| Some(run.peak as f64)))?;
    Some(format!("{:.1}", bytes / 1024.0 / 1024.0))
}

fn short(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value => format!("{value:.1}"),
    }
}

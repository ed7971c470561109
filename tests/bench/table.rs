//! The report as tables that people read: medians of all rounds, and what went wrong.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use broker_loadgen::{Faults, Latency};

use crate::report::{Line, Report, Run, median, micros};
use crate::rows::Table;

/// The broker that others are compared with, if it takes part.
const FLOOR: &str = "floor";

/// The chain that others are compared with.
const NO_CHAIN: &str = "no chain";

/// The marks in a page between which the tables stand.
const MARKS: [&str; 2] = [
    "<!-- tables: made by the benchmark -->",
    "<!-- end of the tables -->",
];

/// Returns the tables in Markdown: CPU time, latency, memory, plugins.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = String::new();
    let main = Table::Brokers;
    section(
        &mut text,
        report,
        main,
        "CPU µs of the broker for each message delivered or connection (× the floor)",
        cpu,
    );
    section(&mut text, report, main, "Latency in µs: p50 / p99 / max", latency);
    section(&mut text, report, main, "Resident bytes for each", bytes_each);
    section(&mut text, report, main, "Resident MiB at the most", peak);
    section(
        &mut text,
        report,
        Table::Plugins,
        "CPU µs of Jackfield for each message delivered, by chain (ns more than without a chain)",
        hooks,
    );
    for failure in &report.failures {
        let _ = writeln!(text, "\n**Failed:** {failure}");
    }
    text
}

/// Puts the tables into a page, between its marks.
pub(crate) fn put(page: &Path, tables: &str) -> io::Result<()> {
    let text = std::fs::read_to_string(page)?;
    let text = between(&text, tables)
        .ok_or_else(|| io::Error::other(format!("{}: no lines {MARKS:?}", page.display())))?;
    std::fs::write(page, text)
}

fn between(page: &str, tables: &str) -> Option<String> {
    let [begin, end] = MARKS;
    let (before, rest) = page.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{tables}\n{end}{after}"))
}

type Cell = fn(&Line, &str) -> Option<String>;

/// Writes a table of the rows that have something to say.
fn section(text: &mut String, report: &Report, table: Table, title: &str, cell: Cell) {
    let brokers = report.brokers(table);
    let lines: Vec<_> = report
        .rows
        .iter()
        .filter(|line| line.table == table)
        .filter_map(|line| {
            let cells: Vec<_> = brokers.iter().map(|broker| cell(line, broker)).collect();
            cells.iter().any(Option::is_some).then_some((line, cells))
        })
        .collect();
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n**{title}**\n\n| row | {} |", brokers.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(brokers.len()));
    for (line, cells) in lines {
        let cells: Vec<_> = cells
            .into_iter()
            .map(|cell| cell.unwrap_or_else(|| "–".to_owned()))
            .collect();
        let _ = writeln!(text, "| {} | {} |", line.name, cells.join(" | "));
    }
}

/// CPU time, and how much more than without a chain in the same round.
fn hooks(line: &Line, broker: &str) -> Option<String> {
    let all = line.values(broker, |run| Some(run.figure.micros()));
    let mut cell = short(median(all)?);
    if broker != NO_CHAIN
        && let Some(more) = median(beside(line, broker, NO_CHAIN, |mine, other| {
            (mine - other) * 1000.0
        }))
    {
        let _ = write!(cell, " ({more:+.0})");
    }
    cell.push_str(&wrong(line, broker));
    Some(cell)
}

/// What becomes of a broker's CPU time and that of another in the same round, in every round.
fn beside(line: &Line, broker: &str, other: &str, of: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    line.values(broker, |run| {
        let same_round = |run_of: &&Run| run_of.broker == other && run_of.round == run.round;
        let other = line.runs.iter().find(same_round)?;
        Some(of(run.figure.micros(), other.figure.micros()))
    })
}

fn cpu(line: &Line, broker: &str) -> Option<String> {
    let all = line.values(broker, |run| Some(run.figure.micros()));
    let mut cell = short(median(all)?);
    if broker != FLOOR
        && let Some(times) = median(beside(line, broker, FLOOR, |mine, floor| mine / floor))
    {
        let _ = write!(cell, " (×{times:.2})");
    }
    cell.push_str(&wrong(line, broker));
    Some(cell)
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
    let of = |pick: fn(&Latency) -> Duration| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_replace_what_stood_between_the_marks() {
        let [begin, end] = MARKS;
        let page = format!("a\n{begin}\nold\n{end}\nb\n");
        let new = between(&page, "new").unwrap();
        assert_eq!(new, format!("a\n{begin}\nnew\n{end}\nb\n"));
        assert_eq!(between("no marks", "new"), None);
    }
}

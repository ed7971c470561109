//! `jackfield test`: runs the `[[tests]]` of a configuration. Starts the plugins, opens no port.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use jackfield::config_file::load;
use jackfield::trial::{self, Verdict};
use serde_json::json;

use super::chain::failure;
use super::exit::{Exit, Failure, Outcome};
use super::source::{Overrides, loaders, runtime};
use super::{explained, output};

/// `jackfield test`.
#[derive(Debug, Args)]
#[command(
    long_about = "Run the tests of a configuration: each `[[tests]]` has a client do something and says what must come of it.\n\n\
                  The plugins are started, but no port is opened.",
    after_help = "Exit codes: 0 all is as expected, 1 something isn't, 78 wrong configuration."
)]
pub(crate) struct Test {
    /// The configuration
    #[arg(default_value = "jackfield.toml")]
    file: PathBuf,
    /// Run only tests with this in their name
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
    /// How results are written: for people, for scripts (one JSON object a line), as JUnit's XML
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
    Junit,
}

impl Test {
    pub(crate) fn run(self) -> Outcome {
        let sources = self.overrides.sources(Some(self.file.clone()));
        let results = runtime()?.block_on(async {
            let loaders = loaders();
            let loaded = load(&sources, &loaders).await.map_err(|report| {
                output::report(&report);
                Failure::silent(Exit::Configuration as u8)
            })?;
            let wanted = |name: &str| self.only.as_deref().is_none_or(|only| name.contains(only));
            let mut settings = loaded.settings;
            settings.tests.retain(|test| wanted(&test.name));
            if settings.tests.is_empty() {
                let message = match &self.only {
                    Some(only) => format!("no test has `{only}` in its name"),
                    None => format!("{} has no [[tests]]", self.file.display()),
                };
                return Err(Failure::new(Exit::Failed, message));
            }
            let rehearsed = trial::rehearse(&settings, &loaders).await;
            let mut rehearsal = rehearsed.map_err(|error| failure(&error))?;
            let mut results = Vec::new();
            for test in &settings.tests {
                let began = Instant::now();
                let verdict = trial::run(&mut rehearsal, test).await;
                results.push((verdict, began.elapsed()));
            }
            rehearsal.end().await;
            Ok(results)
        })?;
        match self.format {
            Format::Text => output::text(text(&results).as_bytes())?,
            Format::Json => results
                .iter()
                .try_for_each(|(verdict, took)| output::line(json(verdict, *took)))?,
            Format::Junit => output::text(junit(&results).as_bytes())?,
        }
        match failed(&results) {
            0 => Ok(()),
            _ => Err(Failure::silent(Exit::Failed as u8)),
        }
    }
}

fn failed(results: &[(Verdict, Duration)]) -> usize {
    results
        .iter()
        .filter(|(verdict, _)| !verdict.failures.is_empty())
        .count()
}

/// For people: a line for each, and for one that fails everything that helps.
fn text(results: &[(Verdict, Duration)]) -> String {
    let mut text = String::new();
    for (verdict, _) in results {
        let word = if verdict.failures.is_empty() {
            "ok  "
        } else {
            "FAIL"
        };
        // Writing into a string doesn't fail.
        let _ = writeln!(text, "{word}  {}", verdict.name);
        for failure in &verdict.failures {
            let _ = writeln!(text, "      {failure}");
        }
        if let Some(explained) = verdict
            .explained
            .as_ref()
            .filter(|_| !verdict.failures.is_empty())
        {
            let turns = explained::turns(explained, "        ");
            let said = if turns.is_empty() {
                "no plugin was asked\n"
            } else {
                "what the plugins said:\n"
            };
            let _ = write!(text, "      {said}{turns}");
            let outcome = explained::outcome(explained).replace('\n', "\n      ");
            let _ = writeln!(text, "      in the end: {outcome}");
        }
    }
    let (all, failed) = (results.len(), failed(results));
    let tests = if all == 1 { "test" } else { "tests" };
    let _ = writeln!(text, "\n{all} {tests}: {} ok, {failed} failed", all - failed);
    text
}

fn json(verdict: &Verdict, took: Duration) -> serde_json::Value {
    json!({
        "name": verdict.name,
        "ok": verdict.failures.is_empty(),
        "failures": verdict.failures,
        "micros": u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "explained": verdict.explained.as_ref().map(explained::json),
    })
}

/// What continuous integration shows: one suite, one case for each test.
fn junit(results: &[(Verdict, Duration)]) -> String {
    let total: Duration = results.iter().map(|(_, took)| took).sum();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"jackfield\" tests=\"{}\" failures=\"{}\" time=\"{:.6}\">\n",
        results.len(),
        failed(results),
        total.as_secs_f64()
    );
    for (verdict, took) in results {
        // Writing into a string doesn't fail.
        let _ = write!(
            xml,
            "  <testcase classname=\"jackfield\" name=\"{}\" time=\"{:.6}\"",
            escape(&verdict.name),
            took.as_secs_f64()
        );
        let _ = match verdict.failures.first() {
            None => writeln!(xml, "/>"),
            Some(first) => writeln!(
                xml,
                ">\n    <failure message=\"{}\">{}</failure>\n  </testcase>",
                escape(first),
                escape(&verdict.failures.join("\n"))
            ),
        };
    }
    xml.push_str("</testsuite>\n");
    xml
}

/// As XML has it; what may not stand in XML at all is left out.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

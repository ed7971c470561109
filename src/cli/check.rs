//! `jackfield check`: everything that is wrong with a configuration. Opens no port and starts no plugin.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jackfield::config_file::{Diagnostic, Origin, Report, Severity};
use serde_json::json;

use super::exit::{Exit, Failure, Outcome};
use super::output;
use super::source::{Overrides, load, runtime};

/// `jackfield check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration
    #[arg(default_value = "jackfield.toml")]
    file: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
    /// Fail for warnings too
    #[arg(long)]
    strict: bool,
    /// How mistakes are written: for people, for scripts (one JSON object a line), for GitHub's annotations
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
    Github,
}

impl Check {
    pub(crate) fn run(self) -> Outcome {
        let sources = self.overrides.sources(Some(self.file.clone()));
        let report = match runtime()?.block_on(load(&sources)) {
            Ok(loaded) => loaded.report,
            Err(report) => report,
        };
        match self.format {
            Format::Text => write_text(&self.file.display().to_string(), &report)?,
            Format::Json => report.iter().try_for_each(|found| output::line(json(found)))?,
            Format::Github => report
                .iter()
                .try_for_each(|found| output::line(annotation(found)))?,
        }
        let warned = self.strict && report.count(Severity::Warning) > 0;
        if report.has_errors() || warned {
            return Err(Failure::silent(Exit::Configuration as u8));
        }
        Ok(())
    }
}

/// Mistakes go to standard error, good news to standard output.
fn write_text(file: &str, report: &Report) -> Outcome {
    if report.iter().next().is_none() {
        return output::line(format_args!("{file}: {report}"));
    }
    output::report(report);
    Ok(())
}

fn json(found: &Diagnostic) -> serde_json::Value {
    let place = found.place.as_ref();
    let snippet = place.and_then(|place| place.snippet.as_ref());
    let file = place.and_then(|place| match &place.origin {
        Origin::File(path) => Some(path.display().to_string()),
        _ => None,
    });
    json!({
        "severity": found.severity.to_string(),
        "code": found.code.as_str(),
        "message": found.message,
        "label": found.label,
        "help": found.help,
        "origin": place.map(|place| place.origin.to_string()),
        "file": file,
        "line": snippet.map(|s| s.line),
        "column": snippet.map(|s| s.column),
        "width": snippet.map(|s| s.width),
    })
}

/// A workflow command; `%` and line ends are escaped as GitHub's runner reads them.
fn annotation(found: &Diagnostic) -> String {
    let escape = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let mut place = String::new();
    if let Some(at) = &found.place
        && let Origin::File(path) = &at.origin
    {
        place = format!("file={},", path.display());
        if let Some(snippet) = &at.snippet {
            let end = snippet.column + snippet.width;
            place += &format!("line={},col={},endColumn={end},", snippet.line, snippet.column);
        }
    }
    let help = found
        .help
        .as_ref()
        .map_or(String::new(), |help| format!("\n{help}"));
    let text = escape(&format!("{}{help}", found.message));
    format!("::{} {place}title={}::{text}", found.severity, found.code)
}

#[cfg(test)]
mod tests {
    use jackfield::config_file::{Code, Place, Snippet};

    use super::*;

    fn found() -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code: Code::UnknownKey,
            message: "unknown key `x`".to_owned(),
            place: Some(Place {
                origin: Origin::File("j.toml".into()),
                snippet: Some(Snippet {
                    line: 3,
                    column: 5,
                    width: 2,
                    text: "    xy".to_owned(),
                }),
            }),
            label: String::new(),
            help: Some("100 %".to_owned()),
        }
    }

    #[test]
    fn an_annotation_is_one_line() {
        assert_eq!(
            annotation(&found()),
            "::error file=j.toml,line=3,col=5,endColumn=7,title=unknown_key::unknown key `x`%0A100 %25"
        );
    }

    #[test]
    fn json_has_the_place() {
        let json = json(&found());
        assert_eq!(
            (&json["file"], &json["line"], &json["code"]),
            (&"j.toml".into(), &3.into(), &"unknown_key".into())
        );
    }
}

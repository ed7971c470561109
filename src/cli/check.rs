//! `jackfield check`: everything that is wrong with a configuration. Opens no port and starts no plugin.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use jackfield::Hook;
use jackfield::config_file::{Code, Diagnostic, Origin, Report, Severity, load};
use plugin_api::{LoadError, Plugin, PluginInfo, PluginLoader, PluginSource, async_trait};
use serde_json::json;

use super::exit::{Exit, Failure, Outcome};
use super::output;
use super::source::{Overrides, loaders, runtime};

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
    /// Don't load plugins that are files; what they would say of their options isn't told
    #[arg(long)]
    no_plugins: bool,
    /// How mistakes are written: for people, for scripts (one JSON object a line), for GitHub's annotations, as SARIF
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
    Github,
    Sarif,
}

impl Check {
    pub(crate) fn run(self) -> Outcome {
        let sources = self.overrides.sources(Some(self.file.clone()));
        let loaders = match self.no_plugins {
            true => loaders().into_iter().map(unasked).collect(),
            false => loaders(),
        };
        let report = match runtime()?.block_on(load(&sources, &loaders)) {
            Ok(loaded) => loaded.report,
            Err(report) => report,
        };
        match self.format {
            Format::Text => write_text(&self.file.display().to_string(), &report)?,
            Format::Json => report.iter().try_for_each(|found| output::line(json(found)))?,
            Format::Github => report
                .iter()
                .try_for_each(|found| output::line(annotation(found)))?,
            Format::Sarif => output::line(sarif(&report))?,
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

/// The same loader, but for plugins that are files one that takes everything for right.
fn unasked(loader: Arc<dyn PluginLoader>) -> Arc<dyn PluginLoader> {
    match loader.kind() {
        "builtin" => loader,
        kind => Arc::new(Unasked(kind)),
    }
}

/// A loader that loads nothing: every plugin is there, has every hook and takes every option.
struct Unasked(&'static str);

#[async_trait]
impl PluginLoader for Unasked {
    fn kind(&self) -> &'static str {
        self.0
    }

    async fn inspect(&self, source: &PluginSource) -> Result<PluginInfo, LoadError> {
        let hooks = Hook::ALL.iter().map(|hook| hook.as_str());
        Ok(PluginInfo {
            id: source.what.clone(),
            hooks: hooks
                .chain(["bridge", "session-store"])
                .map(str::to_owned)
                .collect(),
            ..PluginInfo::default()
        })
    }

    async fn check(&self, _: &PluginSource, _: &str) -> Result<(), LoadError> {
        Ok(())
    }

    async fn load(&self, _: &str, source: &PluginSource, _: &str) -> Result<Arc<dyn Plugin>, LoadError> {
        Err(LoadError::Start(format!(
            "{} isn't loaded for a check",
            source.what
        )))
    }
}

/// What code scanning takes: one run with all results.
fn sarif(report: &Report) -> serde_json::Value {
    let rules = Code::ALL.iter().map(|code| {
        json!({ "id": code.as_str(), "shortDescription": { "text": code.summary() }, "help": { "text": code.page() } })
    });
    let results = report.iter().map(|found| {
        let place = found.place.as_ref();
        let file = place.and_then(|place| match &place.origin {
            Origin::File(path) => Some(path.display().to_string()),
            _ => None,
        });
        let region = place.and_then(|place| place.snippet.as_ref()).map(
            |at| json!({ "startLine": at.line, "startColumn": at.column, "endColumn": at.column + at.width }),
        );
        let location = file.map(|file| {
            let mut location = json!({ "physicalLocation": { "artifactLocation": { "uri": file } } });
            if let Some(region) = region {
                location["physicalLocation"]["region"] = region;
            }
            location
        });
        json!({
            "ruleId": found.code.as_str(),
            "level": found.severity.to_string(),
            "message": { "text": found.message },
            "locations": location.into_iter().collect::<Vec<_>>(),
        })
    });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "jackfield",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.collect::<Vec<_>>(),
            } },
            "results": results.collect::<Vec<_>>(),
        }],
    })
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
    use jackfield::config_file::{Place, Snippet};

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

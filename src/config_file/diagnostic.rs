//! What is wrong with a configuration, where, and what to do about it. Making the text is here too, in the manner of a
//! compiler: forty lines, where a crate for it would bring thirty packages. Finding the mistakes is not.

use std::fmt;
use std::path::PathBuf;

use super::code::Code;
use super::secrets::without_value;

/// A mistake or a doubt, with everything a reader needs to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the start.
    pub severity: Severity,
    /// Its kind: what scripts look at, and what `jackfield explain` takes.
    pub code: Code,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; `None`: nowhere in particular.
    pub place: Option<Place>,
    /// What to say under the place.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
}

/// How bad it is. The list is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The broker doesn't start.
    Error,
    /// It starts; `check --strict` fails.
    Warning,
}

/// Where a value came from. The list is complete: one for each kind of layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag, as it was given.
    Flag(String),
}

/// A place in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What was read.
    pub origin: Origin,
    /// Where in it; `None`: the whole.
    pub snippet: Option<Snippet>,
}

/// The line of a text that a diagnostic speaks of. Line and column count from 1, the column in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// Its line.
    pub line: usize,
    /// Its first character.
    pub column: usize,
    /// Its length in characters, at least 1, not beyond the line.
    pub width: usize,
    /// The whole line, control characters replaced.
    pub text: String,
}

/// Characters of a line that are shown at most.
const LINE_MAX: usize = 120;

impl Snippet {
    /// Cuts the line out of `text` in which `span` begins.
    #[must_use]
    pub(super) fn cut(text: &str, span: &std::ops::Range<usize>) -> Self {
        let start = floor(text, span.start.min(text.len()));
        let end = floor(text, span.end.clamp(start, text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
        let chars = |from: usize, to: usize| text[from..to].chars().count();
        let line = text[line_start..line_end].trim_end_matches('\r');
        Self {
            line: text[..start].matches('\n').count() + 1,
            column: chars(line_start, start) + 1,
            width: chars(start, end.min(line_end)).max(1),
            text: line
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect(),
        }
    }

    /// The part of the line to show, the characters in it before the place, and the place's width in it.
    fn window(&self) -> (String, usize, usize) {
        let before = self.column - 1;
        let start = if self.text.chars().count() > LINE_MAX {
            before.saturating_sub(LINE_MAX / 2)
        } else {
            0
        };
        let text: String = self.text.chars().skip(start).take(LINE_MAX).collect();
        let room = LINE_MAX - (before - start).min(LINE_MAX - 1);
        (text, before - start, self.width.min(room))
    }
}

/// The nearest char boundary at or below `index`.
fn floor(text: &str, index: usize) -> usize {
    (0..=index).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the defaults"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, &self.snippet) {
            (Origin::File(path), Some(at)) => write!(f, "{}:{}:{}", path.display(), at.line, at.column),
            (origin, _) => origin.fmt(f),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Writes it as a compiler would, over several lines, without a final line break.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.severity, self.code, self.message)?;
        let mut gutter = 2;
        if let Some(place) = &self.place {
            let snippet = place.snippet.as_ref();
            // Only lines of a file have a number that helps to find them.
            let number = match (&place.origin, snippet) {
                (Origin::File(_), Some(snippet)) => snippet.line.to_string(),
                _ => String::new(),
            };
            gutter = number.len().max(1) + 1;
            write!(f, "\n{:>gutter$}--> {place}", "", gutter = gutter - 1)?;
            if let Some(snippet) = snippet {
                let (text, before, width) = snippet.window();
                write!(f, "\n{:gutter$}|\n{number:>1$} | {text}", "", gutter - 1)?;
                let marks = format!("{}{} {}", " ".repeat(before), "^".repeat(width), self.label);
                write!(f, "\n{:gutter$}| {}", "", marks.trim_end())?;
            } else if !self.label.is_empty() {
                write!(f, "\n{:gutter$}= {}", "", self.label)?;
            }
        }
        if let Some(help) = &self.help {
            write!(f, "\n{:gutter$}= help: {help}", "")?;
        }
        Ok(())
    }
}

/// All that was found, errors first, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    found: Vec<Diagnostic>,
}

impl Report {
    /// Adds a diagnostic.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    /// Says what to do about the diagnostic that was added last.
    pub(super) fn suggest(&mut self, help: String) {
        if let Some(last) = self.found.last_mut() {
            last.help = Some(help);
        }
    }

    /// Adds all of `other`.
    pub(super) fn append(&mut self, other: Self) {
        self.found.extend(other.found);
    }

    /// Puts asterisks where secrets stand in the lines that were read from `origin`, and takes the value out of a flag's name.
    /// `columns` gives the columns of a line that are secret.
    pub(super) fn hide(&mut self, origin: &Origin, columns: impl Fn(usize) -> Vec<std::ops::Range<usize>>) {
        let places = self.found.iter_mut().filter_map(|found| found.place.as_mut());
        for place in places.filter(|place| place.origin == *origin) {
            if let Some(snippet) = &mut place.snippet {
                let secret = columns(snippet.line);
                let hidden = snippet.text.chars().zip(1..);
                let hidden = hidden.map(|(c, at)| {
                    if secret.iter().any(|span| span.contains(&at)) {
                        '*'
                    } else {
                        c
                    }
                });
                snippet.text = hidden.collect();
            }
            if let Some(without) = without_value(origin) {
                place.origin = without;
            }
        }
    }

    /// Tells whether there is an error in it.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Returns how many there are of `severity`.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.found.iter().filter(|d| d.severity == severity).count()
    }

    /// Returns all, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter()
    }

    /// Puts errors first and each kind in the order of its place; what was found twice stays once.
    pub(super) fn sort(&mut self) {
        fn line(d: &Diagnostic) -> (usize, usize) {
            let snippet = d.place.as_ref().and_then(|place| place.snippet.as_ref());
            snippet.map_or((0, 0), |s| (s.line, s.column))
        }
        self.found.sort_by_key(|found| (found.severity, line(found)));
        self.found.dedup();
    }
}

/// Writes all, each followed by an empty line, then one line that counts them.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.found {
            write!(f, "{diagnostic}\n\n")?;
        }
        let counted = |n, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        match (errors, warnings) {
            (0, 0) => f.write_str("no mistakes"),
            (0, w) => f.write_str(&counted(w, "warning")),
            (e, 0) => f.write_str(&counted(e, "error")),
            (e, w) => write!(f, "{}, {}", counted(e, "error"), counted(w, "warning")),
        }
    }
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(origin: Origin, text: &str, span: std::ops::Range<usize>) -> Diagnostic {
        let snippet = Some(Snippet::cut(text, &span));
        Diagnostic {
            severity: Severity::Error,
            code: Code::UnknownKey,
            message: "unknown key `bnd`".to_owned(),
            place: Some(Place { origin, snippet }),
            label: "not a known key".to_owned(),
            help: Some("did you mean `bind`?".to_owned()),
        }
    }

    #[test]
    fn a_line_of_a_file_is_shown_with_its_number() {
        let text = "\n".repeat(9) + "\tbnd = 1\r\nx";
        let shown = diagnostic(Origin::File("j.toml".into()), &text, 10..13).to_string();
        assert_eq!(
            shown,
            "error[unknown_key]: unknown key `bnd`\n  --> j.toml:10:2\n   |\n10 |  bnd = 1\n   |  ^^^ not a known key\n   = help: did you mean `bind`?"
        );
    }

    #[test]
    fn a_variable_has_no_line_number() {
        let shown = diagnostic(Origin::Variable("JACKFIELD__X".into()), "lots", 0..4).to_string();
        assert_eq!(
            shown,
            "error[unknown_key]: unknown key `bnd`\n --> environment variable JACKFIELD__X\n  |\n  | lots\n  | ^^^^ not a known key\n  = help: did you mean `bind`?"
        );
    }

    #[test]
    fn of_a_long_line_only_a_part_is_shown() {
        let text = format!("{}here{}", "a".repeat(500), "b".repeat(500));
        let shown = diagnostic(Origin::Default, &text, 500..504).to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[3].len(), 4 + LINE_MAX);
        let at = lines[3].find("here").unwrap();
        assert_eq!(lines[4].find("^^^^ not"), Some(at));
        let to_the_end = diagnostic(Origin::Default, &text, 500..1004).to_string();
        assert!(
            to_the_end
                .lines()
                .all(|line| line.len() <= 4 + LINE_MAX + " not a known key".len())
        );
    }

    #[test]
    fn spans_are_kept_inside_the_line() {
        let cut = Snippet::cut("ä = \"\"\"\nx\"\"\"", &(5..13));
        assert_eq!((cut.line, cut.column, cut.width), (1, 5, 3));
        let beyond = Snippet::cut("ab", &(7..9));
        assert_eq!((beyond.line, beyond.column, beyond.width), (1, 3, 1));
        let within_a_char = Snippet::cut("ä", &(1..2));
        assert_eq!((within_a_char.column, within_a_char.width), (1, 1));
    }
}

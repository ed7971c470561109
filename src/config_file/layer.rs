//! One source of configuration: the defaults, a file, an environment variable or a flag. Each is read into a tree with
//! spans and is one provider to figment, so that of every value the exact source is known.

use std::path::PathBuf;

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use serde_json::Value as Json;

use super::code::Code;
use super::diagnostic::{Diagnostic, Origin, Place, Report, Severity, Snippet};
use super::schema;
use super::tree::{Kind, Node, Path, Span, Table};

/// The prefix of the environment variables that are read; `__` stands for the dot.
pub const VARIABLE_PREFIX: &str = "JACKFIELD__";

/// A source that could be read.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) origin: Origin,
    pub(super) tree: Node,
    text: String,
}

impl Layer {
    /// The built-in defaults.
    pub(super) fn defaults() -> Self {
        let text = include_str!("defaults.toml");
        let tree = Node::parse_document(text).expect("defaults.toml is TOML, a test reads it");
        Self {
            origin: Origin::Default,
            tree,
            text: text.to_owned(),
        }
    }

    /// A file's text; all its syntax errors at once.
    pub(super) fn file(path: PathBuf, text: String) -> Result<Self, Report> {
        let origin = Origin::File(path);
        match Node::parse_document(&text) {
            Ok(tree) => Ok(Self { origin, tree, text }),
            Err(errors) => {
                let mut report = Report::default();
                for error in errors {
                    let snippet = Some(Snippet::cut(&text, &error.span));
                    report.push(Diagnostic {
                        severity: Severity::Error,
                        code: Code::Syntax,
                        message: "not valid TOML".to_owned(),
                        place: Some(Place {
                            origin: origin.clone(),
                            snippet,
                        }),
                        label: error.message,
                        help: None,
                    });
                }
                Err(report)
            }
        }
    }

    /// An environment variable; `None` when the name isn't one of ours.
    pub(super) fn variable(name: &str, value: &str) -> Option<Self> {
        let keys: Vec<_> = name
            .strip_prefix(VARIABLE_PREFIX)?
            .split("__")
            .map(str::to_ascii_lowercase)
            .collect();
        Some(Self::value(Origin::Variable(name.to_owned()), &keys, value))
    }

    /// `--set key=value`; `None` when there is no `=` or a part of the key is empty.
    pub(super) fn set(argument: &str) -> Option<Self> {
        let (key, value) = argument.split_once('=')?;
        let keys: Vec<_> = key.split('.').map(|part| part.trim().to_owned()).collect();
        if keys.iter().any(String::is_empty) {
            return None;
        }
        Some(Self::value(
            Origin::Flag(format!("--set {argument}")),
            &keys,
            value.trim(),
        ))
    }

    /// One value from outside a file, written as in TOML; quotes may be left out where only a string can stand.
    pub(super) fn value(origin: Origin, keys: &[String], value: &str) -> Self {
        let mut node = Node::parse_value(value);
        if schema::wants_text(keys, &node) {
            node = Node::text(value);
        }
        Self {
            origin,
            tree: node.nested(keys),
            text: value.to_owned(),
        }
    }

    /// Writes `value` as it has to stand in a file at `keys`: with quotes where they were left out.
    pub(super) fn written(keys: &[String], value: &str) -> String {
        let node = Node::parse_value(value);
        match &node.kind {
            _ if schema::wants_text(keys, &node) => Json::from(value).to_string(),
            // What is no TOML was taken as a string as it stands.
            Kind::Text(text) if text == value => Json::from(value).to_string(),
            _ => value.to_owned(),
        }
    }

    /// Hands `tree`, what is left of this layer's, to figment.
    pub(super) fn provider<'a>(&'a self, tree: &'a Node) -> impl Provider + 'a {
        Tree {
            origin: &self.origin,
            tree,
        }
    }

    /// The place of a value.
    pub(super) fn place(&self, span: &Span) -> Place {
        Place {
            origin: self.origin.clone(),
            snippet: Some(Snippet::cut(&self.text, span)),
        }
    }

    /// The place of a part of a string that stands at `span`; all of it, if it isn't written as it is read.
    pub(super) fn place_within(&self, span: &Span, string: &str, part: Span) -> Place {
        let written = self.text.get(span.clone()).unwrap_or_default();
        match written.find(string).filter(|_| !string.is_empty()) {
            Some(before) => {
                let start = span.start + before;
                self.place(&(start + part.start..start + part.end))
            }
            None => self.place(span),
        }
    }

    /// The columns of line `line`, both from 1, that these spans cover.
    pub(super) fn columns(&self, line: usize, spans: &[Span]) -> Vec<Span> {
        let mut lines = self.text.split_inclusive('\n');
        let start: usize = lines.by_ref().take(line - 1).map(str::len).sum();
        let text = lines.next().unwrap_or_default();
        let chars = |bytes: usize| text[..text.floor_char_boundary(bytes)].chars().count();
        let within = |span: &Span| {
            let from = span.start.max(start) - start;
            let to = span.end.min(start + text.len()).saturating_sub(start);
            (from < to).then(|| chars(from) + 1..chars(to) + 1)
        };
        spans.iter().filter_map(within).collect()
    }

    /// The place of a key. Outside a file the variable or flag itself shows it.
    pub(super) fn place_of_key(&self, span: &Span) -> Place {
        match self.origin {
            Origin::File(_) | Origin::Default => self.place(span),
            Origin::Variable(_) | Origin::Flag(_) => Place {
                origin: self.origin.clone(),
                snippet: None,
            },
        }
    }

    /// Returns the string at a top-level key.
    pub(super) fn text_at(&self, key: &str) -> Option<&str> {
        match &self.tree.get(&Path::of([key]))?.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A layer's tree, perhaps less than it was, as figment takes it. The layer's origin is its name.
struct Tree<'a> {
    origin: &'a Origin,
    tree: &'a Node,
}

impl Provider for Tree<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let dict = match &self.tree.kind {
            Kind::Table(table) => dict(table),
            _ => Dict::new(),
        };
        Ok(Profile::Default.collect(dict))
    }
}

fn dict(table: &Table) -> Dict {
    table
        .iter()
        .map(|(key, entry)| (key.clone(), value(&entry.node)))
        .collect()
}

fn value(node: &Node) -> Value {
    match &node.kind {
        Kind::Text(text) | Kind::Date(text) => Value::from(text.clone()),
        Kind::Integer(number) => Value::from(*number),
        Kind::Float(number) => Value::from(*number),
        Kind::Bool(truth) => Value::from(*truth),
        Kind::Array(items) => Value::from(items.iter().map(value).collect::<Vec<_>>()),
        Kind::Table(table) => Value::from(dict(table)),
    }
}

//! TOML with spans: the tree every layer is read into, and the paths through it. Knows no schema and no layer.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde_json::Value as Json;
use toml::de::{DeInteger, DeTable, DeValue};

/// Bytes of the text a thing was read from.
pub(super) type Span = Range<usize>;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: Kind,
}

/// The kinds of TOML values. The list is complete; a date is kept as its text, no key takes one.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Date(String),
    Array(Vec<Node>),
    Table(Table),
}

/// A table's entries, each with the span of its key.
pub(super) type Table = BTreeMap<String, Entry>;

/// What stands under a key.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Span,
    pub(super) node: Node,
}

/// A text that isn't TOML, and where it stops being so.
#[derive(Clone, Debug)]
pub(super) struct SyntaxError {
    pub(super) message: String,
    pub(super) span: Span,
}

impl Node {
    /// Reads a document; gives all its syntax errors at once.
    pub(super) fn parse_document(text: &str) -> Result<Self, Vec<SyntaxError>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut errors: Vec<_> = errors
            .iter()
            .map(|error| SyntaxError {
                message: error.message().to_owned(),
                span: error.span().unwrap_or(0..0),
            })
            .collect();
        let span = table.span();
        let node = Self {
            span,
            kind: Kind::Table(read_table(table.get_ref(), &mut errors)),
        };
        if errors.is_empty() { Ok(node) } else { Err(errors) }
    }

    /// Reads a single value; a text that is no TOML value is taken as a string as it stands.
    pub(super) fn parse_value(text: &str) -> Self {
        let mut errors = Vec::new();
        let parsed = DeValue::parse(text)
            .ok()
            .map(|value| read(value.span(), value.get_ref(), &mut errors))
            .filter(|_| errors.is_empty());
        parsed.unwrap_or_else(|| Self::text(text))
    }

    /// A string that covers all of `text`.
    pub(super) fn text(text: &str) -> Self {
        Self {
            span: 0..text.len(),
            kind: Kind::Text(text.to_owned()),
        }
    }

    /// Wraps `self` in tables so that it stands at `keys`; each table has the span of the value.
    pub(super) fn nested(self, keys: &[String]) -> Self {
        keys.iter().rev().fold(self, |node, key| {
            let span = node.span.clone();
            let entry = Entry {
                key: span.clone(),
                node,
            };
            Self {
                span,
                kind: Kind::Table(Table::from([(key.clone(), entry)])),
            }
        })
    }

    /// The same value in JSON.
    pub(super) fn to_json(&self) -> Json {
        match &self.kind {
            Kind::Text(text) | Kind::Date(text) => Json::from(text.as_str()),
            Kind::Integer(number) => Json::from(*number),
            Kind::Float(number) => Json::from(*number),
            Kind::Bool(truth) => Json::from(*truth),
            Kind::Array(items) => items.iter().map(Self::to_json).collect(),
            Kind::Table(table) => {
                let entries = table
                    .iter()
                    .map(|(key, entry)| (key.clone(), entry.node.to_json()));
                Json::Object(entries.collect())
            }
        }
    }

    /// What a reader calls this kind of value.
    pub(super) fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => "a string",
            Kind::Integer(_) => "an integer",
            Kind::Float(_) => "a float",
            Kind::Bool(_) => "a boolean",
            Kind::Date(_) => "a date",
            Kind::Array(_) => "an array",
            Kind::Table(_) => "a table",
        }
    }

    /// The name JSON Schema has for this kind of value.
    pub(super) fn json_type(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) | Kind::Date(_) => "string",
            Kind::Integer(_) => "integer",
            Kind::Float(_) => "number",
            Kind::Bool(_) => "boolean",
            Kind::Array(_) => "array",
            Kind::Table(_) => "object",
        }
    }

    /// Follows `path` as far as it goes: how many steps were found, and the spans of the last key and value.
    pub(super) fn follow(&self, path: &Path) -> (usize, Span, Span) {
        let (mut node, mut key) = (self, self.span.clone());
        for (taken, step) in path.0.iter().enumerate() {
            let next = match (step, &node.kind) {
                (Step::Key(name), Kind::Table(table)) => table.get(name).map(|e| (&e.node, e.key.clone())),
                (Step::Index(i), Kind::Array(items)) => items.get(*i).map(|n| (n, n.span.clone())),
                _ => None,
            };
            match next {
                Some((inner, span)) => (node, key) = (inner, span),
                None => return (taken, key, node.span.clone()),
            }
        }
        (path.0.len(), key, node.span.clone())
    }

    /// Takes away what stands at `path`, or, when that is an item of an array, the nearest key around it, since the other
    /// items must keep their places. Returns the path of what is gone.
    pub(super) fn prune(&mut self, path: &Path) -> Path {
        let depth = path.0.iter().rposition(|step| matches!(step, Step::Key(_)));
        let gone = Path(path.0[..depth.map_or(0, |i| i + 1)].to_vec());
        if let Some((Step::Key(key), way)) = gone.0.split_last()
            && let Some(Self {
                kind: Kind::Table(table),
                ..
            }) = self.get_mut(way)
        {
            table.remove(key);
        }
        gone
    }

    fn get_mut(&mut self, way: &[Step]) -> Option<&mut Self> {
        way.iter()
            .try_fold(self, |node, step| match (step, &mut node.kind) {
                (Step::Key(name), Kind::Table(table)) => table.get_mut(name).map(|entry| &mut entry.node),
                (Step::Index(i), Kind::Array(items)) => items.get_mut(*i),
                _ => None,
            })
    }

    /// Returns the value at `path`.
    pub(super) fn get(&self, path: &Path) -> Option<&Self> {
        path.0
            .iter()
            .try_fold(self, |node, step| match (step, &node.kind) {
                (Step::Key(name), Kind::Table(table)) => table.get(name).map(|entry| &entry.node),
                (Step::Index(i), Kind::Array(items)) => items.get(*i),
                _ => None,
            })
    }
}

fn read_table(table: &DeTable<'_>, errors: &mut Vec<SyntaxError>) -> Table {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
        let node = read(value.span(), value.get_ref(), errors);
        (
            key.get_ref().to_string(),
            Entry {
                key: key.span(),
                node,
            },
        )
    };
    table.iter().map(entry).collect()
}

fn read(span: Span, value: &DeValue<'_>, errors: &mut Vec<SyntaxError>) -> Node {
    let kind = match value {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Integer(integer) => Kind::Integer(read_integer(integer).unwrap_or_else(|| {
            errors.push(SyntaxError {
                message: "integer does not fit 64 bits".to_owned(),
                span: span.clone(),
            });
            0
        })),
        DeValue::Float(float) => Kind::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Kind::Bool(*value),
        DeValue::Datetime(date) => Kind::Date(date.to_string()),
        DeValue::Array(items) => Kind::Array(
            items
                .iter()
                .map(|item| read(item.span(), item.get_ref(), errors))
                .collect(),
        ),
        DeValue::Table(table) => Kind::Table(read_table(table, errors)),
    };
    Node { span, kind }
}

fn read_integer(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// The way from the root to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Step>);

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    /// The path with these keys.
    pub(super) fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(|key| Step::Key(key.to_owned())).collect())
    }

    /// This path and one key more.
    #[must_use]
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// This path and one index more.
    #[must_use]
    pub(super) fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// This path and those steps more that `text` writes as [`Path`] does: `rules[0].to`.
    #[must_use]
    pub(super) fn below(&self, text: &str) -> Self {
        let mut path = self.clone();
        for part in text.split('.').filter(|part| !part.is_empty()) {
            let (key, indices) = part.split_once('[').unwrap_or((part, ""));
            let indices = indices.split(['[', ']']);
            path = path.key(key);
            path.0
                .extend(indices.filter_map(|index| index.parse().ok()).map(Step::Index));
        }
        path
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The keys before the first index.
    pub(super) fn leading_keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map_while(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if i == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_it_is_written() {
        let root = Path::of(["plugins", "x", "config"]);
        for text in ["file", "rules[0].to", "deep.er[1][22].key"] {
            assert_eq!(root.below(text).to_string(), format!("{root}.{text}"));
        }
        assert_eq!(root.below("rules[7]").0.last(), Some(&Step::Index(7)));
        assert_eq!(root.below(""), root);
    }
}

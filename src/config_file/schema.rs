//! Holds a tree against a JSON Schema and tells everything that doesn't fit, each with its place. Understands what
//! schemars makes of our types and what a plugin may reasonably say of its options: types, enumerations, bounds, formats,
//! alternatives, references. What it doesn't understand it lets pass; the typed read behind it has the last word.

use std::str::FromStr;
use std::sync::LazyLock;

use serde_json::Value as Json;

use super::code::Code;
use super::diagnostic::{Diagnostic, Place, Report, Severity};
use super::layer::Layer;
use super::quantity::{ByteSize, TimeSpan};
use super::tree::{Kind, Node, Path, Span, Table};
use super::when::Expression;
use super::{later, secrets, shape, text};

/// The schema of our own file, with the defaults in it.
pub(super) static FILE: LazyLock<Json> = LazyLock::new(|| {
    let mut schema = shape::schema();
    add_defaults(&mut schema, &Layer::defaults().tree);
    schema
});

/// What may stand instead of a secret.
static ELSEWHERE: LazyLock<Json> = LazyLock::new(secrets::elsewhere);

/// Adds the defaults to a schema; what has one isn't required.
fn add_defaults(schema: &mut Json, defaults: &Node) {
    let Kind::Table(table) = &defaults.kind else {
        let value = defaults.to_json();
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("default".to_owned(), value);
        }
        return;
    };
    if let Some(Json::Array(required)) = schema.get_mut("required") {
        required.retain(|key| key.as_str().is_none_or(|key| !table.contains_key(key)));
    }
    for (key, entry) in table {
        if let Some(inner) = schema
            .get_mut("properties")
            .and_then(|properties| properties.get_mut(key))
        {
            add_defaults(inner, &entry.node);
        }
    }
}

/// Puts the schema of the options of the plugin `name` into that of the file. Where a plugin's secret is a text, it may stand
/// elsewhere too.
pub(super) fn splice(file: &mut Json, name: &str, options: &Json) {
    let mut options = options.clone();
    // It has a place of its own now; references in it begin at its own root.
    let definitions = options.get("$defs").is_some();
    if let Some(table) = options.as_object_mut().filter(|_| definitions) {
        table.insert(
            "$id".to_owned(),
            Json::from(format!("jackfield:plugins/{name}/config")),
        );
    }
    open_secrets(&mut options);
    let Some(plugins) = file.pointer_mut("/properties/plugins") else {
        return;
    };
    let mut plugin = plugins.get("additionalProperties").cloned().unwrap_or_default();
    if let Some(config) = plugin.pointer_mut("/properties/config") {
        *config = options;
    }
    if let Some(plugins) = plugins.as_object_mut() {
        let named = plugins
            .entry("properties")
            .or_insert_with(|| Json::Object(serde_json::Map::new()));
        if let Some(named) = named.as_object_mut() {
            named.insert(name.to_owned(), plugin);
        }
    }
}

fn open_secrets(schema: &mut Json) {
    if secrets::is_secret(&[schema]) {
        let text = schema.take();
        *schema = serde_json::json!({ "anyOf": [text, *ELSEWHERE] });
        return;
    }
    match schema {
        Json::Object(table) => table.values_mut().for_each(open_secrets),
        Json::Array(items) => items.iter_mut().for_each(open_secrets),
        _ => {}
    }
}

/// Checks all of `layer` against the schema of the file. Returns the paths of what doesn't fit.
pub(super) fn check_layer(layer: &Layer, report: &mut Report) -> Vec<Path> {
    check(layer, &layer.tree, &Path::default(), &FILE, report)
}

/// Checks `node` of `layer`, which stands at `path`, against `root`. Returns the paths of what doesn't fit.
pub(super) fn check(layer: &Layer, node: &Node, path: &Path, root: &Json, report: &mut Report) -> Vec<Path> {
    let mut walker = Walker {
        layer,
        root,
        report,
        wrong: Vec::new(),
    };
    walker.value(node, root, path);
    walker.wrong
}

/// Tells whether, at `keys` of our file, a string is what fits and `node` is none.
pub(super) fn wants_text(keys: &[String], node: &Node) -> bool {
    let mut schema = &*FILE;
    for key in keys {
        let tables = alternatives(schema, &FILE);
        match tables.iter().find_map(|table| property(table, key)) {
            Some(inner) => schema = inner,
            None => return false,
        }
    }
    let options = alternatives(schema, &FILE);
    let accepted = |json_type| options.iter().any(|option| accepts(option, json_type));
    !accepted(node.json_type()) && accepted("string")
}

/// A required key that isn't there.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    /// Its table.
    pub(super) table: Path,
    pub(super) key: String,
    /// Whether the rest of the table can be judged without it.
    pub(super) lenient: bool,
}

/// Lists the required keys that `value`, the merged configuration, lacks.
pub(super) fn missing(value: &Json) -> Vec<Missing> {
    let mut found = Vec::new();
    find_missing(value, &FILE, &Path::default(), &mut found);
    found
}

fn find_missing(value: &Json, schema: &Json, path: &Path, found: &mut Vec<Missing>) {
    let kind = match value {
        Json::Object(_) => "object",
        Json::Array(_) => "array",
        _ => return,
    };
    let options = alternatives(schema, &FILE);
    let Some(schema) = options.into_iter().find(|option| accepts(option, kind)) else {
        return;
    };
    match value {
        Json::Object(table) => {
            let required = schema.get("required").and_then(Json::as_array);
            for key in required.into_iter().flatten().filter_map(Json::as_str) {
                if !table.contains_key(key) {
                    let lenient = property(schema, key).and_then(|property| property.get("x-lenient"));
                    found.push(Missing {
                        table: path.clone(),
                        key: key.to_owned(),
                        lenient: lenient == Some(&Json::Bool(true)),
                    });
                }
            }
            for (key, inner) in table {
                if let Some(schema) = property(schema, key) {
                    find_missing(inner, schema, &path.key(key), found);
                }
            }
        }
        Json::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                if let Some(schema) = schema.get("items") {
                    find_missing(item, schema, &path.index(i), found);
                }
            }
        }
        _ => {}
    }
}

struct Walker<'a> {
    layer: &'a Layer,
    root: &'a Json,
    report: &'a mut Report,
    wrong: Vec<Path>,
}

impl Walker<'_> {
    fn value(&mut self, node: &Node, schema: &Json, path: &Path) {
        let options = alternatives(schema, self.root);
        if let Kind::Table(table) = &node.kind
            && secrets::is_secret(&options)
            && !options.iter().any(|option| accepts(option, "object"))
        {
            // A secret of a plugin, whose schema needn't know where else it may stand.
            return self.table(table, &ELSEWHERE, path);
        }
        // An alternative is chosen by the kind of the value before going deeper, so that a mistake inside a table is
        // reported there and not as "fits no alternative".
        let fitting: Vec<_> = options
            .iter()
            .copied()
            .filter(|option| accepts(option, node.json_type()))
            .collect();
        let Some(first) = fitting.first().copied() else {
            let message = format!("`{path}` must be {}", expected(&options));
            let finding =
                Finding::new(Code::WrongType, message).label(format!("this is {}", node.kind_name()));
            return self.wrong_value(path, &node.span, finding);
        };
        if let Some(words) = words(&fitting) {
            return self.word(node, &words, path);
        }
        match &node.kind {
            Kind::Table(table) => self.table(table, first, path),
            Kind::Array(items) => {
                let Some(schema) = first.get("items") else { return };
                for (i, item) in items.iter().enumerate() {
                    self.value(item, schema, &path.index(i));
                }
            }
            Kind::Text(text) => self.text(text, &node.span, first, path),
            Kind::Integer(number) => self.integer(*number, &node.span, first, path),
            Kind::Float(_) | Kind::Bool(_) | Kind::Date(_) => {}
        }
    }

    fn table(&mut self, table: &Table, schema: &Json, path: &Path) {
        for (key, entry) in table {
            let inner_path = path.key(key);
            if let Some(inner) = property(schema, key) {
                self.value(&entry.node, inner, &inner_path);
            } else if later::is_key(&inner_path) {
                let finding = Finding::not_available(format!("`{inner_path}`"));
                self.wrong_key(&inner_path, &entry.key, finding);
            } else if schema.get("additionalProperties") == Some(&Json::Bool(false)) {
                let known = schema.get("properties").and_then(Json::as_object);
                let known = known.into_iter().flat_map(serde_json::Map::keys);
                let finding = Finding::new(Code::UnknownKey, format!("unknown key `{inner_path}`"))
                    .label("not a known key")
                    .help(did_you_mean(key, known.map(String::as_str)));
                self.wrong_key(&inner_path, &entry.key, finding);
            }
        }
    }

    /// One of a list of words.
    fn word(&mut self, node: &Node, words: &[&str], path: &Path) {
        let Kind::Text(text) = &node.kind else { return };
        if words.contains(&text.as_str()) {
            return;
        }
        let finding = if later::is_value(path, text) {
            Finding::not_available(format!("`{path} = \"{text}\"`"))
        } else {
            Finding::new(Code::BadValue, format!("`{path}` must be {}", list(words)))
                .help(did_you_mean(text, words.iter().copied()))
        };
        self.wrong_value(path, &node.span, finding);
    }

    fn text(&mut self, text: &str, span: &Span, schema: &Json, path: &Path) {
        let Some(format) = schema.get("format").and_then(Json::as_str) else {
            return;
        };
        if format == "cel" {
            return self.expression(text, span, path);
        }
        if let Err(why) = text::check(format, text) {
            let finding = Finding::new(Code::BadValue, format!("`{path}` {why}"));
            return self.wrong_value(path, span, finding);
        }
        match format {
            "byte-size" | "memory-size" => self.bounds::<ByteSize>(text, span, schema, path),
            "time-span" => self.bounds::<TimeSpan>(text, span, schema, path),
            _ => {}
        }
    }

    fn expression(&mut self, text: &str, span: &Span, path: &Path) {
        let Err(error) = text.parse::<Expression>() else {
            return;
        };
        let finding = Finding::new(Code::BadExpression, format!("`{path}` {error}")).help(error.help);
        let place = self.layer.place_within(span, text, error.at);
        self.wrong(path, place, finding);
    }

    fn integer(&mut self, number: i64, span: &Span, schema: &Json, path: &Path) {
        let (low, high) = (bound(schema, "minimum"), bound(schema, "maximum"));
        if low.is_some_and(|low| number < low) || high.is_some_and(|high| number > high) {
            return self.out_of_range(path, span, schema);
        }
        let format = schema.get("format").and_then(Json::as_str);
        if matches!(format, Some("byte-size" | "memory-size")) {
            self.bounds::<ByteSize>(&format!("{number}B"), span, schema, path);
        }
    }

    /// Holds a quantity against `x-min` and `x-max`.
    fn bounds<T: FromStr + PartialOrd>(&mut self, text: &str, span: &Span, schema: &Json, path: &Path) {
        let bound = |name| schema.get(name).and_then(Json::as_str)?.parse::<T>().ok();
        let Ok(value) = text.parse::<T>() else { return };
        if bound("x-min").is_some_and(|low| value < low) || bound("x-max").is_some_and(|high| value > high) {
            self.out_of_range(path, span, schema);
        }
    }

    fn out_of_range(&mut self, path: &Path, span: &Span, schema: &Json) {
        let message = format!("`{path}` must be {}", expected(&[schema]));
        self.wrong_value(path, span, Finding::new(Code::OutOfRange, message));
    }

    fn wrong_value(&mut self, path: &Path, span: &Span, finding: Finding) {
        let place = self.layer.place(span);
        self.wrong(path, place, finding);
    }

    fn wrong_key(&mut self, path: &Path, span: &Span, finding: Finding) {
        let place = self.layer.place_of_key(span);
        self.wrong(path, place, finding);
    }

    fn wrong(&mut self, path: &Path, place: Place, finding: Finding) {
        self.wrong.push(path.clone());
        self.report.push(Diagnostic {
            severity: Severity::Error,
            code: finding.code,
            message: finding.message,
            place: Some(place),
            label: finding.label,
            help: finding.help,
        });
    }
}

/// What is wrong, apart from where.
struct Finding {
    code: Code,
    message: String,
    label: String,
    help: Option<String>,
}

impl Finding {
    fn new(code: Code, message: String) -> Self {
        Self {
            code,
            message,
            label: String::new(),
            help: None,
        }
    }

    fn not_available(what: String) -> Self {
        Self::new(
            Code::NotAvailable,
            format!("{what} is not available in this version"),
        )
    }

    fn label(self, label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            ..self
        }
    }

    fn help(self, help: Option<String>) -> Self {
        Self { help, ..self }
    }
}

/// The schemas a value may fit: alternatives and references opened, `null` left out (TOML has none).
pub(super) fn alternatives<'a>(schema: &'a Json, root: &'a Json) -> Vec<&'a Json> {
    // A schema that refers to itself without a table between would go on for ever; no sane one is this deep.
    fn open<'a>(schema: &'a Json, root: &'a Json, depth: u8, out: &mut Vec<&'a Json>) {
        if depth == 0 {
            return;
        }
        let reference = schema.get("$ref").and_then(Json::as_str);
        if let Some(target) = reference.and_then(|r| root.pointer(r.strip_prefix('#')?)) {
            return open(target, root, depth - 1, out);
        }
        let choices = ["anyOf", "oneOf"]
            .iter()
            .find_map(|name| schema.get(name)?.as_array());
        match choices {
            Some(choices) => choices
                .iter()
                .for_each(|choice| open(choice, root, depth - 1, out)),
            None if schema.get("type").and_then(Json::as_str) == Some("null") => {}
            None => out.push(schema),
        }
    }
    let mut out = Vec::new();
    open(schema, root, 16, &mut out);
    out
}

fn accepts(schema: &Json, json_type: &str) -> bool {
    let one = |t: &Json| {
        t.as_str()
            .is_some_and(|t| t == json_type || (t == "number" && json_type == "integer"))
    };
    match schema.get("type") {
        Some(Json::Array(types)) => types.iter().any(one),
        Some(single) => one(single),
        None => true,
    }
}

/// The schema of `key` in a table.
pub(super) fn property<'a>(schema: &'a Json, key: &str) -> Option<&'a Json> {
    let named = schema
        .get("properties")
        .and_then(|properties| properties.get(key));
    named.or_else(|| {
        schema
            .get("additionalProperties")
            .filter(|other| other.is_object())
    })
}

/// The words that a value must be one of, when every schema of `options` is a list of words.
fn words<'a>(options: &[&'a Json]) -> Option<Vec<&'a str>> {
    let mut words = Vec::new();
    for option in options {
        match (option.get("const"), option.get("enum")) {
            (Some(word), _) => words.extend(word.as_str()),
            (None, Some(Json::Array(list))) => words.extend(list.iter().filter_map(Json::as_str)),
            _ => return None,
        }
    }
    (!words.is_empty()).then_some(words)
}

fn bound(schema: &Json, name: &str) -> Option<i64> {
    schema.get(name).and_then(Json::as_i64)
}

/// Says what would be accepted, to follow "must be".
pub(super) fn expected(options: &[&Json]) -> String {
    if let Some(words) = words(options) {
        return list(&words);
    }
    let mut parts: Vec<String> = options.iter().map(|option| expected_one(option)).collect();
    parts.dedup();
    parts.join(" or ")
}

fn expected_one(schema: &Json) -> String {
    let text = |name: &str| schema.get(name).and_then(Json::as_str);
    let range = |low: Option<String>, high: Option<String>| match (low, high) {
        (Some(low), Some(high)) if low == high => format!(" that is {low}"),
        (Some(low), Some(high)) => format!(" from {low} to {high}"),
        (Some(low), None) => format!(", at least {low}"),
        (None, Some(high)) => format!(", at most {high}"),
        (None, None) => String::new(),
    };
    let own = |name: &str| text(name).map(str::to_owned);
    let quantity = || range(own("x-min"), own("x-max"));
    match text("format") {
        Some("byte-size") => return format!("a size like `64KiB`{}", quantity()),
        Some("memory-size") => return format!("a size like `64KiB`{} or a part like `80 %`", quantity()),
        Some("time-span") => return format!("a time like `10s`{}", quantity()),
        Some("topic-filter") => return "a topic filter".to_owned(),
        Some("url-prefix") => return "the beginning of a URL like `https://auth.example/`".to_owned(),
        Some("topic") => return "a topic".to_owned(),
        Some("ip") => return "an IP address".to_owned(),
        Some("socket") => return "an address with its port like `127.0.0.1:5432`".to_owned(),
        Some("cel") => return "an expression in CEL".to_owned(),
        Some("bind") => return "an address like `127.0.0.1:1883`".to_owned(),
        _ => {}
    }
    let number = |name| bound(schema, name).map(|n| n.to_string());
    let one = |t: &str| match t {
        "integer" => format!("an integer{}", range(number("minimum"), number("maximum"))),
        "number" => format!("a number{}", range(number("minimum"), number("maximum"))),
        "string" => "a string".to_owned(),
        "boolean" => "`true` or `false`".to_owned(),
        "array" => "an array".to_owned(),
        "object" => "a table".to_owned(),
        other => other.to_owned(),
    };
    match schema.get("type") {
        Some(Json::Array(types)) => {
            let types = types.iter().filter_map(Json::as_str).filter(|t| *t != "null");
            types.map(one).collect::<Vec<_>>().join(" or ")
        }
        Some(Json::String(single)) => one(single),
        _ => "something else".to_owned(),
    }
}

fn list(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Suggests the known word that is nearest to `word`, if one is near.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let limit = 1 + word.len() / 4;
    let near = known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(word, known), known))
        .min()?;
    (near.0 <= limit).then(|| format!("did you mean `{}`?", near.1))
}

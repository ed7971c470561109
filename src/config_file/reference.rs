//! The table of keys in `docs/configuration.md` is made from the schema; the test here fails when it is out of date and
//! mends it when `UPDATE_DOCS` is set.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value as Json};

use super::schema;

const BEGIN: &str = "<!-- keys: made from the code, see src/config_file/reference.rs -->\n";
const END: &str = "<!-- end of keys -->";

#[test]
fn the_reference_has_every_key_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let made = format!("{before}{BEGIN}{}{END}{after}", tables());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    assert!(
        text == made,
        "docs/configuration.md is out of date: run this test with UPDATE_DOCS=1"
    );
}

/// One table for each top-level key.
fn tables() -> String {
    let mut rows = Rows::default();
    let mut out = String::new();
    for (key, schema) in properties(&schema::FILE) {
        rows.add(&key, &schema);
        let head = "| key | what may stand there | default | meaning |\n|---|---|---|---|\n";
        let (text, rows) = (description(&schema), std::mem::take(&mut rows.text));
        write!(out, "\n### `{key}`\n\n{text}\n\n{head}{rows}").unwrap();
    }
    out + "\n"
}

#[derive(Default)]
struct Rows {
    text: String,
    /// Tables that have their rows, and where; a second one is only pointed to.
    shown: Vec<(Map<String, Json>, String)>,
}

impl Rows {
    fn add(&mut self, path: &str, schema: &Json) {
        let options = schema::alternatives(schema, &schema::FILE);
        let is_table = |option: &Json| !properties(option).is_empty() || names(option).is_some();
        if !path.ends_with("[]") && !options.iter().all(|option| is_table(option)) {
            self.row(
                path,
                &schema::expected(&options),
                &default(schema),
                description(schema),
            );
        }
        for option in options {
            if let Some(named) = names(option) {
                self.add(&format!("{path}.NAME"), named);
            }
            if let Some(items) = option.get("items") {
                self.add_table(&format!("{path}[]"), items, description(schema));
            }
            self.add_properties(path, properties(option), description(schema));
        }
    }

    /// Adds the keys of an array's items, if these may be tables.
    fn add_table(&mut self, path: &str, items: &Json, meaning: &str) {
        for option in schema::alternatives(items, &schema::FILE) {
            self.add_properties(path, properties(option), meaning);
        }
    }

    fn add_properties(&mut self, path: &str, table: Map<String, Json>, meaning: &str) {
        if table.is_empty() {
            return;
        }
        if let Some((_, first)) = self
            .shown
            .iter()
            .find(|(shown, _)| without_defaults(shown) == without_defaults(&table))
        {
            let what = format!("a table as `{first}`");
            return self.row(path, &what, "", meaning);
        }
        self.shown.push((table.clone(), path.to_owned()));
        for (key, schema) in &table {
            self.add(&format!("{path}.{key}"), schema);
        }
    }

    fn row(&mut self, path: &str, what: &str, default: &str, meaning: &str) {
        let meaning = meaning.replace('\n', " ");
        writeln!(self.text, "| `{path}` | {what} | {default} | {meaning} |").unwrap();
    }
}

fn default(schema: &Json) -> String {
    match (schema.get("default"), schema.get("x-default")) {
        (_, Some(text)) => text.as_str().unwrap_or_default().to_owned(),
        (Some(value), None) if !value.is_null() => format!("`{value}`"),
        _ => String::new(),
    }
}

fn without_defaults(table: &Map<String, Json>) -> Map<String, Json> {
    let mut table = table.clone();
    for (_, schema) in &mut table {
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("default");
            let inner = schema
                .get("properties")
                .and_then(Json::as_object)
                .map(without_defaults);
            if let Some(inner) = inner {
                schema.insert("properties".to_owned(), Json::Object(inner));
            }
        }
    }
    table
}

/// The schema of the values of a table with any names.
fn names(schema: &Json) -> Option<&Json> {
    schema
        .get("additionalProperties")
        .filter(|schema| schema.is_object())
}

fn properties(schema: &Json) -> Map<String, Json> {
    schema
        .get("properties")
        .and_then(Json::as_object)
        .cloned()
        .unwrap_or_default()
}

fn description(schema: &Json) -> &str {
    schema
        .get("description")
        .and_then(Json::as_str)
        .unwrap_or_default()
}

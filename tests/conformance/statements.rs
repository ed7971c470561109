//! Every normative statement has a test or a written reason, and `docs/conformance.md` says which.
//!
//! The tests are those that this program has (`--list`), so that a test which is not compiled does not count.
//! `UPDATE=1 cargo test -p jackfield-tests --test conformance` writes the page anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One of the two standards.
struct Standard {
    title: &'static str,
    /// What its tests begin with, and its table in `untested.toml`.
    prefix: &'static str,
    /// The numbers of its statements, without `MQTT-`, one a line.
    ids: &'static str,
    count: usize,
}

const STANDARDS: [Standard; 2] = [
    Standard {
        title: "MQTT Version 5.0",
        prefix: "v5",
        ids: include_str!("statements/v5.txt"),
        count: 251,
    },
    Standard {
        title: "MQTT Version 3.1.1",
        prefix: "v311",
        ids: include_str!("statements/v311.txt"),
        count: 137,
    },
];

const UNTESTED: &str = include_str!("statements/untested.toml");

/// A statement, its tests, and why it has none.
struct Statement {
    id: &'static str,
    tests: Vec<String>,
    reason: Option<String>,
}

impl Standard {
    fn statements(&self, tests: &[String], reasons: &toml::Table) -> Vec<Statement> {
        let reasons = reasons[self.prefix].as_table().expect("a table of reasons");
        let statement = |id: &'static str| {
            let start = format!("{}_{}__", self.prefix, id.replace(['.', '-'], "_"));
            Statement {
                id,
                tests: tests
                    .iter()
                    .filter(|test| test.starts_with(&start))
                    .cloned()
                    .collect(),
                reason: reasons
                    .get(id)
                    .map(|reason| reason.as_str().expect("a reason is a string").into()),
            }
        };
        self.ids.lines().map(statement).collect()
    }
}

/// The tests of this program, without their modules.
fn own_tests() -> Vec<String> {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .arg("--list")
        .output()
        .expect("this program lists its tests");
    let list = String::from_utf8(output.stdout).expect("names are UTF-8");
    let names = list.lines().filter_map(|line| {
        line.strip_suffix(": test")?
            .rsplit("::")
            .next()
            .map(str::to_owned)
    });
    names.collect()
}

fn statements() -> Vec<(&'static Standard, Vec<Statement>)> {
    let tests = own_tests();
    let reasons = UNTESTED.parse().expect("untested.toml is TOML");
    STANDARDS
        .iter()
        .map(|standard| (standard, standard.statements(&tests, &reasons)))
        .collect()
}

#[test]
fn every_statement_has_a_test_or_a_reason() {
    let mut wrong = Vec::new();
    for (standard, statements) in statements() {
        assert_eq!(statements.len(), standard.count, "{}", standard.title);
        for Statement { id, tests, reason } in statements {
            match (tests.is_empty(), reason) {
                (true, None) => wrong.push(format!(
                    "{} [MQTT-{id}] has neither test nor reason",
                    standard.title
                )),
                (false, Some(_)) => wrong.push(format!("{} [MQTT-{id}] has both", standard.title)),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_numbered_test_and_reason_names_a_statement() {
    let reasons: toml::Table = UNTESTED.parse().expect("untested.toml is TOML");
    let mut known = BTreeMap::new();
    for (standard, statements) in statements() {
        let ids: Vec<_> = statements.iter().map(|statement| statement.id).collect();
        for id in reasons[standard.prefix].as_table().expect("a table").keys() {
            assert!(
                ids.contains(&id.as_str()),
                "untested.toml: {} has no [MQTT-{id}]",
                standard.title
            );
        }
        known.extend(
            statements
                .into_iter()
                .flat_map(|s| s.tests)
                .map(|test| (test, ())),
        );
    }
    let numbered = |test: &String| {
        STANDARDS
            .iter()
            .any(|s| test.starts_with(&format!("{}_", s.prefix)))
    };
    let lost: Vec<_> = own_tests()
        .into_iter()
        .filter(numbered)
        .filter(|test| !known.contains_key(test))
        .collect();
    assert!(lost.is_empty(), "no statement has the number of {lost:?}");
}

#[test]
fn the_page_is_current() {
    let (path, page) = (page_path(), page());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page,
        "{} is stale: run this test again with UPDATE=1",
        path.display()
    );
}

fn page_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md")
}

fn page() -> String {
    let mut page = String::from(
        "# Conformance\n\n\
         Which test covers which normative statement of the OASIS standards [MQTT Version 5.0][v5] and [MQTT Version\n\
         3.1.1][v311], and why a statement has none. Written by `tests/conformance/statements.rs`; do not edit.\n\n\
         The tests speak MQTT over TCP with a client of their own, which shares no code with the broker and refuses\n\
         whatever the standards forbid a server to send. Run them with\n\
         `cargo test -p jackfield-tests --test conformance`.\n\n\
         [v5]: https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html\n\
         [v311]: https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html\n",
    );
    for (standard, statements) in statements() {
        let tested = statements
            .iter()
            .filter(|statement| !statement.tests.is_empty())
            .count();
        let (title, all) = (standard.title, statements.len());
        let _ = write!(
            page,
            "\n## {title}\n\n{tested} of {all} statements have a test.\n\n| statement | tests, or why there is none |\n|---|---|\n"
        );
        for Statement { id, tests, reason } in statements {
            let tests: Vec<_> = tests.iter().map(|test| format!("`{test}`")).collect();
            let _ = writeln!(
                page,
                "| MQTT-{id} | {} |",
                reason.unwrap_or_else(|| tests.join("<br>"))
            );
        }
    }
    page
}

//! Who may import whom. The table is a constant here, so that a new arrow shows in review; `docs/ARCHITECTURE.md`
//! shows it to people and is held to it.
//!
//! Looks at normal and build dependencies. Tests may import what they like.

use std::process::Command;

use cargo_metadata::{DependencyKind, Package};

use crate::repository::{files, metadata, relative, root};

/// What one package, or each package of a folder, may import.
#[derive(Debug)]
struct Row {
    /// A package's name, or `folder/*`.
    who: &'static str,
    /// Packages of this workspace.
    ours: Names,
    /// Packages of others, by a direct arrow.
    outside: Names,
    /// Packages that it may not have at any distance.
    never: &'static [&'static str],
}

#[derive(Debug)]
enum Names {
    Any,
    Only(&'static [&'static str]),
}

use Names::{Any, Only};

/// In the order of the arrows: who stands below imports only what stands above.
const ROWS: [Row; 17] = [
    Row {
        who: "broker-types",
        ours: Only(&[]),
        outside: Only(&["bytes", "thiserror", "serde"]),
        never: &["tokio"],
    },
    Row {
        who: "broker-proto",
        ours: Only(&["broker-types"]),
        outside: Only(&["bytes", "thiserror", "tracing"]),
        never: &["tokio", "mio", "socket2", "getrandom", "rand"],
    },
    Row {
        who: "broker-loadgen",
        ours: Only(&["broker-types", "broker-proto"]),
        outside: Only(&["rustix", "thiserror"]),
        never: &["tokio"],
    },
    Row {
        who: "plugin-api",
        ours: Only(&["broker-types"]),
        outside: Only(&["bytes", "thiserror", "tracing", "async-trait"]),
        never: &["tokio"],
    },
    Row {
        who: "plugin-abi",
        ours: Only(&[]),
        outside: Only(&[]),
        never: &[],
    },
    Row {
        who: "broker-core",
        ours: Only(&["broker-types", "broker-proto", "plugin-api"]),
        outside: Any,
        never: &["wasmtime", "libloading", "figment", "clap", "anyhow"],
    },
    Row {
        who: "plugin-host-native",
        ours: Only(&[
            "broker-types",
            "plugin-api",
            "plugin-abi",
            "plugin-artefact",
            "plugin-basis",
        ]),
        outside: Any,
        never: &["broker-core", "wasmtime"],
    },
    Row {
        who: "plugin-host-wasm",
        ours: Only(&["broker-types", "plugin-api", "plugin-artefact", "plugin-basis"]),
        outside: Any,
        never: &["broker-core"],
    },
    Row {
        who: "plugin-artefact",
        ours: Only(&["plugin-api"]),
        outside: Any,
        never: &["broker-core", "tokio", "wasmtime", "libloading"],
    },
    Row {
        who: "plugin-basis",
        ours: Only(&["broker-types", "plugin-api"]),
        outside: Any,
        never: &["broker-core", "tokio", "wasmtime", "libloading"],
    },
    Row {
        who: "plugin-bridge-mqtt",
        ours: Only(&["broker-types", "broker-proto", "plugin-api", "plugin-basis"]),
        outside: Any,
        never: &["broker-core", "wasmtime", "libloading"],
    },
    Row {
        who: "plugins/*",
        ours: Only(&["broker-types", "plugin-api", "plugin-basis"]),
        outside: Any,
        never: &["broker-core", "wasmtime", "libloading"],
    },
    Row {
        who: "plugin-sdk",
        ours: Only(&["broker-types", "plugin-api", "plugin-abi", "plugin-sdk-macros"]),
        outside: Any,
        never: &["broker-core", "wasmtime", "libloading"],
    },
    Row {
        who: "plugin-testkit",
        ours: Only(&[
            "broker-types",
            "plugin-api",
            "plugin-abi",
            "plugin-sdk",
            "plugin-host-native",
            "plugin-host-wasm",
        ]),
        outside: Any,
        never: &["broker-core"],
    },
    Row {
        who: "jackfield",
        ours: Any,
        outside: Any,
        never: &[],
    },
    Row {
        who: "examples/*",
        ours: Only(&[
            "jackfield",
            "broker-types",
            "plugin-api",
            "plugin-sdk",
            "plugin-testkit",
        ]),
        outside: Any,
        never: &[],
    },
    Row {
        who: "jackfield-tests",
        ours: Any,
        outside: Any,
        never: &[],
    },
];

/// A package, as far as the arrows go.
struct Imports<'a> {
    name: &'a str,
    /// Path of its folder from the root.
    folder: &'a str,
    /// What it depends on: name, and whether it is of this workspace.
    direct: Vec<(&'a str, bool)>,
}

impl Names {
    fn contain(&self, name: &str) -> bool {
        match self {
            Any => true,
            Only(names) => names.contains(&name),
        }
    }

    fn cell(&self) -> String {
        match self {
            Any => "any".to_owned(),
            Only(names) => cell(names),
        }
    }
}

impl Row {
    fn of(name: &str, folder: &str) -> Option<&'static Self> {
        let parent = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
        let in_folder = |row: &&Self| row.who.strip_suffix("/*").is_some_and(|of| of == parent);
        ROWS.iter()
            .find(|row| row.who == name)
            .or_else(|| ROWS.iter().find(in_folder))
    }

    /// The row as `docs/ARCHITECTURE.md` has it.
    fn markdown(&self) -> String {
        format!(
            "| `{}` | {} | {} | {} |",
            self.who,
            self.ours.cell(),
            self.outside.cell(),
            cell(self.never)
        )
    }
}

fn cell(names: &[&str]) -> String {
    match names {
        [] => "–".to_owned(),
        names => names.join(", "),
    }
}

/// What is wrong with the arrows that begin at a package.
fn complaints(package: &Imports<'_>) -> Vec<String> {
    let name = package.name;
    let Some(row) = Row::of(name, package.folder) else {
        return vec![format!(
            "{name}: no row in the table of arrows (tests/tidy/arrows.rs)"
        )];
    };
    let allowed = |&&(to, ours): &&(&str, bool)| {
        if ours {
            row.ours.contain(to)
        } else {
            row.outside.contain(to)
        }
    };
    let wrong = package.direct.iter().filter(|arrow| !allowed(arrow));
    wrong
        .map(|(to, _)| format!("{name} → {to}: not in the table of arrows"))
        .collect()
}

/// What is wrong at a distance. `tree` is what `cargo tree` prints: a package a line, its name first.
fn distant_complaints(name: &str, never: &[&str], tree: &str) -> Vec<String> {
    let found = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|found| never.contains(found));
    let mut complaints: Vec<_> = found
        .map(|to| format!("{name} ⇢ {to}: never, at any distance"))
        .collect();
    complaints.sort();
    complaints.dedup();
    complaints
}

fn imports<'a>(package: &'a Package, folder: &'a str) -> Imports<'a> {
    let kept = package
        .dependencies
        .iter()
        .filter(|to| to.kind != DependencyKind::Development);
    let direct = kept.map(|to| (to.name.as_str(), to.path.is_some())).collect();
    Imports {
        name: package.name.as_str(),
        folder,
        direct,
    }
}

fn folder(package: &Package) -> String {
    relative(
        package
            .manifest_path
            .as_std_path()
            .parent()
            .expect("a manifest is in a folder"),
    )
}

/// Returns the packages that `name` is built of by default. Fetches what isn't there yet.
fn tree(name: &str) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args([
            "tree",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--package",
            name,
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        out.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).expect("cargo writes UTF-8")
}

#[test]
fn packages_import_what_the_table_allows() {
    let packages = metadata().workspace_packages();
    assert!(packages.len() > 5, "cargo metadata finds hardly any package");
    let mut found = Vec::new();
    for package in packages {
        found.extend(complaints(&imports(package, &folder(package))));
    }
    crate::expect_tidy(&found);
}

#[test]
fn nothing_forbidden_comes_along_at_a_distance() {
    let mut found = Vec::new();
    for package in metadata().workspace_packages() {
        let never = Row::of(&package.name, &folder(package)).map_or(&[][..], |row| row.never);
        if !never.is_empty() {
            let tree = tree(&package.name);
            assert!(tree.starts_with(package.name.as_str()), "{tree}");
            found.extend(distant_complaints(&package.name, never, &tree));
        }
    }
    crate::expect_tidy(&found);
}

#[test]
fn the_architecture_shows_this_table() {
    let page = files()
        .iter()
        .find(|file| file.path == "docs/ARCHITECTURE.md")
        .expect("the page is there");
    let shown: Vec<_> = page.text.lines().filter(|line| line.starts_with("| `")).collect();
    let missing = ROWS
        .iter()
        .map(Row::markdown)
        .filter(|row| !shown.contains(&row.as_str()));
    let missing: Vec<_> = missing
        .map(|row| format!("docs/ARCHITECTURE.md lacks the row\n{row}"))
        .collect();
    crate::expect_tidy(&missing);
}

#[test]
fn an_arrow_that_is_not_in_the_table_is_found() {
    let wrong = |name, folder, direct| complaints(&Imports { name, folder, direct });
    assert_eq!(
        wrong(
            "broker-proto",
            "broker-core/proto",
            vec![("broker-types", true), ("bytes", false)]
        ),
        [""; 0]
    );
    assert_eq!(
        wrong("broker-proto", "broker-core/proto", vec![("tokio", false)]).len(),
        1
    );
    assert_eq!(
        wrong("broker-types", "broker-core/types", vec![("broker-proto", true)]).len(),
        1
    );
    assert_eq!(
        wrong(
            "plugin-new",
            "plugins/new",
            vec![("plugin-auth-file", true), ("serde", false)]
        )
        .len(),
        1
    );
    assert_eq!(
        wrong("example-x", "examples/x", vec![("broker-core", true)]).len(),
        1
    );
    assert_eq!(wrong("newcomer", "newcomer", vec![]).len(), 1);
}

#[test]
fn what_is_forbidden_at_a_distance_is_found_once() {
    let tree = "broker-core v0.1.0 (/x)\nwasmtime v48.0.0\nwasmtime v48.0.0 (*)\nwasmtime-fiber v48.0.0\n";
    assert_eq!(
        distant_complaints("broker-core", &["wasmtime", "figment"], tree).len(),
        1
    );
    assert_eq!(distant_complaints("broker-core", &["figment"], tree), [""; 0]);
}

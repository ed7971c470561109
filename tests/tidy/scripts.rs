//! Scripts run and stop at the first error; every example can be tried by one of them.

use std::collections::BTreeSet;

use crate::repository::{File, files, root};

/// What is wrong with a file that begins with `#!`.
fn script_complaints(path: &str, text: &str, executable: bool) -> Vec<String> {
    let Some(first) = text.strip_prefix("#!").and_then(|text| text.lines().next()) else {
        return Vec::new();
    };
    let careful = if first.ends_with("bash") {
        text.lines().any(|line| line == "set -euo pipefail")
    } else {
        !first.ends_with("sh") || text.lines().any(|line| line == "set -eu")
    };
    let rules = [
        (executable, "not executable"),
        (careful, "goes on after an error: no `set -euo pipefail`"),
    ];
    rules
        .into_iter()
        .filter(|(kept, _)| !kept)
        .map(|(_, what)| format!("{path}: {what}"))
        .collect()
}

/// What an example lacks. `has` tells whether a file of this name is in its folder.
fn example_complaints(folder: &str, has: impl Fn(&str) -> bool) -> Vec<String> {
    let lacking = ["README.md", "try.sh"].into_iter().filter(|name| !has(name));
    lacking
        .map(|name| format!("examples/{folder}: no {name}"))
        .collect()
}

fn is_rust(file: &File) -> bool {
    // `#![…]` is no interpreter.
    file.is("rs")
}

#[cfg(unix)]
fn is_executable(path: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(root().join(path)).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &str) -> bool {
    root().join(path).is_file()
}

#[test]
fn scripts_run_and_stop_at_the_first_error() {
    let scripts = files().iter().filter(|file| !is_rust(file));
    let complaints =
        scripts.flat_map(|file| script_complaints(&file.path, &file.text, is_executable(&file.path)));
    crate::expect_tidy(&complaints.collect::<Vec<_>>());
}

#[test]
fn what_is_started_by_name_is_a_script() {
    let started = |file: &&File| file.path == ".ci/run" || file.path.ends_with("/try.sh");
    let plain = files()
        .iter()
        .filter(started)
        .filter(|file| !file.text.starts_with("#!"));
    let complaints: Vec<_> = plain.map(|file| format!("{}: no `#!` line", file.path)).collect();
    crate::expect_tidy(&complaints);
    assert!(files().iter().any(|file| file.path == ".ci/run"));
}

#[test]
fn examples_can_be_tried() {
    let paths: BTreeSet<_> = files().iter().map(|file| file.path.as_str()).collect();
    let inside = paths
        .iter()
        .filter_map(|path| path.strip_prefix("examples/")?.split_once('/'));
    let folders: BTreeSet<_> = inside.map(|(folder, _)| folder).collect();
    assert!(!folders.is_empty(), "there are no examples");
    let has = |folder: &str, name: &str| paths.contains(format!("examples/{folder}/{name}").as_str());
    let complaints = folders
        .into_iter()
        .flat_map(|folder| example_complaints(folder, |name| has(folder, name)));
    crate::expect_tidy(&complaints.collect::<Vec<_>>());
}

#[test]
fn a_careless_script_is_found() {
    let bash = "#!/usr/bin/env bash\nset -euo pipefail\ntrue\n";
    assert_eq!(script_complaints("x.sh", bash, true), [""; 0]);
    assert_eq!(script_complaints("x.sh", bash, false).len(), 1);
    assert_eq!(script_complaints("x.sh", "#!/bin/bash\nset -e\n", true).len(), 1);
    assert_eq!(script_complaints("x.sh", "#!/bin/sh\ntrue\n", true).len(), 1);
    assert_eq!(
        script_complaints("x.py", "#!/usr/bin/env python3\n", true),
        [""; 0]
    );
    assert_eq!(script_complaints("x.md", "# Title\n", false), [""; 0]);
}

#[test]
fn an_example_that_cannot_be_tried_is_found() {
    assert_eq!(example_complaints("x", |_| true), [""; 0]);
    assert_eq!(
        example_complaints("x", |name| name != "try.sh"),
        ["examples/x: no try.sh"]
    );
    assert_eq!(example_complaints("x", |_| false).len(), 2);
}

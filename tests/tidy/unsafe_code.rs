//! Every crate root says `#![forbid(unsafe_code)]`, apart from the borders listed in [`UNSAFE`].

use std::collections::BTreeSet;

use crate::exemptions::UNSAFE;
use crate::repository::{files, metadata, relative};

/// What is wrong with a crate root, if anything.
fn complaint(path: &str, text: &str) -> Option<String> {
    if UNSAFE.iter().any(|folder| path.starts_with(folder)) {
        return None;
    }
    let says = |line: &str| text.lines().any(|found| found == line);
    // The export macro carries an `allow` of its own, which `forbid` would refuse.
    let exports = text.contains("export_plugin!") && says("#![deny(unsafe_code)]");
    (!exports && !says("#![forbid(unsafe_code)]")).then(|| format!("{path}: no `#![forbid(unsafe_code)]`"))
}

/// Returns the crate roots of the workspace, and those of crates with a workspace of their own.
fn crate_roots() -> BTreeSet<String> {
    let targets = metadata()
        .workspace_packages()
        .into_iter()
        .flat_map(|package| &package.targets);
    let known = targets.map(|target| relative(target.src_path.as_std_path()));
    let usual = files().iter().map(|file| file.path.clone());
    known
        .chain(usual.filter(|path| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs")))
        .collect()
}

#[test]
fn crate_roots_forbid_unsafe_code() {
    let roots = crate_roots();
    assert!(
        roots.contains("tests/tidy/main.rs") && roots.contains("src/lib.rs"),
        "{roots:?}"
    );
    let of_roots = files().iter().filter(|file| roots.contains(&file.path));
    let complaints: Vec<_> = of_roots
        .filter_map(|file| complaint(&file.path, &file.text))
        .collect();
    crate::expect_tidy(&complaints);
}

#[test]
fn a_root_that_says_nothing_or_less_is_found() {
    let forbids = "//! x\n#![forbid(unsafe_code)]\n";
    let denies = "//! x\n#![deny(unsafe_code)]\n";
    assert_eq!(complaint("src/lib.rs", forbids), None);
    assert!(complaint("src/lib.rs", denies).is_some());
    assert!(complaint("src/lib.rs", "// #![forbid(unsafe_code)]\n").is_some());
    assert!(complaint("src/lib.rs", "export_plugin!(X);\n").is_some());
    assert_eq!(
        complaint("examples/x/src/lib.rs", &format!("{denies}export_plugin!(X);\n")),
        None
    );
    assert_eq!(complaint("plugins/host-native/src/lib.rs", ""), None);
}

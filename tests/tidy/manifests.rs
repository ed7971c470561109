//! What every manifest says: a licence, what the package is, the lints of the workspace. And what `deny.toml` bans is
//! not in the lock file, so that a machine without cargo-deny notices too.

use cargo_metadata::Package;

use crate::repository::{files, metadata};

const LICENSE: &str = "Apache-2.0 OR MIT";

/// What is wrong with a package. `manifest` is the text of its `Cargo.toml`.
fn complaints(name: &str, license: Option<&str>, description: Option<&str>, manifest: &str) -> Vec<String> {
    let inherits = manifest.parse::<toml::Table>().is_ok_and(|manifest| {
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        lints.and_then(toml::Value::as_bool) == Some(true)
    });
    let rules = [
        (license == Some(LICENSE), "the licence is not `Apache-2.0 OR MIT`"),
        (
            description.is_some_and(|text| text.ends_with('.')),
            "no description that is a sentence",
        ),
        (inherits, "no `[lints] workspace = true`"),
    ];
    rules
        .into_iter()
        .filter(|(kept, _)| !kept)
        .map(|(_, what)| format!("{name}: {what}"))
        .collect()
}

fn of_package(package: &Package) -> Vec<String> {
    let manifest = std::fs::read_to_string(&package.manifest_path).expect("cargo has just read it");
    complaints(
        &package.name,
        package.license.as_deref(),
        package.description.as_deref(),
        &manifest,
    )
}

/// Returns what `deny.toml` bans whatever the version.
fn banned(deny: &str) -> Vec<String> {
    let deny: toml::Table = deny.parse().expect("deny.toml is TOML");
    let list = deny
        .get("bans")
        .and_then(|bans| bans.get("deny"))
        .and_then(toml::Value::as_array);
    let names = list
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("crate")?.as_str());
    names
        .filter(|name| !name.contains(['@', ':']))
        .map(str::to_owned)
        .collect()
}

/// Returns those of `banned` that the lock file names.
fn locked(banned: &[String], lock: &str) -> Vec<String> {
    let lock: toml::Table = lock.parse().expect("Cargo.lock is TOML");
    let packages = lock
        .get("package")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten();
    let names = packages.filter_map(|package| package.get("name")?.as_str());
    names
        .filter(|name| banned.iter().any(|banned| banned == name))
        .map(|name| format!("Cargo.lock: {name} is banned by deny.toml"))
        .collect()
}

fn text(path: &str) -> &'static str {
    &files()
        .iter()
        .find(|file| file.path == path)
        .unwrap_or_else(|| panic!("{path} is there"))
        .text
}

#[test]
fn every_package_says_what_it_is() {
    let complaints: Vec<_> = metadata()
        .workspace_packages()
        .into_iter()
        .flat_map(of_package)
        .collect();
    crate::expect_tidy(&complaints);
}

#[test]
fn nothing_banned_is_locked() {
    let banned = banned(text("deny.toml"));
    assert!(banned.len() > 3, "deny.toml bans hardly anything");
    crate::expect_tidy(&locked(&banned, text("Cargo.lock")));
}

#[test]
fn both_licences_are_there() {
    assert!(text("LICENSE-APACHE").contains("Version 2.0, January 2004"));
    assert!(text("LICENSE-MIT").contains("Permission is hereby granted"));
}

#[test]
fn a_manifest_that_says_less_is_found() {
    let whole = "[lints]\nworkspace = true\n";
    assert_eq!(complaints("x", Some(LICENSE), Some("An x."), whole), [""; 0]);
    assert_eq!(complaints("x", None, Some("An x."), whole).len(), 1);
    assert_eq!(complaints("x", Some("MIT"), Some("an x"), whole).len(), 2);
    assert_eq!(
        complaints("x", Some(LICENSE), Some("An x."), "# [lints]\n").len(),
        1
    );
}

#[test]
fn what_is_banned_is_found_in_the_lock_file() {
    let deny = "[bans]\ndeny = [{ crate = \"bad\" }, { crate = \"old@<1\" }]\n";
    let lock = "[[package]]\nname = \"good\"\n[[package]]\nname = \"bad\"\n[[package]]\nname = \"old\"\n";
    assert_eq!(banned(deny), ["bad"]);
    assert_eq!(locked(&banned(deny), lock).len(), 1);
}

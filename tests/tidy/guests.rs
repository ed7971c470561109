//! A committed `.wasm` is what its sources give: beside each stands `NAME.wasm.sha256`, which names what it was built from.
//! Without a compiler for Wasm nobody can tell more; `examples/build-wasm.sh --check` builds and compares.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::repository::{files, paths, root};

const REBUILD: &str = "run examples/build-wasm.sh";

/// Reads a record: path to digest, in the format of `sha256sum`.
fn record(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, path)| (path, digest))
        .collect()
}

/// Returns what the artefact in `folder` is made of, as far as it is its own.
fn own_sources<'a>(folder: &str, paths: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mine = |path: &&str| {
        path.strip_prefix(folder)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|rest| {
                let built = [".c", ".h", ".wit"].iter().any(|end| rest.ends_with(end));
                let rust = rest.starts_with("src/") || rest == "Cargo.toml";
                rust || (built && !rest.contains('/')) || rest.starts_with("bindings/")
            })
    };
    paths.filter(mine).collect()
}

/// What is wrong with a record. `digest` tells that of a file, if there is one.
fn complaints(
    path: &str,
    text: &str,
    own: &BTreeSet<&str>,
    digest: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let recorded = record(text);
    let artefact = path.strip_suffix(".sha256").unwrap_or(path);
    let changed = recorded
        .iter()
        .filter_map(|(source, recorded)| match digest(source) {
            Some(digest) if digest == **recorded => None,
            Some(_) => Some(format!(
                "{artefact}: {source} has changed since it was built: {REBUILD}"
            )),
            None => Some(format!("{artefact}: {source} is gone: {REBUILD}")),
        });
    let wanted = own.iter().copied().chain([artefact]);
    let missing = wanted
        .filter(|source| !recorded.contains_key(source))
        .map(|source| format!("{path}: nothing about {source}: {REBUILD}"));
    changed.chain(missing).collect()
}

fn digest(path: &str) -> Option<String> {
    let bytes = std::fs::read(root().join(path)).ok()?;
    Some(
        Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    )
}

#[test]
fn guests_are_built_from_their_sources() {
    let records = files().iter().filter(|file| file.path.ends_with(".wasm.sha256"));
    let complaints = records.flat_map(|file| {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let own = own_sources(folder, paths().iter().map(String::as_str));
        complaints(&file.path, &file.text, &own, digest)
    });
    crate::expect_tidy(&complaints.collect::<Vec<_>>());
}

#[test]
fn every_guest_has_a_record() {
    let known: BTreeSet<_> = paths().iter().map(String::as_str).collect();
    let guests = known.iter().filter(|path| path.ends_with(".wasm"));
    let unknown = guests.filter(|path| !known.contains(format!("{path}.sha256").as_str()));
    let complaints: Vec<_> = unknown
        .map(|path| format!("{path}: no record of its sources: {REBUILD}"))
        .collect();
    crate::expect_tidy(&complaints);
}

#[test]
fn a_guest_that_is_older_than_its_sources_is_found() {
    let text = "# rustc 1.0\naa  x/x.wasm\nbb  x/src/lib.rs\n";
    let own = BTreeSet::from(["x/src/lib.rs"]);
    let check = |own: &BTreeSet<&str>, wasm: &'static str, source: Option<&'static str>| {
        complaints("x/x.wasm.sha256", text, own, |path| match path {
            "x/x.wasm" => Some(wasm.to_owned()),
            _ => source.map(str::to_owned),
        })
        .len()
    };
    assert_eq!(check(&own, "aa", Some("bb")), 0);
    assert_eq!(check(&own, "aa", Some("cc")), 1);
    assert_eq!(check(&own, "cc", Some("cc")), 2);
    assert_eq!(check(&own, "aa", None), 1);
    assert_eq!(
        check(
            &BTreeSet::from(["x/src/lib.rs", "x/src/new.rs"]),
            "aa",
            Some("bb")
        ),
        1
    );
    assert_eq!(
        own_sources(
            "x",
            ["x/src/a.rs", "x/README.md", "y/src/a.rs", "x/Cargo.toml"].into_iter()
        ),
        BTreeSet::from(["x/src/a.rs", "x/Cargo.toml"])
    );
}

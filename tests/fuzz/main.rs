//! Whatever bytes come, from the network, a file or a client's name: nothing panics, nothing is taken for what it isn't.
//!
//! Each body is a file of its own and takes any bytes. Here they run for a bounded time on bytes from the corpus, on
//! mutations of it, and on noise; under cargo-fuzz (see `fuzz/README.md`) the same files run for as long as one likes.
#![forbid(unsafe_code)]

mod acl;
mod config;
mod decoder;
mod event_log;
mod passwd;
mod properties;
mod session;
mod topics;

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A change to a seed of the corpus.
#[derive(Clone, Debug)]
enum Change {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
    /// Puts a stretch of the seed in once more.
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let byte = prop_oneof![
        any::<u8>(),
        select(vec![
            0x00, 0x7f, 0x80, 0xff, b'#', b'+', b'/', b'$', b'\n', b':', b'"'
        ])
    ];
    prop_oneof![
        4 => (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        2 => (any::<Index>(), byte).prop_map(|(at, byte)| Change::Insert(at, byte)),
        2 => any::<Index>().prop_map(Change::Remove),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Change::Repeat(a, b)),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: Vec<Change>) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        match change {
            Change::Replace(at, byte) => bytes[at.index(len)] = byte,
            Change::Insert(at, byte) => bytes.insert(at.index(len), byte),
            Change::Remove(at) => drop(bytes.remove(at.index(len))),
            Change::Cut(at) => bytes.truncate(at.index(len)),
            Change::Repeat(a, b) => {
                let (from, to) = (a.index(len).min(b.index(len)), a.index(len).max(b.index(len)));
                let again = bytes[from..to].to_vec();
                bytes.splice(to..to, again);
            }
        }
    }
    bytes
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the corpus is here")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    files.sort();
    let seeds: Vec<_> = files
        .iter()
        .map(|file| std::fs::read(file).expect("it can be read"))
        .collect();
    assert!(!seeds.is_empty(), "{}", folder.display());
    seeds
}

/// Runs `body` on every seed, then on `cases` inputs made of them or of nothing. A failure prints its input.
fn run(name: &str, cases: u32, body: fn(&[u8])) {
    let seeds = corpus(name);
    for seed in &seeds {
        body(seed);
    }
    let inputs = prop_oneof![
        4 => (select(seeds), vec(change(), 1..12)).prop_map(|(seed, changes)| changed(seed, changes)),
        1 => vec(any::<u8>(), 0..300),
    ];
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    };
    proptest!(config, |(data in inputs)| body(&data));
}

#[test]
fn decoder() {
    run("session", 20_000, decoder::body);
}

#[test]
fn session() {
    run("session", 10_000, session::body);
}

#[test]
fn topics() {
    run("topics", 20_000, topics::body);
}

#[test]
fn properties() {
    run("properties", 20_000, properties::body);
}

#[test]
fn config() {
    run("config", 500, config::body);
}

#[test]
fn acl() {
    run("acl", 2_000, acl::body);
}

#[test]
fn passwd() {
    run("passwd", 5_000, passwd::body);
}

#[test]
fn event_log() {
    run("event_log", 300, event_log::body);
}

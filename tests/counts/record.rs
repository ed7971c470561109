//! The record: how many instructions each case took, and on what.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// What was counted on a machine.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) machine: Machine,
    /// Instructions for one piece of work, by the name of its case.
    pub(crate) instructions: BTreeMap<String, f64>,
}

/// What the numbers depend on.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    rustc: String,
    target: String,
    libc: String,
    valgrind: String,
    /// What the C library chooses its functions by.
    cpu: String,
}

impl Record {
    /// Reads the record of the tree.
    pub(crate) fn read() -> Self {
        let text = fs::read_to_string(path()).expect("the record is in the tree");
        toml::from_str(&text).expect("the record is sound")
    }

    pub(crate) fn write(&self) {
        let Machine {
            rustc,
            target,
            libc,
            valgrind,
            cpu,
        } = &self.machine;
        let mut text = format!(
            "# Instructions of the hot path's pieces. Made by JACKFIELD_RECORD=1 cargo test -p jackfield-tests --test counts\n\n\
             [machine]\nrustc = \"{rustc}\"\ntarget = \"{target}\"\nlibc = \"{libc}\"\nvalgrind = \"{valgrind}\"\n\
             cpu = \"{cpu}\"\n\n[instructions]\n"
        );
        for (name, count) in &self.instructions {
            text += &format!("{name} = {count:.1}\n");
        }
        fs::write(path(), text).expect("the record can be written");
    }
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "counts", "record.toml"]
        .iter()
        .collect()
}

impl Machine {
    /// Looks at this one. `None`: there is no valgrind.
    pub(crate) fn here() -> Option<Self> {
        let valgrind = said("valgrind", &["--version"])?;
        let rustc = said("rustc", &["-vV"]).expect("there is a rustc");
        let line = |start: &str| {
            let line = rustc.lines().find_map(|line| line.strip_prefix(start));
            line.unwrap_or_default().trim().to_owned()
        };
        Some(Self {
            rustc: line("rustc"),
            target: line("host:"),
            libc: said("getconf", &["GNU_LIBC_VERSION"]).unwrap_or_default(),
            valgrind,
            cpu: cpu(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rustc,
            target,
            libc,
            valgrind,
            cpu,
        } = self;
        write!(f, "rustc {rustc}, {target}, {libc}, {valgrind}, {cpu}")
    }
}

/// What a program says; `None` if it isn't there.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(target_arch = "x86_64")]
fn cpu() -> String {
    let features = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
    ];
    let there: Vec<_> = features
        .iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| *name)
        .collect();
    there.join(" ")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu() -> String {
    String::new()
}

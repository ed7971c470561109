//! The program whose instructions are counted, and the counting: each case runs twice, short and long, and the difference is
//! what its work takes; what comes before and after cancels out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

/// The unit tests of `broker-core`, optimised.
pub(crate) struct Counted {
    program: PathBuf,
}

/// The difference between the two runs, in instructions, so that small disturbances don't show.
const WANTED: f64 = 2e7;
/// Times of the short run.
const SHORT: u64 = 100;
/// Times that are added, at the least and at the most.
const MORE: std::ops::RangeInclusive<f64> = 200.0..=400_000.0;

impl Counted {
    /// Builds it.
    pub(crate) fn build() -> Self {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let args = [
            "test",
            "--locked",
            "--profile",
            "counted",
            "-p",
            "broker-core",
            "--lib",
            "--no-run",
        ];
        let built = cargo
            .args(args)
            .arg("--message-format=json")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            // What this test was built with is none of its business.
            .env_remove("CARGO_INCREMENTAL")
            .output()
            .expect("cargo runs");
        let told = String::from_utf8_lossy(&built.stdout);
        let errors = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "it can't be built: {errors}");
        let messages = told
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let program = messages
            .filter_map(|message| Some(message["executable"].as_str()?.to_owned()))
            .next_back();
        Self {
            program: program.expect("cargo says where the program is").into(),
        }
    }

    /// Counts all cases. `expected` says what they took before: who takes much needn't run so often.
    pub(crate) fn all(&self, expected: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
        let listed = self.run(&mut Command::new(&self.program), "list").0;
        let names: Vec<_> = listed
            .lines()
            .filter_map(|line| line.strip_prefix("case "))
            .collect();
        assert!(!names.is_empty(), "no cases: {listed}");
        let next = AtomicUsize::new(0);
        // One takes the next when it has done its own: each is a process by itself.
        let worker = || {
            let mut counts = Vec::new();
            while let Some(name) = names.get(next.fetch_add(1, Relaxed)) {
                let expected = expected.get(*name).copied().unwrap_or(1000.0);
                counts.push(((*name).to_owned(), self.count(name, expected)));
            }
            counts
        };
        thread::scope(|scope| {
            let workers = [(); 2].map(|()| scope.spawn(worker));
            let counts = workers.map(|worker| worker.join().expect("counting goes on"));
            counts.into_iter().flatten().collect()
        })
    }

    fn count(&self, name: &str, expected: f64) -> f64 {
        let more = (WANTED / expected.max(1.0)).clamp(*MORE.start(), *MORE.end()) as u64;
        let [short, long] = [SHORT, SHORT + more].map(|times| self.instructions(&format!("{name}:{times}")));
        (long as f64 - short as f64) / more as f64
    }

    /// Returns what a whole run took.
    fn instructions(&self, work: &str) -> u64 {
        let mut valgrind = Command::new("valgrind");
        valgrind
            .args([
                "--tool=cachegrind",
                "--cache-sim=no",
                "--cachegrind-out-file=/dev/null",
            ])
            .arg(&self.program);
        let (_, told) = self.run(&mut valgrind, work);
        let line = told
            .lines()
            .find_map(|line| line.split_once("I   refs:").or(line.split_once("I refs:")));
        let digits = line.map(|(_, number)| number.trim().replace(',', ""));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.unwrap_or_else(|| panic!("valgrind says no number: {told}"))
    }

    /// Runs the test `micro::work` alone, with `work` to do. Returns what it wrote to its two streams.
    fn run(&self, command: &mut Command, work: &str) -> (String, String) {
        let output = command
            .args(["--exact", "micro::work", "--nocapture", "--test-threads=1"])
            .env("JACKFIELD_MICRO", work)
            .output()
            .expect("it runs");
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{work}: {text:?}");
        text.into()
    }
}

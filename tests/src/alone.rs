//! Tests that measure memory run in a process of their own, so that they measure nobody else's.

use std::process::Command;

/// Runs `body` in a new process that runs nothing but the test `name`; in that process it runs it directly.
///
/// # Panics
/// If the test fails there.
pub fn alone(name: &str, body: impl FnOnce()) {
    const INSIDE: &str = "JACKFIELD_TEST_ALONE";
    if std::env::var_os(INSIDE).is_some_and(|inside| inside == name) {
        return body();
    }
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .args(["--exact", name, "--test-threads=1", "--nocapture"])
        .env(INSIDE, name)
        .output()
        .expect("this program runs");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(
        output.status.success(),
        "{name} failed in its own process:\n{stdout}\n{stderr}"
    );
    assert!(stdout.contains("1 passed"), "{name} names no test:\n{stdout}");
}

/// Returns the resident memory of this process in bytes, where the system tells it.
#[must_use]
pub fn resident() -> Option<usize> {
    status("VmRSS:")
}

/// Returns the most memory that was ever resident in this process, where the system tells it.
#[must_use]
pub fn resident_peak() -> Option<usize> {
    status("VmHWM:")
}

fn status(field: &str) -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix(field))?;
    kib.trim()
        .strip_suffix(" kB")?
        .parse::<usize>()
        .ok()
        .map(|kib| kib * 1024)
}

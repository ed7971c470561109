//! Is the house tidy? What a machine can check of how this project is built and neither fmt nor clippy does.
//!
//! One subject a file: a pure check from text to complaints, the test that holds the repository to it, and tests that
//! show the check can fail. Nothing here starts a broker.
#![forbid(unsafe_code)]

mod arrows;
mod exemptions;
mod guests;
mod links;
mod manifests;
mod proto;
mod repository;
mod scripts;
mod sources;
mod unsafe_code;

/// Fails with everything that is wrong, one complaint a line.
#[track_caller]
fn expect_tidy(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

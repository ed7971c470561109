//! Native plugins through the loader, as a broker has them: good ones, and a C plugin that breaks every rule it can.

mod allocation;
#[allow(clippy::unwrap_used, reason = "clippy knows tests, not what helps them")]
mod common;
#[allow(clippy::unwrap_used, reason = "clippy knows tests, not what helps them")]
mod hostile;
#[allow(clippy::unwrap_used, reason = "clippy knows tests, not what helps them")]
mod museum;

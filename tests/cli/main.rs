//! The program as its user meets it: a process with a command line, signals, an exit code and two streams.
//!
//! What a command does with its arguments is tested beside it, in `src/cli`; here is only what needs a process.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod bench;
mod check;
mod clients;
mod config;
mod help;
mod init;
mod life;
mod passwd;
mod plugin;
mod program;
mod reload;
mod trials;

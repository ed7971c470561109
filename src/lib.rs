//! Jackfield.
#![forbid(unsafe_code)]

#[cfg(feature = "config")]
pub mod builtin;
#[cfg(feature = "config")]
pub mod config_file;

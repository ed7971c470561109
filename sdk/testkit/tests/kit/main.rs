//! The kit against a plugin that does a little of everything, and against itself.
#![deny(unsafe_code)]

mod conformance;
mod harness;
mod plugin;
mod record;

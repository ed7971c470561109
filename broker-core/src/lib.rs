//! x
#![forbid(unsafe_code)]

mod chain;
#[allow(dead_code, unused_imports, reason = "the engine that asks comes next")]
mod hooks;
mod retained;
mod routing;

pub use chain::{Boxed, Chain, Filters, Hook, HookSet, OnFault, Use};
pub use hooks::ChainError;

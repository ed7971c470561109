//! Wasm plugins: from a component to a `Plugin` like any other.
//!
//! [`WasmLoader`] finds the file in folders that the operator allows, compiles it (or finds what it compiled before), compares what
//! it imports with what it was granted, and looks which interfaces of the contract it exports: these are its hooks. The
//! contract is `plugin-api/wit/plugin.wit`.
//!
//! - Nothing of a guest is trusted: not its time, not its memory, not what it gives back. What goes beyond a limit or makes no
//!   sense is a fault of that use, with its `on_error` or `on_timeout`; the instance is thrown away and the next call gets a new one.
//! - A call runs where it is made as long as calls are short (`guest`), so that it costs no thread's turn; a guest that needs
//!   longer gets threads of its own.
//! - Instances are pooled, so what a guest remembers is a cache. A guest of which there may be only one says so.
//! - Compiled code is machine code. Only what this installation wrote itself is loaded from the cache (`cache`), and that is the one place
//!   with `unsafe`.
#![deny(unsafe_code)]

mod bindings;
mod cache;
mod code;
mod compile;
mod crew;
mod describe;
mod engine;
mod exports;
mod guest;
mod hooks;
mod imports;
mod instance;
mod loader;
mod manifest;
mod message;
mod plugin;
mod pool;
mod services;
mod state;
mod stop;
mod wasi;

pub use describe::Described;
pub use loader::WasmLoader;

//! Native plugins: from a shared library to a `Plugin` like any other.
//!
//! [`NativeLoader`] finds the file in folders that the operator allows, loads exactly the bytes that were hashed, and
//! checks who is there before any of its functions is called. What comes back keeps to the library's function table: each
//! hook that the instance wants becomes a trait object that lends its arguments across the border, and copies and checks
//! everything that comes back. The contract is the header, `plugin-api/abi/include/jackfield_plugin.h`.
//!
//! - A hook that answers at once costs no allocation: arguments lie on the stack, and what a plugin attaches goes into a
//!   frame that is used again and again (`frame`).
//! - A hook that goes pending gets a token; a late, doubled or forged completion of it changes nothing (`calls`).
//! - Libraries are never unloaded, and what a plugin may still point at (its services, its frames) is never freed: code
//!   that comes back late finds a closed door, not somebody else's memory.
//! - A native plugin is trusted code in this process. It can end the process, and nothing here can stop that.
//!
//! `unsafe` stands in the files that read what a plugin wrote (`border`, `services`) and where its functions are
//! called.

mod answer;
mod ask;
mod border;
mod calls;
mod client;
mod copies;
mod describe;
mod elf;
mod frame;
mod granted;
mod hooks;
mod instance;
mod interest;
mod library;
mod linked;
mod loader;
mod message;
mod plugin;
mod serial;
mod services;
mod side;
mod sink;

pub use describe::Described;
pub use linked::linked;
pub use loader::NativeLoader;

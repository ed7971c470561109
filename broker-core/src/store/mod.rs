//! What survives the broker. A store is a map that someone else provides; the one here is in memory.

mod memory;

pub use memory::MemoryStore;

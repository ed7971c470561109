//! What only shows in a broker that runs: `$SYS`, counters, the ceiling for memory.

mod memory;
mod sys;

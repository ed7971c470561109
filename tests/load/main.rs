//! A broker under more load than it can carry off at once: one client must not starve another, who doesn't read must not cost
//! memory without end, and who publishes too much is slowed, not cut off. Counts messages and bytes, never time: a loaded
//! machine makes these tests slow, not wrong.
#![forbid(unsafe_code)]

mod backpressure;
mod fairness;
mod flood;
mod saturation;

//! Bridges in a broker that runs.

//! The chain as a whole, against what its documentation says.

//! x
#![forbid(unsafe_code)]

mod retained;
mod routing;

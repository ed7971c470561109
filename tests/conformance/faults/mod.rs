//! The classes of faults that have hit other brokers, each with its tests.
//!
//! | class | file |
//! |---|---|
//! | memory reserved from an unproved length; lengths that lie | `claims.rs` |
//! | a leak for each refused or odd packet | `leaks.rs` |
//! | quadratic work; recursion on topic levels | `work.rs` |
//! | races of take-over, reconnection and unsubscribing | `races.rs` |
//! | a Will that outlives its Session; Sessions that never let go | `sessions.rs` |
//! | rights that are checked at one end only | `rights.rs` |
//! | arithmetic on settings; settings of another listener | `settings.rs` |
//!
//! Empty topics, packets in the wrong direction, properties passed on unchecked: those are statements of the standard, and
//! tested as such.

mod claims;
mod leaks;
mod races;
mod rights;
mod sessions;
mod settings;
mod work;

/// Makes tests that run in a process of their own, because they measure memory.
macro_rules! alone {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {$(
        $(#[$meta])*
        #[test]
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            let path = path.split_once("::").expect("the crate's name stands first").1;
            jackfield_tests::alone::alone(path, || $body);
        }
    )*};
}
pub(crate) use alone;

/// Returns how much more memory is resident after `work` than before, in MiB; 0 where the system doesn't tell.
pub(crate) fn grown_mib(work: impl FnOnce()) -> usize {
    let resident = || jackfield_tests::alone::resident().unwrap_or(0);
    let before = resident();
    work();
    resident().saturating_sub(before) >> 20
}

//! Bodies of tests whose statement stands in both standards: the version is a value, and what 5.0 says with a Reason Code
//! 3.1.1 says by closing.

/// Makes tests of shared bodies: `name = body;`, all for one version.
macro_rules! shared_tests {
    ($version:ident: $($name:ident = $module:ident :: $body:ident;)*) => {$(
        #[test]
        fn $name() {
            crate::shared::$module::$body(crate::prelude::$version);
        }
    )*};
}
pub(crate) use shared_tests;

pub(crate) mod connect;
pub(crate) mod data;
pub(crate) mod publish;
pub(crate) mod qos;
pub(crate) mod retain;
pub(crate) mod session;
pub(crate) mod subscribe;
pub(crate) mod topic;
pub(crate) mod will;

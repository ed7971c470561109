//! One file for each hook.

pub(crate) mod accept;
pub(crate) mod authenticate;
pub(crate) mod authorize;
pub(crate) mod bridge;
pub(crate) mod connect;
pub(crate) mod control;
pub(crate) mod deliver;
pub(crate) mod events;
pub(crate) mod exchange;
pub(crate) mod publish;
pub(crate) mod retain;
pub(crate) mod share_pick;
pub(crate) mod store;
pub(crate) mod subscribe;
pub(crate) mod unsubscribe;
pub(crate) mod will;

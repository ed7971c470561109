//! Which hooks a chain has at all. A connection copies the mask, so that a hook nobody has costs one bit test.

use crate::chain::Hook;

/// A set of hooks in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HookMask(u64);

impl HookMask {
    pub(crate) const CONNECT: Self = Self::of(Hook::Connect);
    pub(crate) const AUTHENTICATE: Self = Self::of(Hook::Authenticate);
    pub(crate) const EXCHANGE: Self = Self::of(Hook::Exchange);
    pub(crate) const AUTHORIZE: Self = Self::of(Hook::Authorize);
    pub(crate) const SUBSCRIBE: Self = Self::of(Hook::Subscribe);
    pub(crate) const UNSUBSCRIBE: Self = Self::of(Hook::Unsubscribe);
    pub(crate) const PUBLISH: Self = Self::of(Hook::Publish);
    pub(crate) const RETAIN: Self = Self::of(Hook::Retain);
    pub(crate) const DELIVER: Self = Self::of(Hook::Deliver);
    pub(crate) const WILL: Self = Self::of(Hook::Will);
    pub(crate) const SHARE_PICK: Self = Self::of(Hook::SharePick);
    /// Some authorizer wants to be asked for each message that goes to a client.
    pub(crate) const RECEIVE: Self = Self(1 << 63);

    /// Returns the mask of one hook.
    pub(crate) const fn of(hook: Hook) -> Self {
        Self(1 << hook as u8)
    }

    /// Tells whether any hook of `other` is in it.
    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns what is in one of both.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

//! The hooks by name: what the configuration writes after `on`, and what logs and metrics call them.

use std::fmt;
use std::time::Duration;

use plugin_api::Capabilities;

macro_rules! hooks {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $field:ident, $deadline:expr;)*) => {
        /// A hook that a link of a chain can have. Session stores and bridges are none: they belong to the broker, not to a
        /// listener. The list grows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Hook { $($(#[$doc])* $name,)* }

        impl Hook {
            /// Every hook.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the name that the configuration, logs and metrics use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns how long a call may take unless the use says otherwise; `None`: it must answer at once.
            #[must_use]
            pub const fn deadline(self) -> Option<Duration> {
                match self { $(Self::$name => $deadline,)* }
            }

            /// Tells whether a plugin has it.
            #[must_use]
            pub const fn is_in(self, capabilities: &Capabilities) -> bool {
                match self { $(Self::$name => capabilities.$field.is_some(),)* }
            }
        }
    };
}

hooks! {
    /// [`plugin_api::Accept`]
    Accept = "accept", accept, None;
    /// [`plugin_api::Connect`]
    Connect = "connect", connect, Some(Duration::from_secs(5));
    /// [`plugin_api::Authenticate`]
    Authenticate = "authenticate", authenticate, Some(Duration::from_secs(5));
    /// [`plugin_api::Exchange`]
    Exchange = "exchange", exchange, Some(Duration::from_secs(5));
    /// [`plugin_api::Authorize`]
    Authorize = "authorize", authorize, Some(Duration::from_secs(1));
    /// [`plugin_api::Subscribe`]
    Subscribe = "subscribe", subscribe, Some(Duration::from_secs(1));
    /// [`plugin_api::Unsubscribe`]
    Unsubscribe = "unsubscribe", unsubscribe, Some(Duration::from_secs(1));
    /// [`plugin_api::Publish`]
    Publish = "publish", publish, Some(Duration::from_millis(250));
    /// [`plugin_api::Retain`]
    Retain = "retain", retain, None;
    /// [`plugin_api::Deliver`]
    Deliver = "deliver", deliver, Some(Duration::from_millis(50));
    /// [`plugin_api::Will`]
    Will = "will", will, Some(Duration::from_millis(250));
    /// [`plugin_api::Events`]
    Events = "events", events, Some(Duration::from_secs(5));
    /// [`plugin_api::Control`]
    Control = "control", control, Some(Duration::from_secs(5));
    /// [`plugin_api::SharePick`]
    SharePick = "share-pick", share_pick, None;
}

impl Hook {
    /// Returns the hook that the configuration calls `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|hook| hook.as_str() == name)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of [`Hook`]s.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct HookSet(u64);

impl HookSet {
    /// No hook.
    pub const NONE: Self = Self(0);

    /// Returns the hooks that a plugin has.
    #[must_use]
    pub fn of(capabilities: &Capabilities) -> Self {
        let hooks = Hook::ALL.iter().copied();
        hooks.filter(|hook| hook.is_in(capabilities)).collect()
    }

    /// Returns this set with `hook` in it.
    #[must_use]
    pub const fn with(self, hook: Hook) -> Self {
        Self(self.0 | 1 << hook as u8)
    }

    /// Tells whether `hook` is in it.
    #[must_use]
    pub const fn contains(self, hook: Hook) -> bool {
        self.0 & (1 << hook as u8) != 0
    }

    /// Returns what is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the hooks in it.
    pub fn iter(self) -> impl Iterator<Item = Hook> {
        Hook::ALL.iter().copied().filter(move |hook| self.contains(*hook))
    }
}

impl FromIterator<Hook> for HookSet {
    fn from_iter<I: IntoIterator<Item = Hook>>(hooks: I) -> Self {
        hooks.into_iter().fold(Self::NONE, Self::with)
    }
}

impl<const N: usize> From<[Hook; N]> for HookSet {
    fn from(hooks: [Hook; N]) -> Self {
        hooks.into_iter().collect()
    }
}

impl From<Hook> for HookSet {
    fn from(hook: Hook) -> Self {
        Self::NONE.with(hook)
    }
}

impl fmt::Debug for HookSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Hook::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_contract() {
        for hook in Hook::ALL {
            assert_eq!(Hook::from_name(hook.as_str()), Some(*hook));
        }
        assert_eq!(Hook::from_name("session-store"), None);
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set = HookSet::from([Hook::Publish, Hook::SharePick]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Hook::Publish, Hook::SharePick]);
        assert!(!set.contains(Hook::Accept));
        assert_eq!(set.and(Hook::Publish.into()), HookSet::from(Hook::Publish));
        assert_eq!(HookSet::of(&Capabilities::default()), HookSet::NONE);
    }
}

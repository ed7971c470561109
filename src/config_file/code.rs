//! The kinds of diagnostics: the one table of their codes. What a code means at length is a page in `docs/diagnostics`,
//! which is built in, so that no code can be without one.

use std::fmt;

macro_rules! codes {
    ($($name:ident = $text:literal, $summary:literal;)*) => {
        /// What kind of mistake or doubt a diagnostic is. The list grows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code { $(#[doc = $summary] $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns it as it stands in a report: `unknown_key`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns what it means in a line.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$name => $summary,)* }
            }

            /// Returns what it means, how one gets it and what to do: a page of Markdown.
            #[must_use]
            pub const fn page(self) -> &'static str {
                match self {
                    $(Self::$name => include_str!(concat!("../../docs/diagnostics/", $text, ".md")),)*
                }
            }
        }
    };
}

codes! {
    Syntax = "syntax", "A file isn't TOML.";
    Unreadable = "unreadable", "A file or a folder can't be read.";
    UnknownProfile = "unknown_profile", "There is no overlay for the profile.";
    SetTwice = "set_twice", "Two files set the same key.";
    UnknownKey = "unknown_key", "There is no such key.";
    MisplacedKey = "misplaced_key", "The key stands where it has no meaning.";
    MissingKey = "missing_key", "A key that is needed isn't there.";
    WrongType = "wrong_type", "The value is of another type than the key takes.";
    BadValue = "bad_value", "The value is none of those that the key takes.";
    OutOfRange = "out_of_range", "The value is too small or too large.";
    NotAvailable = "not_available", "This version doesn't have it yet.";
    BadExpression = "bad_expression", "A condition that is no expression.";
    BadName = "bad_name", "A name that can't be one.";
    UnknownPlugin = "unknown_plugin", "There is no such plugin.";
    BadPlugin = "bad_plugin", "The plugin can't be loaded.";
    BadOption = "bad_option", "A plugin refuses one of its options.";
    BadSecret = "bad_secret", "A secret isn't where it is said to be.";
    OpenSecret = "open_secret", "Everybody on this machine can read a secret.";
    UnknownHook = "unknown_hook", "The plugin doesn't have this hook.";
    AllowOnFault = "allow_on_fault", "The door is open when the plugin fails.";
    UnknownChain = "unknown_chain", "There is no such chain.";
    ChainCycle = "chain_cycle", "A chain contains itself.";
    BadEntry = "bad_entry", "An entry of a chain that is neither a plugin nor a chain.";
    Unused = "unused", "Nothing uses it.";
    NoListener = "no_listener", "There is nowhere to connect to.";
    OpenListener = "open_listener", "Nothing decides who may connect.";
    DuplicateName = "duplicate_name", "Two things of a kind have the same name.";
    BadRule = "bad_rule", "A rule of a bridge that makes no sense.";
    LimitTooHigh = "limit_too_high", "The system doesn't let a limit be reached.";
    UnknownListener = "unknown_listener", "There is no such listener.";
    BadTest = "bad_test", "A test that can't show anything.";
    BindClash = "bind_clash", "Two listeners want the same address.";
}

impl Code {
    /// Returns the code that a report writes as `text`.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

//! A plugin's failure: never a verdict.

use std::borrow::Cow;

/// What kind of failure it was; metrics count by it. The list grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The plugin's code panicked.
    Panic,
    /// A Wasm guest trapped.
    Trap,
    /// No answer within the use's deadline.
    Timeout,
    /// More memory than the plugin may have.
    Memory,
    /// The plugin answered something that makes no sense.
    Protocol,
    /// Something the plugin depends on failed: a file, a database, a server.
    Backend,
    /// The circuit breaker is open: the plugin wasn't asked.
    CircuitOpen,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Panic,
        Self::Trap,
        Self::Timeout,
        Self::Memory,
        Self::Protocol,
        Self::Backend,
        Self::CircuitOpen,
    ];

    /// Returns the word that metrics and logs use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Protocol => "protocol",
            Self::Backend => "backend",
            Self::CircuitOpen => "circuit_open",
        }
    }
}

/// Why a hook gave no verdict. What happens to the client then says the use's `on_error` or `on_timeout`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {text}", kind.as_str())]
pub struct Fault {
    /// The kind.
    pub kind: FaultKind,
    /// For the log: what failed, lower case, without a final period and without secrets.
    pub text: Cow<'static, str>,
}

impl Fault {
    /// Returns a fault of `kind`.
    pub fn new(kind: FaultKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// Returns a fault of something the plugin depends on.
    pub fn backend(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FaultKind::Backend, text)
    }
}

//! How a hot hook answers.

use std::future::Future;
use std::pin::Pin;

use crate::Fault;

/// A future that a hook hands out when it can't answer at once. It owns what it needs, so that the connection can put
/// it aside; dropping it cancels the call.
pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send>>;

/// What a hot hook answers: at once and without allocating, or later.
///
/// `N` is the answer given at once, with edits made in place. `L` is the answer given later: it carries its edits with
/// it, because what the call lent is gone by then (copy first what you need; topic and payload are cheap to clone).
#[must_use = "an answer that nobody reads decides nothing"]
pub enum Answer<N, L = N> {
    /// The verdict, or why there is none.
    Now(Result<N, Fault>),
    /// The connection's own task awaits it under the use's deadline, and drops it on deadline or when the client goes.
    Later(Later<L>),
}

impl<N, L> Answer<N, L> {
    /// Answers at once.
    pub const fn now(verdict: N) -> Self {
        Self::Now(Ok(verdict))
    }

    /// Fails at once.
    pub const fn fault(fault: Fault) -> Self {
        Self::Now(Err(fault))
    }

    /// Answers when `future` is done. Costs one allocation.
    pub fn later(future: impl Future<Output = Result<L, Fault>> + Send + 'static) -> Self {
        Self::Later(Box::pin(future))
    }
}

impl<N: std::fmt::Debug, L> std::fmt::Debug for Answer<N, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now(verdict) => f.debug_tuple("Now").field(verdict).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

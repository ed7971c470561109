//! Chains as an embedder or the configuration puts them together: names, order, policies. Nothing runs here; a listener
//! runs what [`crate::hooks`] makes of it.

mod closures;
mod condition;
mod hook;
mod link;

use std::sync::Arc;

use plugin_api::Plugin;

pub use closures::Boxed;
pub use condition::{Condition, Moment};
pub use hook::{Hook, HookSet};
pub use link::{Filters, OnFault, Use};

use crate::hooks::Trace;

/// The plugins of a listener, in order: each hook asks them from first to last (deliver: from last to first).
///
/// ```
/// use broker_core::Chain;
/// use plugin_api::{AclVerdict, AuthVerdict, Flow};
///
/// let common = Chain::new().authenticate(|request| match request.username {
///     Some("guest") => AuthVerdict::allow(),
///     _ => AuthVerdict::Skip,
/// });
/// let chain = Chain::new()
///     .chain(common)
///     .authorize(|client, _action, item| match item.topic.strip_prefix(client.id.as_str()) {
///         Some(rest) if rest.starts_with('/') => AclVerdict::Allow,
///         _ => AclVerdict::Skip,
///     })
///     .on_publish("+/raw/#", |_cx, message| {
///         message.set_payload(message.payload().to_ascii_uppercase());
///         Flow::Continue
///     });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Chain {
    entries: Vec<Entry>,
    authenticate_all: bool,
    authorize_all: bool,
    trace: Option<Arc<Trace>>,
}

#[derive(Clone, Debug)]
enum Entry {
    Use(Use),
    Chain(Chain),
}

impl Chain {
    /// Returns a chain without plugins: nobody may connect unless the listener lets anonymous clients in, and who is in
    /// may do everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a plugin, or a [`Use`] of one, at the end.
    #[must_use]
    pub fn plugin(mut self, plugin: impl Into<Use>) -> Self {
        self.entries.push(Entry::Use(plugin.into()));
        self
    }

    /// Adds all of `chain` at the end, as if its plugins stood here.
    #[must_use]
    pub fn chain(mut self, chain: Self) -> Self {
        self.entries.push(Entry::Chain(chain));
        self
    }

    /// Asks for every authenticator's consent: each that doesn't skip must allow. Default: the first that doesn't skip
    /// decides. Also holds for chains that this one is put into, since it is the stricter of the two.
    #[must_use]
    pub fn authenticate_all(mut self) -> Self {
        self.authenticate_all = true;
        self
    }

    /// Asks for every authorizer's consent, as [`Self::authenticate_all`] does for authenticators.
    #[must_use]
    pub fn authorize_all(mut self) -> Self {
        self.authorize_all = true;
        self
    }

    /// Returns the plugins in it, those of nested chains too, each instance once however often it is used.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<dyn Plugin>> {
        let mut seen = Vec::new();
        self.uses().into_iter().filter_map(move |used| {
            let address = address(&used.plugin);
            (!seen.contains(&address)).then(|| {
                seen.push(address);
                &used.plugin
            })
        })
    }

    /// Has all that its plugins say written down in `trace`.
    pub(crate) fn traced(mut self, trace: &Arc<Trace>) -> Self {
        self.trace = Some(trace.clone());
        self
    }

    /// Returns where it is written down what its plugins say.
    pub(crate) const fn trace(&self) -> Option<&Arc<Trace>> {
        self.trace.as_ref()
    }

    /// Tells whether it decides the same as `other` in every case: the same instances, in the same order, used the same way.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (uses, others) = (self.uses(), other.uses());
        self.wants_all_authenticators() == other.wants_all_authenticators()
            && self.wants_all_authorizers() == other.wants_all_authorizers()
            && uses.len() == others.len()
            && uses.iter().zip(others).all(|(used, other)| used.is_same(other))
    }

    /// Puts `new` wherever `old` stands.
    pub(crate) fn replace(&mut self, old: &Arc<dyn Plugin>, new: &Arc<dyn Plugin>) {
        for entry in &mut self.entries {
            match entry {
                Entry::Chain(chain) => chain.replace(old, new),
                Entry::Use(used) if address(&used.plugin) == address(old) => used.plugin = new.clone(),
                Entry::Use(_) => {}
            }
        }
    }

    /// Returns the links, those of nested chains in their place.
    pub(crate) fn uses(&self) -> Vec<&Use> {
        let mut uses = Vec::new();
        self.flatten(&mut uses);
        uses
    }

    /// Tells whether every authenticator must consent, here or in a nested chain.
    pub(crate) fn wants_all_authenticators(&self) -> bool {
        self.authenticate_all || self.nested().any(Self::wants_all_authenticators)
    }

    /// Tells whether every authorizer must consent, here or in a nested chain.
    pub(crate) fn wants_all_authorizers(&self) -> bool {
        self.authorize_all || self.nested().any(Self::wants_all_authorizers)
    }

    fn flatten<'a>(&'a self, uses: &mut Vec<&'a Use>) {
        for entry in &self.entries {
            match entry {
                Entry::Use(used) => uses.push(used),
                Entry::Chain(chain) => chain.flatten(uses),
            }
        }
    }

    fn nested(&self) -> impl Iterator<Item = &Self> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Use(_) => None,
            Entry::Chain(chain) => Some(chain),
        })
    }
}

/// Returns what tells plugin instances apart.
pub(crate) fn address(plugin: &Arc<dyn Plugin>) -> usize {
    Arc::as_ptr(plugin).cast::<()>() as usize
}

//! One link of a chain: a plugin, and how this chain uses it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use broker_types::{FilterError, TopicFilter};
use plugin_api::Plugin;

use super::{Condition, HookSet, address};

/// What happens when a hook gives no verdict: it panicked, took too long, or what it depends on failed. Each hook's
/// documentation says what that means on the wire. The list is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFault {
    /// Refused, with a reason that says the server is at fault.
    #[default]
    Deny,
    /// As if the plugin weren't there.
    Skip,
    /// A message is acknowledged and goes nowhere; a connection is closed.
    Drop,
    /// The connection is closed.
    Disconnect,
    /// Decisions: allowed. Elsewhere the same as `Skip`. Opens the door when the plugin is down: think twice.
    Allow,
}

/// A plugin in a chain, and how it is used there.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use broker_core::{Chain, Hook, OnFault, Use};
/// # use plugin_api::{Capabilities, Plugin, PluginInfo};
/// # struct Csv; impl Plugin for Csv {
/// #     fn info(&self) -> PluginInfo { PluginInfo { id: "csv".into(), ..PluginInfo::default() } }
/// #     fn capabilities(&self) -> Capabilities { Capabilities::default() }
/// # }
/// let chain = Chain::new().plugin(
///     Use::from(Csv)
///         .on(Hook::Publish)
///         .topics("plant/+/raw/#")
///         .timeout(Duration::from_millis(5))
///         .on_error(OnFault::Skip),
/// );
/// ```
#[derive(Clone)]
pub struct Use {
    pub(crate) name: Arc<str>,
    pub(crate) plugin: Arc<dyn Plugin>,
    pub(crate) on: Option<HookSet>,
    pub(crate) topics: Vec<TopicFilter>,
    pub(crate) on_error: OnFault,
    pub(crate) on_timeout: Option<OnFault>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) allow_publish: Option<Vec<TopicFilter>>,
    pub(crate) condition: Option<Arc<dyn Condition>>,
    /// The first filter that is none. Told when the chain is compiled, so that putting a chain together needs no `?`.
    pub(crate) wrong: Option<FilterError>,
}

impl Use {
    /// Uses `plugin` for all its hooks. `name` is what logs and metrics call it.
    pub fn new(name: impl Into<Arc<str>>, plugin: Arc<dyn Plugin>) -> Self {
        Self {
            name: name.into(),
            plugin,
            on: None,
            topics: Vec::new(),
            on_error: OnFault::default(),
            on_timeout: None,
            timeout: None,
            allow_publish: None,
            condition: None,
            wrong: None,
        }
    }

    /// Uses only these hooks of the plugin. Default: all it has. One that it hasn't is an error of the chain.
    #[must_use]
    pub fn on(mut self, hooks: impl Into<HookSet>) -> Self {
        self.on = Some(hooks.into());
        self
    }

    /// Shows it only messages with these topics, as the client writes them, without the mount: publish, deliver, will and
    /// retain. What else it decides is not narrowed. Default: every topic the plugin itself wants.
    #[must_use]
    pub fn topics(mut self, filters: impl Filters) -> Self {
        self.topics = self.checked(filters);
        self
    }

    /// Says what happens on any fault but a timeout. Default: [`OnFault::Deny`].
    #[must_use]
    pub fn on_error(mut self, action: OnFault) -> Self {
        self.on_error = action;
        self
    }

    /// Says what happens when it takes too long. Default: the same as on any fault.
    #[must_use]
    pub fn on_timeout(mut self, action: OnFault) -> Self {
        self.on_timeout = Some(action);
        self
    }

    /// Sets the wall time of one call, for all its hooks that may wait. Default: by hook, from 50 ms to 5 s
    /// ([`super::Hook::deadline`]). More time holds up only the client that the call is about.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Lets it emit messages, and send messages elsewhere, only within these filters; they are absolute, with the mount.
    /// No filter: nowhere. Default: everywhere.
    #[must_use]
    pub fn allow_publish(mut self, filters: impl Filters) -> Self {
        self.allow_publish = Some(self.checked(filters));
        self
    }

    /// Asks it only in moments for which `condition` holds; in others it is as if it weren't in the chain. Looked at before
    /// those of its hooks that are [`super::Hook::is_conditional`], after `topics`. Default: always.
    ///
    /// ```
    /// # use broker_core::{Moment, Use};
    /// # use plugin_api::{Capabilities, Plugin, PluginInfo};
    /// # struct Csv; impl Plugin for Csv {
    /// #     fn info(&self) -> PluginInfo { PluginInfo::default() }
    /// #     fn capabilities(&self) -> Capabilities { Capabilities::default() }
    /// # }
    /// let small = Use::from(Csv).when(|moment: &Moment<'_>| moment.payload.is_none_or(|payload| payload.len() < 1024));
    /// ```
    #[must_use]
    pub fn when(mut self, condition: impl Condition + 'static) -> Self {
        self.condition = Some(Arc::new(condition));
        self
    }

    /// Returns the name that logs and metrics use.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the plugin.
    #[must_use]
    pub const fn plugin(&self) -> &Arc<dyn Plugin> {
        &self.plugin
    }

    /// Tells whether it is the same use of the same instance.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let Self {
            name,
            plugin,
            on,
            topics,
            on_error,
            on_timeout,
            timeout,
            allow_publish,
            condition,
            wrong,
        } = self;
        let same_condition = match (condition, &other.condition) {
            (Some(condition), Some(other)) => Arc::ptr_eq(condition, other),
            (None, None) => true,
            _ => false,
        };
        *name == other.name
            && address(plugin) == address(&other.plugin)
            && *on == other.on
            && *topics == other.topics
            && *on_error == other.on_error
            && *on_timeout == other.on_timeout
            && *timeout == other.timeout
            && *allow_publish == other.allow_publish
            && *wrong == other.wrong
            && same_condition
    }

    fn checked(&mut self, filters: impl Filters) -> Vec<TopicFilter> {
        filters.into_filters().unwrap_or_else(|error| {
            self.wrong.get_or_insert(error);
            Vec::new()
        })
    }
}

impl<P: Plugin> From<P> for Use {
    /// Uses `plugin` under the name it gives itself.
    fn from(plugin: P) -> Self {
        Self::new(plugin.info().id, Arc::new(plugin))
    }
}

impl fmt::Debug for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Use")
            .field("name", &self.name)
            .field("on", &self.on)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

/// What can be given where Topic Filters are wanted: one text or filter, or several. None at all stands for every topic
/// where interest is meant, also those with `$`, which `#` doesn't match.
pub trait Filters {
    /// Checks and returns them.
    ///
    /// # Errors
    /// The first that is no Topic Filter.
    fn into_filters(self) -> Result<Vec<TopicFilter>, FilterError>;
}

impl Filters for &str {
    fn into_filters(self) -> Result<Vec<TopicFilter>, FilterError> {
        Ok(vec![TopicFilter::new(self)?])
    }
}

impl<const N: usize> Filters for [&str; N] {
    fn into_filters(self) -> Result<Vec<TopicFilter>, FilterError> {
        self.into_iter().map(TopicFilter::new).collect()
    }
}

impl Filters for &[&str] {
    fn into_filters(self) -> Result<Vec<TopicFilter>, FilterError> {
        self.iter().copied().map(TopicFilter::new).collect()
    }
}

impl Filters for TopicFilter {
    fn into_filters(self) -> Result<Vec<TopicFilter>, FilterError> {
        Ok(vec![self])
    }
}

impl Filters for Vec<TopicFilter> {
    fn into_filters(self) -> Result<Self, FilterError> {
        Ok(self)
    }
}

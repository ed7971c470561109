//! A rule: who, which topics, and what of it is allowed or denied. Both file formats become these.

use plugin_api::Action;

use crate::identity::Identity;
use crate::pattern::Pattern;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) who: Who,
    pub(crate) effect: Effect,
    pub(crate) topics: Vec<Pattern>,
}

/// Whom a rule is about: all that is said must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) users: Users,
    /// Client Identifiers; `None`: any.
    pub(crate) clients: Option<Vec<Box<str>>>,
    /// Attributes and the values they must have.
    pub(crate) attributes: Vec<(Box<str>, Box<str>)>,
    /// Only clients with a wildcard in a name.
    pub(crate) wildcard_in_name: bool,
}

/// Which User Names a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Users {
    /// Everybody, with and without a User Name.
    #[default]
    Everybody,
    /// Whoever has one.
    Named,
    /// Whoever has none.
    Anonymous,
    /// These.
    These(Vec<Box<str>>),
}

impl Who {
    /// Tells whether the rule is about `client`.
    pub(crate) fn is(&self, client: &Identity<'_>) -> bool {
        let user = match &self.users {
            Users::Everybody => true,
            Users::Named => client.user.is_some(),
            Users::Anonymous => client.user.is_none(),
            Users::These(names) => client
                .user
                .is_some_and(|user| names.iter().any(|name| **name == *user)),
        };
        user && self
            .clients
            .as_ref()
            .is_none_or(|ids| ids.iter().any(|id| **id == *client.client))
            && self
                .attributes
                .iter()
                .all(|(name, value)| client.attribute(name) == Some(value))
            && (!self.wildcard_in_name || client.has_wildcard())
    }
}

/// What a rule says about each action: yes, no, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) publish: Option<bool>,
    pub(crate) subscribe: Option<bool>,
    pub(crate) receive: Option<bool>,
}

impl Effect {
    pub(crate) const fn of(self, action: Action) -> Option<bool> {
        match action {
            Action::Publish => self.publish,
            Action::Subscribe => self.subscribe,
            Action::Receive => self.receive,
        }
    }
}

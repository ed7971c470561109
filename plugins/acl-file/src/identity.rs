//! Who asks: the names that rules go by.

use plugin_api::ClientView;

/// The names of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'a> {
    /// The User Name, if an authenticator granted it. One that a client only claims is none.
    pub(crate) user: Option<&'a str>,
    /// The Client Identifier.
    pub(crate) client: &'a str,
    /// What authenticators said.
    pub(crate) attributes: &'a [(String, String)],
}

impl<'a> Identity<'a> {
    pub(crate) fn of(client: &'a ClientView) -> Self {
        Self {
            user: client.username.as_deref().filter(|_| client.authenticated),
            client: client.id.as_str(),
            attributes: &client.attributes,
        }
    }

    /// Returns the last attribute `name`: later authenticators know better.
    pub(crate) fn attribute(&self, name: &str) -> Option<&'a str> {
        let found = self.attributes.iter().rev().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Tells whether the User Name or the Client Identifier contains a wildcard.
    pub(crate) fn has_wildcard(&self) -> bool {
        [self.user.unwrap_or_default(), self.client]
            .iter()
            .any(|name| name.contains(['+', '#']))
    }
}

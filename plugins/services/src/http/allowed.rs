//! Where a plugin may ask: prefixes of URLs.

use url::Url;

/// URLs that begin like one that the operator wrote: same scheme, host and port, and a path below the written one.
/// `https://auth.example/v1` allows `/v1`, `/v1/users` and `/v1?x`, not `/v10`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed(Url);

/// Why a text is no prefix of URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedError {
    /// It is no URL.
    #[error("is no URL like `https://auth.example/`")]
    NoUrl,
    /// It is for something else than HTTP.
    #[error("must begin with `https://` or `http://`")]
    Scheme,
    /// It has a part that no prefix has.
    #[error("must be scheme, host, port and path: no user, `?` or `#`")]
    Parts,
}

impl Allowed {
    /// Reads a prefix.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, AllowedError> {
        let url = Url::parse(text).map_err(|_| AllowedError::NoUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AllowedError::Scheme);
        }
        let bare = plain(&url) && url.query().is_none() && url.fragment().is_none();
        if bare {
            Ok(Self(url))
        } else {
            Err(AllowedError::Parts)
        }
    }

    /// Tells whether `url` begins like this.
    fn covers(&self, url: &Url) -> bool {
        let same = |part: fn(&Url) -> Option<String>| part(&self.0) == part(url);
        let below = url.path().strip_prefix(self.0.path());
        self.0.scheme() == url.scheme()
            && same(|url| url.host_str().map(str::to_owned))
            && self.0.port_or_known_default() == url.port_or_known_default()
            && below
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.0.path().ends_with('/'))
    }
}

/// Tells whether a URL names nobody who asks.
fn plain(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// Returns the URL that `text` stands for if one of `allowed` covers it. What is asked for is the result, not the text: there is
/// no second reading of it.
pub(super) fn permitted(text: &str, allowed: &[Allowed]) -> Option<Url> {
    let mut url = Url::parse(text).ok()?;
    url.set_fragment(None);
    (plain(&url) && allowed.iter().any(|allowed| allowed.covers(&url))).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_scheme_host_port_and_path() {
        for (text, error) in [
            ("auth.example", AllowedError::NoUrl),
            ("", AllowedError::NoUrl),
            ("ftp://auth.example/", AllowedError::Scheme),
            ("file:///etc/passwd", AllowedError::Scheme),
            ("https://me@auth.example/", AllowedError::Parts),
            ("https://auth.example/?a", AllowedError::Parts),
            ("https://auth.example/#a", AllowedError::Parts),
        ] {
            assert_eq!(Allowed::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn only_what_begins_alike_is_permitted() {
        let allowed =
            ["https://auth.example/v1", "http://127.0.0.1:8080/"].map(|text| Allowed::parse(text).unwrap());
        for (text, may) in [
            ("https://auth.example/v1", true),
            ("https://AUTH.example:443/v1/users?name=x#y", true),
            ("https://auth.example/v1?x", true),
            ("https://auth.example/v10", false),
            ("https://auth.example/", false),
            ("https://auth.example/v1/../secret", false),
            ("https://auth.example/v1/%2e%2e/secret", false),
            ("http://auth.example/v1", false),
            ("https://auth.example:444/v1", false),
            ("https://auth.example.evil/v1", false),
            ("https://auth.example@evil/v1", false),
            ("https://me:x@auth.example/v1", false),
            ("http://127.0.0.1:8080/anything", true),
            ("http://localhost:8080/anything", false),
            ("nonsense", false),
        ] {
            assert_eq!(permitted(text, &allowed).is_some(), may, "{text}");
        }
    }
}

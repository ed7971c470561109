//! Topic Names and Topic Filters (MQTT 5.0 section 4.7). Validation happens once, here; matching a filter against one
//! topic is here too. Looking a topic up among many filters is `broker-core/src/routing`.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

/// The longest Topic Name or Topic Filter in bytes `[MQTT-4.7.3-3]`.
pub const TOPIC_LENGTH_MAX: usize = 65_535;

/// Splits a topic or filter at `/`. Adjacent separators give empty levels (section 4.7.1.1).
pub fn levels(topic: &str) -> core::str::Split<'_, char> {
    topic.split('/')
}

/// Why a text is no Topic Name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicNameError {
    /// At least one character is needed `[MQTT-4.7.3-1]`.
    #[error("topic name is empty")]
    Empty,
    /// `+` or `#` stands in it `[MQTT-3.3.2-2]`.
    #[error("topic name `{0}` contains a wildcard")]
    Wildcard(String),
    /// U+0000 stands in it `[MQTT-4.7.3-2]`.
    #[error("topic name contains U+0000")]
    Null,
    /// Longer than [`TOPIC_LENGTH_MAX`].
    #[error("topic name has {0} bytes, at most 65535 are possible")]
    TooLong(usize),
}

/// A borrowed Topic Name: valid, without wildcards. Copying it is free; [`TopicName`] is the owned form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicRef<'a>(&'a str);

impl<'a> TopicRef<'a> {
    /// Checks `topic`.
    ///
    /// # Errors
    /// Says what is wrong with it. Cost: one pass over the bytes.
    pub fn new(topic: &'a str) -> Result<Self, TopicNameError> {
        if topic.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if topic.len() > TOPIC_LENGTH_MAX {
            return Err(TopicNameError::TooLong(topic.len()));
        }
        // Every PUBLISH comes through here. Without an early exit the compiler makes vector code of it: 39 bytes take 134
        // instructions instead of 410.
        let wrong = |b: u8| u8::from(b == b'+') | u8::from(b == b'#') | u8::from(b == 0);
        if topic.bytes().fold(0, |any, b| any | wrong(b)) != 0 {
            return Err(match topic.contains('\0') {
                true => TopicNameError::Null,
                false => TopicNameError::Wildcard(topic.into()),
            });
        }
        Ok(Self(topic))
    }

    /// Returns the topic as text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Returns the levels, at least one.
    pub fn levels(self) -> core::str::Split<'a, char> {
        levels(self.0)
    }

    /// Tells whether the topic begins with `$`, which wildcards at the first level don't match `[MQTT-4.7.2-1]`.
    #[must_use]
    pub fn is_dollar(self) -> bool {
        self.0.starts_with('$')
    }

    /// Makes an owned copy. Costs one allocation.
    #[must_use]
    pub fn to_owned(self) -> TopicName {
        TopicName(self.0.into())
    }
}

impl fmt::Debug for TopicRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl fmt::Display for TopicRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// An owned Topic Name. Cloning is cheap (a shared string).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks `topic` and keeps it.
    ///
    /// # Errors
    /// As [`TopicRef::new`].
    pub fn new(topic: impl Into<Arc<str>>) -> Result<Self, TopicNameError> {
        let topic = topic.into();
        TopicRef::new(&topic)?;
        Ok(Self(topic))
    }

    /// Lends it as a [`TopicRef`].
    #[must_use]
    pub fn as_ref(&self) -> TopicRef<'_> {
        TopicRef(&self.0)
    }

    /// Returns the topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no Topic Filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// At least one character is needed `[MQTT-4.7.3-1]`.
    #[error("topic filter is empty")]
    Empty,
    /// `#` stands elsewhere than alone in the last level `[MQTT-4.7.1-1]`.
    #[error("topic filter `{0}`: `#` must be last and alone in its level")]
    MultiLevel(String),
    /// `+` shares its level with other characters `[MQTT-4.7.1-2]`.
    #[error("topic filter `{0}`: `+` must be alone in its level")]
    SingleLevel(String),
    /// U+0000 stands in it `[MQTT-4.7.3-2]`.
    #[error("topic filter contains U+0000")]
    Null,
    /// Longer than [`TOPIC_LENGTH_MAX`].
    #[error("topic filter has {0} bytes, at most 65535 are possible")]
    TooLong(usize),
    /// A filter that begins with `$share/` lacks a Share Name or a filter behind it `[MQTT-4.8.2-1]`.
    #[error(
        "shared subscription `{0}` must be `$share/NAME/FILTER`; NAME must not be empty nor contain `+` or `#`"
    )]
    Share(String),
}

/// A Topic Filter, valid, without the `$share/NAME/` of a Shared Subscription. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Checks `filter` and keeps it.
    ///
    /// # Errors
    /// Says which rule of section 4.7 it breaks. Cost: one pass.
    pub fn new(filter: impl Into<Arc<str>>) -> Result<Self, FilterError> {
        let filter = filter.into();
        check_filter(&filter)?;
        Ok(Self(filter))
    }

    /// Returns the filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the levels, at least one; `+` and `#` are levels of their own.
    pub fn levels(&self) -> core::str::Split<'_, char> {
        levels(&self.0)
    }

    /// Tells whether it contains a wildcard.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.0.bytes().any(|b| matches!(b, b'+' | b'#'))
    }

    /// Tells whether `topic` matches: section 4.7 with its `$` rule `[MQTT-4.7.2-1]`. Cost: one pass, no allocation.
    #[must_use]
    pub fn matches(&self, topic: TopicRef<'_>) -> bool {
        let mut names = topic.levels();
        if topic.is_dollar() && matches!(self.0.as_bytes().first(), Some(b'+' | b'#')) {
            return false;
        }
        for filter in self.levels() {
            match (filter, names.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (level, Some(name)) if level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The Share Name of a Shared Subscription: not empty, without `/`, `+` and `#` `[MQTT-4.8.2-1]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShareName(Arc<str>);

impl ShareName {
    /// Checks `name` and keeps it; `None` when it can't be a Share Name.
    pub fn new(name: impl Into<Arc<str>>) -> Option<Self> {
        let name = name.into();
        (!name.is_empty() && !name.bytes().any(|b| matches!(b, b'/' | b'+' | b'#' | 0))).then_some(Self(name))
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a SUBSCRIBE or UNSUBSCRIBE names: a filter, perhaps shared. Two are equal when they are the same subscription
/// of a Session.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionFilter {
    /// The Share Name when it begins with `$share/`.
    pub share: Option<ShareName>,
    /// The filter behind it.
    pub filter: TopicFilter,
}

impl SubscriptionFilter {
    /// Takes `$share/NAME/FILTER` apart, or a plain filter as it stands.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > TOPIC_LENGTH_MAX {
            return Err(FilterError::TooLong(text.len()));
        }
        let Some(shared) = text.strip_prefix("$share/") else {
            if text == "$share" {
                return Err(FilterError::Share(text.into()));
            }
            return Ok(Self {
                share: None,
                filter: TopicFilter::new(text)?,
            });
        };
        let parts = shared.split_once('/').filter(|(_, filter)| !filter.is_empty());
        let Some((share, filter)) = parts.and_then(|(name, filter)| Some((ShareName::new(name)?, filter)))
        else {
            return Err(FilterError::Share(text.into()));
        };
        Ok(Self {
            share: Some(share),
            filter: TopicFilter::new(filter)?,
        })
    }
}

impl fmt::Debug for SubscriptionFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl fmt::Display for SubscriptionFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.share {
            Some(share) => write!(f, "$share/{share}/{}", self.filter),
            None => f.write_str(self.filter.as_str()),
        }
    }
}

fn check_filter(filter: &str) -> Result<(), FilterError> {
    if filter.is_empty() {
        return Err(FilterError::Empty);
    }
    if filter.len() > TOPIC_LENGTH_MAX {
        return Err(FilterError::TooLong(filter.len()));
    }
    // Whether a wildcard stands alone is seen from its neighbours, so one pass over the bytes is enough.
    let bytes = filter.as_bytes();
    for (i, &b) in bytes.iter().enumerate() {
        let alone = (i == 0 || bytes[i - 1] == b'/') && bytes.get(i + 1).is_none_or(|&next| next == b'/');
        match b {
            0 => return Err(FilterError::Null),
            b'#' if !alone || i + 1 != bytes.len() => return Err(FilterError::MultiLevel(filter.into())),
            b'+' if !alone => return Err(FilterError::SingleLevel(filter.into())),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::new(filter)
            .unwrap()
            .matches(TopicRef::new(topic).unwrap())
    }

    #[test]
    fn filters_match_as_section_4_7_says() {
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/#", "sport", true),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/monitor", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("a/+/c", "a/b/c", true),
            ("a/+/c", "a/b/b/c", false),
            ("/", "/", true),
            ("//", "//", true),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} against {topic}");
        }
    }

    #[test]
    fn filters_are_checked() {
        for good in ["#", "+", "a/#", "+/a/#", "/+", "a//b", "$share", " "] {
            assert!(TopicFilter::new(good).is_ok(), "{good}");
        }
        assert_eq!(TopicFilter::new(""), Err(FilterError::Empty));
        assert_eq!(TopicFilter::new("a#"), Err(FilterError::MultiLevel("a#".into())));
        assert_eq!(
            TopicFilter::new("#/a"),
            Err(FilterError::MultiLevel("#/a".into()))
        );
        assert_eq!(
            TopicFilter::new("a+/b"),
            Err(FilterError::SingleLevel("a+/b".into()))
        );
        assert_eq!(TopicFilter::new("a\0"), Err(FilterError::Null));
        assert_eq!(
            TopicFilter::new("x".repeat(65_536)),
            Err(FilterError::TooLong(65_536))
        );
    }

    #[test]
    fn names_are_checked() {
        assert!(TopicRef::new("/").is_ok());
        assert!(TopicRef::new(&"/".repeat(65_535)).is_ok());
        assert_eq!(TopicRef::new(""), Err(TopicNameError::Empty));
        assert_eq!(TopicRef::new("a/+"), Err(TopicNameError::Wildcard("a/+".into())));
        assert_eq!(TopicRef::new("a\0b"), Err(TopicNameError::Null));
    }

    #[test]
    fn shares_are_taken_apart() {
        let shared = SubscriptionFilter::parse("$share/g/a/#").unwrap();
        assert_eq!(shared.share.as_ref().map(ShareName::as_str), Some("g"));
        assert_eq!(shared.filter.as_str(), "a/#");
        assert_eq!(shared.to_string(), "$share/g/a/#");
        for bad in [
            "$share",
            "$share/",
            "$share//a",
            "$share/g",
            "$share/g/",
            "$share/g+/a",
            "$share/#/a",
        ] {
            assert_eq!(
                SubscriptionFilter::parse(bad),
                Err(FilterError::Share(bad.into())),
                "{bad}"
            );
        }
        assert!(SubscriptionFilter::parse("$shared/a").unwrap().share.is_none());
    }
}

//! One direction of a rule: from one shape to another.

use broker_types::{FilterError, TopicFilter, TopicName, TopicNameError};

use crate::shape::{CAPTURES_MAX, Shape};

/// What a mapping does to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mapped<T> {
    /// Nothing: the name doesn't fit.
    Unfit,
    /// It becomes this.
    To(T),
    /// It fits, but what would become of it is wrong.
    Wrong(MapError),
}

/// Why a name that fits isn't renamed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MapError {
    #[error(transparent)]
    Topic(#[from] TopicNameError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("`{0}` would begin with `$` because of what a wildcard stood for")]
    Dollar(String),
}

/// From names of one shape to names of another.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    source: Shape,
    target: Shape,
}

impl Mapping {
    pub(crate) const fn new(source: Shape, target: Shape) -> Self {
        Self { source, target }
    }

    /// Returns a filter that matches every topic that fits.
    pub(crate) fn filter(&self) -> TopicFilter {
        self.source.filter()
    }

    pub(crate) fn topic(&self, topic: &str) -> Mapped<TopicName> {
        self.map(topic, |text| Ok(TopicName::new(text)?))
    }

    pub(crate) fn topic_filter(&self, filter: &TopicFilter) -> Mapped<TopicFilter> {
        self.map(filter.as_str(), |text| Ok(TopicFilter::new(text)?))
    }

    fn map<T>(&self, name: &str, check: impl FnOnce(String) -> Result<T, MapError>) -> Mapped<T> {
        let mut captures = [None; CAPTURES_MAX];
        if !self.source.take_apart(name, &mut captures) {
            return Mapped::Unfit;
        }
        let text = self.target.put_together(&captures);
        if text.starts_with('$') && !self.target.begins_with_text() {
            return Mapped::Wrong(MapError::Dollar(text));
        }
        match check(text) {
            Ok(name) => Mapped::To(name),
            Err(error) => Mapped::Wrong(error),
        }
    }
}

//! Which topics a bridge carries, and what they are called on the other side.

use broker_types::{FilterError, QoS, TopicFilter, TopicName, TopicRef};

/// One rule of a bridge: the topics it is for, their names on the other side, and the highest QoS.
///
/// `to` is written like a Topic Filter: its first `+` stands for what the filter's first `+` matched, the second for the
/// second, and `#` for all that the filter's `#` matched. So `plant/+/raw/#` to `cloud/+/#` turns `plant/7/raw/temp/1`
/// into `cloud/7/temp/1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeRule {
    filter: String,
    to: Option<String>,
    qos: QoS,
}

impl BridgeRule {
    /// Returns a rule for the topics that `filter` matches. They keep their names and their QoS.
    #[must_use]
    pub fn new(filter: impl Into<String>) -> Self {
        Self {
            filter: filter.into(),
            to: None,
            qos: QoS::ExactlyOnce,
        }
    }

    /// Gives the topics other names.
    #[must_use]
    pub fn to(mut self, to: impl Into<String>) -> Self {
        self.to = Some(to.into());
        self
    }

    /// Lowers the QoS of messages to `qos`.
    #[must_use]
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Tells whether it can be used. A broker refuses to start with one that can't.
    ///
    /// # Errors
    /// What the operator has to change.
    pub fn check(&self) -> Result<(), RuleError> {
        self.compile().map(drop)
    }

    /// Checks it and makes what is looked up for each message.
    pub(crate) fn compile(&self) -> Result<Rule, RuleError> {
        let filter = parse(&self.filter)?;
        let to = match &self.to {
            None => None,
            Some(to) => {
                let to = parse(to)?;
                let wilds =
                    |filter: &TopicFilter, wild: &str| filter.levels().filter(|level| *level == wild).count();
                if let Some(wild) = ["+", "#"]
                    .into_iter()
                    .find(|wild| wilds(&to, wild) > wilds(&filter, wild))
                {
                    return Err(RuleError::Nothing { filter, to, wild });
                }
                Some(to)
            }
        };
        Ok(Rule {
            filter,
            to,
            qos: self.qos,
        })
    }
}

fn parse(text: &str) -> Result<TopicFilter, RuleError> {
    TopicFilter::new(text).map_err(|error| RuleError::Filter {
        text: text.to_owned(),
        error,
    })
}

/// Why a rule can't be used. Each is the operator's mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The filter, or the other name, isn't written as a Topic Filter is.
    #[error("`{text}`: {error}")]
    Filter {
        /// What was written.
        text: String,
        /// What is wrong with it.
        error: FilterError,
    },
    /// The other name has a wildcard that stands for nothing of the filter.
    #[error("`{to}` has more `{wild}` than `{filter}`, so there is nothing it could stand for")]
    Nothing {
        /// The filter.
        filter: TopicFilter,
        /// The name on the other side.
        to: TopicFilter,
        /// `+` or `#`.
        wild: &'static str,
    },
}

/// A rule that makes sense.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) filter: TopicFilter,
    to: Option<TopicFilter>,
    pub(crate) qos: QoS,
}

impl Rule {
    /// Returns what `topic`, which the filter matches, is called on the other side. `None`: nothing is left of it, or more
    /// than a Topic Name can hold.
    pub(crate) fn rename(&self, topic: TopicRef<'_>) -> Option<TopicName> {
        let Some(to) = &self.to else {
            return Some(topic.to_owned());
        };
        let (mut plus, mut rest) = (Vec::new(), "");
        let mut left = Some(topic.as_str());
        for level in self.filter.levels() {
            if level == "#" {
                rest = left.unwrap_or_default();
                break;
            }
            let (name, behind) = match left?.split_once('/') {
                Some((name, behind)) => (name, Some(behind)),
                None => (left?, None),
            };
            if level == "+" {
                plus.push(name);
            }
            left = behind;
        }
        // `a/#` matches `a` too: then `#` stands for nothing, not even an empty level.
        let none_left = left.is_none();
        let mut plus = plus.into_iter();
        let mut levels = Vec::new();
        for level in to.levels() {
            match level {
                "#" if none_left => {}
                "#" => levels.push(rest),
                "+" => levels.push(plus.next()?),
                level => levels.push(level),
            }
        }
        TopicName::new(levels.join("/")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(filter: &str, to: &str, topic: &str) -> Option<String> {
        let rule = BridgeRule::new(filter).to(to).compile().unwrap();
        let topic = TopicRef::new(topic).unwrap();
        assert!(rule.filter.matches(topic), "{filter} and {topic}");
        rule.rename(topic).map(|topic| topic.to_string())
    }

    #[test]
    fn wildcards_stand_for_what_they_matched() {
        for (filter, to, topic, expected) in [
            ("a/b", "c", "a/b", Some("c")),
            ("a/#", "b/#", "a/x/y", Some("b/x/y")),
            ("a/#", "b/#", "a", Some("b")),
            ("a/#", "b/#", "a/", Some("b/")),
            ("#", "b/#", "x//y", Some("b/x//y")),
            ("a/#", "#", "a/x", Some("x")),
            ("a/#", "#", "a", None),
            ("+/x/+", "y/+/+", "1/x/2", Some("y/1/2")),
            ("+/x/+/#", "+/z/#", "1/x/2/3/4", Some("1/z/3/4")),
            ("a/+", "all", "a/7", Some("all")),
            ("a/+/#", "a/+/#", "a//", Some("a//")),
        ] {
            assert_eq!(
                renamed(filter, to, topic).as_deref(),
                expected,
                "{filter} -> {to}: {topic}"
            );
        }
    }

    #[test]
    fn a_rule_without_a_name_keeps_the_topic() {
        let rule = BridgeRule::new("a/#").compile().unwrap();
        assert_eq!(
            rule.rename(TopicRef::new("a/b").unwrap()).unwrap().as_str(),
            "a/b"
        );
    }

    #[test]
    fn what_stands_for_nothing_is_refused() {
        for (filter, to) in [("a/b", "+"), ("a/+", "b/#"), ("+/#", "+/+")] {
            let error = BridgeRule::new(filter).to(to).compile().unwrap_err();
            assert!(
                matches!(error, RuleError::Nothing { .. }),
                "{filter} -> {to}: {error}"
            );
        }
        for (filter, to) in [("a/#/b", "c"), ("a", "b+"), ("", "a")] {
            let error = BridgeRule::new(filter).to(to).compile().unwrap_err();
            assert!(
                matches!(error, RuleError::Filter { .. }),
                "{filter} -> {to}: {error}"
            );
        }
    }

    #[test]
    fn a_name_that_would_be_too_long_is_none() {
        let rule = BridgeRule::new("a/#").to("a-longer-prefix/#").compile().unwrap();
        let topic = format!("a/{}", "x".repeat(65_533));
        assert!(rule.rename(TopicRef::new(&topic).unwrap()).is_none());
    }
}

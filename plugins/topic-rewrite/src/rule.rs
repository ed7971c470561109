//! A rule of the configuration, checked and taken apart.

use crate::mapping::Mapping;
use crate::options::{On, RuleOptions};
use crate::shape::Shape;

/// Why a rule makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`rules[{index}].{key}`: {why}")]
pub struct RuleError {
    /// The rule, counted from 0.
    pub index: usize,
    /// The key in it.
    pub key: &'static str,
    /// What is wrong.
    pub why: String,
}

/// The mappings of all rules, by where they are used, in order.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) publish: Vec<Mapping>,
    pub(crate) subscribe: Vec<Mapping>,
    pub(crate) deliver: Vec<Mapping>,
}

impl Rules {
    pub(crate) fn new(options: &[RuleOptions]) -> Result<Self, RuleError> {
        let mut rules = Self::default();
        for (index, rule) in options.iter().enumerate() {
            rules
                .add(rule)
                .map_err(|(key, why)| RuleError { index, key, why })?;
        }
        Ok(rules)
    }

    fn add(&mut self, rule: &RuleOptions) -> Result<(), (&'static str, String)> {
        for (key, text) in [("from", &rule.from), ("to", &rule.to)] {
            if text.starts_with("$share/") {
                return Err((
                    key,
                    "write it without `$share/NAME/`; shared subscriptions are rewritten too".into(),
                ));
            }
        }
        if rule.on.is_empty() {
            return Err(("on", "is empty: the rule would never be used".into()));
        }
        let (from, wildcards) = Shape::of_filter(&rule.from).map_err(|why| ("from", why))?;
        let to = Shape::of_template(&rule.to, &from, wildcards).map_err(|why| ("to", why))?;
        let there = Mapping::new(from.clone(), to.clone());
        if rule.both_ways {
            if rule.on.contains(&On::Deliver) {
                return Err((
                    "both_ways",
                    "renames back at delivery: `on` must not contain `deliver`".into(),
                ));
            }
            to.check_reversible(wildcards).map_err(|why| ("both_ways", why))?;
            self.deliver.push(Mapping::new(to, from));
        }
        for on in &rule.on {
            match on {
                On::Publish => self.publish.push(there.clone()),
                On::Subscribe => self.subscribe.push(there.clone()),
                On::Deliver => self.deliver.push(there.clone()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use broker_types::{TopicFilter, TopicName, TopicRef};
    use proptest::prelude::*;

    use super::*;
    use crate::mapping::{MapError, Mapped};

    fn rules(from: &str, to: &str) -> Rules {
        Rules::new(&[RuleOptions {
            both_ways: true,
            ..RuleOptions::new(from, to)
        }])
        .unwrap()
    }

    fn forth(from: &str, to: &str, topic: &str) -> Mapped<TopicName> {
        let options = RuleOptions::new(from, to);
        Rules::new(&[options]).unwrap().publish[0].topic(topic)
    }

    fn to(topic: &str) -> Mapped<TopicName> {
        Mapped::To(TopicName::new(topic).unwrap())
    }

    #[test]
    fn topics_are_renamed_and_renamed_back() {
        for (from, template, topic, renamed) in [
            (
                "sensors/+/raw/#",
                "plant/{1}/data/{2}",
                "sensors/7/raw/temp/x",
                "plant/7/data/temp/x",
            ),
            (
                "sensors/+/raw/#",
                "plant/{1}/data/{2}",
                "sensors/7/raw",
                "plant/7/data",
            ),
            (
                "sensors/+/raw/#",
                "plant/{1}/data/{2}",
                "sensors/7/raw/",
                "plant/7/data/",
            ),
            (
                "sensors/+/raw/#",
                "plant/{1}/data/{2}",
                "sensors//raw//x",
                "plant//data//x",
            ),
            ("+/+", "{2}/{1}", "a/b", "b/a"),
            ("+/x", "dev-{1}.v1/x", "7/x", "dev-7.v1/x"),
            ("#", "tenant/{1}", "a/b", "tenant/a/b"),
            ("a/#", "{1}", "a/b/c", "b/c"),
            ("a", "b/c", "a", "b/c"),
            ("/+", "{1}/", "/x", "x/"),
            ("$old/+", "$new/{1}", "$old/x", "$new/x"),
        ] {
            assert_eq!(
                forth(from, template, topic),
                to(renamed),
                "{from} {template} {topic}"
            );
            let back = &rules(from, template).deliver[0];
            assert_eq!(back.topic(renamed), to(topic), "{from} {template} {renamed}");
        }
    }

    #[test]
    fn what_does_not_fit_stays() {
        for (from, template, topic) in [
            ("sensors/+/raw/#", "plant/{1}", "sensors/raw/x"),
            ("sensors/+/raw/#", "plant/{1}", "sensors"),
            ("a", "b", "a/b"),
            ("a/b", "b", "a"),
            ("#", "tenant/{1}", "$SYS/x"),
            ("+/x", "t/{1}", "$SYS/x"),
        ] {
            assert_eq!(forth(from, template, topic), Mapped::Unfit, "{from} {topic}");
        }
    }

    #[test]
    fn what_would_be_no_topic_or_the_brokers_stays() {
        assert!(matches!(
            forth("a/#", "{1}", "a"),
            Mapped::Wrong(MapError::Topic(_))
        ));
        assert!(matches!(
            forth("a/#", "{1}", "a/$SYS/x"),
            Mapped::Wrong(MapError::Dollar(_))
        ));
        assert!(matches!(
            forth("a/+", "{1}x", "a/$SYS"),
            Mapped::Wrong(MapError::Dollar(_))
        ));
        let long = format!("a/{}", "x".repeat(65_530));
        assert!(matches!(
            forth("a/#", "longer/{1}", &long),
            Mapped::Wrong(MapError::Topic(_))
        ));
    }

    #[test]
    fn filters_are_renamed_if_they_lie_within() {
        let mapping = &rules("sensors/+/raw/#", "plant/{1}/data/{2}").subscribe[0];
        let filter = |text: &str| mapping.topic_filter(&TopicFilter::new(text).unwrap());
        for (text, renamed) in [
            ("sensors/7/raw/temp", "plant/7/data/temp"),
            ("sensors/+/raw/#", "plant/+/data/#"),
            ("sensors/+/raw", "plant/+/data"),
            ("sensors/7/raw/+/x/#", "plant/7/data/+/x/#"),
        ] {
            assert_eq!(
                filter(text),
                Mapped::To(TopicFilter::new(renamed).unwrap()),
                "{text}"
            );
        }
        for text in ["sensors/#", "#", "+/7/raw/x", "sensors/7/+/x", "sensors/7/#"] {
            assert_eq!(filter(text), Mapped::Unfit, "{text}");
        }
        let inner = &rules("+/x", "dev-{1}/x").subscribe[0];
        let wild = TopicFilter::new("+/x").unwrap();
        assert!(matches!(
            inner.topic_filter(&wild),
            Mapped::Wrong(MapError::Filter(_))
        ));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let both = |from: &str, to: &str| RuleOptions {
            both_ways: true,
            ..RuleOptions::new(from, to)
        };
        let on = |on: &[On], both_ways| RuleOptions {
            on: on.to_vec(),
            both_ways,
            ..RuleOptions::new("a", "b")
        };
        for (rule, key, why) in [
            (RuleOptions::new("a#", "b"), "from", "`#` must be last"),
            (RuleOptions::new("", "b"), "from", "empty"),
            (RuleOptions::new("a", ""), "to", "empty"),
            (RuleOptions::new("a/+", "b/+"), "to", "write `{1}`"),
            (RuleOptions::new("a/#", "b/#"), "to", "write `{1}`"),
            (RuleOptions::new("a/+", "b/{2}"), "to", "`from` has 1 wildcards"),
            (RuleOptions::new("a/+", "b/{0}"), "to", "`from` has 1 wildcards"),
            (RuleOptions::new("a/+", "b/{x}"), "to", "number"),
            (RuleOptions::new("a/+", "b/{1"), "to", "number"),
            (RuleOptions::new("a/+", "b/{1/x}"), "to", "number"),
            (RuleOptions::new("a/#", "{1}/b"), "to", "last level"),
            (RuleOptions::new("a/#", "b/x{1}"), "to", "level of its own"),
            (RuleOptions::new("a/+", "b\0"), "to", "U+0000"),
            (RuleOptions::new("$share/g/a", "b"), "from", "$share"),
            (RuleOptions::new("a", "$share/g/b"), "to", "$share"),
            (RuleOptions::new("+/".repeat(17), "b"), "from", "at most 16"),
            (both("a/+", "b"), "both_ways", "`{1}` in `to` exactly once"),
            (both("a/+", "b/{1}/{1}"), "both_ways", "exactly once"),
            (both("+/+", "b/{1}-{2}"), "both_ways", "at most one"),
            (on(&[], false), "on", "empty"),
            (on(&[On::Deliver], true), "both_ways", "must not contain"),
        ] {
            let fine = RuleOptions::new("a", "b");
            let error = Rules::new(&[fine, rule.clone()]).unwrap_err();
            assert_eq!((error.index, error.key), (1, key), "{rule:?}: {error}");
            assert!(error.why.contains(why), "{rule:?}: {error}");
        }
    }

    fn name() -> impl Strategy<Value = String> {
        "[a-c/$-]{1,9}".prop_map(|text| text)
    }

    fn from() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "+"]);
        (prop::collection::vec(level, 1..4), any::<bool>()).prop_filter_map("empty", |(mut levels, multi)| {
            if multi {
                levels.push("#");
            }
            Some(levels.join("/")).filter(|text| !text.is_empty())
        })
    }

    /// A reversible template for `from`: its wildcards in other places, the rest last.
    fn template(from: &str, reverse: bool, inner: bool) -> String {
        let count = from.matches(['+', '#']).count();
        let singles = from.matches('+').count();
        let mut levels: Vec<String> = (1..=singles)
            .map(|n| {
                if inner {
                    format!("p-{{{n}}}-s")
                } else {
                    format!("{{{n}}}")
                }
            })
            .collect();
        if reverse {
            levels.reverse();
        }
        levels.insert(0, "t".into());
        if count > singles {
            levels.push(format!("{{{count}}}"));
        }
        levels.join("/")
    }

    proptest! {
        #[test]
        fn there_and_back_is_where_it_began(from in from(), topic in name(), reverse: bool, inner: bool) {
            let rules = rules(&from, &template(&from, reverse, inner));
            let fits = TopicFilter::new(from.as_str()).unwrap().matches(TopicRef::new(&topic).unwrap());
            match rules.publish[0].topic(&topic) {
                Mapped::To(renamed) => {
                    prop_assert!(fits);
                    prop_assert!(rules.publish[0].filter().matches(TopicRef::new(&topic).unwrap()));
                    prop_assert!(rules.deliver[0].filter().matches(renamed.as_ref()));
                    prop_assert_eq!(rules.deliver[0].topic(renamed.as_str()), to(&topic));
                }
                other => {
                    prop_assert_eq!(other, Mapped::Unfit);
                    prop_assert!(!fits);
                }
            }
        }

        /// A subscription in a client's own names gets what it would get if nothing were renamed.
        #[test]
        fn a_renamed_filter_matches_the_renamed_topics(from in from(), mine in from(), topic in name(), reverse: bool) {
            let rules = rules(&from, &template(&from, reverse, false));
            let mine = TopicFilter::new(mine).unwrap();
            if let (Mapped::To(filter), Mapped::To(renamed)) =
                (rules.subscribe[0].topic_filter(&mine), rules.publish[0].topic(&topic))
            {
                let topic = TopicRef::new(&topic).unwrap();
                prop_assert_eq!(filter.matches(renamed.as_ref()), mine.matches(topic));
            }
        }
    }
}

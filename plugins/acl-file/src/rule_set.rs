//! All rules of a file, arranged for asking: the first rule that is about the client, the action and the topic decides.
//!
//! Rules lie on shelves: one for each User Name and Client Identifier that rules name, one for the rest, and on each shelf by
//! the first level of the topic. An ask looks at three shelves and there at the rules that share the first level or
//! have a wildcard or a name in its place: 20 to 70 ns with a thousand rules, without an allocation. The maps hash with
//! std's keyed hash, because clients choose what is looked up.

use std::collections::HashMap;

use plugin_api::Action;

use crate::identity::Identity;
use crate::pattern::Pattern;
use crate::rule::{Effect, Rule, Users, Who};

/// What is said when no rule decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fallback {
    Allow,
    #[default]
    Deny,
    /// Ask the next plugin.
    Skip,
}

/// The rules of a file.
#[derive(Debug, Default)]
pub(crate) struct RuleSet {
    rules: Vec<(Who, Effect)>,
    /// Each topic of each rule, in the order of the file: the smaller index wins.
    topics: Vec<(usize, Pattern)>,
    everybody: Shelf,
    by_user: HashMap<Box<str>, Shelf>,
    by_client: HashMap<Box<str>, Shelf>,
    fallback: Fallback,
    /// Whether receiving differs from subscribing, so that deliveries must be asked about.
    needs_receive: bool,
}

/// Indices of topics, ascending, by the first level of the topic.
#[derive(Debug, Default)]
struct Shelf {
    by_first_level: HashMap<Box<str>, Vec<usize>>,
    other: Vec<usize>,
}

impl RuleSet {
    pub(crate) fn new(rules: Vec<Rule>, fallback: Fallback, needs_receive: bool) -> Self {
        let mut set = Self {
            fallback,
            needs_receive,
            ..Self::default()
        };
        for rule in rules {
            let number = set.rules.len();
            for pattern in rule.topics {
                let index = set.topics.len();
                set.put(&rule.who, index, pattern.first_literal());
                set.topics.push((number, pattern));
            }
            set.rules.push((rule.who, rule.effect));
        }
        set
    }

    pub(crate) const fn needs_receive(&self) -> bool {
        self.needs_receive
    }

    /// Decides; `None`: the next plugin does.
    pub(crate) fn decide(&self, client: &Identity<'_>, action: Action, topic: &str) -> Option<bool> {
        let shelves = [
            Some(&self.everybody),
            client.user.and_then(|user| self.by_user.get(user)),
            self.by_client.get(client.client),
        ];
        let found = shelves.into_iter().flatten().fold(None, |best, shelf| {
            self.search(shelf, client, action, topic, best)
        });
        match (found, self.fallback) {
            (Some((_, allowed)), _) => Some(allowed),
            (None, Fallback::Allow) => Some(true),
            (None, Fallback::Deny) => Some(false),
            (None, Fallback::Skip) => None,
        }
    }

    fn put(&mut self, who: &Who, index: usize, first_level: Option<&str>) {
        let (map, names) = match (&who.users, &who.clients) {
            (Users::These(names), _) => (&mut self.by_user, names),
            (_, Some(ids)) => (&mut self.by_client, ids),
            _ => return self.everybody.put(index, first_level),
        };
        for name in names {
            map.entry(name.clone()).or_default().put(index, first_level);
        }
    }

    /// Returns the first topic of `shelf` that decides, or `best` if that comes before.
    fn search(
        &self,
        shelf: &Shelf,
        client: &Identity<'_>,
        action: Action,
        topic: &str,
        best: Option<(usize, bool)>,
    ) -> Option<(usize, bool)> {
        let first_level = topic.split('/').next().unwrap_or_default();
        let decides = |best: Option<(usize, bool)>, indices: &Vec<usize>| {
            let before = best.map_or(usize::MAX, |(index, _)| index);
            let mut earlier = indices.iter().take_while(|&&index| index < before);
            let found = earlier.find_map(|&index| Some((index, self.says(index, client, action, topic)?)));
            found.or(best)
        };
        let best = decides(best, &shelf.other);
        if action == Action::Subscribe && matches!(first_level, "+" | "#") {
            // A wildcard meets rules of every first level; only filters have one.
            return shelf.by_first_level.values().fold(best, decides);
        }
        shelf
            .by_first_level
            .get(first_level)
            .into_iter()
            .fold(best, decides)
    }

    /// Returns what the rule of one topic says, if it says something about this client, action and topic.
    fn says(&self, index: usize, client: &Identity<'_>, action: Action, topic: &str) -> Option<bool> {
        let (number, pattern) = &self.topics[index];
        let (who, effect) = &self.rules[*number];
        let allowed = effect.of(action)?;
        let about = match (action, allowed) {
            (Action::Subscribe, true) => pattern.covers(topic, client),
            (Action::Subscribe, false) => pattern.overlaps(topic, client),
            (Action::Publish | Action::Receive, _) => pattern.matches(topic, client, !allowed),
        };
        (about && who.is(client)).then_some(allowed)
    }
}

impl Shelf {
    fn put(&mut self, index: usize, first_level: Option<&str>) {
        match first_level {
            Some(level) => self.by_first_level.entry(level.into()).or_default().push(index),
            None => self.other.push(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pattern::Holes;

    /// The same decision without any arrangement.
    fn naive(rules: &[Rule], client: &Identity<'_>, action: Action, topic: &str) -> bool {
        for rule in rules {
            let Some(allowed) = rule.effect.of(action).filter(|_| rule.who.is(client)) else {
                continue;
            };
            let about = rule.topics.iter().any(|pattern| match (action, allowed) {
                (Action::Subscribe, true) => pattern.covers(topic, client),
                (Action::Subscribe, false) => pattern.overlaps(topic, client),
                _ => pattern.matches(topic, client, !allowed),
            });
            if about {
                return allowed;
            }
        }
        false
    }

    fn name() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["ann", "bob", "a", "$s", "x/y", "+"])
    }

    fn names() -> impl Strategy<Value = Vec<Box<str>>> {
        prop::collection::vec(name().prop_map(Into::into), 1..3)
    }

    fn filter(holes: bool) -> impl Strategy<Value = String> {
        let mut levels = vec!["a", "ann", "bob", "", "+", "$s"];
        if holes {
            levels.extend(["%u", "%c", "%{k}", "p%u"]);
        }
        let level = prop::sample::select(levels);
        (prop::collection::vec(level, 1..4), any::<bool>()).prop_filter_map("empty", |(mut levels, multi)| {
            if multi {
                levels.push("#");
            }
            Some(levels.join("/")).filter(|text| !text.is_empty())
        })
    }

    fn rule() -> impl Strategy<Value = Rule> {
        let users = prop_oneof![
            Just(Users::Everybody),
            Just(Users::Named),
            Just(Users::Anonymous),
            names().prop_map(Users::These),
        ];
        let who = (users, prop::option::of(names()), any::<bool>()).prop_map(|(users, clients, k)| Who {
            users,
            clients,
            attributes: if k {
                vec![("k".into(), "a".into())]
            } else {
                Vec::new()
            },
            wildcard_in_name: false,
        });
        let effect = any::<[Option<bool>; 3]>().prop_map(|[publish, subscribe, receive]| Effect {
            publish,
            subscribe,
            receive,
        });
        let topics = prop::collection::vec(
            filter(true).prop_map(|text| Pattern::parse(&text, Holes::All).unwrap()),
            1..3,
        );
        (who, effect, topics).prop_map(|(who, effect, topics)| Rule { who, effect, topics })
    }

    proptest! {
        #[test]
        fn arranging_changes_no_decision(
            rules in prop::collection::vec(rule(), 0..8),
            user in prop::option::of(name()),
            client in name(),
            k in prop::option::of(name()),
            action in prop::sample::select(vec![Action::Publish, Action::Subscribe, Action::Receive]),
            filter in filter(false),
        ) {
            let topic = match action {
                Action::Subscribe => filter,
                _ => filter.replace(['+', '#'], "a"),
            };
            let attributes: Vec<_> = k.into_iter().map(|k| ("k".to_owned(), k.to_owned())).collect();
            let identity = Identity { user, client, attributes: &attributes };
            let set = RuleSet::new(rules.clone(), Fallback::Deny, true);
            prop_assert_eq!(
                set.decide(&identity, action, &topic),
                Some(naive(&rules, &identity, action, &topic))
            );
        }
    }

    #[test]
    fn the_end_is_what_the_file_says() {
        let client = Identity {
            user: None,
            client: "c",
            attributes: &[],
        };
        for (fallback, expected) in [
            (Fallback::Allow, Some(true)),
            (Fallback::Deny, Some(false)),
            (Fallback::Skip, None),
        ] {
            let set = RuleSet::new(Vec::new(), fallback, false);
            assert_eq!(set.decide(&client, Action::Publish, "a"), expected);
        }
    }
}

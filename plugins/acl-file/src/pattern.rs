//! The topics of a rule: a Topic Filter in which `%u`, `%c` and `%{attribute}` stand for names of the client that asks.
//!
//! Names come from clients, so they are never pasted into a filter. A pattern is taken apart when the file is read, and a name
//! is only ever compared with the text of one level; a name with `/`, `+` or `#` in it, or one that would make a first
//! level begin with `$`, is *hostile*: it could only mean more than its rule does (mosquitto CVE-2017-7650). A rule that
//! allows matches nothing for it; a rule that denies matches everything that it might mean.

use broker_types::{TopicFilter, levels};

use crate::identity::Identity;

/// Which names may stand in a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holes {
    /// None: `%` is a character as others.
    None,
    /// `%u` and `%c`.
    Names,
    /// `%u`, `%c` and `%{attribute}`.
    All,
}

/// The topics of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Every topic and filter, also those that begin with `$`.
    Any,
    /// Level by level.
    Levels(Box<[Level]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// `#`.
    Multi,
    /// `+`.
    Single,
    /// A text.
    Literal(Box<str>),
    /// Texts and names.
    Template(Box<[Part]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(Box<str>),
    User,
    Client,
    Attribute(Box<str>),
}

/// What a template is for a client.
enum Filled {
    /// The client lacks a name that stands in it: the rule is not about this client.
    Missing,
    /// A name of the client could mean more than one level, or another.
    Hostile,
    /// A text.
    Good,
}

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn parse(text: &str, holes: Holes) -> Result<Self, String> {
        TopicFilter::new(text).map_err(|error| error.to_string())?;
        levels(text)
            .map(|level| Level::parse(level, holes))
            .collect::<Result<_, _>>()
            .map(Self::Levels)
    }

    /// Returns the text of the first level if it is the same for every client and topic.
    pub(crate) fn first_literal(&self) -> Option<&str> {
        match self {
            Self::Levels(levels) => match levels.first() {
                Some(Level::Literal(text)) => Some(text),
                _ => None,
            },
            Self::Any => None,
        }
    }

    /// Tells whether the Topic Name `topic` is among these topics; `hostile` is the answer for a hostile name.
    pub(crate) fn matches(&self, topic: &str, client: &Identity<'_>, hostile: bool) -> bool {
        let Self::Levels(pattern) = self else {
            return true;
        };
        if topic.starts_with('$') && starts_wild(pattern) {
            return false;
        }
        let mut names = levels(topic);
        for (depth, level) in pattern.iter().enumerate() {
            match (level, names.next()) {
                (Level::Multi, _) => return true,
                (_, None) => return false,
                (Level::Single, Some(_)) => {}
                (Level::Literal(text), Some(name)) if **text == *name => {}
                (Level::Template(parts), Some(name)) => match fill(parts, client, depth) {
                    Filled::Good if equals(parts, client, name) => {}
                    Filled::Hostile => return hostile,
                    Filled::Good | Filled::Missing => return false,
                },
                (Level::Literal(_), Some(_)) => return false,
            }
        }
        names.next().is_none()
    }

    /// Tells whether every topic that the Topic Filter `filter` matches is among these topics. Never for a hostile name.
    pub(crate) fn covers(&self, filter: &str, client: &Identity<'_>) -> bool {
        let Self::Levels(pattern) = self else {
            return true;
        };
        if filter.starts_with('$') && starts_wild(pattern) {
            return false;
        }
        let mut wanted = levels(filter);
        for (depth, level) in pattern.iter().enumerate() {
            match (level, wanted.next()) {
                (Level::Multi, _) => return true,
                // No topic has less than one level: `+/#` is everything that `#` is. Further down it is not.
                (Level::Single, Some("#")) if depth == 0 => return matches!(pattern[1..], [Level::Multi]),
                (_, None | Some("#")) => return false,
                (Level::Single, Some(_)) => {}
                (_, Some("+")) => return false,
                (Level::Literal(text), Some(name)) if **text == *name => {}
                (Level::Template(parts), Some(name))
                    if matches!(fill(parts, client, depth), Filled::Good) && equals(parts, client, name) => {}
                (Level::Literal(_) | Level::Template(_), Some(_)) => return false,
            }
        }
        wanted.next().is_none()
    }

    /// Tells whether some topic that the Topic Filter `filter` matches is among these topics. Always for a hostile name
    /// that is reached.
    pub(crate) fn overlaps(&self, filter: &str, client: &Identity<'_>) -> bool {
        let Self::Levels(pattern) = self else {
            return true;
        };
        if filter.starts_with('$') && starts_wild(pattern) {
            return false;
        }
        if filter.starts_with(['+', '#']) && starts_with_dollar(pattern) {
            return false;
        }
        let mut wanted = levels(filter);
        for (depth, level) in pattern.iter().enumerate() {
            match (level, wanted.next()) {
                (Level::Multi, _) => return true,
                (Level::Template(parts), Some(name)) => match fill(parts, client, depth) {
                    Filled::Missing => return false,
                    Filled::Hostile => return true,
                    Filled::Good if name == "#" => return rest_is_known(&pattern[depth..], client, depth),
                    Filled::Good if name == "+" || equals(parts, client, name) => {}
                    Filled::Good => return false,
                },
                (_, Some("#")) => return rest_is_known(&pattern[depth..], client, depth),
                (_, None) => return false,
                (Level::Single, Some(_)) | (Level::Literal(_), Some("+")) => {}
                (Level::Literal(text), Some(name)) if **text == *name => {}
                (Level::Literal(_), Some(_)) => return false,
            }
        }
        matches!(wanted.next(), None | Some("#"))
    }
}

impl Level {
    fn parse(text: &str, holes: Holes) -> Result<Self, String> {
        match text {
            "#" => return Ok(Self::Multi),
            "+" => return Ok(Self::Single),
            _ => {}
        }
        let parts = parse_parts(text, holes)?;
        Ok(match &parts[..] {
            [] | [Part::Text(_)] => Self::Literal(text.into()),
            _ => Self::Template(parts.into()),
        })
    }
}

/// Takes the text of a level apart at the names that may stand in it.
fn parse_parts(text: &str, holes: Holes) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let (mut rest, mut from) = (text, 0);
    while let Some(at) = rest[from..].find('%').map(|at| from + at) {
        let behind = &rest[at + 1..];
        let (part, length) = match behind.as_bytes().first() {
            Some(b'u') if holes != Holes::None => (Part::User, 1),
            Some(b'c') if holes != Holes::None => (Part::Client, 1),
            Some(b'{') if holes == Holes::All => {
                let (name, _) = behind[1..]
                    .split_once('}')
                    .ok_or_else(|| format!("`{text}`: `%{{` without `}}` in the same level"))?;
                (Part::Attribute(name.into()), name.len() + 2)
            }
            _ => {
                from = at + 1;
                continue;
            }
        };
        if at > 0 {
            parts.push(Part::Text(rest[..at].into()));
        }
        parts.push(part);
        (rest, from) = (&behind[length..], 0);
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    Ok(parts)
}

/// Tells whether topics that begin with `$` can't match, whatever follows `[MQTT-4.7.2-1]`.
fn starts_wild(pattern: &[Level]) -> bool {
    matches!(pattern.first(), Some(Level::Multi | Level::Single))
}

/// Tells whether only topics that begin with `$` match.
fn starts_with_dollar(pattern: &[Level]) -> bool {
    match pattern.first() {
        Some(Level::Literal(text)) => text.starts_with('$'),
        Some(Level::Template(parts)) => {
            matches!(parts.first(), Some(Part::Text(text)) if text.starts_with('$'))
        }
        _ => false,
    }
}

/// Tells whether a client has all names that stand in the levels of `rest`: without one, the rule isn't about it.
fn rest_is_known(rest: &[Level], client: &Identity<'_>, depth: usize) -> bool {
    (depth..).zip(rest).all(|(depth, level)| match level {
        Level::Template(parts) => !matches!(fill(parts, client, depth), Filled::Missing),
        _ => true,
    })
}

fn value<'a>(part: &'a Part, client: &Identity<'a>) -> Option<&'a str> {
    match part {
        Part::Text(text) => Some(text),
        Part::User => client.user,
        Part::Client => Some(client.client),
        Part::Attribute(name) => client.attribute(name),
    }
}

fn fill(parts: &[Part], client: &Identity<'_>, depth: usize) -> Filled {
    let mut filled = Filled::Good;
    for (i, part) in parts.iter().enumerate() {
        let Some(name) = value(part, client) else {
            return Filled::Missing;
        };
        let is_name = !matches!(part, Part::Text(_));
        if is_name && (name.contains(['/', '+', '#']) || (depth == 0 && i == 0 && name.starts_with('$'))) {
            filled = Filled::Hostile;
        }
    }
    filled
}

/// Tells whether the parts, one behind the other, are `level`. No allocation.
fn equals(parts: &[Part], client: &Identity<'_>, level: &str) -> bool {
    let rest = parts
        .iter()
        .try_fold(level, |rest, part| rest.strip_prefix(value(part, client)?));
    rest == Some("")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANN: Identity<'_> = Identity {
        user: Some("ann"),
        client: "c1",
        attributes: &[],
    };

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text, Holes::All).unwrap()
    }

    fn named(user: &str) -> Identity<'_> {
        Identity {
            user: Some(user),
            ..ANN
        }
    }

    #[test]
    fn names_stand_for_themselves() {
        let attributes = [("site".to_owned(), "north".to_owned())];
        let ann = Identity {
            attributes: &attributes,
            ..ANN
        };
        for (text, topic, expected) in [
            ("plant/%u/#", "plant/ann/x/y", true),
            ("plant/%u/#", "plant/ann", true),
            ("plant/%u/#", "plant/bob/x", false),
            ("plant/%u/#", "plant/annette/x", false),
            ("dev-%c", "dev-c1", true),
            ("dev-%c", "dev-c2", false),
            ("%u-%c/x", "ann-c1/x", true),
            ("%{site}/+", "north/x", true),
            ("%{site}/+", "south/x", false),
            ("%{country}/+", "/x", false),
            ("100%/%%u", "100%/%ann", true),
            ("a%", "a%", true),
            ("%é/%u", "%é/ann", true),
        ] {
            assert_eq!(
                pattern(text).matches(topic, &ann, false),
                expected,
                "{text} {topic}"
            );
            assert_eq!(pattern(text).covers(topic, &ann), expected, "{text} {topic}");
            assert_eq!(pattern(text).overlaps(topic, &ann), expected, "{text} {topic}");
        }
        let plain = Pattern::parse("plant/%u", Holes::None).unwrap();
        assert!(plain.matches("plant/%u", &ann, false));
        assert!(!plain.matches("plant/ann", &ann, false));
        let mosquitto = Pattern::parse("%{site}/%u", Holes::Names).unwrap();
        assert!(mosquitto.matches("%{site}/ann", &ann, false));
    }

    #[test]
    fn hostile_names_get_nothing_allowed_and_everything_denied() {
        let topics = pattern("plant/%u/#");
        for name in ["+", "#", "a/b", "a+", "#a", "/", "a/#", "ann/../bob"] {
            let client = named(name);
            for topic in [
                "plant/ann/x",
                "plant/a/b",
                "plant/x",
                "plant/+",
                "plant/#",
                "plant/a/b/#",
            ] {
                assert!(!topics.matches(topic, &client, false), "{name} {topic}");
                assert!(topics.matches(topic, &client, true), "{name} {topic}");
                assert!(!topics.covers(topic, &client), "{name} {topic}");
                assert!(topics.overlaps(topic, &client), "{name} {topic}");
            }
            for topic in ["plane/x", "plant"] {
                assert!(!topics.matches(topic, &client, true), "{name} {topic}");
                assert!(!topics.overlaps(topic, &client), "{name} {topic}");
            }
        }
    }

    #[test]
    fn a_name_never_reaches_the_topics_of_the_broker() {
        let own = pattern("%u/#");
        assert!(!own.matches("$SYS/broker/uptime", &named("$SYS"), false));
        assert!(!own.covers("$SYS/#", &named("$SYS")));
        assert!(own.matches("$SYS/broker/uptime", &named("$SYS"), true));
        assert!(pattern("$SYS/%u").matches("$SYS/$x", &named("$x"), false));
    }

    #[test]
    fn without_a_name_a_rule_is_not_about_the_client() {
        let nobody = Identity { user: None, ..ANN };
        for hostile in [false, true] {
            assert!(!pattern("plant/%u/#").matches("plant//x", &nobody, hostile));
        }
        assert!(!pattern("plant/%u/#").covers("plant//x", &nobody));
        assert!(!pattern("plant/%u/#").overlaps("plant/#", &nobody));
        assert!(!pattern("plant/x/%u/#").overlaps("plant/#", &nobody));
    }

    #[test]
    fn wrong_patterns_are_refused() {
        for text in ["", "a#", "#/a", "a+/b", "a/%{x", "a/%{x/y}", "a\0"] {
            assert!(Pattern::parse(text, Holes::All).is_err(), "{text}");
        }
    }

    /// All topics of up to four levels over names that patterns use, one that they don't, and the empty one.
    fn every_topic() -> Vec<String> {
        let names = ["a", "b", "", "fresh", "$s"];
        let mut all: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        let mut from = 0;
        for _ in 0..3 {
            let to = all.len();
            for i in from..to {
                all.extend(
                    names
                        .iter()
                        .map(|name| format!("{}/{name}", all[i]))
                        .collect::<Vec<_>>(),
                );
            }
            from = to;
        }
        all.retain(|topic| !topic.is_empty());
        all
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "+", "$s"]);
        (prop::collection::vec(level, 0..3), any::<bool>()).prop_filter_map("empty", |(mut levels, multi)| {
            if multi {
                levels.push("#");
            }
            // Only `/#` could match the empty topic, which isn't one; there covering and overlapping err on the safe side.
            Some(levels.join("/")).filter(|text| !text.is_empty() && text != "/#")
        })
    }

    proptest! {
        /// Three levels of pattern against all topics of four: what holds there holds everywhere.
        #[test]
        fn covering_and_overlapping_are_what_sets_say(ours in filter(), theirs in filter()) {
            let matcher = TopicFilter::new(theirs.as_str()).unwrap();
            let ours = pattern(&ours);
            let wanted: Vec<String> = every_topic()
                .into_iter()
                .filter(|topic| matcher.matches(broker_types::TopicRef::new(topic).unwrap()))
                .collect();
            let inside = |topic: &String| ours.matches(topic, &ANN, false);
            prop_assert_eq!(ours.covers(&theirs, &ANN), wanted.iter().all(inside));
            prop_assert_eq!(ours.overlaps(&theirs, &ANN), wanted.iter().any(inside));
        }

        #[test]
        fn matching_is_that_of_a_topic_filter(text in filter(), topic in prop::sample::select(every_topic())) {
            let expected = TopicFilter::new(text.as_str()).unwrap()
                .matches(broker_types::TopicRef::new(&topic).unwrap());
            prop_assert_eq!(pattern(&text).matches(&topic, &ANN, false), expected);
        }

        /// A name that isn't hostile means exactly the pattern with the name written out.
        #[test]
        fn a_name_is_as_if_it_were_written(user in "[a-z$ %]{0,4}", topic in "[a-z$ %/]{1,12}") {
            let written = format!("x/{user}/{user}y/#");
            let expected = TopicFilter::new(written).unwrap().matches(broker_types::TopicRef::new(&topic).unwrap());
            prop_assert_eq!(pattern("x/%u/%uy/#").matches(&topic, &named(&user), false), expected);
        }

        /// CVE-2017-7650 and its kin: the filter that a broker would get by pasting the name, asked for by its owner.
        #[test]
        fn a_name_is_never_pasted(user in "[ab+#/$%u]{0,5}", tail in prop::sample::select(vec!["", "/x", "/+/x", "/#"])) {
            let pasted = format!("own/{user}/data{tail}");
            let honest = !user.contains(['/', '+', '#']);
            let own = pattern("own/%u/data/#");
            prop_assert_eq!(own.covers(&pasted, &named(&user)), honest);
            prop_assert_eq!(own.matches(&pasted, &named(&user), false), honest);
            prop_assert!(own.matches(&pasted, &named(&user), true));
            prop_assert!(own.overlaps(&pasted, &named(&user)));
        }
    }
}

//! Jackfield's own file of rules: TOML text in, rules out.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::pattern::{Holes, Pattern};
use crate::rule::{Effect, Rule, Users, Who};
use crate::rule_set::{Fallback, RuleSet};

/// What is wrong, and in which line.
pub(crate) type Complaint = (Option<usize>, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileShape {
    #[serde(default)]
    default: Fallback,
    #[serde(default)]
    groups: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    rules: Vec<Spanned<RuleShape>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleShape {
    #[serde(default)]
    who: WhoShape,
    #[serde(default)]
    allow: Vec<ActionShape>,
    #[serde(default)]
    deny: Vec<ActionShape>,
    topics: Vec<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WhoShape {
    user: Option<OneOrMore>,
    group: Option<OneOrMore>,
    client: Option<OneOrMore>,
    #[serde(default)]
    anonymous: bool,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActionShape {
    Publish,
    Subscribe,
    Receive,
}

/// Reads a file of rules.
pub(crate) fn parse(text: &str) -> Result<RuleSet, Complaint> {
    let file: FileShape = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_of(text, span.start));
        (line, error.message().to_owned())
    })?;
    let mut rules = Vec::with_capacity(file.rules.len());
    let mut needs_receive = false;
    let mut line = Lines::new(text);
    for rule in file.rules {
        let at = line.of(rule.span().start);
        let rule = rule.into_inner();
        needs_receive |= [&rule.allow, &rule.deny]
            .iter()
            .any(|actions| actions.contains(&ActionShape::Receive));
        let effect = effect(&rule).map_err(|why| (Some(at), why))?;
        let who = who(rule.who, &file.groups).map_err(|why| (Some(at), why))?;
        if rule.topics.is_empty() {
            return Err((Some(at), "`topics` is empty: the rule would never be used".into()));
        }
        let topics = rule
            .topics
            .iter()
            .map(|topic| {
                pattern(topic.get_ref()).map_err(|why| (Some(line_of(text, topic.span().start)), why))
            })
            .collect::<Result<_, _>>()?;
        rules.push(Rule { who, effect, topics });
    }
    Ok(RuleSet::new(rules, file.default, needs_receive))
}

fn pattern(text: &str) -> Result<Pattern, String> {
    if text.starts_with("$share/") {
        return Err(format!(
            "`{text}`: write the filter without `$share/NAME/`; it holds for shared subscriptions too"
        ));
    }
    Pattern::parse(text, Holes::All)
}

/// What is said about subscribing holds for receiving too, unless something is said about receiving.
fn effect(rule: &RuleShape) -> Result<Effect, String> {
    let says = |action: ActionShape| match (rule.allow.contains(&action), rule.deny.contains(&action)) {
        (true, true) => Err("an action stands in `allow` and in `deny`".to_owned()),
        (true, false) => Ok(Some(true)),
        (false, true) => Ok(Some(false)),
        (false, false) => Ok(None),
    };
    let effect = Effect {
        publish: says(ActionShape::Publish)?,
        subscribe: says(ActionShape::Subscribe)?,
        receive: says(ActionShape::Receive)?.or(says(ActionShape::Subscribe)?),
    };
    if effect == Effect::default() {
        return Err("neither `allow` nor `deny` names an action: `publish`, `subscribe` or `receive`".into());
    }
    Ok(effect)
}

fn who(who: WhoShape, groups: &BTreeMap<String, Vec<String>>) -> Result<Who, String> {
    Ok(Who {
        users: users(who.user, who.group, who.anonymous, groups)?,
        clients: who
            .client
            .map(OneOrMore::into_list)
            .filter(|ids| !ids.iter().any(|id| id == "*"))
            .map(boxed),
        attributes: who
            .attributes
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        wildcard_in_name: false,
    })
}

fn users(
    user: Option<OneOrMore>,
    group: Option<OneOrMore>,
    anonymous: bool,
    groups: &BTreeMap<String, Vec<String>>,
) -> Result<Users, String> {
    if anonymous {
        return match (user, group) {
            (None, None) => Ok(Users::Anonymous),
            _ => Err("`anonymous` clients have no `user` and no `group`".into()),
        };
    }
    if user.is_none() && group.is_none() {
        return Ok(Users::Everybody);
    }
    let mut names = user.map(OneOrMore::into_list).unwrap_or_default();
    if names.iter().any(|name| name == "*") {
        return Ok(Users::Named);
    }
    for group in group.map(OneOrMore::into_list).unwrap_or_default() {
        let members = groups
            .get(&group)
            .ok_or_else(|| format!("there is no group `{group}` in `[groups]`"))?;
        names.extend(members.iter().cloned());
    }
    Ok(Users::These(boxed(names)))
}

impl OneOrMore {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::More(texts) => texts,
        }
    }
}

fn boxed(texts: Vec<String>) -> Vec<Box<str>> {
    texts.into_iter().map(Into::into).collect()
}

fn line_of(text: &str, offset: usize) -> usize {
    Lines::new(text).of(offset)
}

/// Counts lines while going forward through a text, so that a long file is gone through once.
struct Lines<'a> {
    text: &'a [u8],
    offset: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            offset: 0,
            line: 1,
        }
    }

    /// Returns the line at `offset`, counted from 1; `offset` must not go back.
    fn of(&mut self, offset: usize) -> usize {
        let offset = offset.clamp(self.offset, self.text.len());
        self.line += self.text[self.offset..offset]
            .iter()
            .filter(|&&b| b == b'\n')
            .count();
        self.offset = offset;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use plugin_api::Action;

    use super::*;
    use crate::identity::Identity;

    const FILE: &str = r##"
default = "deny"
[groups]
operators = ["olga", "otto"]

[[rules]]                                   # line 6
who = { group = "operators" }
allow = ["publish", "subscribe"]
topics = ["#", "$SYS/#"]

[[rules]]                                   # line 11
deny = ["subscribe"]
topics = ["plant/+/secret/#"]

[[rules]]
who = { user = "*" }
allow = ["publish", "subscribe"]
topics = ["plant/%u/#"]

[[rules]]
who = { user = ["ann", "bob"], client = "desk", attributes = { shift = "day" } }
allow = ["publish"]
topics = ["bell"]

[[rules]]
who = { anonymous = true }
allow = ["subscribe"]
topics = ["public/#"]
"##;

    fn decide(text: &str, user: Option<&str>, action: Action, topic: &str) -> bool {
        let attributes = [("shift".to_owned(), "day".to_owned())];
        let client = Identity {
            user,
            client: "desk",
            attributes: &attributes,
        };
        parse(text).unwrap().decide(&client, action, topic).unwrap()
    }

    #[test]
    fn the_first_rule_that_says_something_decides() {
        use Action::{Publish, Receive, Subscribe};
        for (user, action, topic, expected) in [
            (Some("olga"), Publish, "plant/x/secret/y", true),
            (Some("otto"), Subscribe, "#", true),
            (Some("otto"), Subscribe, "$SYS/#", true),
            (Some("ann"), Publish, "plant/ann/x", true),
            (Some("ann"), Publish, "plant/ann/secret/x", true),
            (Some("ann"), Publish, "plant/bob/x", false),
            (Some("ann"), Subscribe, "plant/ann/x/+", true),
            (Some("ann"), Subscribe, "plant/ann/#", false),
            (Some("ann"), Subscribe, "plant/ann/secret/x", false),
            (Some("ann"), Subscribe, "plant/#", false),
            (Some("ann"), Subscribe, "#", false),
            (Some("ann"), Receive, "plant/ann/x", true),
            (Some("ann"), Receive, "plant/ann/secret/x", false),
            (Some("ann"), Publish, "bell", true),
            (Some("carl"), Publish, "bell", false),
            (None, Subscribe, "public/x", true),
            (None, Publish, "public/x", false),
            (Some("ann"), Subscribe, "public/x", false),
            (None, Publish, "plant//x", false),
        ] {
            assert_eq!(
                decide(FILE, user, action, topic),
                expected,
                "{user:?} {action:?} {topic}"
            );
        }
    }

    #[test]
    fn receiving_may_differ_from_subscribing() {
        let text = r##"
            rules = [
                { deny = ["receive"], topics = ["a/secret/#"] },
                { allow = ["subscribe"], topics = ["a/#"] },
            ]"##;
        assert!(parse(text).unwrap().needs_receive());
        assert!(!parse(FILE).unwrap().needs_receive());
        assert!(decide(text, None, Action::Subscribe, "a/#"));
        assert!(decide(text, None, Action::Receive, "a/x"));
        assert!(!decide(text, None, Action::Receive, "a/secret/x"));
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line, why) in [
            ("[[rules]\n", 1, "unclosed"),
            ("rule = 1", 1, "unknown field `rule`"),
            ("default = \"no\"", 1, "unknown variant `no`"),
            ("\n[[rules]]\nallow = [\"publish\"]", 2, "missing field `topics`"),
            ("[[rules]]\nallow = [\"publish\"]\ntopics = []", 1, "empty"),
            (
                "[[rules]]\nallow = [\"publish\"]\ntopics = [\n\"a\",\n\"b#\"]",
                5,
                "`#` must be last",
            ),
            (
                "[[rules]]\nallow = [\"read\"]\ntopics = [\"a\"]",
                2,
                "unknown variant `read`",
            ),
            ("[[rules]]\ntopics = [\"a\"]", 1, "neither"),
            (
                "[[rules]]\nallow=[\"publish\"]\ndeny=[\"publish\"]\ntopics = [\"a\"]",
                1,
                "in `allow` and in `deny`",
            ),
            (
                "[[rules]]\nallow=[\"publish\"]\ntopics = [\"$share/g/a\"]",
                3,
                "$share",
            ),
            (
                "\n\n[[rules]]\nwho={group=\"x\"}\nallow=[\"publish\"]\ntopics=[\"a\"]",
                3,
                "no group `x`",
            ),
            (
                "[[rules]]\nwho={anonymous=true,user=\"x\"}\nallow=[\"publish\"]\ntopics=[\"a\"]",
                1,
                "no `user`",
            ),
            (
                "[[rules]]\nwho={user=1}\nallow=[\"publish\"]\ntopics=[\"a\"]",
                2,
                "a text or a list of texts",
            ),
        ] {
            let (found, error) = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
            assert_eq!(found, Some(line), "{text}: {error}");
        }
    }

    #[test]
    fn a_hundred_thousand_lines_load_quickly() {
        let rule = |n| {
            format!("[[rules]]\nwho = {{ user = \"u{n}\" }}\nallow = [\"publish\"]\ntopics = [\"a/{n}/#\"]\n")
        };
        let text: String = (0..25_000).map(rule).collect();
        let start = Instant::now();
        assert!(decide(&text, Some("u24999"), Action::Publish, "a/24999/x"));
        // Some 100 ms when optimised; the bound only catches what grows with the square.
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    proptest::proptest! {
        #[test]
        fn no_file_makes_the_parser_panic(text in r##"((default|rules|topics|who|[\[\]{}=,"#+%$/ a-z\n]){1,40})"##) {
            let _ = parse(&text);
        }
    }
}

//! The `acl_file` of mosquitto: its text in, rules out that say what mosquitto 2.0 says.
//!
//! What mosquitto does, in the order of the rules made here:
//! 1. subscribing is always allowed; what may be read is asked at delivery;
//! 2. a client with a User Name goes by the `topic` lines below its `user` line, one without by those above the first; `deny`
//!    before everything else;
//! 3. if there are `pattern` lines and a name of the client contains `+` or `#`: no;
//! 4. the `pattern` lines, for everybody; `deny` before everything else;
//! 5. no.
//!
//! Stricter than mosquitto on purpose: a name with `/`, or one that begins with `$` in the first level, doesn't fill in a
//! pattern (see `pattern.rs`), and a User Name that no authenticator granted is none.

use crate::pattern::{Holes, Pattern};
use crate::rule::{Effect, Rule, Users, Who};
use crate::rule_set::{Fallback, RuleSet};
use crate::shape::Complaint;

/// The rules of one kind of line: mosquitto looks at all denials first.
#[derive(Default)]
struct Section {
    denied: Vec<Rule>,
    allowed: Vec<Rule>,
}

/// Reads a file of rules.
pub(crate) fn parse(text: &str) -> Result<RuleSet, Complaint> {
    let (topics, patterns) = sections(text)?;
    let mut rules = vec![Rule {
        who: Who::default(),
        effect: Effect {
            subscribe: Some(true),
            ..Effect::default()
        },
        topics: vec![Pattern::Any],
    }];
    rules.extend(topics.denied);
    rules.extend(topics.allowed);
    if !patterns.denied.is_empty() || !patterns.allowed.is_empty() {
        let who = Who {
            wildcard_in_name: true,
            ..Who::default()
        };
        rules.push(Rule {
            who,
            effect: DENY,
            topics: vec![Pattern::Any],
        });
    }
    rules.extend(patterns.denied);
    rules.extend(patterns.allowed);
    Ok(RuleSet::new(rules, Fallback::Deny, true))
}

const DENY: Effect = Effect {
    publish: Some(false),
    subscribe: None,
    receive: Some(false),
};

/// Returns the `topic` lines and the `pattern` lines.
fn sections(text: &str) -> Result<(Section, Section), Complaint> {
    let (mut topics, mut patterns) = (Section::default(), Section::default());
    let mut users = Users::Anonymous;
    for (number, line) in (1..).zip(text.lines()) {
        let wrong = |why: String| (Some(number), why);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = split_word(line);
        match word {
            "user" if rest.is_empty() => return Err(wrong("`user` without a name".into())),
            "user" => users = Users::These(vec![rest.into()]),
            "topic" => {
                let who = Who {
                    users: users.clone(),
                    ..Who::default()
                };
                topics.add(who, rest, Holes::None).map_err(wrong)?;
            }
            "pattern" => patterns.add(Who::default(), rest, Holes::Names).map_err(wrong)?,
            _ => {
                return Err(wrong(format!(
                    "`{word}`: a line begins with `user`, `topic`, `pattern` or `#`"
                )));
            }
        }
    }
    Ok((topics, patterns))
}

impl Section {
    /// Adds `[read|write|readwrite|deny] TOPIC`. A topic may contain blanks if an access is written before it.
    fn add(&mut self, who: Who, text: &str, holes: Holes) -> Result<(), String> {
        let (access, topic) = match split_word(text) {
            ("", _) => return Err("the topic is missing".into()),
            (topic, "") => ("readwrite", topic),
            both => both,
        };
        let (write, read) = match access {
            "read" => (None, Some(true)),
            "write" => (Some(true), None),
            "readwrite" => (Some(true), Some(true)),
            "deny" => (Some(false), Some(false)),
            _ => {
                return Err(format!(
                    "`{access}`: an access is `read`, `write`, `readwrite` or `deny`"
                ));
            }
        };
        let rule = Rule {
            who,
            effect: Effect {
                publish: write,
                subscribe: None,
                receive: read,
            },
            topics: vec![Pattern::parse(topic, holes)?],
        };
        let section = if access == "deny" {
            &mut self.denied
        } else {
            &mut self.allowed
        };
        section.push(rule);
        Ok(())
    }
}

fn split_word(text: &str) -> (&str, &str) {
    match text.split_once([' ', '\t']) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use plugin_api::Action;

    use super::*;
    use crate::identity::Identity;

    const FILE: &str = "\
# This only affects clients without a user name
topic read $SYS/#
topic public/#

user ann
topic home/#
topic deny home/safe/#
topic write log
topic read my own topic

user bob
topic readwrite bob's topic/#

user ann
topic read more

pattern read common/#
pattern deny common/secret/%c
pattern write $SYS/broker/connection/%c/state
pattern own/%u/#
";

    fn allowed(text: &str, user: Option<&str>, client: &str, action: Action, topic: &str) -> bool {
        let client = Identity {
            user,
            client,
            attributes: &[],
        };
        parse(text).unwrap().decide(&client, action, topic).unwrap()
    }

    /// The golden table: `r` and `w` say what mosquitto 2.0 allows.
    #[test]
    fn verdicts_are_those_of_mosquitto() {
        for (user, client, topic, access) in [
            (None, "c", "$SYS/broker/uptime", "r"),
            (None, "c", "public/x", "rw"),
            (None, "c", "home/x", ""),
            (None, "c", "common/x", "r"),
            (None, "c", "own//x", ""),
            (Some("ann"), "c", "public/x", ""),
            (Some("ann"), "c", "$SYS/broker/uptime", ""),
            (Some("ann"), "c", "home/x", "rw"),
            (Some("ann"), "c", "home", "rw"),
            (Some("ann"), "c", "home/safe/x", ""),
            (Some("ann"), "c", "log", "w"),
            (Some("ann"), "c", "my own topic", "r"),
            (Some("ann"), "c", "own topic", ""),
            (Some("ann"), "c", "more", "r"),
            (Some("bob"), "c", "home/x", ""),
            (Some("bob"), "c", "bob's topic/x", "rw"),
            (Some("ann"), "c", "common/secret/c", ""),
            (Some("ann"), "c", "common/secret/d", "r"),
            (Some("ann"), "c", "$SYS/broker/connection/c/state", "w"),
            (Some("ann"), "c", "$SYS/broker/connection/d/state", ""),
            (Some("ann"), "c", "own/ann/x", "rw"),
            (Some("ann"), "c", "own/bob/x", ""),
            (Some("eve"), "c", "own/eve/x", "rw"),
            (Some("e+e"), "c", "own/e+e/x", ""),
            (Some("e+e"), "c", "common/x", ""),
            (Some("eve"), "c#", "common/x", ""),
            (None, "c#", "public/x", "rw"),
        ] {
            for (action, letter) in [(Action::Publish, 'w'), (Action::Receive, 'r')] {
                let expected = access.contains(letter);
                assert_eq!(
                    allowed(FILE, user, client, action, topic),
                    expected,
                    "{user:?} {action:?} {topic}"
                );
            }
            assert!(allowed(FILE, user, client, Action::Subscribe, "#"));
            assert!(allowed(FILE, user, client, Action::Subscribe, "$SYS/#"));
        }
    }

    #[test]
    fn topics_may_contain_blanks_behind_an_access() {
        assert!(allowed("topic\tread\ta b ", None, "c", Action::Receive, "a b"));
    }

    #[test]
    fn a_file_without_rules_allows_only_subscribing() {
        assert!(!allowed("", None, "c", Action::Publish, "a"));
        assert!(!allowed("", None, "c", Action::Receive, "a"));
        assert!(allowed("", None, "c", Action::Subscribe, "a"));
    }

    #[test]
    fn deny_wins_wherever_it_stands() {
        for text in ["topic a/#\ntopic deny a/b", "topic deny a/b\ntopic a/#"] {
            assert!(!allowed(text, None, "c", Action::Publish, "a/b"));
            assert!(allowed(text, None, "c", Action::Publish, "a/c"));
        }
        // The lines of a user come before all patterns, also before patterns that deny.
        let text = "pattern deny a/#\nuser ann\ntopic a/b";
        assert!(allowed(text, Some("ann"), "c", Action::Publish, "a/b"));
        assert!(!allowed(text, Some("ann"), "c", Action::Publish, "a/c"));
    }

    #[test]
    fn names_with_separators_are_kept_out_of_patterns() {
        let text = "pattern own/%u/#\npattern %c/#\npattern read $SYS/#\npattern deny $SYS/secret/%u";
        assert!(!allowed(text, Some("a/b"), "c", Action::Publish, "own/a/b/x"));
        assert!(!allowed(text, Some("a"), "$SYS", Action::Publish, "$SYS/x"));
        assert!(!allowed(text, Some("a/b"), "c", Action::Receive, "$SYS/secret/x"));
        assert!(allowed(text, Some("a/b"), "c", Action::Receive, "$SYS/x"));
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line, why) in [
            ("topic", 1, "the topic is missing"),
            ("user", 1, "`user` without a name"),
            ("# x\n\nuser  ", 3, "`user` without a name"),
            ("tpoic a", 1, "`tpoic`"),
            ("user a\ntopic all a/#", 2, "`all`: an access is"),
            ("topic read a#", 1, "`#` must be last"),
            ("topic a # comment", 1, "`a`: an access is"),
            ("topic read a # comment", 1, "`#` must be last"),
        ] {
            let (found, error) = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
            assert_eq!(found, Some(line), "{text}: {error}");
        }
    }

    #[test]
    fn a_hundred_thousand_lines_load_quickly() {
        let text: String = (0..50_000)
            .map(|n| format!("user u{n}\ntopic read a/{n}/#\n"))
            .collect();
        let start = Instant::now();
        assert!(allowed(&text, Some("u49999"), "c", Action::Receive, "a/49999/x"));
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }

    proptest::proptest! {
        #[test]
        fn no_file_makes_the_parser_panic(text in r"((topic|user|pattern|read|deny|[ \t\n#+/%uc$a-z]){1,40})") {
            let _ = parse(&text);
        }
    }
}

//! What the configuration says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of `topic-rewrite`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The rules, in order: the first whose `from` fits is used, and no other.
    pub rules: Vec<RuleOptions>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleOptions {
    /// A Topic Filter; its wildcards are counted from 1.
    pub from: String,
    /// The new name, in which `{1}` is what the first wildcard stood for.
    pub to: String,
    /// Where the rule is used.
    #[serde(default = "on_the_way_in")]
    pub on: Vec<On>,
    /// On the way out, `to` becomes `from` again.
    #[serde(default)]
    pub both_ways: bool,
}

impl RuleOptions {
    /// Returns a rule that renames what comes in, one way.
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
            on: on_the_way_in(),
            both_ways: false,
        }
    }
}

/// Where a rule is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum On {
    /// The topic of messages that come in.
    Publish,
    /// The filter of a SUBSCRIBE or UNSUBSCRIBE.
    Subscribe,
    /// The topic of messages that go out.
    Deliver,
}

fn on_the_way_in() -> Vec<On> {
    vec![On::Publish, On::Subscribe]
}

//! `when` of a use: an expression in CEL that says whether the plugin is asked. Read and judged when the file is read, so that
//! what can go wrong later is only what depends on the message. It sees the moment and nothing else: no clock, no chance, no
//! input, and no loop within a loop, so its cost has a bound.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use broker_core::{Condition, Hook, Moment};
use broker_types::{ClientHandle, ProtocolVersion, QoS};
use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::common::types::{CelBool, CelInt, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::parser::PrattParser;
use cel::{Context, Env, Value};
use plugin_api::{Action, ClientView, Fault, FaultKind, Peer};

use super::schema::did_you_mean;

/// Bytes an expression may have.
const TEXT_MAX: usize = 2048;
/// How deep its parts may be nested: each level takes some stack when it is evaluated.
const DEPTH_MAX: u16 = 64;
/// The largest payload that an expression sees as text.
const PAYLOAD_MAX: usize = 64 * 1024;

/// What an expression may name. The same list is in `docs/configuration.md`.
const VARIABLES: &[&str] = &[
    "client", "topic", "levels", "qos", "retain", "size", "payload", "action", "hook",
];

/// What stands behind `client.`.
const FIELDS: &[&str] = &[
    "id",
    "username",
    "authenticated",
    "listener",
    "address",
    "version",
    "clean_start",
    "mount",
    "attributes",
];

/// The functions of CEL that there are here, without operators.
const FUNCTIONS: &[&str] = &[
    "size",
    "startsWith",
    "endsWith",
    "contains",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "type",
];

/// The functions and operators of CEL, once for all expressions.
static STANDARD: LazyLock<Context<'static, 'static>> =
    LazyLock::new(|| Context::with_env(Arc::new(Env::stdlib())));

/// An expression that makes sense.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    tree: Arc<IdedExpr>,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct ExpressionError {
    /// What is wrong; completes the sentence "`when` …".
    pub message: String,
    /// Where in the text, in bytes.
    pub at: Range<usize>,
    /// What to write instead.
    pub help: Option<String>,
}

impl FromStr for Expression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > TEXT_MAX {
            return Err(wrong(text, format!("is longer than {TEXT_MAX} bytes")));
        }
        let parsed = PrattParser::new().max_recursion_depth(DEPTH_MAX).parse(text);
        let tree = parsed.map_err(|errors| match errors.errors.first() {
            Some(first) => ExpressionError {
                message: format!("is no expression: {}", readable(&first.msg)),
                at: span(text, first.pos),
                help: None,
            },
            None => wrong(text, "is no expression".to_owned()),
        })?;
        let mut names = Names {
            text,
            bound: Vec::new(),
            loops: 0,
            depth: 0,
        };
        names.check(&tree)?;
        let expression = Self {
            text: text.into(),
            tree: Arc::new(tree),
        };
        expression.check_result()?;
        Ok(expression)
    }
}

impl Expression {
    /// Returns it as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Tells which variable of it has no value at `hook`; `None` too where the expression looks at `hook` itself.
    pub(super) fn unknown_at(&self, hook: Hook) -> Option<&'static str> {
        let references = self.tree.references();
        if references.has_variable("hook") {
            return None;
        }
        let mut used = VARIABLES.iter().filter(|name| references.has_variable(name));
        used.find(|name| !is_known(name, hook)).copied()
    }

    /// Whether it gives a yes or no; seen with a moment in which everything is there.
    fn check_result(&self) -> Result<(), ExpressionError> {
        let client = example();
        let mut moment = Moment::new(Hook::Publish);
        moment.client = Some(&client);
        moment.topic = Some("a/b/c/d");
        moment.action = Some(Action::Publish);
        moment.qos = Some(QoS::AtLeastOnce);
        moment.retain = Some(false);
        moment.payload = Some(b"21.5");
        match self.evaluate(&moment) {
            Ok(Value::Bool(_)) => Ok(()),
            Ok(other) => {
                let message = format!(
                    "gives {}, not `true` or `false`",
                    article(&other.type_of().to_string())
                );
                Err(wrong(&self.text, message))
            }
            // With other messages it may be another matter; a wrong type is wrong with all.
            Err(cel::ExecutionError::NoSuchOverload(error)) => {
                let types = error.argument_types().join(" and ");
                let what = operator(error.function()).unwrap_or(error.function());
                Err(wrong(
                    &self.text,
                    format!("uses `{what}` with {types}, which makes no sense"),
                ))
            }
            Err(_) => Ok(()),
        }
    }

    fn evaluate(&self, moment: &Moment<'_>) -> cel::ResolveResult {
        let variables = Variables(moment);
        let mut scope = STANDARD.new_inner_scope();
        scope.set_variable_resolver(&variables);
        Value::resolve(&self.tree, &scope)
    }
}

impl Condition for Expression {
    fn holds(&self, moment: &Moment<'_>) -> Result<bool, Fault> {
        match self.evaluate(moment) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(unanswered(format_args!("it gives a {}", other.type_of()))),
            Err(error) => Err(unanswered(error)),
        }
    }
}

fn unanswered(why: impl fmt::Display) -> Fault {
    Fault::new(FaultKind::Protocol, format!("`when` has no answer: {why}"))
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Some client.
fn example() -> ClientView {
    ClientView {
        handle: ClientHandle(1),
        id: "client".into(),
        username: Some("user".into()),
        authenticated: true,
        listener: "main".into(),
        peer: Peer::Local,
        version: ProtocolVersion::V5,
        clean_start: true,
        mount: "".into(),
        attributes: Arc::new([]),
        certificate: None,
        unrestricted: false,
    }
}

/// Tells whether a variable has a value at a hook.
fn is_known(variable: &str, hook: Hook) -> bool {
    let message = matches!(hook, Hook::Publish | Hook::Retain | Hook::Deliver | Hook::Will);
    match variable {
        "client" => !matches!(hook, Hook::Retain | Hook::Deliver),
        "topic" | "levels" => {
            message || matches!(hook, Hook::Authorize | Hook::Subscribe | Hook::Unsubscribe)
        }
        "qos" => message || matches!(hook, Hook::Authorize | Hook::Subscribe),
        "retain" => message || hook == Hook::Authorize,
        "size" | "payload" => message,
        "action" => hook == Hook::Authorize,
        _ => true,
    }
}

/// What an expression sees.
struct Variables<'a>(&'a Moment<'a>);

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let moment = self.0;
        if let Some(field) = variable.strip_prefix("client.") {
            return client_field(moment.client?, field);
        }
        Some(match variable {
            "client" => value(client(moment.client?)),
            "topic" => text(moment.topic?),
            "levels" => value(moment.topic?.split('/').collect::<Vec<_>>()),
            "qos" => integer(i64::from(moment.qos?.bits())),
            "retain" => truth(moment.retain?),
            "size" => integer(i64::try_from(moment.payload?.len()).unwrap_or(i64::MAX)),
            "payload" => text(readable_payload(moment.payload?)),
            "action" => text(match moment.action? {
                Action::Publish => "publish",
                Action::Subscribe => "subscribe",
                Action::Receive => "receive",
            }),
            "hook" => text(moment.hook.as_str()),
            _ => return None,
        })
    }
}

/// A payload as text; empty if it isn't, or is too large to look at for each message.
fn readable_payload(payload: &[u8]) -> &str {
    match payload.len() {
        0..=PAYLOAD_MAX => std::str::from_utf8(payload).unwrap_or_default(),
        _ => "",
    }
}

fn client_field<'b>(client: &'b ClientView, field: &str) -> Option<CowVal<'b, 'b>> {
    if let Some(name) = field.strip_prefix("attributes.") {
        return client.attribute(name).map(text);
    }
    Some(match field {
        "id" => text(client.id.as_str()),
        "username" => text(client.username.as_deref().unwrap_or_default()),
        "authenticated" => truth(client.authenticated),
        "listener" => text(&*client.listener),
        "address" => text(address(client.peer)),
        "version" => text(version(client.version)),
        "clean_start" => truth(client.clean_start),
        "mount" => text(&*client.mount),
        "attributes" => value(attributes(client)),
        _ => return None,
    })
}

/// The whole of a client, for who asks for more than a field.
fn client(client: &ClientView) -> Value {
    let fields = FIELDS.iter().filter_map(|field| {
        let value = client_field(client, field)?;
        Some((field.to_string(), Value::try_from(value.as_ref()).ok()?))
    });
    Value::from(fields.collect::<std::collections::HashMap<_, _>>())
}

fn attributes(client: &ClientView) -> Value {
    let all = client.attributes.iter().cloned();
    Value::from(all.collect::<std::collections::HashMap<String, String>>())
}

/// The other end's IP address; empty for a unix socket and the program itself.
fn address(peer: Peer) -> Cow<'static, str> {
    match peer {
        Peer::Tcp(address) => {
            let ip: IpAddr = address.ip().to_canonical();
            ip.to_string().into()
        }
        _ => "".into(),
    }
}

const fn version(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::V31 => "3.1",
        ProtocolVersion::V311 => "3.1.1",
        ProtocolVersion::V5 => "5.0",
    }
}

fn text<'b>(text: impl Into<Cow<'b, str>>) -> CowVal<'b, 'b> {
    CowVal::owned(match text.into() {
        Cow::Borrowed(text) => CelString::from(text),
        Cow::Owned(text) => CelString::from(text),
    })
}

fn integer<'b>(number: i64) -> CowVal<'b, 'b> {
    CowVal::owned(CelInt::from(number))
}

fn truth<'b>(truth: bool) -> CowVal<'b, 'b> {
    CowVal::owned(CelBool::from(truth))
}

fn value<'b>(value: impl Into<Value>) -> CowVal<'b, 'b> {
    let boxed: Result<Box<dyn Val>, _> = value.into().try_into();
    CowVal::Owned(boxed.expect("lists and maps of text are values"))
}

/// Checks every name in a tree, and that loops don't stand within loops.
struct Names<'a> {
    text: &'a str,
    /// The names that loops have given to elements.
    bound: Vec<String>,
    loops: u8,
    depth: u16,
}

impl Names<'_> {
    fn check(&mut self, tree: &IdedExpr) -> Result<(), ExpressionError> {
        if self.depth == DEPTH_MAX {
            return Err(wrong(self.text, format!("is nested more than {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let checked = self.check_here(tree);
        self.depth -= 1;
        checked
    }

    fn check_here(&mut self, tree: &IdedExpr) -> Result<(), ExpressionError> {
        match &tree.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => {
                if let Expr::Ident(name) = &select.operand.expr
                    && name == "client"
                    && !FIELDS.contains(&select.field.as_str())
                {
                    let help = did_you_mean(&select.field, FIELDS.iter().copied());
                    let message = format!("names `client.{}`, which there isn't", select.field);
                    return Err(self.at(&select.field, message, help, FIELDS));
                }
                self.check(&select.operand)
            }
            Expr::Call(call) => {
                self.function(&call.func_name)?;
                call.target.iter().try_for_each(|target| self.check(target))?;
                call.args.iter().try_for_each(|argument| self.check(argument))
            }
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.check(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.check(&entry.key)?;
                    self.check(&entry.value)
                }
                EntryExpr::StructField(field) => self.check(&field.value),
            }),
            Expr::Struct(made) => Err(wrong(
                self.text,
                format!("makes a `{}`, which there isn't", made.type_name),
            )),
            Expr::Comprehension(each) => {
                self.check(&each.iter_range)?;
                if self.loops > 0 {
                    return Err(wrong(self.text, "has a loop within a loop".to_owned()));
                }
                let before = self.bound.len();
                self.bound.push(each.iter_var.clone());
                self.bound.extend(each.iter_var2.clone());
                self.bound.push(each.accu_var.clone());
                self.loops += 1;
                for inner in [&each.accu_init, &each.loop_cond, &each.loop_step, &each.result] {
                    self.check(inner)?;
                }
                self.loops -= 1;
                self.bound.truncate(before);
                Ok(())
            }
        }
    }

    fn variable(&self, name: &str) -> Result<(), ExpressionError> {
        if VARIABLES.contains(&name) || self.bound.iter().any(|bound| bound == name) {
            return Ok(());
        }
        let help = did_you_mean(name, VARIABLES.iter().copied());
        Err(self.at(
            name,
            format!("names `{name}`, which there isn't"),
            help,
            VARIABLES,
        ))
    }

    fn function(&self, name: &str) -> Result<(), ExpressionError> {
        // Operators have names that nobody can write.
        let is_operator = !name.starts_with(|first: char| first.is_ascii_alphabetic());
        if is_operator || FUNCTIONS.contains(&name) {
            return Ok(());
        }
        let help = did_you_mean(name, FUNCTIONS.iter().copied());
        Err(self.at(
            name,
            format!("calls `{name}`, which there isn't"),
            help,
            FUNCTIONS,
        ))
    }

    /// An error at the first place where `word` stands.
    fn at(&self, word: &str, message: String, help: Option<String>, known: &[&str]) -> ExpressionError {
        let start = self.text.find(word).unwrap_or(0);
        ExpressionError {
            message,
            at: start..start + word.len(),
            help: help.or_else(|| Some(format!("there are: {}", known.join(", ")))),
        }
    }
}

fn wrong(text: &str, message: String) -> ExpressionError {
    ExpressionError {
        message,
        at: 0..text.len(),
        help: None,
    }
}

/// The place of a line and column that the parser gives, both from 1; a column counts bytes.
fn span(text: &str, (line, column): (isize, isize)) -> Range<usize> {
    let line = usize::try_from(line).unwrap_or_default();
    let column = usize::try_from(column).unwrap_or_default();
    if line == 0 {
        return 0..text.len();
    }
    let before: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let start = text.floor_char_boundary(before + column.saturating_sub(1));
    let next = text[start..].chars().next().map_or(0, char::len_utf8);
    start..start + next
}

/// The parser's words without its accent.
fn readable(message: &str) -> String {
    message
        .trim_start_matches("Syntax error: ")
        .replace(
            "mismatched input '<EOF>' expecting expression",
            "something is missing at the end",
        )
        .replace(" expecting <EOF>", ", which is one thing too many")
}

/// What a reader calls an operator: of `_<_` it is `<`.
fn operator(name: &str) -> Option<&str> {
    let bare = name.trim_matches('_');
    (bare != name && !bare.is_empty()).then_some(bare)
}

fn article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']) && noun != "uint";
    format!("{} {noun}", if vowel { "an" } else { "a" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Expression, ExpressionError> {
        text.parse()
    }

    fn holds(text: &str) -> Result<bool, Fault> {
        let mut client = example();
        client.attributes = Arc::new([("role".to_owned(), "sensor".to_owned())]);
        client.peer = Peer::Tcp(([10, 0, 0, 7], 40_000).into());
        let mut moment = Moment::new(Hook::Publish);
        moment.client = Some(&client);
        moment.topic = Some("plant/7/raw/temp");
        moment.qos = Some(QoS::AtLeastOnce);
        moment.retain = Some(false);
        moment.payload = Some(b"21.5;C");
        parse(text).unwrap().holds(&moment)
    }

    #[test]
    fn expressions_see_the_moment() {
        for (text, expected) in [
            ("topic.startsWith('plant/') && qos > 0", true),
            ("levels[1] == '7' && size(levels) == 4", true),
            ("levels.exists(level, level == 'raw')", true),
            ("size < 4 || retain", false),
            ("payload.contains(';') && size == 6", true),
            ("hook == 'publish'", true),
            ("client.id == 'client' && client.username != 'admin'", true),
            (
                "client.version == '5.0' && client.address.startsWith('10.')",
                true,
            ),
            ("client.attributes.role == 'sensor'", true),
            (
                "has(client.attributes.role) && !has(client.attributes.site)",
                true,
            ),
            (
                "'role' in client.attributes && client.listener in ['main', 'web']",
                true,
            ),
            ("double(payload.contains('2') ? '1.5' : '0') > 1.0", true),
            (
                "has(client.attributes.site) && client.attributes.site == 'x'",
                false,
            ),
        ] {
            assert_eq!(holds(text).ok(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_depends_on_the_message_may_fail_later() {
        for text in [
            "levels[9] == 'x'",
            "client.attributes.site == 'x'",
            "int(payload) > 3",
        ] {
            let fault = holds(text).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Protocol, "{text}: {}", fault.text);
        }
    }

    #[test]
    fn mistakes_are_told_where_they_stand() {
        for (text, message, at) in [
            ("topc == 'a'", "names `topc`, which there isn't", 0..4),
            (
                "topic == 'a' && client.user == 'x'",
                "names `client.user`, which there isn't",
                23..27,
            ),
            (
                "topic.beginsWith('a')",
                "calls `beginsWith`, which there isn't",
                6..16,
            ),
            ("topic.matches('a+')", "calls `matches`, which there isn't", 6..13),
            (
                "qos > ",
                "is no expression: something is missing at the end",
                6..6,
            ),
            ("(qos > 1", "is no expression: expected ')'", 8..8),
            ("topic", "gives a string, not `true` or `false`", 0..5),
            (
                "topic > 3",
                "uses `>` with string and int, which makes no sense",
                0..9,
            ),
            ("", "is no expression: something is missing at the end", 0..0),
            (
                "levels.all(a, levels.exists(b, a == b))",
                "has a loop within a loop",
                0..39,
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.message.as_str(), error.at), (message, at), "{text}");
        }
        assert_eq!(
            parse("topc == 'a'").unwrap_err().help.as_deref(),
            Some("did you mean `topic`?")
        );
        assert!(parse(&"(".repeat(5000)).unwrap_err().message.contains("longer"));
        for opening in ["(", "[", "!", "-", "{1:", "true?", "size("] {
            assert!(
                parse(&opening.repeat(TEXT_MAX / opening.len())).is_err(),
                "{opening}"
            );
        }
        let sum = format!("1{} > 0", " + 1".repeat(300));
        assert!(parse(&sum).unwrap_err().message.contains("deep"));
    }

    #[test]
    fn which_variables_a_hook_has_is_known() {
        let unknown = |text: &str, hook| parse(text).unwrap().unknown_at(hook);
        assert_eq!(unknown("topic == 'a'", Hook::Authenticate), Some("topic"));
        assert_eq!(unknown("client.id == 'a'", Hook::Deliver), Some("client"));
        assert_eq!(unknown("client.id == 'a'", Hook::Publish), None);
        assert_eq!(
            unknown("hook != 'deliver' && client.id == 'a'", Hook::Deliver),
            None
        );
    }

    #[test]
    fn no_text_makes_it_panic() {
        let parts = [
            "topic", "(", ")", "'a'", "&&", "[", "]", ".", "size", "1", "client", "?", ":", "\u{e9}", "{",
            "}", "in", "-", "\"",
        ];
        let mut seed = 7_u64;
        for _ in 0..3_000 {
            let text: String = (0..8)
                .map(|_| {
                    seed = seed
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    parts[(seed >> 33) as usize % parts.len()]
                })
                .collect();
            if let Err(error) = parse(&text) {
                assert!(text.get(error.at.clone()).is_some(), "{text}: {:?}", error.at);
            }
        }
    }
}

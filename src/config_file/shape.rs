//! What the file says: the shape of `jackfield.toml`, key by key. The doc comments here are the descriptions in the JSON
//! Schema and in the configuration reference. Nothing is filled in or judged here: defaults stand in `defaults.toml`,
//! meaning is made in `resolve.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::quantity::{ByteSize, MemorySize, TimeSpan};
use super::secrets::Secret;
use super::text::{Address, Bind, Filter, Mount, Socket, Topic, UrlPrefix};
use super::when::Expression;

/// The options of a plugin, checked against the schema that the plugin brings.
pub(super) type Options = serde_json::Map<String, serde_json::Value>;

/// Jackfield's configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The format of this file.
    #[schemars(range(min = 1, max = 1))]
    #[serde(rename = "version")]
    pub(super) _version: Option<u32>,
    /// Names an overlay: with `profile = "NAME"`, `jackfield.NAME.toml` beside this file is read on top of it. `dev` and
    /// `production` need no overlay.
    #[serde(rename = "profile")]
    pub(super) _profile: Option<String>,
    /// Files that are read with this one, relative to it; `*` may stand in the last part. Tables merge, arrays replace.
    #[serde(default, rename = "include")]
    pub(super) _include: Vec<String>,
    /// This machine.
    pub(super) node: Node,
    /// What the program says about itself, on standard error.
    pub(super) log: Log,
    /// What clients may do at most; the same keys may stand under `listeners.NAME.limits`.
    pub(super) limits: Limits,
    /// Where Sessions and messages are kept.
    pub(super) store: Store,
    /// Shared Subscriptions.
    pub(super) shared_subscriptions: SharedSubscriptions,
    /// The broker's figures as Retained Messages under `$SYS/`.
    pub(super) sys: Sys,
    /// Instances of plugins, by name: small letters, digits and `_`.
    #[serde(default)]
    pub(super) plugins: BTreeMap<String, Plugin>,
    /// Ordered lists of plugins, by name. A listener without `chain` uses the one that is called `default`.
    #[serde(default)]
    pub(super) chains: BTreeMap<String, Chain>,
    /// Where clients connect, by name.
    #[serde(default)]
    pub(super) listeners: BTreeMap<String, Listener>,
    /// Ways to other systems, and back. A plugin carries; queueing, repeating and renaming are the broker's.
    #[serde(default)]
    pub(super) bridges: Vec<Bridge>,
    /// What the chains are to do, for `jackfield test`. The broker itself doesn't look at them.
    #[serde(default)]
    pub(super) tests: Vec<Test>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    /// Threads that serve connections; absent: one for each processor.
    #[schemars(range(min = 1, max = 1024), extend("x-default" = "one for each processor"))]
    pub(super) worker_threads: Option<usize>,
    /// The folders that plugins which are files are loaded from, and nowhere else; in this order. Relative to this file.
    #[serde(default)]
    pub(super) plugin_dirs: Vec<PathBuf>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// The least severe level that is written.
    pub(super) level: LogLevel,
    /// How a record looks; `auto`: text, with colours on a terminal.
    pub(super) format: LogFormat,
    /// Other levels for parts of the program, by target: `"broker_core::net" = "debug"`.
    #[serde(default)]
    pub(super) targets: BTreeMap<String, LogLevel>,
}

/// How much is logged. The list is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What needs somebody now.
    Error,
    /// What needs somebody some day.
    Warn,
    /// What happened.
    Info,
    /// What led to it.
    Debug,
    /// Every packet.
    Trace,
}

/// How a log record looks. The list grows; who matches it wants to hear of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text, coloured on a terminal.
    Auto,
    /// Text without colours.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Network Connections of a listener at a time; more are refused before CONNECT.
    #[schemars(range(min = 1), extend("x-default" = "file descriptors allowed, less 100"))]
    pub(super) connections_max: Option<usize>,
    /// Time from accept to a complete CONNECT; then the connection is closed.
    #[schemars(extend("x-min" = "1ms", "x-max" = "1h"))]
    pub(super) connect_timeout: Option<TimeSpan>,
    /// The largest packet, fixed header included; a larger one is refused with 0x95 before memory is reserved.
    #[schemars(extend("x-min" = "128B", "x-max" = "256MiB"))]
    pub(super) packet_size_max: Option<ByteSize>,
    /// The largest CONNECT, whatever `packet_size_max` says.
    #[schemars(extend("x-min" = "128B", "x-max" = "256MiB"))]
    pub(super) connect_size_max: Option<ByteSize>,
    /// QoS 1 and 2 messages a client may have under way towards the broker (Receive Maximum).
    #[schemars(range(min = 1))]
    pub(super) receive_maximum: Option<u16>,
    /// QoS 1 and 2 messages under way towards a client; the client's own Receive Maximum wins when lower.
    #[schemars(range(min = 1))]
    pub(super) inflight_max: Option<u16>,
    /// Messages that wait for a Session; beyond it `queue_full` holds.
    pub(super) queued_messages_max: Option<usize>,
    /// Bytes that wait for a Session; beyond it `queue_full` holds.
    pub(super) queued_bytes_max: Option<ByteSize>,
    /// Bytes that wait to be written to one connection, acknowledgements included.
    #[schemars(extend("x-min" = "4KiB"))]
    pub(super) outbox_bytes_max: Option<ByteSize>,
    /// A connection that takes nothing of its outbox for so long is closed.
    #[schemars(extend("x-min" = "1s", "x-max" = "1d"))]
    pub(super) write_stall_max: Option<TimeSpan>,
    /// Subscriptions of one Session; beyond it SUBACK 0x97 (MQTT 3.1.1: 0x80).
    pub(super) subscriptions_max: Option<usize>,
    /// Levels of a Topic Name or Topic Filter.
    #[schemars(range(min = 1, max = 65536))]
    pub(super) topic_levels_max: Option<usize>,
    /// Bytes of a Topic Name or Topic Filter.
    #[schemars(extend("x-min" = "1B", "x-max" = "65535B"))]
    pub(super) topic_bytes_max: Option<ByteSize>,
    /// Bytes of a Client Identifier.
    #[schemars(extend("x-min" = "23B", "x-max" = "65535B"))]
    pub(super) client_id_bytes_max: Option<ByteSize>,
    /// Topic Aliases a client may use; beyond it 0x94.
    pub(super) topic_alias_maximum: Option<u16>,
    /// Topic Aliases the broker uses towards a client that offers some.
    pub(super) topic_alias_out_max: Option<u16>,
    /// The longest Session Expiry Interval; a longer wish is lowered and told in CONNACK.
    #[schemars(extend("x-min" = "0s", "x-max" = "49710d", "x-default" = "none"))]
    pub(super) session_expiry_max: Option<TimeSpan>,
    /// The longest Keep Alive; a longer wish is lowered and told in CONNACK (MQTT 3.1.1 clients aren't told).
    #[schemars(extend("x-min" = "1s", "x-max" = "65535s", "x-default" = "none"))]
    pub(super) keep_alive_max: Option<TimeSpan>,
    /// The highest QoS offered.
    #[schemars(range(min = 0, max = 2))]
    pub(super) maximum_qos: Option<u8>,
    /// Whether messages may be retained.
    pub(super) retain_available: Option<bool>,
    /// Whether `+` and `#` may stand in a Topic Filter.
    pub(super) wildcard_available: Option<bool>,
    /// Whether Subscription Identifiers may be used.
    pub(super) subscription_ids_available: Option<bool>,
    /// Whether `$share/` may be used.
    pub(super) shared_available: Option<bool>,
    /// Whether a payload that claims to be UTF-8 and isn't is refused.
    pub(super) check_payload_format: Option<bool>,
    /// Whether QoS 0 messages are kept for Sessions whose client is away.
    pub(super) queue_qos0: Option<bool>,
    /// How fast one client may publish before its reading is slowed.
    pub(super) rate: Option<Rate>,
    /// Sessions of the broker. Not for a listener.
    #[schemars(range(min = 1))]
    pub(super) sessions_max: Option<usize>,
    /// Retained Messages of the broker. Not for a listener.
    pub(super) retained_max: Option<usize>,
    /// Bytes of all Retained Messages. Not for a listener.
    pub(super) retained_bytes_max: Option<ByteSize>,
    /// What Sessions and messages may take of the memory: a size, or a part of what the machine or the control group has.
    /// From 90 % of it on new Sessions are refused, from 95 % on QoS 0 messages too, at last all messages. Not for a listener.
    #[schemars(extend("x-min" = "1MiB"))]
    pub(super) memory_max: Option<MemorySize>,
    /// What a Session does when more waits for it than may: drop what waits longest, drop what is new, or disconnect the
    /// client. Not for a listener.
    pub(super) queue_full: Option<QueueFull>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rate {
    /// Messages a second.
    #[schemars(range(min = 1), extend("x-default" = "none"))]
    pub(super) messages: Option<u32>,
    /// Bytes a second.
    #[schemars(extend("x-min" = "1B", "x-max" = "4095MiB", "x-default" = "none"))]
    pub(super) bytes: Option<ByteSize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    /// What keeps them: `memory`, which forgets everything when the program ends, or the name of a plugin that has the hook
    /// `session-store`.
    pub(super) engine: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum QueueFull {
    DropOldest,
    DropNewest,
    Disconnect,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SharedSubscriptions {
    /// Which member of a group gets a message.
    pub(super) strategy: ShareStrategy,
}

/// How a group of subscribers shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ShareStrategy {
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
    /// The same one until it goes away.
    Sticky,
    /// The same one for each publisher.
    HashClient,
    /// The same one for each Topic Name.
    HashTopic,
    /// The one with the fewest messages under way.
    LeastInflight,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sys {
    /// Whether they are published.
    pub(super) enabled: bool,
    /// How often.
    #[schemars(extend("x-min" = "1s", "x-max" = "1d"))]
    pub(super) interval: TimeSpan,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Plugin {
    /// What to run: `builtin:NAME`, or `native:FILE` or `wasm:FILE` from one of `node.plugin_dirs`.
    #[serde(rename = "use")]
    pub(super) source: String,
    /// The SHA-256 that a file must have, in hexadecimal: another one isn't loaded.
    #[schemars(extend("format" = "sha256", "x-default" = "any file"))]
    pub(super) sha256: Option<String>,
    /// Whose signature a file must bear: `ed25519:` and the key in base64, as `jackfield plugin keygen` writes it.
    #[schemars(extend("format" = "ed25519-key", "x-default" = "no signature is needed"))]
    pub(super) public_key: Option<String>,
    /// The signature, as `jackfield plugin sign` writes it.
    #[schemars(extend("format" = "ed25519-signature", "x-default" = "that in the file beside it, `FILE.sig`"))]
    pub(super) signature: Option<String>,
    /// Narrows it to these hooks.
    #[schemars(extend("x-default" = "all that the plugin has"))]
    pub(super) hooks: Option<Vec<String>>,
    /// The plugin's own options.
    #[serde(default)]
    pub(super) config: Options,
    /// What it may do besides answering.
    pub(super) allow: Option<Allow>,
    /// Where calls of a Wasm plugin run.
    #[schemars(extend("x-default" = "inline while they are short"))]
    pub(super) run: Option<Run>,
    /// How many calls of a Wasm plugin may run at once on threads of its own, each in an instance.
    #[schemars(range(min = 1, max = 64), extend("x-default" = "2"))]
    pub(super) pool: Option<NonZeroUsize>,
    /// What a Wasm plugin may use.
    pub(super) limits: Option<PluginLimits>,
    /// `call`: a Wasm plugin has a new instance for each call.
    #[schemars(extend("x-default" = "instances are used again"))]
    pub(super) isolation: Option<Isolation>,
    /// Time for one call.
    #[schemars(extend("x-min" = "1ms", "x-max" = "1h", "x-default" = "the hook's own"))]
    pub(super) timeout: Option<TimeSpan>,
    /// What a failed call means.
    #[schemars(extend("x-default" = "deny"))]
    pub(super) on_error: Option<OnFault>,
    /// What a call that took too long means.
    #[schemars(extend("x-default" = "as on_error"))]
    pub(super) on_timeout: Option<OnFault>,
}

/// Where calls of a Wasm plugin run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Run {
    /// Where they are made: one that takes more than 2 ms fails.
    Inline,
    /// On threads of the plugin's own.
    Pool,
}

/// How long an instance of a Wasm plugin lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Isolation {
    /// For one call.
    Call,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginLimits {
    /// The memory of each instance.
    #[schemars(extend("x-min" = "64KiB", "x-max" = "4GiB", "x-default" = "16MiB"))]
    pub(super) memory: Option<ByteSize>,
    /// The time that one call may run on a thread of the plugin's own.
    #[schemars(extend("x-min" = "1ms", "x-max" = "1h", "x-default" = "50ms"))]
    pub(super) cpu: Option<TimeSpan>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Allow {
    /// The topics, mount included, that it may publish messages of its own to, and send messages on to.
    #[schemars(extend("x-default" = "every topic; for a Wasm plugin none"))]
    pub(super) publish: Option<Vec<Filter>>,
    /// Records of its own in the broker's store: they survive a swap of the plugin, and the broker as far as its store does.
    #[serde(default)]
    pub(super) kv: bool,
    /// The URLs it may ask over HTTP: those that begin like one of these.
    #[serde(default)]
    pub(super) http: Vec<UrlPrefix>,
    /// The time. For Wasm plugins; others have it.
    #[serde(default)]
    pub(super) clock: bool,
    /// Randomness. For Wasm plugins.
    #[serde(default)]
    pub(super) random: bool,
    /// Looking at clients, and ending their connections. For Wasm plugins.
    #[serde(default)]
    pub(super) clients: bool,
    /// Names of environment variables that it sees. For Wasm plugins.
    #[serde(default)]
    pub(super) env: Vec<String>,
    /// Folders that a Wasm plugin sees under the same path: `/PATH` to read, `/PATH:rw` to change. An empty list lets it link what opens files.
    #[schemars(extend("x-default" = "no files"))]
    pub(super) dirs: Option<Vec<String>>,
    /// Addresses that a Wasm plugin may connect to over TCP.
    #[serde(default)]
    pub(super) sockets: Vec<Socket>,
}

/// What a fault of a plugin means for what it was asked about. The list is complete: these are the engine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFault {
    /// Refused, as unavailable.
    Deny,
    /// As if the plugin were not in the chain.
    Skip,
    /// The message is acknowledged and goes nowhere.
    Drop,
    /// The client is disconnected.
    Disconnect,
    /// Allowed.
    Allow,
}

/// As the file writes it.
impl fmt::Display for OnFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deny => "deny",
            Self::Skip => "skip",
            Self::Drop => "drop",
            Self::Disconnect => "disconnect",
            Self::Allow => "allow",
        })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Chain {
    /// The plugins in order.
    List(Vec<Use>),
    /// The plugins in order, and how their verdicts count.
    Table(ChainTable),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChainTable {
    /// The plugins in order.
    pub(super) uses: Vec<Use>,
    /// `first`: the first verdict wins. `all`: everyone that has a verdict must allow.
    #[schemars(extend("x-default" = "first"))]
    pub(super) authenticate: Option<Combine>,
    /// `first`: the first verdict wins. `all`: everyone that has a verdict must allow.
    #[schemars(extend("x-default" = "first"))]
    pub(super) authorize: Option<Combine>,
}

/// How the verdicts of a chain are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Combine {
    /// The first that isn't `skip` wins.
    First,
    /// All that aren't `skip` must allow.
    All,
}

/// One place in a chain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Use {
    /// The name of a plugin instance.
    Name(String),
    /// A plugin instance with settings for this place, or another chain.
    Table(Box<UseTable>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UseTable {
    /// The plugin instance. This or `chain`.
    pub(super) plugin: Option<String>,
    /// Another chain, whose entries stand here. This or `plugin`.
    pub(super) chain: Option<String>,
    /// Narrows it to these hooks.
    #[schemars(extend("x-default" = "as the instance says"))]
    pub(super) on: Option<Vec<String>>,
    /// Messages of other topics pass it by.
    #[schemars(extend("x-default" = "every topic"))]
    pub(super) topics: Option<Vec<Filter>>,
    /// An expression in CEL: where it isn't true, it is as if the plugin weren't here. Looked at before the plugin is called.
    #[schemars(extend("x-default" = "always"))]
    pub(super) when: Option<Expression>,
    /// Laid over the instance's `config`; makes a second instance.
    pub(super) with: Option<Options>,
    /// Whether it is an instance of its own, even if its options are those of another.
    #[schemars(extend("x-default" = "false"))]
    pub(super) isolate: Option<bool>,
    /// Time for one call.
    #[schemars(extend("x-min" = "1ms", "x-max" = "1h", "x-default" = "as the instance says"))]
    pub(super) timeout: Option<TimeSpan>,
    /// What a failed call means.
    #[schemars(extend("x-default" = "as the instance says"))]
    pub(super) on_error: Option<OnFault>,
    /// What a call that took too long means.
    #[schemars(extend("x-default" = "as the instance says"))]
    pub(super) on_timeout: Option<OnFault>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    /// Where it listens: `127.0.0.1:1883`, `[::]:1883`, `1883` (loopback) or `unix:/run/jackfield.sock`. Port 0 takes a
    /// free one.
    #[schemars(required, extend("x-lenient" = true))]
    pub(super) bind: Option<Bind>,
    /// What carries the bytes.
    #[serde(default, rename = "transport")]
    pub(super) _transport: Option<Transport>,
    /// The chain its clients pass: a name, or the list itself.
    #[schemars(extend("x-default" = "`default`, if there is one"))]
    pub(super) chain: Option<ChainRef>,
    /// The versions of MQTT it speaks.
    #[schemars(extend("x-default" = "all three"))]
    pub(super) protocols: Option<Vec<Protocol>>,
    /// Goes before every topic of its clients; they don't see it.
    #[schemars(extend("x-default" = "none"))]
    pub(super) mount: Option<Mount>,
    /// Whether clients without credentials come in. Without an authenticator in the chain it lets everybody in.
    #[schemars(extend("x-default" = "false"))]
    pub(super) anonymous: Option<bool>,
    /// Whether any identity may take over a Session by its Client Identifier; `false`: only the one that made it.
    #[schemars(extend("x-default" = "false"))]
    pub(super) shared_sessions: Option<bool>,
    /// What its clients may do at most; what isn't said here is as under `limits`.
    #[serde(default)]
    pub(super) limits: Limits,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Transport {
    Tcp,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Bridge {
    /// Its name: small letters, digits and `_`. Logs and `$SYS` call it so.
    pub(super) name: String,
    /// The plugin instance that carries. It must have the hook `bridge`.
    pub(super) plugin: String,
    /// The chain that incoming messages pass, as those of a client whose Client Identifier and User Name are the bridge's name.
    #[schemars(extend("x-default" = "none"))]
    pub(super) chain: Option<String>,
    /// What is carried out. Of several rules the first that fits counts; without any, nothing is.
    #[serde(default)]
    pub(super) out: Vec<BridgeRule>,
    /// What is taken in. Of several rules the first that fits counts, and what fits none is dropped; without any, everything
    /// comes in under the topic that the plugin gave it.
    #[serde(default)]
    pub(super) r#in: Vec<BridgeRule>,
    /// Messages that may wait to be carried out; then the oldest are dropped.
    #[schemars(range(min = 1))]
    #[serde(default = "Bridge::queued_messages_max")]
    pub(super) queued_messages_max: usize,
    /// Bytes of them.
    #[schemars(extend("x-min" = "1KiB"))]
    #[serde(default = "Bridge::queued_bytes_max")]
    pub(super) queued_bytes_max: ByteSize,
}

impl Bridge {
    const fn queued_messages_max() -> usize {
        10_000
    }

    const fn queued_bytes_max() -> ByteSize {
        ByteSize(64 << 20)
    }
}

/// A rule of a bridge.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BridgeRule {
    /// The topics it is for.
    pub(super) filter: Filter,
    /// What they are called from there on: its `+` and `#` stand for what those of `filter` matched, in order.
    #[schemars(extend("x-default" = "the same"))]
    pub(super) to: Option<Filter>,
    /// The highest QoS; a higher one is lowered.
    #[schemars(range(min = 0, max = 2), extend("x-default" = "2"))]
    pub(super) qos: Option<u8>,
}

/// A client does one thing, and something is expected of it. With neither `publish` nor `subscribe` it only connects.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    /// What it shows.
    pub(super) name: String,
    /// The listener that the client connects to. This or `chain`.
    pub(super) listener: Option<String>,
    /// The chain that the client passes: on the first listener that has it. This or `listener`.
    pub(super) chain: Option<String>,
    /// Who the client is.
    #[serde(default)]
    pub(super) r#as: TestActor,
    /// A message that the client publishes.
    pub(super) publish: Option<TestPublish>,
    /// What the client subscribes to.
    pub(super) subscribe: Option<TestSubscribe>,
    /// What must come of it; at least one key.
    pub(super) expect: Expect,
}

/// The client of a test.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestActor {
    /// The User Name.
    pub(super) user: Option<String>,
    /// The Password. Authenticators are asked about it.
    pub(super) password: Option<Secret>,
    /// The client is taken for `user` without asking authenticators. Not beside `password`.
    #[schemars(extend("x-default" = "false"))]
    pub(super) password_ok: Option<bool>,
    /// What the authenticator is taken to have said about it; only with `password_ok`.
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
    /// The Client Identifier.
    #[schemars(extend("x-default" = "`test`"))]
    pub(super) client_id: Option<String>,
    /// The IP address it comes from.
    #[schemars(extend("x-default" = "this machine"))]
    pub(super) address: Option<Address>,
    /// The version of MQTT it speaks.
    #[schemars(extend("x-default" = "5.0"))]
    pub(super) version: Option<Protocol>,
}

/// The message of a test.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestPublish {
    /// The Topic Name, without the mount.
    pub(super) topic: Topic,
    /// The payload. This or `payload_json`, or neither.
    #[schemars(extend("x-default" = "empty"))]
    pub(super) payload: Option<String>,
    /// The payload as a value that is written as JSON.
    pub(super) payload_json: Option<serde_json::Value>,
    /// The QoS.
    #[schemars(range(min = 0, max = 2), extend("x-default" = "1"))]
    pub(super) qos: Option<u8>,
    /// Whether it is to be retained.
    #[schemars(extend("x-default" = "false"))]
    pub(super) retain: Option<bool>,
}

/// The subscription of a test.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestSubscribe {
    /// The Topic Filter, without the mount; may begin with `$share/NAME/`.
    pub(super) filter: Filter,
    /// The QoS that is asked for.
    #[schemars(range(min = 0, max = 2), extend("x-default" = "2"))]
    pub(super) qos: Option<u8>,
}

/// What must come of a test. What isn't said isn't looked at.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    /// Whether the client is let in.
    pub(super) connected: Option<bool>,
    /// The user name that the client is let in with; empty: none.
    pub(super) user: Option<String>,
    /// Whether the message goes to all who are subscribed, or the subscription is granted.
    pub(super) allowed: Option<bool>,
    /// Whether the message is acknowledged and goes nowhere.
    pub(super) dropped: Option<bool>,
    /// The Reason Code, like `0x87`: that of CONNACK if it refuses, else that of PUBACK, PUBREC or SUBACK.
    pub(super) reason: Option<u8>,
    /// The Topic Name that the message has in the end, without the mount.
    pub(super) topic: Option<Topic>,
    /// The payload that the message has in the end.
    pub(super) payload: Option<String>,
    /// The same as a value, compared as JSON.
    pub(super) payload_json: Option<serde_json::Value>,
    /// The QoS that the message has in the end, or that is granted.
    #[schemars(range(min = 0, max = 2))]
    pub(super) qos: Option<u8>,
    /// The RETAIN flag that the message has in the end.
    pub(super) retain: Option<bool>,
    /// The messages that plugins send besides, all of them in order. Their topics are with the mount.
    pub(super) emitted: Option<Vec<ExpectMessage>>,
}

/// A message that a plugin sends.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectMessage {
    /// Its Topic Name.
    pub(super) topic: Option<Topic>,
    /// Its payload.
    pub(super) payload: Option<String>,
    /// The same as a value, compared as JSON.
    pub(super) payload_json: Option<serde_json::Value>,
}

/// The chain of a listener.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ChainRef {
    /// The name of a chain.
    Name(String),
    /// The plugins in order.
    List(Vec<Use>),
}

/// A version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum Protocol {
    #[serde(rename = "3.1")]
    V31,
    #[serde(rename = "3.1.1")]
    V311,
    #[serde(rename = "5.0")]
    V5,
}

/// Returns the JSON Schema of the whole file, without references and defaults.
pub(super) fn schema() -> serde_json::Value {
    schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<File>()
        .to_value()
}

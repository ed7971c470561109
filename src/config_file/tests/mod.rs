//! Whole files in, whole reports out.

mod secrets;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use plugin_api::{LoadError, Plugin, PluginInfo, PluginLoader, PluginSource};

use super::quantity::{ByteSize, MemorySize};
use super::*;

/// A loader whose plugins only exist on paper.
struct Paper;

#[plugin_api::async_trait]
impl PluginLoader for Paper {
    fn kind(&self) -> &'static str {
        "builtin"
    }

    async fn inspect(&self, source: &PluginSource) -> Result<PluginInfo, LoadError> {
        let hooks: &[&str] = match source.what.as_str() {
            "auth-file" => &["authenticate"],
            "acl-file" => &["authorize"],
            "convert" => &["publish", "deliver"],
            "carrier" => &["bridge"],
            "topic-rewrite" => &["subscribe", "unsubscribe", "publish", "deliver"],
            what => {
                return Err(LoadError::NotFound {
                    what: what.to_owned(),
                    did_you_mean: (what == "auth-fil").then(|| "auth-file".to_owned()),
                });
            }
        };
        let schema = r#"{"type": "object", "additionalProperties": false, "properties":
            {"file": {"type": "string", "format": "path"}, "key": {"type": "string", "writeOnly": true}, "watch": {"type": "boolean"}, "deep": {"type": "object"}, "rules": {"type": "array"}}}"#;
        Ok(PluginInfo {
            id: source.what.clone(),
            version: "1.0.0".to_owned(),
            config_schema: Some(schema.to_owned()),
            hooks: hooks.iter().map(|&hook| hook.to_owned()).collect(),
        })
    }

    async fn check(&self, source: &PluginSource, options: &str) -> Result<(), LoadError> {
        if options.contains("nowhere") {
            return Err(LoadError::Options {
                key: "deep.rules[1].to".to_owned(),
                why: "it leads nowhere".to_owned(),
            });
        }
        if source.what == "auth-file" && !options.contains("file") {
            return Err(LoadError::Options {
                key: "file".to_owned(),
                why: "a password file is needed".to_owned(),
            });
        }
        Ok(())
    }

    async fn load(&self, _: &str, _: &PluginSource, _: &str) -> Result<Arc<dyn Plugin>, LoadError> {
        Err(LoadError::Start("only on paper".to_owned()))
    }
}

/// A folder with files, and what to read besides.
struct Case {
    folder: tempfile::TempDir,
    sources: Sources,
}

impl Case {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let case = Self {
            sources: Sources {
                file: Some(folder.path().join("j.toml")),
                ..Sources::default()
            },
            folder,
        };
        case.file("j.toml", text)
    }

    fn without_file() -> Self {
        let mut case = Self::new("");
        case.sources.file = None;
        case
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn set(mut self, argument: &str) -> Self {
        self.sources.set.push(argument.to_owned());
        self
    }

    fn load(&self) -> Result<Loaded, Report> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let loaders: [Arc<dyn PluginLoader>; 1] = [Arc::new(Paper)];
        runtime.block_on(load(&self.sources, &loaders))
    }

    fn settings(&self) -> Settings {
        self.load().unwrap_or_else(|report| panic!("{report}")).settings
    }

    fn found(&self) -> Report {
        match self.load() {
            Ok(loaded) => loaded.report,
            Err(report) => report,
        }
    }

    /// The report, with the folder's name taken out.
    fn report(&self) -> String {
        self.found()
            .to_string()
            .replace(&format!("{}/", self.folder.path().display()), "")
    }

    /// Checks the first lines of each diagnostic: `code message @ place`.
    fn finds(&self, expected: &[&str]) {
        let report = self.found();
        let folder = format!("{}/", self.folder.path().display());
        let found: Vec<_> = report
            .iter()
            .map(|d| {
                let place = d.place.as_ref().map_or(String::new(), ToString::to_string);
                format!("{}: {} @ {place}", d.code, d.message).replace(&folder, "")
            })
            .collect();
        assert_eq!(found, expected, "\n{report}");
    }
}

const OPEN: &str = "[listeners.main]\nbind = '1883'\nanonymous = true\n";

#[test]
fn without_a_file_there_is_one_listener_on_loopback() {
    let settings = Case::without_file().settings();
    let [listener] = &settings.listeners[..] else {
        panic!("{settings:?}")
    };
    assert_eq!(listener.bind.to_string(), "127.0.0.1:1883");
    assert!(listener.anonymous);
    assert_eq!(listener.limits, broker_types::Limits::default());
    assert_eq!(settings.sys_interval, Some(Duration::from_secs(10)));
}

#[test]
fn a_listener_from_elsewhere_takes_the_place_of_the_one_on_loopback() {
    let settings = Case::without_file()
        .variable("JACKFIELD__LISTENERS__X__BIND", "unix:/x")
        .variable("JACKFIELD__LISTENERS__X__ANONYMOUS", "true")
        .variable("HOME", "/")
        .settings();
    assert_eq!(settings.listeners.len(), 1);
    assert_eq!(settings.listeners[0].name, "x");
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = r#"version = 1
[plugins.acl]
use = "builtin:acl-file"
config = { file = "acl.toml", wach = true }
[plugins.auth]
use = "builtin:auth-fil"
[chains]
factory = ["auth", { plugin = "acl", topic = ["raw/#"] }, "alc"]
[listeners.main]
bind = "0.0.0.0:1883"
chain = "factry"
limts = {}
[listeners.main.limits]
receive_maximum = 70_000
packet_size_max = "1MB"
"#;
    let report = Case::new(text).report();
    let expected = r#"error[unknown_key]: unknown key `plugins.acl.config.wach`
 --> j.toml:4:31
  |
4 | config = { file = "acl.toml", wach = true }
  |                               ^^^^ not a known key
  = help: did you mean `watch`?

error[unknown_plugin]: there is no plugin `builtin:auth-fil`
 --> j.toml:6:7
  |
6 | use = "builtin:auth-fil"
  |       ^^^^^^^^^^^^^^^^^^
  = help: did you mean `builtin:auth-file`?

error[unknown_key]: unknown key `chains.factory[1].topic`
 --> j.toml:8:38
  |
8 | factory = ["auth", { plugin = "acl", topic = ["raw/#"] }, "alc"]
  |                                      ^^^^^ not a known key
  = help: did you mean `topics`?

error[unknown_plugin]: there is no plugin `alc`
 --> j.toml:8:59
  |
8 | factory = ["auth", { plugin = "acl", topic = ["raw/#"] }, "alc"]
  |                                                           ^^^^^
  = help: did you mean `acl`?

error[unknown_chain]: there is no chain `factry`
  --> j.toml:11:9
   |
11 | chain = "factry"
   |         ^^^^^^^^
   = help: did you mean `factory`?

error[unknown_key]: unknown key `listeners.main.limts`
  --> j.toml:12:1
   |
12 | limts = {}
   | ^^^^^ not a known key
   = help: did you mean `limits`?

error[out_of_range]: `listeners.main.limits.receive_maximum` must be an integer from 1 to 65535
  --> j.toml:14:19
   |
14 | receive_maximum = 70_000
   |                   ^^^^^^

error[bad_value]: `listeners.main.limits.packet_size_max` has no known unit; write a size like `64KiB` or `16MiB`
  --> j.toml:15:19
   |
15 | packet_size_max = "1MB"
   |                   ^^^^^

8 errors"#;
    assert_eq!(report, expected, "\n{report}");
}

#[test]
fn syntax_errors_are_told_alone() {
    Case::new("version = 1\n[limits\nx = = 2\nunknown = 1\n").finds(&[
        "syntax: not valid TOML @ j.toml:2:8",
        "syntax: not valid TOML @ j.toml:3:5",
        "syntax: not valid TOML @ j.toml:3:7",
    ]);
}

#[test]
fn a_wrong_variable_or_flag_is_named() {
    Case::new(OPEN)
        .variable("JACKFIELD__LIMITS__RECEIVE_MAXIMUM", "lots")
        .variable("JACKFIELD__LIMTS__X", "1")
        .variable("JACKFIELD__", "1")
        .set("limits.inflight_max=0")
        .set("limits.inflight_max")
        .set("listeners.main.bnd=1")
        .finds(&[
            "unknown_key: this variable names no key @ environment variable JACKFIELD__",
            "bad_value: `--set` needs `key=value` @ --set limits.inflight_max",
            "unknown_key: unknown key `limts` @ environment variable JACKFIELD__LIMTS__X",
            "unknown_key: unknown key `listeners.main.bnd` @ --set listeners.main.bnd=1",
            "wrong_type: `limits.receive_maximum` must be an integer from 1 to 65535 @ environment variable JACKFIELD__LIMITS__RECEIVE_MAXIMUM",
            "out_of_range: `limits.inflight_max` must be an integer from 1 to 65535 @ --set limits.inflight_max=0",
        ]);
}

#[test]
fn stronger_layers_win() {
    let case = Case::new(&format!(
        "include = ['conf.d/*.toml']\nprofile = 'night'\n{OPEN}[limits]\ninflight_max = 1\n"
    ))
    .file(
        "conf.d/b.toml",
        "[limits]\ntopic_levels_max = 2\nrate.messages = 7",
    )
    .file(
        "conf.d/a.toml",
        "[limits]\nqueued_messages_max = 3\nrate.bytes = '1KiB'",
    )
    .file("conf.d/c.txt", "not read")
    .file(
        "j.night.toml",
        "[limits]\ninflight_max = 4\nreceive_maximum = 4\nsubscriptions_max = 4",
    );
    let case = case
        .variable("JACKFIELD__LIMITS__RECEIVE_MAXIMUM", "5")
        .variable("JACKFIELD__LIMITS__SUBSCRIPTIONS_MAX", "5")
        .set("limits.subscriptions_max=6");
    let limits = &case.settings().listeners[0].limits;
    assert_eq!(
        (
            limits.inflight_max,
            limits.receive_maximum,
            limits.subscriptions_max
        ),
        (4, 5, 6)
    );
    assert_eq!((limits.queued_messages_max, limits.topic_levels_max), (3, 2));
    assert_eq!((limits.rate_messages, limits.rate_bytes), (Some(7), Some(1024)));
}

#[test]
fn what_two_files_set_is_a_warning() {
    Case::new(&format!("include = ['more.toml']\n{OPEN}"))
        .file("more.toml", "[listeners.main]\nanonymous = true\n")
        .finds(&["set_twice: `listeners.main.anonymous` is set twice; this one counts @ more.toml:2:1"]);
}

#[test]
fn what_cannot_be_read_is_named() {
    let mut case = Case::new("include = ['absent.toml', 'absent/*.toml']\nprofile = 'prodution'");
    case.finds(&[
        "unreadable: can't be read: No such file or directory (os error 2) @ absent.toml",
        "unreadable: the folder can't be read @ j.toml:1:27",
        "unknown_profile: there is no profile `prodution` @ j.toml:2:11",
    ]);
    case.sources.file = Some(case.folder.path().join("nothing.toml"));
    case.finds(&["unreadable: can't be read: No such file or directory (os error 2) @ nothing.toml"]);
}

#[test]
fn a_listener_without_an_authenticator_must_say_so() {
    let text = "[listeners.a]\nbind = '1883'\n[listeners.b]\nbind = '*:1884'\n[listeners.c]\nbind = '*:1885'\nanonymous = true";
    Case::new(text).finds(&[
        "open_listener: `listeners.a`: nothing decides who may connect @ j.toml:1:12",
        "open_listener: `listeners.b`: nothing decides who may connect @ j.toml:3:12",
        "open_listener: `listeners.c`: everybody who can reach 0.0.0.0:1885 comes in @ j.toml:7:1",
    ]);
}

#[test]
fn an_authenticator_counts_where_it_takes_part() {
    let plugin = "[plugins.auth]\nuse = 'builtin:auth-file'\nconfig.file = 'x'\n[plugins.c]\nuse = 'builtin:convert'\n[chains]\n";
    let listener = "[listeners.a]\nbind = '*:1883'\n";
    let guarded = format!("{plugin}inner = ['auth']\ndefault = [{{ chain = 'inner' }}, 'c']\n{listener}");
    let settings = Case::new(&guarded).settings();
    assert!(settings.listeners[0].chain.has("authenticate"));
    Case::new(&format!("{plugin}default = ['c']\nx = ['auth']\n{listener}")).finds(&[
        "open_listener: `listeners.a`: nothing decides who may connect @ j.toml:9:12",
        "unused: nothing uses the plugin `auth` @ j.toml:1:10",
        "unused: nothing uses the chain `x` @ j.toml:8:1",
    ]);
}

#[test]
fn keys_of_later_versions_are_refused_by_name() {
    let text = format!(
        "{OPEN}tls = {{ cert = 'x' }}\ntransport = 'ws'\n[admin]\nbind = 'x'\n[store]\nengine = 'fjall'\n[plugins.w]\nuse = 'wasm:x.wasm'\nisolate = true\n"
    );
    Case::new(&text).finds(&[
        "not_available: `listeners.main.tls` is not available in this version @ j.toml:4:1",
        "not_available: `listeners.main.transport = \"ws\"` is not available in this version @ j.toml:5:13",
        "not_available: `admin` is not available in this version @ j.toml:6:2",
        "not_available: `store.engine = \"fjall\"` is not available in this version @ j.toml:9:10",
        "not_available: `wasm:` plugins are not available in this version @ j.toml:11:7",
        "not_available: `plugins.w.isolate` is not available in this version @ j.toml:12:1",
    ]);
}

#[test]
fn chains_are_checked() {
    let plugins = "[plugins.acl]\nuse = 'builtin:acl-file'\n[plugins.c]\nuse = 'builtin:convert'\n[chains]\n";
    let chains = "a = [{ chain = 'b' }]\nb = ['acl', { chain = 'a' }]\nc = ['b', {}, { plugin = 'acl', on = ['publsh'] }]\n\
                  d = [{ chain = 'nowhere' }, { chain = 'a', timeout = '1s' }, { plugin = 'c', topics = ['a/#/b'] }]\ne = 7\n";
    Case::new(&format!("{plugins}{chains}{OPEN}chain = [{{ chain = 'b' }}]")).finds(&[
        "chain_cycle: chain `a` contains itself: a -> b -> a @ j.toml:6:1",
        "chain_cycle: chain `b` contains itself: b -> a -> b @ j.toml:7:1",
        "unknown_plugin: `b` is a chain, not a plugin @ j.toml:8:6",
        "bad_entry: an entry of a chain needs either `plugin` or `chain` @ j.toml:8:11",
        "unknown_hook: `acl` has no hook `publsh` @ j.toml:8:39",
        "unknown_chain: there is no chain `nowhere` @ j.toml:9:16",
        "bad_entry: nothing else can stand beside `chain` @ j.toml:9:29",
        "bad_value: `chains.d[2].topics[0]` is no topic filter: topic filter `a/#/b`: `#` must be last and alone in its level @ j.toml:9:88",
        "wrong_type: `chains.e` must be an array or a table @ j.toml:10:5",
    ]);
}

#[test]
fn settings_of_a_use_lie_over_those_of_its_instance() {
    let text = format!(
        "[plugins.acl]\nuse = 'builtin:acl-file'\ntimeout = '1s'\non_error = 'skip'\nconfig = {{ file = '/a', deep = {{ x = 1, y = 2 }} }}\n\
         [plugins.c]\nuse = 'builtin:convert'\nhooks = ['publish']\n\
         [chains]\none = ['acl', 'c', {{ plugin = 'acl', with = {{ deep = {{ y = 3 }} }}, timeout = '2s', topics = ['t/#'], on_error = 'drop' }}]\n\
         two = {{ uses = ['acl'], authenticate = 'all' }}\n\
         {OPEN}chain = 'one'\n[listeners.other]\nbind = '1884'\nanonymous = true\nchain = 'two'\nprotocols = ['5.0']\nmount = 't/'"
    );
    let settings = Case::new(&text).settings();
    let instances: Vec<_> = settings
        .instances
        .iter()
        .map(|i| (i.name.as_str(), i.options.as_str()))
        .collect();
    assert_eq!(
        instances,
        [
            ("acl", r#"{"deep":{"x":1,"y":2},"file":"/a"}"#),
            ("c", "{}"),
            ("acl#2", r#"{"deep":{"x":1,"y":3},"file":"/a"}"#),
        ]
    );
    let [main, other] = &settings.listeners[..] else {
        panic!()
    };
    let [plain, c, over] = &main.chain.uses[..] else {
        panic!()
    };
    assert_eq!((plain.instance, plain.timeout), (0, Some(Duration::from_secs(1))));
    assert_eq!(
        (plain.on_error, plain.on_timeout),
        (FaultPolicy::Skip, FaultPolicy::Skip)
    );
    assert_eq!(
        (c.instance, &c.hooks[..], c.on_error),
        (1, &["publish".to_owned()][..], FaultPolicy::Deny)
    );
    assert_eq!((over.instance, over.timeout), (2, Some(Duration::from_secs(2))));
    assert_eq!(
        (over.on_error, over.on_timeout),
        (FaultPolicy::Drop, FaultPolicy::Drop)
    );
    assert_eq!(over.topics[0].as_str(), "t/#");
    assert_eq!(
        other.chain.uses[0].instance, 0,
        "the same instance in both chains"
    );
    assert!(other.chain.authenticate_all && !other.chain.authorize_all);
    assert_eq!(other.protocols, [broker_types::ProtocolVersion::V5]);
    assert_eq!(other.mount.as_deref(), Some("t/"));
}

#[test]
fn a_chain_inside_that_wants_all_makes_the_whole_want_all() {
    let text = format!(
        "[plugins.acl]\nuse = 'builtin:acl-file'\n[chains]\ninner = {{ uses = ['acl'], authorize = 'all' }}\n\
         default = ['acl', {{ chain = 'inner' }}]\n{OPEN}"
    );
    let chain = &Case::new(&text).settings().listeners[0].chain;
    assert_eq!((chain.authenticate_all, chain.authorize_all), (false, true));
    assert_eq!(chain.uses.len(), 2);
}

#[test]
fn every_value_knows_where_it_came_from() {
    let case = Case::new("[listeners.main]\nbind = '1883'\nanonymous = true\nchain = ['x']")
        .variable("JACKFIELD__SYS__INTERVAL", "5s")
        .set("limits.inflight_max=7");
    let folder = format!("{}/", case.folder.path().display());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let loaders: [Arc<dyn PluginLoader>; 1] = [Arc::new(Paper)];
    let entries = runtime.block_on(effective(&case.sources, &loaders)).unwrap();
    let shown = |key: &str| {
        let entry = entries.iter().find(|entry| entry.key == key).unwrap();
        format!("{} # {}", entry.value, entry.origin.replace(&folder, ""))
    };
    assert_eq!(shown("listeners.main.bind"), "\"1883\" # j.toml:2:8");
    assert_eq!(shown("listeners.main.chain"), "[\"x\"] # j.toml:4:9");
    assert_eq!(
        shown("sys.interval"),
        "\"5s\" # environment variable JACKFIELD__SYS__INTERVAL"
    );
    assert_eq!(shown("limits.inflight_max"), "7 # --set limits.inflight_max=7");
    assert_eq!(shown("limits.receive_maximum"), "1024 # the defaults");
}

#[test]
fn options_are_judged_by_the_plugin_too() {
    let plugin = "[plugins.auth]\nuse = 'builtin:auth-file'\n[plugins.auth.config]\nwatch = true\n";
    let use_it =
        "[chains]\ndefault = [{ plugin = 'auth', with = { file = 7 } }]\n[listeners.a]\nbind = '1'\n";
    Case::new(&format!("{plugin}{use_it}")).finds(&[
        "bad_option: `plugins.auth.config.file`: a password file is needed @ j.toml:3:1",
        "wrong_type: `chains.default[0].with.file` must be a string @ j.toml:6:47",
    ]);
}

#[test]
fn an_option_inside_of_an_array_is_found() {
    let text = "[plugins.c]\nuse = 'builtin:convert'\nconfig.deep.rules = [{ to = 'x' }, { to = 'nowhere' }]\n\
                [chains]\ndefault = ['c']\n";
    Case::new(&format!("{text}{OPEN}"))
        .finds(&["bad_option: `plugins.c.config.deep.rules[1].to`: it leads nowhere @ j.toml:3:43"]);
}

#[test]
fn what_is_missing_is_told_at_its_table() {
    Case::new("[listeners.a]\nanonymous = true\n[plugins.p]\n[chains]\ndefault = ['p']\n[listeners.b]\nbind = 1883\n")
        .finds(&[
            "missing_key: `listeners.a.bind` is missing @ j.toml:1:12",
            "missing_key: `plugins.p.use` is missing @ j.toml:3:10",
            "wrong_type: `listeners.b.bind` must be an address like `127.0.0.1:1883` @ j.toml:7:8",
        ]);
}

#[test]
fn two_listeners_cannot_share_an_address() {
    let text = format!("{OPEN}[listeners.too]\nbind = 'localhost:1883'\nanonymous = true\n");
    Case::new(&text).finds(&["bind_clash: listener `main` takes 127.0.0.1:1883 already @ j.toml:5:8"]);
}

#[test]
fn names_are_such_that_a_variable_can_name_them() {
    Case::new("[listeners.Main]\nbind = '1'\nanonymous = true\n[chains]\na__b = []\n").finds(&[
        "bad_name: `Main` can't be a name @ j.toml:1:12",
        "bad_name: `a__b` can't be a name @ j.toml:5:1",
    ]);
}

#[test]
fn what_counts_for_the_broker_is_no_limit_of_a_listener() {
    Case::new(&format!("{OPEN}limits.sessions_max = 1\n"))
        .finds(&["misplaced_key: `sessions_max` counts for the whole broker @ j.toml:4:8"]);
}

#[test]
fn the_ceiling_for_memory_is_a_size_or_a_part() {
    let memory_max = |text: &str| {
        let case = Case::new(OPEN).set(&format!("limits.memory_max={text}"));
        case.settings().broker_limits.memory_max
    };
    assert_eq!(memory_max("64MiB"), MemorySize::Bytes(ByteSize(64 << 20)));
    assert_eq!(memory_max("67108864"), MemorySize::Bytes(ByteSize(64 << 20)));
    assert_eq!(memory_max("25 %"), MemorySize::Percent(25));
    Case::new(&format!("{OPEN}limits.memory_max = '1 %'\n[limits]\nmemory_max = '101 %'\n")).finds(&[
        "misplaced_key: `memory_max` counts for the whole broker @ j.toml:4:8",
        "bad_value: `limits.memory_max` must be from 1 % to 100 %; write a size like `512MiB` or a part like `80 %` @ j.toml:6:14",
    ]);
    for small in ["'1KiB'", "1024"] {
        Case::new(&format!("{OPEN}[limits]\nmemory_max = {small}\n")).finds(&[
            "out_of_range: `limits.memory_max` must be a size like `64KiB`, at least 1MiB or a part like `80 %` @ j.toml:5:14",
        ]);
    }
}

const CARRIER: &str = "[plugins.cloud]\nuse = 'builtin:carrier'\n[plugins.acl]\nuse = 'builtin:acl-file'\n\
                       [chains]\ncoming = ['acl']\n";

#[test]
fn a_bridge_has_a_carrier_rules_and_bounds() {
    let text = format!(
        "{CARRIER}{OPEN}[[bridges]]\nname = 'north'\nplugin = 'cloud'\nchain = 'coming'\nqueued_bytes_max = '1MiB'\n\
         out = [{{ filter = 'plant/+/raw/#', to = 'cloud/+/#', qos = 1 }}, {{ filter = 'x' }}]\n\
         [[bridges]]\nname = 'south'\nplugin = 'cloud'\n[[bridges.in]]\nfilter = 'a'\n"
    );
    let loaded = Case::new(&text)
        .load()
        .unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.report, Report::default());
    let Settings {
        instances, bridges, ..
    } = &loaded.settings;
    let [north, south] = &bridges[..] else {
        panic!("{bridges:?}")
    };
    let instance = |bridge: &BridgeSettings| instances[bridge.instance].name.as_str();
    assert_eq!((instance(north), instance(south)), ("cloud", "cloud"));
    let chain = north
        .chain
        .as_ref()
        .map(|chain| (chain.name.as_str(), chain.uses.len()));
    assert_eq!((chain, south.chain.is_none()), (Some(("coming", 1)), true));
    assert_eq!(
        (north.queued_messages_max, north.queued_bytes_max),
        (10_000, 1 << 20)
    );
    assert_eq!((north.outgoing.len(), north.incoming.len()), (2, 0));
    assert_eq!((south.outgoing.len(), south.incoming.len()), (0, 1));
}

#[test]
fn a_bridge_that_cannot_work_is_told() {
    let bridges = "[[bridges]]\nname = 'a'\nplugin = 'acl'\nchain = 'comin'\n\
                   [[bridges]]\nname = 'a'\nplugin = 'clod'\n\
                   [[bridges]]\nname = 'B'\nplugin = 'cloud'\nout = [{ filter = 'a/+' }, { filter = 'a/+', to = 'b/#' }]\n";
    Case::new(&format!("{OPEN}{CARRIER}{bridges}")).finds(&[
        "unknown_hook: `acl` has no hook `bridge`, so it can't carry messages @ j.toml:12:10",
        "unknown_chain: there is no chain `comin` @ j.toml:13:9",
        "duplicate_name: another bridge is called `a` already @ j.toml:15:8",
        "unknown_plugin: there is no plugin `clod` @ j.toml:16:10",
        "bad_name: `B` can't be a name @ j.toml:18:1",
        "bad_rule: `b/#` has more `#` than `a/+`, so there is nothing it could stand for @ j.toml:20:51",
    ]);
    let bridges =
        "[[bridges]]\nqueued_messages_max = 0\nplugin = 'cloud'\nout = [{ filter = 'a#', qos = 3 }, {}]\n";
    Case::new(&format!("{OPEN}{CARRIER}{bridges}")).finds(&[
        "missing_key: `bridges[0].name` is missing @ j.toml:10:1",
        "out_of_range: `bridges[0].queued_messages_max` must be an integer, at least 1 @ j.toml:11:23",
        "bad_value: `bridges[0].out[0].filter` is no topic filter: topic filter `a#`: `#` must be last and alone in its level @ j.toml:13:19",
        "out_of_range: `bridges[0].out[0].qos` must be an integer from 0 to 2 @ j.toml:13:31",
        "missing_key: `bridges[0].out[1].filter` is missing @ j.toml:13:36",
    ]);
}

#[test]
fn where_a_plugin_may_publish_is_said() {
    let text = format!(
        "[plugins.c]\nuse = 'builtin:convert'\nallow.publish = ['derived/#']\n[plugins.acl]\nuse = 'builtin:acl-file'\n\
         [chains]\ndefault = ['c', 'acl']\n{OPEN}"
    );
    let chain = &Case::new(&text).settings().listeners[0].chain;
    let allowed = |at: usize| {
        let filters = chain.uses[at].allow_publish.as_ref();
        filters.map(|filters| filters.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(allowed(0), Some(vec!["derived/#".to_owned()]));
    assert_eq!(allowed(1), None);
}

#[test]
fn a_file_without_a_listener_is_refused() {
    Case::new("version = 1\n").finds(&["no_listener: there is no listener @ "]);
}

#[test]
fn quotes_may_be_left_out_where_only_a_string_can_stand() {
    let case = Case::new(OPEN)
        .set("listeners.main.bind=1884")
        .set("limits.connect_timeout = \"5s\"");
    let listener = &case.settings().listeners[0];
    assert_eq!(listener.bind.to_string(), "127.0.0.1:1884");
    assert_eq!(listener.limits.connect_timeout, Duration::from_secs(5));
}

proptest! {
    /// Whatever an editor leaves behind is answered with places that exist, and never with a panic.
    #[test]
    fn a_damaged_file_is_answered(edits in prop::collection::vec((any::<prop::sample::Index>(), 0..6usize), 1..8)) {
        let mut text: Vec<char> = include_str!("../../../docs/configuration.md")
            .split("```toml")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .unwrap()
            .chars()
            .collect();
        for (at, what) in edits {
            let at = at.index(text.len());
            match what {
                0 => drop(text.remove(at)),
                1 => text.insert(at, 'ä'),
                2 => text.insert(at, '"'),
                3 => text.insert(at, '['),
                4 => text.insert(at, '7'),
                _ => text[at] = '.',
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(report) = Case::new(&text).load() {
            prop_assert!(report.has_errors());
            for found in report.iter() {
                let at = found.place.as_ref().and_then(|place| place.snippet.as_ref());
                if let Some(at) = at {
                    let line = text.lines().nth(at.line - 1).unwrap_or_default();
                    prop_assert!(at.column <= line.chars().count() + 1, "{}", found);
                }
            }
            prop_assert!(!report.to_string().is_empty());
        }
    }
}

#[test]
fn the_samples_of_the_documentation_are_right() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["README.md", "docs/configuration.md"] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let blocks = text
            .split("```toml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next());
        let samples: Vec<_> = blocks.filter(|block| block.contains("[listeners.")).collect();
        assert!(!samples.is_empty(), "{file}");
        for sample in samples {
            let loaded = Case::new(sample)
                .load()
                .unwrap_or_else(|report| panic!("{file}: {report}"));
            assert_eq!(loaded.report, Report::default(), "{file}");
        }
    }
}

/// Tells whether the report behind the first sample of a page is what is said of that sample; writes it with UPDATE_DOCS.
fn shown_report(code: &str, page: &str) -> bool {
    let Some((before, rest)) = page.split_once("```toml\n") else {
        return true;
    };
    let (sample, rest) = rest.split_once("```\n").unwrap();
    let report = Case::new(sample).report().replace("j.toml", "jackfield.toml");
    let report = format!("\n```text\n{report}\n```\n");
    if rest.starts_with(&report) {
        return true;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let after = match rest.strip_prefix("\n```text\n") {
            Some(old) => old.split_once("```\n").unwrap().1,
            None => rest,
        };
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/diagnostics/{code}.md"));
        fs::write(path, format!("{before}```toml\n{sample}```\n{report}{after}")).unwrap();
    }
    false
}

/// The first sample of a page is wrong as the page says, and in no other way; the second isn't wrong.
#[test]
fn every_code_has_a_page_whose_samples_show_it() {
    // Two files, a plugin's own words, a plugin that isn't built in.
    let without_samples = [
        Code::SetTwice,
        Code::BadPlugin,
        Code::DuplicateName,
        Code::BadRule,
        Code::OpenSecret,
        Code::LimitTooHigh,
    ];
    let mut complaints = Vec::new();
    for code in Code::ALL {
        assert_eq!(Code::from_text(code.as_str()), Some(*code));
        let page = code.page();
        assert_eq!(page.lines().next(), Some(format!("# {code}").as_str()));
        let shown = shown_report(code.as_str(), page);
        if !shown {
            complaints.push(format!(
                "{code}: the report in its page is out of date: run this test with UPDATE_DOCS=1"
            ));
        }
        let samples: Vec<_> = page
            .split("```toml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
            .map(|sample| Case::new(sample).found())
            .collect();
        let shows = match &samples[..] {
            [wrong, right] => {
                let as_said = wrong.iter().all(|found| found.code == *code);
                as_said && *wrong != Report::default() && *right == Report::default()
            }
            [] => without_samples.contains(code),
            _ => false,
        };
        if !shows {
            let samples: Vec<_> = samples.iter().map(ToString::to_string).collect();
            complaints.push(format!("{code}: {}", samples.join("\n--\n")));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_defaults_are_those_of_the_code() {
    let report = &mut Report::default();
    let wrong = schema::check_layer(&layer::Layer::defaults(), report);
    assert!(wrong.is_empty(), "{report}");
    let settings = Case::without_file().settings();
    assert_eq!(settings.listeners[0].limits, broker_types::Limits::default());
    assert_eq!(settings.shared_strategy, broker_core::SharedStrategy::default());
    assert_eq!(settings.broker_limits.memory_max, MemorySize::Percent(80));
    assert_eq!(
        settings.broker_limits.queue_full,
        broker_core::QueueFull::default()
    );
}

#[test]
fn a_wrong_address_hides_no_other_mistake_of_its_listener() {
    let text = "[listeners.main]\nbind = 'nowhere'\nanonymous = true\nchain = 'devcies'\n\
        [listeners.other]\nanonymous = true\nchain = 'devices'\n[chains]\ndevices = []\n";
    let found: Vec<_> = Case::new(text).found().iter().map(|found| found.code).collect();
    assert_eq!(found, [Code::BadValue, Code::UnknownChain, Code::MissingKey]);
}

#[cfg(unix)]
#[test]
fn a_limit_beyond_the_system_is_a_doubt() {
    // Where there is no limit there is nothing to doubt.
    let Some(possible) = broker_core::connections_possible() else {
        return;
    };
    let with = |count: usize| {
        let text =
            format!("[listeners.main]\nbind = '1883'\nanonymous = true\nlimits.connections_max = {count}\n");
        Case::new(&text)
            .found()
            .iter()
            .map(|found| found.code)
            .collect::<Vec<_>>()
    };
    assert_eq!(with(possible), []);
    assert_eq!(with(possible + 1), [Code::LimitTooHigh]);
}

//! Guests of tests: WebAssembly text for what no compiler would make, turned into a core module that says what it imports and
//! exports, as wit-bindgen does it. So they need no toolchain, and pass through the loader as any other file does.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use plugin_api::{NoHost, Plugin, PluginLoader, PluginSource};
use plugin_host_wasm::WasmLoader;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;
use wit_parser::abi::{AbiVariant, WasmType};

/// Where the static data of a guest lies: the strings, then the manifest.
const TEXTS: &str = "hostile1.0";

/// What a guest is made of.
pub(crate) struct Guest {
    /// The interfaces that it exports besides `describe` and `lifecycle`.
    pub(crate) exports: &'static [&'static str],
    /// Text of the module: imports, before everything else.
    pub(crate) imports: &'static str,
    /// Text of the module: functions.
    pub(crate) functions: String,
    /// Instructions of `lifecycle.init`, before it says that all is well.
    pub(crate) init: &'static str,
    /// Instructions of `lifecycle.validate`, before it says that all is well.
    pub(crate) validate: &'static str,
    /// Bits of `traits`: 1 serial, 2 slow.
    pub(crate) traits: u8,
    /// `tick-ms`.
    pub(crate) tick_ms: Option<u32>,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            exports: &["transform"],
            imports: "",
            functions: on_publish(KEEP),
            init: "",
            validate: "",
            traits: 0,
            tick_ms: None,
        }
    }
}

/// Instructions that give the verdict `keep` (or whatever case 0 is).
pub(crate) const KEEP: &str = "(i32.store8 (i32.const 2048) (i32.const 0)) (i32.const 2048)";

/// The text of `transform.on-publish` with this body. Parameters: `$who`, topic `$t $tn`, payload `$some $p $pn`, `$qos`, `$retain`,
/// `$more`. The handles are dropped first.
pub(crate) fn on_publish(body: &str) -> String {
    format!(
        r#"(func (export "jackfield:plugin/transform@1.0.0#on-publish")
            (param $who i32) (param $t i32) (param $tn i32) (param $some i32) (param $p i32) (param $pn i32)
            (param $qos i32) (param $retain i32) (param $more i32) (result i32)
            (call $drop-client (local.get $who)) (call $drop-view (local.get $more))
            {body})"#
    )
}

impl Guest {
    /// Returns the module's bytes.
    pub(crate) fn module(&self) -> Vec<u8> {
        let uses_views = ["transform", "deliver", "retained", "will", "share-pick"];
        let uses_clients = [
            "transform",
            "connection",
            "authenticate",
            "enhanced-auth",
            "authorize",
            "subscribe",
            "unsubscribe",
            "will",
            "control",
        ];
        let has = |names: &[&str]| self.exports.iter().any(|export| names.contains(export));
        let mut drops = String::new();
        if has(&uses_clients) {
            drops += r#"(import "jackfield:plugin/types@1.0.0" "[resource-drop]client" (func $drop-client (param i32)))"#;
        }
        if has(&uses_views) {
            drops += r#"(import "jackfield:plugin/types@1.0.0" "[resource-drop]message-view" (func $drop-view (param i32)))"#;
        }
        let text = format!(
            r#"(module
                {drops}
                {imports}
                (memory (export "memory") 1)
                (global $heap (mut i32) (i32.const 8192))
                (data (i32.const 16) "{TEXTS}")
                (data (i32.const 256) "{manifest}")
                (data (i32.const 512) "\10\00\00\00\07\00\00\00")
                (func (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and
                        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
                        (i32.sub (i32.const 0) (local.get $align))))
                    (global.set $heap (i32.add (local.get $at) (local.get $new)))
                    ;; Everything is given up when it gets too much: what a call gave lives for the call.
                    (if (i32.gt_u (global.get $heap) (i32.const 60000)) (then (global.set $heap (i32.const 8192))
                        (local.set $at (i32.const 8192))
                        (global.set $heap (i32.add (i32.const 8192) (local.get $new)))))
                    (local.get $at))
                (func (export "jackfield:plugin/describe@1.0.0#get") (result i32) (i32.const 256))
                (func (export "jackfield:plugin/lifecycle@1.0.0#validate") (param i32 i32) (result i32)
                    {validate} (i32.store8 (i32.const 2048) (i32.const 0)) (i32.const 2048))
                (func (export "jackfield:plugin/lifecycle@1.0.0#init") (param i32 i32) (result i32)
                    {init} (i32.store8 (i32.const 2048) (i32.const 0)) (i32.const 2048))
                {tick}
                {functions}
            )"#,
            imports = self.imports,
            manifest = self.manifest(),
            validate = self.validate,
            init = self.init,
            functions = self.functions,
            tick = match self.functions.contains("lifecycle@1.0.0#tick") {
                true => "",
                false => r#"(func (export "jackfield:plugin/lifecycle@1.0.0#tick"))"#,
            },
        );
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut resolve = Resolve::default();
        resolve.push_path(contract()).unwrap();
        let exports: String = self
            .exports
            .iter()
            .map(|name| format!("export jackfield:plugin/{name}@1.0.0; "))
            .collect();
        let wit =
            format!("package test:guest; world guest {{ include jackfield:plugin/base@1.0.0; {exports} }}");
        let package = resolve.push_str("guest.wit", &wit).unwrap();
        let world = resolve.select_world(&[package], Some("guest")).unwrap();
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        module
    }

    /// Returns the manifest as it lies in memory: 88 bytes, little-endian.
    fn manifest(&self) -> String {
        let mut bytes = [0_u8; 88];
        let mut word = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        // id, version: pointers into TEXTS and lengths.
        word(0, 16);
        word(4, 7);
        word(8, 23);
        word(12, 3);
        // config-schema 16..28: none. needs, traits: a byte each.
        // max-payload 32..40: none. Five lists 40..80; an authentication method and a control prefix. tick-ms 80..88.
        word(56, 512);
        word(60, 1);
        word(64, 512);
        word(68, 1);
        word(80, u32::from(self.tick_ms.is_some()));
        word(84, self.tick_ms.unwrap_or(0));
        bytes[28] = 1;
        bytes[29] = self.traits;
        bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
    }
}

/// Returns the text of every function of these interfaces, each with the same body.
pub(crate) fn every_function(interfaces: &[&str], body: &str) -> String {
    functions(
        interfaces,
        AbiVariant::GuestExport,
        |interface, function, signature| {
            format!(r#"(func (export "{interface}#{function}") {signature} {body})"#)
        },
    )
}

/// Returns the text that imports every function of these interfaces.
pub(crate) fn every_import(interfaces: &[&str]) -> String {
    functions(
        interfaces,
        AbiVariant::GuestImport,
        |interface, function, signature| format!(r#"(import "{interface}" "{function}" (func {signature}))"#),
    )
}

fn functions(interfaces: &[&str], way: AbiVariant, write: impl Fn(&str, &str, &str) -> String) -> String {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(contract()).unwrap();
    let mut text = String::new();
    for name in interfaces {
        let id = resolve.packages[package].interfaces[*name];
        for (function, shape) in &resolve.interfaces[id].functions {
            let signature = resolve.wasm_signature(way, shape);
            let mut types = String::new();
            for (word, list) in [("param", &signature.params), ("result", &signature.results)] {
                for value in list {
                    let value = match value {
                        WasmType::I64 | WasmType::PointerOrI64 => "i64",
                        WasmType::F32 => "f32",
                        WasmType::F64 => "f64",
                        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
                    };
                    types += &format!("({word} {value}) ");
                }
            }
            text += &write(&format!("jackfield:plugin/{name}@1.0.0"), function, &types);
            text.push('\n');
        }
    }
    text
}

/// Returns where the contract is.
pub(crate) fn contract() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../plugin-api/wit")
}

/// A folder of guests and a loader that looks there.
pub(crate) struct Shelf {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) loader: WasmLoader,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            loader: WasmLoader::new([folder.path().to_owned()]),
            folder,
        }
    }

    /// Puts a file there and returns where it is.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> PluginSource {
        fs::write(self.folder.path().join(name), content).unwrap();
        PluginSource {
            what: name.to_owned(),
            ..PluginSource::default()
        }
    }

    /// Puts a guest there, loads it as the source says, and starts it.
    pub(crate) async fn start(
        &self,
        guest: &Guest,
        change: impl FnOnce(&mut PluginSource),
    ) -> Arc<dyn Plugin> {
        let mut source = self.put("guest.wasm", &guest.module());
        change(&mut source);
        let plugin = self.loader.load("guest", &source, "{}").await.unwrap();
        plugin.start(Arc::new(NoHost)).await.unwrap();
        plugin
    }
}

/// Turns a module into a component, for tests of components.
pub(crate) fn component(module: &[u8]) -> Vec<u8> {
    let encoder = ComponentEncoder::default().module(module);
    encoder.unwrap().encode().unwrap()
}

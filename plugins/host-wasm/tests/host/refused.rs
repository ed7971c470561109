//! Files that aren't loaded, each with a reason that helps.

use plugin_api::{LoadError, PluginLoader};

use crate::guests::{Guest, Shelf, component, on_publish};

async fn why(content: &[u8]) -> String {
    let shelf = Shelf::new();
    let source = shelf.put("x.wasm", content);
    match shelf.loader.inspect(&source).await {
        Err(LoadError::Refused { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_module_and_the_component_made_of_it_are_the_same_plugin() {
    let shelf = Shelf::new();
    let module = Guest::default().module();
    let (one, other) = (
        shelf.put("m.wasm", &module),
        shelf.put("c.wasm", &component(&module)),
    );
    let info = shelf.loader.inspect(&one).await.unwrap();
    assert_eq!((info.id.as_str(), info.version.as_str()), ("hostile", "1.0"));
    assert_eq!(info.hooks, ["publish"]);
    assert_eq!(info, shelf.loader.inspect(&other).await.unwrap());
}

#[tokio::test]
async fn what_is_no_plugin_is_told_why() {
    for (content, part) in [
        (&b"(module)"[..], "it is no Wasm file"),
        (b"", "it is no Wasm file"),
        (b"\0asm\x01\0\0\0", "it exports nothing of jackfield:plugin/"),
        (b"\0asm\x0d\0\x01\0", "it exports nothing of jackfield:plugin/"),
        (b"\0asm\x07\0\0\0", "of a version that this broker doesn't know"),
        (
            b"\0asm\x01\0\0\0\xff\xff",
            "a module that can't be made a component",
        ),
        (b"\0asm\x0d\0\x01\0\xff\xff", ""),
    ] {
        let why = why(content).await;
        assert!(why.contains(part), "{why}");
    }
    let preview1 = wat::parse_str(
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))))"#,
    );
    assert!(!why(&preview1.unwrap()).await.is_empty());
    let no_hook = Guest {
        exports: &[],
        functions: String::new(),
        ..Guest::default()
    };
    assert!(why(&no_hook.module()).await.contains("it has no hook"));
}

#[tokio::test]
async fn who_cannot_say_what_it_is_is_nobody() {
    let module = Guest::default().module();
    // The name has a line end in it.
    let at = module
        .windows(10)
        .position(|bytes| bytes == b"hostile1.0")
        .unwrap();
    let mut nameless = module.clone();
    nameless[at] = b'\n';
    assert!(why(&nameless).await.contains("no id or no version"));
    nameless[at] = 0xff;
    assert!(why(&nameless).await.contains("can't say what it is"));
}

#[tokio::test]
async fn another_file_than_the_pinned_one_is_refused() {
    let shelf = Shelf::new();
    let mut source = shelf.put("x.wasm", &Guest::default().module());
    source.sha256 = Some("0".repeat(64));
    let refused = shelf.loader.inspect(&source).await.unwrap_err().to_string();
    assert!(refused.contains("not the pinned"), "{refused}");
}

/// Thousands of functions are compiled; what is too large isn't even looked at.
#[tokio::test]
async fn a_file_that_is_too_large_is_refused() {
    let mut large = b"\0asm\x01\0\0\0".to_vec();
    large.resize(33 << 20, 0);
    assert!(why(&large).await.contains("larger than 32 MiB"));
    let many = "(func (nop))".repeat(2_000);
    let guest = Guest {
        functions: on_publish(crate::guests::KEEP) + &many,
        ..Guest::default()
    };
    let shelf = Shelf::new();
    let source = shelf.put("many.wasm", &guest.module());
    shelf.loader.inspect(&source).await.unwrap();
}

#[tokio::test]
async fn options_are_refused_by_the_guest_with_the_key() {
    let shelf = Shelf::new();
    // err(complaint { key: "hostile", why: "1.0" })
    let guest = Guest {
        validate: "(i32.store8 (i32.const 2048) (i32.const 1)) (i32.store (i32.const 2052) (i32.const 16))
            (i32.store (i32.const 2056) (i32.const 7)) (i32.store (i32.const 2060) (i32.const 23))
            (i32.store (i32.const 2064) (i32.const 3)) (return (i32.const 2048))",
        ..Guest::default()
    };
    let source = shelf.put("x.wasm", &guest.module());
    let wrong = LoadError::Options {
        key: "hostile".to_owned(),
        why: "1.0".to_owned(),
    };
    assert_eq!(shelf.loader.check(&source, "{}").await, Err(wrong.clone()));
    assert_eq!(shelf.loader.load("x", &source, "{}").await.err(), Some(wrong));
}

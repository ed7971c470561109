//! What is recorded of one version is put to the next.

use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex};

use plugin_testkit::record::{Limits, Recorded, Recorder, replay};
use plugin_testkit::{Client, Harness, json};

use crate::plugin::Sample;

/// A file in memory.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn loaded(prefix: &str) -> Harness {
    Harness::load::<Sample>(json!({ "prefix": prefix })).expect("it works")
}

/// Has a plugin do a bit of everything and returns what was written down.
fn recording(limits: Limits) -> (String, Recorder) {
    let paper = Paper::default();
    let recorder = Recorder::new(paper.clone(), limits).expect("it works");
    let inner = loaded("> ");
    let mut plugin = Harness::of(Recorded::wrap(inner.plugin().clone(), recorder.clone())).expect("it works");
    plugin.publish("in/a", "hello");
    plugin.publish("in/a", b"\xff\0".as_slice());
    plugin.publish("in/a", "x".repeat(1000));
    plugin
        .client(Client::new("c").username("anna").password("secret"))
        .login();
    plugin.may_publish("in/a");
    plugin.stop();
    recorder.sync();
    let text = String::from_utf8(paper.0.lock().expect("nobody panicked").clone()).expect("it works");
    (text, recorder)
}

#[test]
fn the_same_plugin_says_the_same() {
    let limits = Limits {
        secrets: true,
        ..Limits::default()
    };
    let (text, recorder) = recording(limits);
    assert_eq!(
        (text.lines().count(), recorder.written(), recorder.lost()),
        (5, 5, 0),
        "{text}"
    );
    assert!(
        text.contains("payload_base64") && text.contains("\"password\":\"secret\""),
        "{text}"
    );
    let replayed = replay(&loaded("> "), Cursor::new(text), 10, |_| {}).unwrap();
    assert_eq!((replayed.asked, &replayed.differences[..]), (5, &[][..]));
}

#[test]
fn another_version_is_told_apart() {
    let (text, _) = recording(Limits::default());
    assert!(!text.contains("secret"), "{text}");
    let mut told = 0;
    let replayed = replay(&loaded("! "), Cursor::new(text), 1, |_| told += 1).unwrap();
    assert_eq!((replayed.asked, replayed.not_recorded, told), (4, 1, 2));
    let [first] = &replayed.differences[..] else {
        panic!("one is kept: {replayed:?}")
    };
    assert_eq!(
        (first.line, &first.then["payload"], &first.now["payload"]),
        (1, &json!("> hello"), &json!("! hello"))
    );
}

#[test]
fn a_recording_is_bounded() {
    let limits = Limits {
        bytes_max: 1200,
        line_bytes_max: 600,
        secrets: false,
    };
    let (text, recorder) = recording(limits);
    assert!(text.len() <= 1200, "{}", text.len());
    assert!(text.contains("too_long"), "{text}");
    assert!(recorder.ended().unwrap().contains("1200 bytes"));
    let replayed = replay(&loaded("> "), Cursor::new(text), 1, |_| {}).unwrap();
    // the long one, and the one whose password wasn't written
    assert_eq!((replayed.not_recorded, replayed.differences.len()), (2, 0));
}

#[test]
fn a_line_that_is_none_is_told_by_its_number() {
    let text = "\n{\"call\":{\"hook\":\"publish\",\"topic\":\"a/#\"}}\n";
    let error = replay(&loaded(""), Cursor::new(text), 1, |_| {}).unwrap_err();
    assert!(error.to_string().starts_with("line 2: `a/#`"), "{error}");
}

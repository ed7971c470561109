//! Plugins of every version of the ABI since 1.0 load and work. What is in the museum is never changed.

use std::path::{Path, PathBuf};

use broker_types::{Message, Source, TopicName};
use plugin_api::{Answer, AuthRequest, AuthVerdict, Flow, MessageEdit, MessageParts};

use crate::common::{client, compiled_from, cx};

fn rooms() -> Vec<PathBuf> {
    let museum = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/museum");
    let entries = std::fs::read_dir(museum).unwrap();
    let mut rooms: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    rooms.retain(|path| path.is_dir());
    rooms.sort();
    assert!(rooms.len() >= 2, "nothing was ever taken out");
    rooms
}

#[tokio::test]
async fn plugins_of_every_version_work() {
    for room in rooms() {
        let Some(compiled) = compiled_from(&room, &room.join("plugin.c"), &[]) else {
            return;
        };
        let (plugin, _) = compiled.start("allow", "").await;
        let client = client();
        let request = AuthRequest {
            client_id: "c",
            username: Some("u"),
            password: None,
            certificate: None,
            sni: None,
            version: broker_types::ProtocolVersion::V5,
            clean_start: true,
        };
        let hook = plugin.capabilities().authenticate.unwrap();
        let verdict = hook.authenticate(&cx(&client), &request).await;
        assert!(
            matches!(verdict, Ok(AuthVerdict::Allow(_))),
            "{}: {verdict:?}",
            room.display()
        );
        let (plugin, _) = compiled.start("shout", "").await;
        let message = Message::new(TopicName::new("a/b").unwrap(), "quiet");
        let mut edit = MessageEdit::new(MessageParts::of(&message, Source::Client));
        let hook = plugin.capabilities().publish.unwrap().hook;
        let Answer::Now(flow) = hook.publish(&cx(&client), &mut edit) else {
            panic!("it takes its time");
        };
        assert_eq!(
            (flow, edit.payload()),
            (Ok(Flow::Stop), &b"QUIET"[..]),
            "{}",
            room.display()
        );
        let offered = plugin.capabilities();
        assert!(offered.session_store.is_some() && offered.bridge.is_some());
    }
}

/// Fields stay where they were: each line of an old layout is in the present one. Only what a struct measures may grow.
#[test]
fn fields_are_only_appended() {
    let present = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugin-api/abi/abi.golden");
    let present = std::fs::read_to_string(present).unwrap();
    let present: Vec<&str> = present.lines().collect();
    for room in rooms() {
        let old = std::fs::read_to_string(room.join("abi.golden")).unwrap();
        for line in old.lines().filter(|line| line.contains('.')) {
            assert!(present.contains(&line), "{}: {line}", room.display());
        }
    }
}

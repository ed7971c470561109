//! Event logs: whatever a client calls itself, an event is one line of JSON that says exactly that.

use std::sync::Arc;

use plugin_api::{Event, EventKind, NoHost, Plugin, types::ClientId};
use plugin_event_log::EventLog;

/// A Client Identifier, a line end, and a text of anything.
pub(crate) fn body(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (id, text) = text.split_once('\n').unwrap_or((&text, &text));
    let id: String = id.chars().filter(|char| *char != '\0').take(1000).collect();
    let mut event = Event::new(EventKind::Connected);
    event.client_id = Some(ClientId::from(id.as_str()));
    event.username = Some(text.into());
    event.text = Some(text.into());

    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("events.jsonl");
    let log = EventLog::to_file(&file);
    let (_, events) = log.capabilities().events.expect("it has the hook");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        log.start(Arc::new(NoHost)).await.expect("it starts");
        events
            .notify(&[event.clone(), event.clone()])
            .await
            .expect("it is written");
    });
    let written = std::fs::read_to_string(&file).expect("text");
    assert!(
        !written.contains(|char: char| char.is_control() && char != '\n'),
        "{written:?}"
    );
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines.len(), 2, "{written:?}");
    for line in lines {
        let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(object["client_id"], id.as_str(), "{line}");
        assert_eq!(object["username"], text, "{line}");
    }
}

//! What the configuration says.

use std::borrow::Cow;

use plugin_api::{EventKind, EventMask};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

/// Options of `event-log`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// A file, which is appended to; `-` is standard output, `stderr` standard error.
    pub path: String,
    /// The events to write.
    pub events: Vec<EventName>,
}

impl Default for Options {
    /// Standard output, and all events but those of every message.
    fn default() -> Self {
        let every_message = [EventKind::Published, EventKind::Delivered, EventKind::Acked];
        let events = EventKind::ALL.iter().copied();
        Self {
            path: "-".into(),
            events: events
                .filter(|kind| !every_message.contains(kind))
                .map(EventName)
                .collect(),
        }
    }
}

impl Options {
    pub(crate) fn mask(&self) -> EventMask {
        self.events
            .iter()
            .fold(EventMask::NONE, |mask, name| mask.with(name.0))
    }
}

/// An [`EventKind`] by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventName(pub EventKind);

impl<'de> Deserialize<'de> for EventName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        let found = EventKind::ALL.iter().find(|kind| kind.as_str() == name);
        found.copied().map(Self).ok_or_else(|| {
            let names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
            D::Error::custom(format!("no event `{name}`, there are {}", names.join(", ")))
        })
    }
}

impl serde::Serialize for EventName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl JsonSchema for EventName {
    fn schema_name() -> Cow<'static, str> {
        "EventName".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

#[cfg(test)]
mod tests {
    use plugin_basis::{options, schema};

    use super::*;

    #[test]
    fn events_are_named_and_defaults_leave_messages_out() {
        let defaults: Options = options("{}").unwrap();
        assert_eq!(defaults, Options::default());
        assert!(defaults.mask().contains(EventKind::AuthFailed));
        assert!(!defaults.mask().contains(EventKind::Published));
        assert_eq!(defaults.events.len(), EventKind::ALL.len() - 3);
        let some: Options = options(r#"{"events":["published","auth-failed"]}"#).unwrap();
        let expected = EventMask::NONE
            .with(EventKind::Published)
            .with(EventKind::AuthFailed);
        assert_eq!(some.mask(), expected);
        let error = options::<Options>(r#"{"events":["publish"]}"#).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("no event `publish`, there are connected,"),
            "{error}"
        );
    }

    #[test]
    fn the_schema_lists_the_events() {
        let schema = schema::<Options>();
        for kind in EventKind::ALL {
            assert!(schema.contains(&format!("{:?}", kind.as_str())), "{kind:?}");
        }
    }
}

//! What a plugin says of itself, checked: after this, no list of the guest is looked at again.

use std::time::Duration;

use broker_types::{TopicFilter, TopicName};
use plugin_api::{EventKind, EventMask, Needs};

use crate::bindings::exported::describe;

/// The longest list.
const LIST_MAX: usize = 1024;
/// The longest schema.
const SCHEMA_BYTES_MAX: usize = 1 << 20;
/// The shortest time between ticks.
const TICK_MIN: Duration = Duration::from_millis(10);

/// The facts that don't depend on options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) config_schema: Option<String>,
}

/// What an instance wants.
#[derive(Clone, Debug)]
pub(crate) struct Wants {
    pub(crate) needs: Needs,
    pub(crate) certificate: bool,
    pub(crate) receive: bool,
    pub(crate) serial: bool,
    pub(crate) slow: bool,
    pub(crate) publish_filters: Vec<TopicFilter>,
    pub(crate) deliver_filters: Vec<TopicFilter>,
    pub(crate) auth_methods: Vec<String>,
    pub(crate) control_prefixes: Vec<String>,
    pub(crate) events: EventMask,
    pub(crate) tick: Option<Duration>,
}

impl Identity {
    /// Reads who it is.
    ///
    /// # Errors
    /// It has no name, or a schema that is none.
    pub(crate) fn read(given: &describe::Manifest) -> Result<Self, String> {
        let plain = |text: &str| !text.is_empty() && text.len() <= 128 && !text.chars().any(char::is_control);
        if !plain(&given.id) || !plain(&given.version) {
            return Err("its manifest has no id or no version".to_owned());
        }
        if given
            .config_schema
            .as_ref()
            .is_some_and(|schema| schema.len() > SCHEMA_BYTES_MAX)
        {
            return Err("the schema of its options is larger than 1 MiB".to_owned());
        }
        Ok(Self {
            id: given.id.clone(),
            version: given.version.clone(),
            config_schema: given.config_schema.clone(),
        })
    }
}

impl Wants {
    /// Reads what it wants.
    ///
    /// # Errors
    /// A list that is too long, or something in it that makes no sense.
    pub(crate) fn read(given: &describe::Manifest) -> Result<Self, String> {
        use describe::{Needs as Needed, Traits};
        let lists = [
            &given.publish_filters,
            &given.deliver_filters,
            &given.auth_methods,
            &given.control_prefixes,
            &given.event_kinds,
        ];
        if lists.iter().any(|list| list.len() > LIST_MAX) {
            return Err(format!("its manifest has a list of more than {LIST_MAX}"));
        }
        Ok(Self {
            needs: Needs {
                payload: given.needs.contains(Needed::PAYLOAD),
                // They are asked for through a handle, so nothing is lost if nobody does.
                properties: true,
                payload_bytes_max: given.max_payload.map_or(usize::MAX, |max| max as usize),
            },
            certificate: given.needs.contains(Needed::CERTIFICATE),
            receive: given.needs.contains(Needed::RECEIVE),
            serial: given.traits.contains(Traits::SERIAL),
            slow: given.traits.contains(Traits::SLOW),
            publish_filters: filters(&given.publish_filters)?,
            deliver_filters: filters(&given.deliver_filters)?,
            auth_methods: unique("authentication method", &given.auth_methods)?,
            control_prefixes: prefixes(&given.control_prefixes)?,
            events: events(&given.event_kinds)?,
            tick: given
                .tick_ms
                .map(|ms| Duration::from_millis(ms.into()).max(TICK_MIN)),
        })
    }
}

fn filters(given: &[String]) -> Result<Vec<TopicFilter>, String> {
    let read = |filter: &String| TopicFilter::new(filter.as_str()).map_err(|error| error.to_string());
    given.iter().map(read).collect()
}

fn unique(what: &str, given: &[String]) -> Result<Vec<String>, String> {
    for (i, name) in given.iter().enumerate() {
        if name.is_empty() || given[..i].contains(name) {
            return Err(format!("its {what} `{name}` is empty or there twice"));
        }
    }
    Ok(given.to_vec())
}

fn prefixes(given: &[String]) -> Result<Vec<String>, String> {
    if let Some(wrong) = given
        .iter()
        .find(|prefix| TopicName::new(prefix.as_str()).is_err())
    {
        return Err(format!("its control prefix `{wrong}` is no part of a topic"));
    }
    unique("control prefix", given)
}

fn events(given: &[String]) -> Result<EventMask, String> {
    if given.is_empty() {
        return Ok(EventMask::ALL);
    }
    given.iter().try_fold(EventMask::NONE, |mask, name| {
        let kind = EventKind::ALL.iter().find(|kind| kind.as_str() == name);
        kind.map(|kind| mask.with(*kind))
            .ok_or_else(|| format!("it wants events `{name}`, which don't exist"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> describe::Manifest {
        describe::Manifest {
            id: "x".to_owned(),
            version: "1".to_owned(),
            config_schema: None,
            needs: describe::Needs::PAYLOAD,
            traits: describe::Traits::empty(),
            max_payload: None,
            publish_filters: Vec::new(),
            deliver_filters: Vec::new(),
            auth_methods: Vec::new(),
            control_prefixes: Vec::new(),
            event_kinds: Vec::new(),
            tick_ms: Some(1),
        }
    }

    #[test]
    fn what_it_wants_is_read() {
        let wants = Wants::read(&manifest()).unwrap();
        assert!(wants.needs.payload && !wants.certificate);
        assert_eq!((wants.events, wants.tick), (EventMask::ALL, Some(TICK_MIN)));
    }

    #[test]
    fn nonsense_is_refused() {
        type Spoil = fn(&mut describe::Manifest);
        let spoils: [Spoil; 7] = [
            |m| m.publish_filters = vec!["a/#/b".to_owned()],
            |m| m.deliver_filters = vec!["a".to_owned(); LIST_MAX + 1],
            |m| m.auth_methods = vec![String::new()],
            |m| m.auth_methods = vec!["A".to_owned(); 2],
            |m| m.control_prefixes = vec!["a/+".to_owned()],
            |m| m.event_kinds = vec!["teleported".to_owned()],
            |m| m.event_kinds = vec![String::new()],
        ];
        for (i, spoil) in spoils.iter().enumerate() {
            let mut manifest = manifest();
            spoil(&mut manifest);
            assert!(Wants::read(&manifest).is_err(), "{i}");
        }
        for id in ["", "a\nb"] {
            let manifest = describe::Manifest {
                id: id.to_owned(),
                ..manifest()
            };
            assert!(Identity::read(&manifest).is_err());
        }
    }
}

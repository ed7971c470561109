//! An instance: the author's value in its place, what it is and wants, and its life.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::marker::PhantomData;

use super::bindings::base::exports::jackfield::plugin::{describe, lifecycle, swap};
use super::single::Single;
use super::timers::timers;
use crate::options::{self, Complaint};
use crate::{EventKind, Fault, Host, Interest, Plugin};

/// What the component exports; `P` is the plugin.
#[derive(Debug)]
pub struct Export<P>(PhantomData<P>);

/// A plugin that [`crate::export_plugin!`] exports.
pub trait Exported: Plugin {
    /// Its id.
    const ID: &'static str;
    /// Its version.
    const VERSION: &'static str;

    /// Returns where the instance is.
    fn slot() -> &'static Slot<Self>;
}

/// The place of the one instance of the author's value in an instance of the component.
#[derive(Debug)]
pub struct Slot<P>(Single<OnceCell<P>>);

impl<P> Slot<P> {
    /// An empty place.
    #[must_use]
    pub const fn new() -> Self {
        Self(Single(OnceCell::new()))
    }
}

impl<P> Default for Slot<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the plugin. The broker has called `init` before it calls a hook.
pub(crate) fn plugin<P: Exported>() -> &'static P {
    P::slot()
        .0
        .0
        .get()
        .expect("the broker calls `init` before anything else")
}

/// Returns what a hook said; a fault ends the instance, because no verdict says it.
pub(crate) fn said<T>(verdict: Result<T, Fault>) -> T {
    match verdict {
        Ok(verdict) => verdict,
        Err(Fault(why)) => fail(&why),
    }
}

#[cold]
fn fail(why: &str) -> ! {
    panic!("{why}")
}

impl<P: Exported> describe::Guest for Export<P> {
    fn get() -> describe::Manifest {
        let wanted = P::slot().0.0.get().map_or_else(Interest::default, P::interest);
        let schema = schemars::schema_for!(P::Config);
        let receive = if wanted.receive {
            describe::Needs::RECEIVE
        } else {
            describe::Needs::empty()
        };
        describe::Manifest {
            id: P::ID.to_string(),
            version: P::VERSION.to_string(),
            config_schema: Some(schema.as_value().to_string()),
            // The certificate is only copied when it is asked for.
            needs: describe::Needs::PAYLOAD | describe::Needs::CERTIFICATE | receive,
            traits: flag(wanted.serial, describe::Traits::SERIAL)
                | flag(wanted.blocking, describe::Traits::SLOW),
            max_payload: (wanted.payload_bytes_max > 0).then_some(wanted.payload_bytes_max),
            publish_filters: wanted.publish,
            deliver_filters: wanted.deliver,
            auth_methods: wanted.methods,
            control_prefixes: wanted.control,
            event_kinds: event_kinds(&wanted.events),
            tick_ms: timers().settle(),
        }
    }
}

fn flag(set: bool, flag: describe::Traits) -> describe::Traits {
    if set { flag } else { describe::Traits::empty() }
}

impl<P: Exported> lifecycle::Guest for Export<P> {
    fn validate(options: String) -> Result<(), lifecycle::Complaint> {
        let options = options::read::<P>(&options)?;
        Ok(P::check(&options).map_err(Complaint::of_all)?)
    }

    fn init(options: String) -> Result<(), lifecycle::Complaint> {
        let options = options::read::<P>(&options)?;
        let made = P::create(options, Host::HERE).map_err(Complaint::of_all)?;
        let plugin = P::slot().0.0.get_or_init(|| made);
        Ok(plugin.start().map_err(|Fault(why)| Complaint::of_all(why))?)
    }

    fn tick() {
        for timer in timers().tick() {
            plugin::<P>().on_timer(timer);
        }
    }
}

impl From<Complaint> for lifecycle::Complaint {
    fn from(complaint: Complaint) -> Self {
        Self {
            key: complaint.key,
            why: complaint.why,
        }
    }
}

impl<P: Exported> swap::Guest for Export<P> {
    fn health() -> Result<(), String> {
        plugin::<P>().health().map_err(|Fault(why)| why)
    }

    fn save() -> Vec<u8> {
        plugin::<P>().save_state().unwrap_or_default()
    }

    fn load(from_version: String, state: Vec<u8>) -> Result<(), String> {
        let loaded = plugin::<P>().load_state(&from_version, &state);
        loaded.map_err(|Fault(why)| why)
    }
}

/// Returns the kind of event of a name; `None`: it came with a newer broker.
pub(crate) fn event_kind(name: &str) -> Option<EventKind> {
    EventKind::ALL.iter().copied().find(|kind| kind.name() == name)
}

/// Returns the names of kinds.
fn event_kinds(wanted: &[EventKind]) -> Vec<String> {
    wanted.iter().map(|kind| kind.name().to_string()).collect()
}

//! The `[listeners]` of the file: who may come in is said, no two want the same address, and limits are complete.

use std::collections::BTreeMap;

use broker_core::{QueueFull, connections_possible};
use broker_types::{Limits, ProtocolVersion, QoS};

use super::chains::Chains;
use super::check::Checks;
use super::code::Code;
use super::diagnostic::{Origin, Place, Severity};
use super::settings::{BrokerLimits, ChainSettings, ListenerSettings};
use super::shape::{self, ChainRef, Listener, Protocol};
use super::tree::Path;

/// The chain of listeners that name none.
const DEFAULT_CHAIN: &str = "default";

/// Checks all listeners and makes settings of them. `chains_are_whole`: nothing was wrong with plugins and chains.
pub(super) async fn read<'a>(
    listeners: &'a BTreeMap<String, Listener>,
    limits: &shape::Limits,
    chains: &mut Chains<'a>,
    chains_are_whole: bool,
    checks: &mut Checks<'_>,
) -> Vec<ListenerSettings> {
    let mut settings: Vec<ListenerSettings> = Vec::new();
    for (name, listener) in listeners {
        let path = Path::of(["listeners", name]);
        checks.name(&path, name);
        let errors = checks.report.count(Severity::Error);
        let chain = read_chain(listener, &path, chains, checks).await;
        // What is wrong may have been an authenticator, or the word that none is needed; saying that there is none would
        // mislead.
        let pruned = |key| checks.origins.is_pruned(&path.key(key));
        let whole = chains_are_whole && !pruned("chain") && !pruned("anonymous");
        if whole && errors == checks.report.count(Severity::Error) {
            check_door(listener, &chain, &path, checks);
        }
        check_limits(&listener.limits, &path.key("limits"), checks);
        check_files(&listener.limits, &path.key("limits"), checks);
        // That it isn't there, or is none, was reported.
        let Some(bind) = &listener.bind else { continue };
        if let Some(other) = settings.iter().find(|other| other.bind.clashes(bind)) {
            let message = format!("listener `{}` takes {} already", other.name, other.bind);
            checks.error(Code::BindClash, message, &path.key("bind"));
        }
        settings.push(ListenerSettings {
            name: name.clone(),
            bind: bind.clone(),
            chain,
            protocols: protocols(listener.protocols.as_deref()),
            mount: listener.mount.as_ref().map(|mount| mount.0.clone()),
            anonymous: listener.anonymous == Some(true),
            shared_sessions: listener.shared_sessions == Some(true),
            limits: listener.limits.over(limits),
        });
    }
    settings
}

/// Reads the chain of the listener at `path`.
async fn read_chain<'a>(
    listener: &'a Listener,
    path: &Path,
    chains: &mut Chains<'a>,
    checks: &mut Checks<'_>,
) -> ChainSettings {
    let at = path.key("chain");
    match &listener.chain {
        Some(ChainRef::Name(name)) => {
            chains.check_chain(name, &at, checks);
            chains.used.push(name.clone());
            chains.flatten(name)
        }
        Some(ChainRef::List(uses)) => {
            chains.check_uses(uses, &at, checks).await;
            chains
                .used
                .extend(uses.iter().filter_map(|entry| entry.chain().map(str::to_owned)));
            chains.flatten_inline(uses)
        }
        None if chains.chains.contains_key(DEFAULT_CHAIN) => {
            chains.used.push(DEFAULT_CHAIN.to_owned());
            chains.flatten(DEFAULT_CHAIN)
        }
        None => ChainSettings::default(),
    }
}

/// Closed by default: somebody decides who comes in, or it is written that everybody may.
fn check_door(listener: &Listener, chain: &ChainSettings, path: &Path, checks: &mut Checks<'_>) {
    let guarded = chain.has("authenticate") || chain.has("exchange");
    let written = listener.anonymous == Some(true);
    let is_local = listener.bind.as_ref().is_none_or(super::text::Bind::is_local);
    if !guarded && !written {
        let reach = if is_local {
            "on this machine"
        } else {
            "who can reach it"
        };
        let flag = |place: Place| matches!(place.origin, Origin::Flag(_));
        let open = if checks.origins.key_place(path).is_some_and(flag) {
            format!("give `--set {path}.anonymous=true` too")
        } else {
            format!("set `{path}.anonymous = true`")
        };
        let help = format!(
            "put an authenticator like `builtin:auth-file` into its chain, or {open} to let everybody in {reach}"
        );
        let message = format!("`{path}`: nothing decides who may connect");
        checks.key_error(Code::OpenListener, message, path, Some(help));
    }
    if let Some(bind) = listener
        .bind
        .as_ref()
        .filter(|_| written && !guarded && !is_local)
    {
        let message = format!("`{path}`: everybody who can reach {bind} comes in");
        checks.warn(Code::OpenListener, message, &path.key("anonymous"), None);
    }
}

/// Doubts that the system lets so many connections be open. `path`: the limits.
pub(super) fn check_files(limits: &shape::Limits, path: &Path, checks: &mut Checks<'_>) {
    let (Some(wanted), Some(possible)) = (limits.connections_max, connections_possible()) else {
        return;
    };
    if wanted > possible {
        let message = format!("the system lets this program have {possible} connections, not {wanted}");
        let help = "raise the limit of open files, like systemd's `LimitNOFILE`".to_owned();
        checks.warn_value(
            Code::LimitTooHigh,
            message,
            &path.key("connections_max"),
            Some(help),
        );
    }
}

/// Refuses what only counts for the broker as a whole.
fn check_limits(limits: &shape::Limits, path: &Path, checks: &mut Checks<'_>) {
    let broker_wide = [
        ("sessions_max", limits.sessions_max.is_some()),
        ("retained_max", limits.retained_max.is_some()),
        ("retained_bytes_max", limits.retained_bytes_max.is_some()),
        ("memory_max", limits.memory_max.is_some()),
        ("queue_full", limits.queue_full.is_some()),
    ];
    for (key, _) in broker_wide.into_iter().filter(|(_, there)| *there) {
        let message = format!("`{key}` counts for the whole broker");
        let help = "write it under `[limits]`".to_owned();
        checks.key_error(Code::MisplacedKey, message, &path.key(key), Some(help));
    }
}

fn protocols(written: Option<&[Protocol]>) -> Vec<ProtocolVersion> {
    let all = [Protocol::V31, Protocol::V311, Protocol::V5];
    let chosen = written.filter(|written| !written.is_empty()).unwrap_or(&all);
    all.iter()
        .filter(|protocol| chosen.contains(protocol))
        .map(|protocol| match protocol {
            Protocol::V31 => ProtocolVersion::V31,
            Protocol::V311 => ProtocolVersion::V311,
            Protocol::V5 => ProtocolVersion::V5,
        })
        .collect()
}

impl shape::Limits {
    /// Makes complete limits: what is said here, else what `base` says, else the built-in default.
    pub(super) fn over(&self, base: &Self) -> Limits {
        let mut limits = Limits::default();
        for said in [base, self] {
            said.apply(&mut limits);
        }
        limits
    }

    fn apply(&self, limits: &mut Limits) {
        fn set<T>(field: &mut T, said: Option<T>) {
            if let Some(said) = said {
                *field = said;
            }
        }
        // The schema has checked every range; what is converted here fits.
        let size = |bytes: super::quantity::ByteSize| usize::try_from(bytes.0).unwrap_or(usize::MAX);
        let small = |bytes: super::quantity::ByteSize| u32::try_from(bytes.0).unwrap_or(u32::MAX);
        let secs = |time: super::quantity::TimeSpan| u32::try_from(time.0.as_secs()).unwrap_or(u32::MAX);
        let rate = self.rate.clone().unwrap_or_default();
        set(&mut limits.connections_max, self.connections_max.map(Some));
        set(
            &mut limits.connect_timeout,
            self.connect_timeout.map(|time| time.0),
        );
        set(&mut limits.packet_size_max, self.packet_size_max.map(small));
        set(&mut limits.connect_size_max, self.connect_size_max.map(small));
        set(&mut limits.receive_maximum, self.receive_maximum);
        set(&mut limits.inflight_max, self.inflight_max);
        set(&mut limits.queued_messages_max, self.queued_messages_max);
        set(&mut limits.queued_bytes_max, self.queued_bytes_max.map(size));
        set(&mut limits.outbox_bytes_max, self.outbox_bytes_max.map(size));
        set(
            &mut limits.write_stall_max,
            self.write_stall_max.map(|time| time.0),
        );
        set(&mut limits.subscriptions_max, self.subscriptions_max);
        set(&mut limits.topic_levels_max, self.topic_levels_max);
        set(&mut limits.topic_bytes_max, self.topic_bytes_max.map(size));
        set(
            &mut limits.client_id_bytes_max,
            self.client_id_bytes_max.map(size),
        );
        set(&mut limits.topic_alias_maximum, self.topic_alias_maximum);
        set(&mut limits.topic_alias_out_max, self.topic_alias_out_max);
        set(
            &mut limits.session_expiry_max,
            self.session_expiry_max.map(|time| Some(secs(time))),
        );
        let keep_alive = |time| u16::try_from(secs(time)).unwrap_or(u16::MAX);
        set(
            &mut limits.keep_alive_max,
            self.keep_alive_max.map(|time| Some(keep_alive(time))),
        );
        set(&mut limits.maximum_qos, self.maximum_qos.and_then(QoS::from_bits));
        set(&mut limits.retain_available, self.retain_available);
        set(&mut limits.wildcard_available, self.wildcard_available);
        set(
            &mut limits.subscription_ids_available,
            self.subscription_ids_available,
        );
        set(&mut limits.shared_available, self.shared_available);
        set(&mut limits.check_payload_format, self.check_payload_format);
        set(&mut limits.queue_qos0, self.queue_qos0);
        set(&mut limits.rate_messages, rate.messages.map(Some));
        set(&mut limits.rate_bytes, rate.bytes.map(|bytes| Some(small(bytes))));
    }

    /// The bounds of the whole broker. `None` can't be: `defaults.toml` has them all.
    pub(super) fn broker(&self) -> Option<BrokerLimits> {
        Some(BrokerLimits {
            sessions_max: self.sessions_max?,
            retained_max: self.retained_max?,
            retained_bytes_max: self.retained_bytes_max?.0,
            memory_max: self.memory_max?,
            queue_full: match self.queue_full? {
                shape::QueueFull::DropOldest => QueueFull::DropOldest,
                shape::QueueFull::DropNewest => QueueFull::DropNewest,
                shape::QueueFull::Disconnect => QueueFull::Disconnect,
            },
        })
    }
}

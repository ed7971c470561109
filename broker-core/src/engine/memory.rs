//! How much memory messages take, and what is refused when that nears the ceiling. What is counted is what clients can
//! make grow: messages that are kept (each once, however many Sessions wait for it), places in queues, outputs, packets
//! that aren't complete. Not the process' resident memory: an allocator gives that back late or never, and an embedder
//! has memory of its own.
//!
//! Refused in steps, so that what relieves memory goes on longest: Sessions that are new, then QoS 0, then all publishes.
//! A client that resumes its Session is always let in: it takes what waits for it.
//!
//! Cost: a shard knows its own part exactly and the others' as of the last tick, so a look costs a few loads that no other
//! core writes.

use std::cell::Cell;
use std::rc::Rc;

use broker_proto::Ledger;

use super::core::Core;
use super::session::{Session, State};
use super::shard::Shard;
use crate::metrics::Level;

/// What one message in a queue takes besides the message.
const QUEUED_BYTES: i64 = 48;
/// What one message under way takes besides the message.
const INFLIGHT_BYTES: i64 = 64;
/// What a Session takes, with its connection.
const SESSION_BYTES: usize = 1280;
/// What a subscription takes, in its Session and in the routes.
const SUBSCRIPTION_BYTES: usize = 512;
/// Packets that aren't complete may take one part in so many.
const PARTIAL_PART: i64 = 4;

/// What is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// Nothing.
    None,
    /// From 90 % on: new Sessions.
    Sessions,
    /// From 95 % on: QoS 0 too.
    QoS0,
    /// At the ceiling: all publishes.
    Publishes,
}

impl Pressure {
    fn of(used: i64, max: i64) -> Self {
        let percent = |percent| max / 100 * percent;
        match used {
            _ if used >= max => Self::Publishes,
            _ if used >= percent(95) => Self::QoS0,
            _ if used >= percent(90) => Self::Sessions,
            _ => Self::None,
        }
    }
}

/// What a Session held when it was counted last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Footprint {
    queued_bytes: usize,
    output_bytes: u32,
    queued: u32,
    behind: u32,
    inflight: u32,
}

/// Returns a number of messages, or of bytes of one output. There are never as many as this can't tell.
fn short(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// What the other shards held at the last tick.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Others {
    bytes: i64,
    partial_bytes: i64,
}

impl Core {
    /// Returns the bytes that all shards hold.
    pub(crate) fn memory_bytes(&self) -> i64 {
        (0..self.ledgers.len())
            .map(|shard| self.shard_bytes(shard))
            .sum::<i64>()
            + self.standing_bytes()
    }

    /// Returns what one shard counted.
    fn shard_bytes(&self, shard: usize) -> i64 {
        let holds = &self.metrics[shard].holds;
        self.ledgers[shard].bytes() as i64
            + holds.output_bytes.get()
            + holds.partial_bytes.get()
            + (holds.queued.get() - holds.behind.get()) * QUEUED_BYTES
            + holds.inflight.get() * INFLIGHT_BYTES
    }

    /// Returns what Sessions and subscriptions take by themselves, and what waits for the store.
    fn standing_bytes(&self) -> i64 {
        let (plain, shared) = self.routes.count();
        let journal = self.journal.as_ref().map_or(0, |journal| journal.bytes());
        (self.sessions.len() * SESSION_BYTES + (plain + shared) * SUBSCRIPTION_BYTES + journal) as i64
    }
}

impl Shard {
    /// Returns where messages that this shard keeps are entered.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.core.ledgers[self.index]
    }

    /// Counts what a Session holds now. To be called, under its lock, by whoever changed that.
    #[inline]
    pub(crate) fn count_held(&self, session: &Session, state: &mut State) {
        let now = Footprint {
            queued: short(state.outbound.queued_messages()),
            queued_bytes: state.outbound.queued_bytes(),
            behind: state.kept.as_ref().map_or(0, |kept| short(kept.behind())),
            inflight: short(state.outbound.inflight()),
            output_bytes: state
                .link
                .as_ref()
                .map_or(0, |link| short(link.out.own_len() + link.staging.own_len())),
        };
        let before = std::mem::replace(&mut state.footprint, now);
        let holds = &self.metrics.holds;
        let change = |level: &Level, before: u32, now: u32| level.change(before as usize, now as usize);
        change(&holds.queued, before.queued, now.queued);
        holds.queued_bytes.change(before.queued_bytes, now.queued_bytes);
        change(&holds.behind, before.behind, now.behind);
        change(&holds.inflight, before.inflight, now.inflight);
        change(&holds.output_bytes, before.output_bytes, now.output_bytes);
        session.set_inflight(now.inflight);
    }

    /// Looks at what the other shards hold. Once a tick.
    pub(crate) fn look_at_others(&self) {
        let own = self.core.shard_bytes(self.index);
        let partial = self
            .core
            .metrics
            .iter()
            .map(|shard| shard.holds.partial_bytes.get());
        self.others.set(Others {
            bytes: self.core.memory_bytes() - own,
            partial_bytes: partial.sum::<i64>() - self.metrics.holds.partial_bytes.get(),
        });
    }

    /// Tells what has to be refused now.
    #[inline]
    pub(crate) fn pressure(&self) -> Pressure {
        let max = self.core.memory_max();
        if max == i64::MAX {
            return Pressure::None;
        }
        Pressure::of(self.core.shard_bytes(self.index) + self.others.get().bytes, max)
    }

    /// Tells whether packets that aren't complete may take `more` bytes.
    pub(crate) fn may_hold_partial(&self, more: usize) -> bool {
        let max = self.core.memory_max() / PARTIAL_PART;
        let held = self.metrics.holds.partial_bytes.get() + self.others.get().partial_bytes;
        i64::try_from(more).is_ok_and(|more| held.saturating_add(more) <= max)
    }
}

/// The bytes of one connection's incomplete packet, counted for as long as this lives.
pub(crate) struct PartialBytes {
    shard: Rc<Shard>,
    counted: Cell<usize>,
}

impl PartialBytes {
    /// Counts nothing yet.
    pub(crate) const fn new(shard: Rc<Shard>) -> Self {
        Self {
            shard,
            counted: Cell::new(0),
        }
    }

    /// Counts `bytes` from now on.
    #[inline]
    pub(crate) fn set(&self, bytes: usize) {
        let before = self.counted.replace(bytes);
        self.shard.metrics.holds.partial_bytes.change(before, bytes);
    }
}

impl Drop for PartialBytes {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Returns the ceiling that holds unless the builder says another; `None`: nobody knows what there is.
pub(crate) fn memory_max_default() -> Option<u64> {
    Some(memory_total()? / 100 * 80)
}

/// Returns the bytes of memory that the machine has, or the process' control group if that has less; `None`: nobody knows.
#[must_use]
pub fn memory_total() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| mem_total(&text));
    let group = std::fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| group_max(&text, |path| std::fs::read_to_string(path).ok()));
    match (machine, group) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Returns the lowest limit of the process' control group and those above it.
fn group_max(own: &str, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let limit = |path: String| read(&path)?.trim().parse::<u64>().ok();
    let groups = own.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?, parts.next()?))
    });
    let limits = groups.flat_map(|(controllers, path)| {
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        // In a container the path may be the host's; the root is the container's own then.
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.filter_map(|end| limit(format!("{root}{}/{file}", path[..end].trim_end_matches('/'))))
            .collect()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_come_in_steps() {
        let steps = [
            (0, Pressure::None),
            (899, Pressure::None),
            (900, Pressure::Sessions),
            (949, Pressure::Sessions),
            (950, Pressure::QoS0),
            (999, Pressure::QoS0),
            (1000, Pressure::Publishes),
            (i64::MAX, Pressure::Publishes),
        ];
        for (used, pressure) in steps {
            assert_eq!(Pressure::of(used, 1000), pressure, "{used}");
        }
        assert!(Pressure::None < Pressure::Sessions && Pressure::QoS0 < Pressure::Publishes);
    }

    #[test]
    fn the_machine_says_what_it_has() {
        assert_eq!(
            mem_total("MemTotal:       16316412 kB\nMemFree: 1 kB\n"),
            Some(16_316_412 * 1024)
        );
        assert_eq!(mem_total("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn the_tightest_control_group_counts() {
        let read = |path: &str| match path {
            "/sys/fs/cgroup/a/memory.max" => Some("4096\n".to_owned()),
            "/sys/fs/cgroup/a/b/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/memory/c/memory.limit_in_bytes" => Some("8192\n".to_owned()),
            _ => None,
        };
        assert_eq!(group_max("0::/a/b\n", read), Some(4096));
        assert_eq!(group_max("0::/\n", read), None);
        assert_eq!(group_max("3:cpu,memory:/c\n2:cpu:/a\n", read), Some(8192));
        assert_eq!(group_max("nonsense", read), None);
    }
}

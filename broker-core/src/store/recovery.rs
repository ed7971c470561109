//! What the store holds becomes Sessions again, before anybody connects: subscriptions take messages, Will Messages are
//! due when they were, and of each queue the head is in memory. A broker that was killed finds its connections ended now.
//!
//! Damage stops the start: a broker that leaves out what it can't read would lose what it has acknowledged.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use broker_proto::{InFlight, Outbound, OutboundSnapshot, Phase, Queued, ReceivedIds};
use broker_types::{ClientId, PacketId};
use bytes::Bytes;
use plugin_api::{Durability, SessionStore, StoreFault, StoreOp};

use super::Map;
use super::codec::Damaged;
use super::journal::Journal;
use super::kept::{Kept, WINDOW, WillKey, forget};
use super::records::{
    Assembly, Entry, EntryPhase, Moment, SessionRecord, WillRecord, check_format, chunks_of, format_key,
    format_value, kind, read_entry_key, read_received_key, read_retained, read_retained_key,
    read_session_key, read_subscription, read_will_key, received_key, retained_key, subscription_key,
};
use super::refill::read_body;
use crate::engine::attach::{NEVER, outbound_limits};
use crate::engine::core::Core;
use crate::engine::listener::ListenerState;
use crate::engine::session::{Session, State, Will};
use crate::engine::subscriptions::{Held, Subscriptions};
use crate::engine::timers::Due;

/// Records read at a time, and chunks, which are larger.
const PAGE: usize = 1024;
const PAGE_CHUNKS: usize = 16;

/// What is left to do when the chains are there.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Will Messages whose Session has ended, to be published now.
    pub(crate) wills: Vec<LateWill>,
}

/// A Will Message without a Session.
#[derive(Debug)]
pub(crate) struct LateWill {
    pub(crate) will: Will,
    pub(crate) listener: Arc<ListenerState>,
    pub(crate) session: u64,
}

/// What the store holds for one Session.
#[derive(Debug)]
struct Found {
    client_id: ClientId,
    record: SessionRecord,
    subscriptions: Vec<Held>,
    received: Vec<PacketId>,
    outbound: OutboundSnapshot,
    packet_ids: HashSet<PacketId>,
    entries: Vec<(u64, Entry)>,
    last: Option<u64>,
    will: Option<(WillRecord, WillKey)>,
}

/// Reads everything and puts it where it was.
pub(crate) async fn recover(
    core: &Arc<Core>,
    store: &dyn SessionStore,
    journal: &Arc<Journal>,
) -> Result<Recovered, StoreFault> {
    let reader = Recovery {
        core,
        store,
        journal,
        moment: core.moment(),
    };
    reader.check_format().await?;
    let mut found = reader.sessions().await?;
    reader.subscriptions(&mut found).await?;
    reader.received(&mut found).await?;
    reader.queues(&mut found).await?;
    let mut recovered = Recovered::default();
    reader.wills(&mut found, &mut recovered).await?;
    let retained = reader.retained().await?;
    let sessions = found.len();
    core.reserve_session_ids(found.last_key_value().map_or(0, |(number, _)| *number));
    for found in found.into_values() {
        reader.revive(found);
    }
    if sessions > 0 || retained > 0 {
        tracing::info!(sessions, retained, "recovered from the session store");
    }
    Ok(recovered)
}

/// What the steps share.
struct Recovery<'a> {
    core: &'a Arc<Core>,
    store: &'a dyn SessionStore,
    journal: &'a Arc<Journal>,
    moment: Moment,
}

type Sessions = BTreeMap<u64, Found>;

impl Recovery<'_> {
    /// Checks that the store is ours to read; writes so into an empty one.
    async fn check_format(&self) -> Result<(), StoreFault> {
        let key = format_key();
        if let Some(value) = self.store.get(&key).await? {
            return Ok(check_format(&value)?);
        }
        for kind in [kind::SESSION, kind::RETAINED, kind::ENTRY] {
            if !self.store.scan(&[kind], None, 1).await?.is_empty() {
                return Err(Damaged("there is no record of its format").into());
            }
        }
        let batch = [StoreOp::Put {
            key,
            value: format_value(),
        }];
        self.store.commit(&batch, self.journal.strongest).await
    }

    async fn sessions(&self) -> Result<Sessions, StoreFault> {
        let mut sessions = Sessions::new();
        let mut pages = self.pages(kind::SESSION, PAGE);
        while let Some(page) = pages.next().await? {
            for (key, value) in page {
                let record = SessionRecord::decode(&value)?;
                let number = record.number;
                let found = Found {
                    client_id: read_session_key(&key)?,
                    record,
                    subscriptions: Vec::new(),
                    received: Vec::new(),
                    outbound: OutboundSnapshot::default(),
                    packet_ids: HashSet::new(),
                    entries: Vec::new(),
                    last: None,
                    will: None,
                };
                if sessions.insert(number, found).is_some() {
                    return Err(Damaged("two sessions have the same number").into());
                }
            }
        }
        Ok(sessions)
    }

    async fn subscriptions(&self, sessions: &mut Sessions) -> Result<(), StoreFault> {
        let mut pages = self.pages(kind::SUBSCRIPTION, PAGE);
        while let Some(page) = pages.next().await? {
            for (key, value) in page {
                let (session, held) = read_subscription(&key, &value)?;
                match sessions.get_mut(&session) {
                    Some(found) => found.subscriptions.push(held),
                    None => self.delete(subscription_key(session, &held.requested)),
                }
            }
        }
        Ok(())
    }

    async fn received(&self, sessions: &mut Sessions) -> Result<(), StoreFault> {
        let mut pages = self.pages(kind::RECEIVED, PAGE);
        while let Some(page) = pages.next().await? {
            for (key, _) in page {
                let (session, packet_id) = read_received_key(&key)?;
                match sessions.get_mut(&session) {
                    Some(found) => found.received.push(packet_id),
                    None => self.delete(received_key(session, packet_id)),
                }
            }
        }
        Ok(())
    }

    /// Reads all queues once, their messages only as far as they are needed now.
    async fn queues(&self, sessions: &mut Sessions) -> Result<(), StoreFault> {
        let mut bodies: Map<u64, u32> = Map::default();
        let mut orphans = Vec::new();
        let mut last_body = 0;
        let mut pages = self.pages(kind::ENTRY, PAGE);
        while let Some(page) = pages.next().await? {
            for (key, value) in page {
                let (session, seq) = read_entry_key(&key)?;
                let entry = Entry::decode(&value)?;
                if let Some(body) = entry.body {
                    *bodies.entry(body).or_insert(0) += 1;
                    last_body = last_body.max(body);
                }
                match sessions.get_mut(&session) {
                    Some(found) => self.entry(found, seq, entry).await?,
                    None => orphans.push((session, seq, entry)),
                }
            }
        }
        self.journal.resume(last_body, bodies);
        let mut pen = self.journal.pen(None, Durability::Async);
        for (session, seq, entry) in orphans {
            forget(&mut pen, session, seq, &entry);
        }
        Ok(())
    }

    async fn entry(&self, found: &mut Found, seq: u64, entry: Entry) -> Result<(), StoreFault> {
        found.last = Some(seq);
        found.outbound.next_seq = seq + 1;
        match entry.phase {
            EntryPhase::UnderWay(packet_id, phase) => {
                if !found.packet_ids.insert(packet_id) {
                    return Err(Damaged("two messages have the same packet identifier").into());
                }
                found.outbound.next_packet_id = packet_id.get().wrapping_add(1);
                let message = match phase {
                    Phase::Released => None,
                    Phase::Sent => Some(self.body(&entry).await?),
                };
                found.outbound.inflight.push(InFlight {
                    seq,
                    packet_id,
                    phase,
                    message,
                    terms: entry.terms(),
                });
            }
            EntryPhase::Waits if found.outbound.queued.len() < WINDOW => {
                let (message, terms) = (self.body(&entry).await?, entry.terms());
                found.outbound.queued.push(Queued { seq, message, terms });
            }
            EntryPhase::Waits => {
                found.outbound.behind += 1;
                found.outbound.behind_bytes += entry.size as usize;
                return Ok(());
            }
        }
        found.entries.push((seq, entry));
        Ok(())
    }

    async fn body(&self, entry: &Entry) -> Result<Arc<broker_proto::Stored>, StoreFault> {
        let ledger = &self.core.ledgers[0];
        let stored = read_body(self.store, entry, self.moment, ledger).await?;
        Ok(Arc::new(stored.ok_or(Damaged("a message's body is missing"))?))
    }

    async fn wills(&self, sessions: &mut Sessions, recovered: &mut Recovered) -> Result<(), StoreFault> {
        let mut wills = Vec::new();
        let mut pages = self.pages(kind::WILL, PAGE_CHUNKS);
        let mut assembly = Assembly::default();
        loop {
            let page = pages.next().await?;
            let end = page.is_none();
            for (key, chunk) in page.into_iter().flatten() {
                wills.extend(assembly.add(&key, &chunk)?);
            }
            if end {
                wills.extend(assembly.take());
                break;
            }
        }
        for (key, value) in wills {
            let (session, number) = read_will_key(&key)?;
            let record = WillRecord::decode(&value, self.moment, &self.core.ledgers[0])?;
            self.journal.resume_numbers(number);
            let key = WillKey::new(session, number, value.len());
            // An earlier one of the same Session was about to be published.
            let late = match sessions.get_mut(&session) {
                Some(found) => found.will.replace((record, key)),
                None => Some((record, key)),
            };
            if let Some((record, key)) = late {
                let listener = self.listener(&record.client.listener);
                let will = will(record, key);
                recovered.wills.push(LateWill {
                    will,
                    listener,
                    session,
                });
            }
        }
        Ok(())
    }

    async fn retained(&self) -> Result<usize, StoreFault> {
        let mut count = 0;
        let mut pages = self.pages(kind::RETAINED, PAGE_CHUNKS);
        let mut assembly = Assembly::default();
        loop {
            let page = pages.next().await?;
            let end = page.is_none();
            let mut whole = Vec::new();
            for (key, chunk) in page.into_iter().flatten() {
                whole.extend(assembly.add(&key, &chunk)?);
            }
            if end {
                whole.extend(assembly.take());
            }
            for (key, value) in whole {
                let topic = read_retained_key(&key)?;
                let (stored, expires) = read_retained(&value, self.moment, &self.core.ledgers[0])?;
                if expires <= self.moment.wall {
                    let mut pen = self.journal.pen(None, Durability::Async);
                    pen.delete_long(&retained_key(topic.as_str()), chunks_of(value.len()));
                    continue;
                }
                let size = u32::try_from(stored.size()).unwrap_or(u32::MAX);
                let expires = self.moment.time_of(expires);
                self.core.retained.put(&topic, Arc::new(stored), size, expires);
                count += 1;
            }
            if end {
                return Ok(count);
            }
        }
    }

    /// Puts one Session where it was.
    fn revive(&self, found: Found) {
        let Found {
            client_id,
            mut record,
            subscriptions,
            received,
            outbound,
            entries,
            last,
            will: found_will,
            ..
        } = found;
        let (core, moment) = (self.core, self.moment);
        let listener = self.listener(&record.listener);
        let mut kept = Kept::new(self.journal.clone(), record.number, listener.durability);
        kept.behind = outbound.behind;
        for (seq, entry) in entries {
            kept.adopt(seq, entry);
        }
        kept.last = last;
        received
            .iter()
            .for_each(|packet_id| kept.adopt_received(*packet_id));
        let ended_at = match record.ended_at {
            Some(ended_at) => ended_at,
            None => {
                record.ended_at = Some(moment.wall);
                kept.put_session(&client_id, &record);
                moment.wall
            }
        };
        let limits = Arc::new(outbound_limits(
            &listener.limits,
            core.settings().queue_full,
            true,
        ));
        let mut held = Subscriptions::default();
        for subscription in subscriptions {
            held.insert(subscription);
        }
        let state = State {
            outbound: Outbound::restore(limits.clone(), outbound),
            received: received.into_iter().collect::<ReceivedIds>(),
            subscriptions: held,
            version: record.version,
            expiry: record.expiry,
            fresh: false,
            kept: Some(Box::new(kept)),
            ..State::new(limits, listener, record.owner.boxed())
        };
        let session = Arc::new(Session::new(record.number, client_id.clone(), state));
        core.sessions.get_or_insert(&client_id, || session.clone());
        let mut state = session.lock();
        let state = &mut *state;
        for held in state.subscriptions.iter() {
            core.routes.subscribe(&session, held.routed(), held.options);
        }
        if record.expiry != NEVER {
            let end = ended_at.saturating_add(u64::from(record.expiry) * 1000);
            let due = moment.time_of(end);
            state.expiry_timer = Some(core.timers.set(due, &session, Due::SessionExpiry));
        }
        if let Some((mut record, key)) = found_will {
            let due = match record.due {
                Some(due) => moment.time_of(due),
                None => {
                    let delay = record.delay.min(state.expiry);
                    moment.now + Duration::from_secs(delay.into())
                }
            };
            record.due = Some(moment.wall_of(due));
            let kept = state.kept.as_deref();
            let key = kept.map_or(key, |kept| kept.put_will(&record, Some(key)));
            let mut will = will(record, key);
            will.timer = Some(core.timers.set(due, &session, Due::Will));
            state.will = Some(Box::new(will));
        }
    }

    /// Returns the listener a Session was made at, or another if that is gone: until the client returns it only says how long
    /// the queue may be.
    fn listener(&self, name: &str) -> Arc<ListenerState> {
        let listeners = self.core.listeners();
        let named = listeners.iter().find(|listener| *listener.name == *name);
        named.unwrap_or(&listeners[0]).clone()
    }

    fn delete(&self, key: Bytes) {
        self.journal.pen(None, Durability::Async).delete(key);
    }

    fn pages(&self, kind: u8, limit: usize) -> Pages<'_> {
        Pages {
            store: self.store,
            prefix: [kind],
            after: None,
            limit,
        }
    }
}

/// All records of a kind, some at a time.
struct Pages<'a> {
    store: &'a dyn SessionStore,
    prefix: [u8; 1],
    after: Option<Bytes>,
    limit: usize,
}

impl Pages<'_> {
    async fn next(&mut self) -> Result<Option<Vec<(Bytes, Bytes)>>, StoreFault> {
        let page = self
            .store
            .scan(&self.prefix, self.after.as_deref(), self.limit)
            .await?;
        match page.last() {
            None => Ok(None),
            Some((last, _)) => {
                self.after = Some(last.clone());
                Ok(Some(page))
            }
        }
    }
}

fn will(record: WillRecord, key: WillKey) -> Will {
    Will {
        message: record.message,
        delay: record.delay,
        client: Arc::new(record.client),
        timer: None,
        record: Some(key),
    }
}

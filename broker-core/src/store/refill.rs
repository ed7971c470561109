//! Messages that wait only in the store: the next of them brought into memory when there is room, and all of them removed
//! when their Session has ended. Both are done between commits, and only with what is durable.

use std::sync::Arc;
use std::time::Duration;

use broker_proto::{Ledger, Queued, Stored};
use bytes::Bytes;
use plugin_api::{Durability, SessionStore, StoreFault};

use super::journal::Journal;
use super::kept::{Refilling, forget};
use super::records::{
    Entry, Moment, body_key, chunk_key, entry_key, entry_prefix, read_entry_key, read_stored,
};
use super::writer::PAUSE_MAX;
use crate::engine::core::Core;
use crate::engine::session::Session;

/// Entries removed at a time.
const SWEEP: usize = 256;

/// Brings the next messages of a Session from behind its window.
pub(crate) async fn refill(core: &Arc<Core>, store: &dyn SessionStore, session: &Arc<Session>) {
    let Some((number, after, wanted, asked)) = request(session) else {
        return;
    };
    let expected = wanted.min(usize::try_from(asked.behind).unwrap_or(usize::MAX));
    let found = loop {
        match read(store, core, number, after, expected, asked.upto).await {
            Ok(found) => break found,
            Err(fault) => {
                tracing::error!(client_id = %session.client_id, %fault, "cannot read a session's queue; trying again");
                tokio::time::sleep(PAUSE_MAX).await;
            }
        }
    };
    let missing = expected.saturating_sub(found.len());
    if missing > 0 {
        tracing::error!(client_id = %session.client_id, missing, "messages of a session's queue are lost: the store is damaged");
    }
    let mut state = session.lock();
    let state = &mut *state;
    let Some(kept) = state.kept.as_deref_mut() else {
        return;
    };
    kept.refilling = None;
    kept.behind = kept.behind.saturating_sub(expected as u64);
    let mut queued = Vec::with_capacity(found.len());
    for (seq, entry, message) in found {
        queued.push(Queued {
            seq,
            message,
            terms: entry.terms(),
        });
        kept.adopt(seq, entry);
    }
    state.outbound.refill(queued, missing as u64);
    if let Some(link) = state.link.as_deref_mut() {
        link.refilled = true;
        link.wake();
    }
}

fn request(session: &Session) -> Option<(u64, Option<u64>, usize, Refilling)> {
    let mut state = session.lock();
    let state = &mut *state;
    if state.ended {
        return None;
    }
    let kept = state.kept.as_deref_mut()?;
    let wanted = state.outbound.wants_refill();
    if wanted.is_none() {
        kept.refilling = None;
    }
    Some((kept.session(), kept.in_memory, wanted?, kept.refilling?))
}

type Found = (u64, Entry, Arc<Stored>);

/// Reads at most `most` messages after `after`, up to `upto`. A damaged one is left out, and told.
async fn read(
    store: &dyn SessionStore,
    core: &Core,
    session: u64,
    after: Option<u64>,
    most: usize,
    upto: u64,
) -> Result<Vec<Found>, StoreFault> {
    let (moment, ledger) = (core.moment(), &core.ledgers[0]);
    let after = after.map(|seq| entry_key(session, seq));
    let page = store.scan(&entry_prefix(session), after.as_deref(), most).await?;
    let mut found = Vec::with_capacity(page.len());
    for (key, value) in page {
        let (_, seq) = read_entry_key(&key)?;
        if seq > upto {
            break;
        }
        let entry = Entry::decode(&value)?;
        match read_body(store, &entry, moment, ledger).await {
            Ok(Some(stored)) => found.push((seq, entry, Arc::new(stored))),
            Ok(None) => tracing::error!(session, seq, "a message's body is missing in the store"),
            Err(StoreFault::Corrupt(why)) => {
                tracing::error!(session, seq, why, "a message in the store is damaged");
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(found)
}

/// Returns the message of an entry.
pub(crate) async fn read_body(
    store: &dyn SessionStore,
    entry: &Entry,
    moment: Moment,
    ledger: &Ledger,
) -> Result<Option<Stored>, StoreFault> {
    let Some(body) = entry.body else { return Ok(None) };
    let key = body_key(body);
    let mut value = Bytes::new();
    for chunk in 0..entry.body_chunks() {
        let Some(bytes) = store.get(&chunk_key(&key, chunk)).await? else {
            return Ok(None);
        };
        value = match chunk {
            0 => bytes,
            _ => [value, bytes].concat().into(),
        };
    }
    Ok(Some(read_stored(&value, moment, ledger)?))
}

/// Removes what a Session that has ended left in the store.
pub(crate) async fn sweep(store: &dyn SessionStore, journal: &Journal, session: u64) {
    let prefix = entry_prefix(session);
    loop {
        let page = match store.scan(&prefix, None, SWEEP).await {
            Ok(page) => page,
            Err(StoreFault::Unavailable(_)) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            // The next start removes it.
            Err(fault) => {
                return tracing::error!(%fault, "cannot remove the queue of a session that has ended");
            }
        };
        if page.is_empty() {
            return;
        }
        let removed = {
            let mut pen = journal.pen(None, Durability::Async);
            page.iter().try_for_each(|(key, value)| {
                let (session, seq) = read_entry_key(key)?;
                forget(&mut pen, session, seq, &Entry::decode(value)?);
                Ok::<_, StoreFault>(())
            })
        };
        if let Err(fault) = removed {
            return tracing::error!(%fault, "cannot remove the queue of a session that has ended");
        }
        if !journal.settled().await {
            return;
        }
    }
}

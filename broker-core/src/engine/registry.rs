//! Which Session a Client Identifier has. Only CONNECT, the end of a Session and the handle come here.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker_types::{ClientHandle, ClientId};
use hashbrown::HashTable;

use super::session::Session;

/// Parts, each with a lock of its own.
const PARTS: usize = 16;

/// All Sessions by Client Identifier. The identifiers are the clients' choice, so the hash is a keyed one.
#[derive(Debug)]
pub(crate) struct Registry {
    parts: [Mutex<HashTable<Arc<Session>>>; PARTS],
    /// Those with a connection, by its handle.
    connected: [Mutex<HashTable<Arc<Session>>>; PARTS],
    hasher: RandomState,
    count: AtomicUsize,
}

impl Registry {
    /// Returns an empty one.
    pub(crate) fn new() -> Self {
        Self {
            parts: Default::default(),
            connected: Default::default(),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
        }
    }

    /// Returns the Session of `client_id`.
    pub(crate) fn get(&self, client_id: &str) -> Option<Arc<Session>> {
        let hash = self.hasher.hash_one(client_id);
        self.part(hash)
            .find(hash, |held| held.client_id.as_str() == client_id)
            .cloned()
    }

    /// Returns the Session of `client_id`, or puts the one in that `make` returns. True: it was put in.
    pub(crate) fn get_or_insert(
        &self,
        client_id: &ClientId,
        make: impl FnOnce() -> Arc<Session>,
    ) -> (Arc<Session>, bool) {
        let hash = self.hasher.hash_one(client_id.as_str());
        let mut part = self.part(hash);
        if let Some(session) = part.find(hash, |held| held.client_id == *client_id) {
            return (session.clone(), false);
        }
        let session = make();
        let rehash = |held: &Arc<Session>| self.hasher.hash_one(held.client_id.as_str());
        part.insert_unique(hash, session.clone(), rehash);
        self.count.fetch_add(1, Ordering::Relaxed);
        (session, true)
    }

    /// Removes `session` if it is still the one of its Client Identifier.
    pub(crate) fn remove(&self, session: &Arc<Session>) {
        let hash = self.hasher.hash_one(session.client_id.as_str());
        let mut part = self.part(hash);
        if let Ok(entry) = part.find_entry(hash, |held| Arc::ptr_eq(held, session)) {
            entry.remove();
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Finds `session` by the handle of the connection it has now.
    pub(crate) fn connect(&self, session: &Arc<Session>) {
        let handle = session.handle();
        let rehash = |session: &Arc<Session>| spread(session.handle());
        self.handle_part(handle)
            .insert_unique(spread(handle), session.clone(), rehash);
    }

    /// Finds `session` no longer by the handle of its connection.
    pub(crate) fn disconnect(&self, session: &Arc<Session>) {
        let handle = session.handle();
        let mut part = self.handle_part(handle);
        if let Ok(entry) = part.find_entry(spread(handle), |held| Arc::ptr_eq(held, session)) {
            entry.remove();
        }
    }

    /// Returns the Session that has the connection `handle`.
    pub(crate) fn by_handle(&self, handle: ClientHandle) -> Option<Arc<Session>> {
        self.handle_part(handle)
            .find(spread(handle), |session| session.handle() == handle)
            .cloned()
    }

    /// Returns how many Sessions there are.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns how many Sessions have a connection.
    pub(crate) fn connected(&self) -> usize {
        let lock =
            |part: &Mutex<HashTable<Arc<Session>>>| part.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.connected.iter().map(lock).sum()
    }

    /// Calls `each` for every Session, a part at a time, with no lock held.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&Arc<Session>)) {
        for part in &self.parts {
            let sessions: Vec<_> = part
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .cloned()
                .collect();
            sessions.iter().for_each(&mut each);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below PARTS")]
    fn handle_part(&self, handle: ClientHandle) -> MutexGuard<'_, HashTable<Arc<Session>>> {
        self.connected[(handle.0 % PARTS as u64) as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the part of a hash: by bits from its middle, as tables use both ends.
    fn part(&self, hash: u64) -> MutexGuard<'_, HashTable<Arc<Session>>> {
        self.parts[(hash >> 32) as usize % PARTS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spreads handles, which count upwards, over all bits of a hash.
fn spread(handle: ClientHandle) -> u64 {
    handle.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

//! What must become durable, before it is: operations are gathered into *groups*, each committed as one batch, one after
//! the other, by one writer. Whoever has to wait for a group leaves a [`Waiter`]. Operations on the same key are merged
//! while their group is open, so a message that is acknowledged before its group leaves was never written.
//!
//! One publication may touch many Sessions, and all of that must be in one group: it *opens* the current one
//! ([`Journal::open`]), which then isn't committed before it is closed, while others go on in the next. Nobody waits for
//! anybody. The lock is held for a few map operations and is the last one taken: whoever holds it takes no other.
//!
//! Not here: what the operations mean (`kept`), and who does the committing (`writer`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker_proto::Token;
use broker_types::{ClientHandle, ReasonCode};
use bytes::Bytes;
use plugin_api::{Durability, StoreOp};
use tokio::sync::{Notify, oneshot};

use super::Map;
use super::records::{CHUNK, chunk_key, chunks_of};
use crate::engine::session::Session;

/// What a group's operation costs besides its bytes, for the bound on batches.
const OPERATION_BYTES: usize = 32;

/// Parts of a batch: what a group may hold before another one begins, and the largest message. One publication may add its
/// message twice, once retained, and an entry for each that gets it.
const GROUP_PART: usize = 4;
const MESSAGE_PART: usize = 8;

/// Names a group. They become durable in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group(u64);

/// Who is told when a group is durable.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// The connection `handle` of this Session may acknowledge.
    Acknowledgement {
        session: Arc<Session>,
        handle: ClientHandle,
        token: Token,
        reason: ReasonCode,
    },
    /// The Session has output that may leave.
    Output(Arc<Session>),
    /// The Session wants messages that wait only in the store.
    Refill(Arc<Session>),
    /// A Session has ended; what was left of its queue in the store is to be removed.
    Sweep(u64),
    /// A task waits.
    Task(oneshot::Sender<()>),
}

impl Waiter {
    /// It will never be durable. A connection looks whether anybody is still there who waits.
    fn give_up(self) {
        if let Self::Acknowledgement { session, handle, .. } = self
            && let Some(link) = session.lock().link_of(handle)
        {
            link.wake();
        }
    }
}

/// The journal of one broker.
#[derive(Debug)]
pub(crate) struct Journal {
    inner: Mutex<Inner>,
    /// Wakes the writer.
    work: Notify,
    /// Bodies have numbers of their own, and so have Will Messages.
    numbers: AtomicU64,
    /// The strongest that the store promises.
    pub(crate) strongest: Durability,
    /// Bytes of operations from which on a group takes no more, except from those who have it open.
    group_bytes: usize,
    /// Bytes of the largest message.
    message_bytes: usize,
}

#[derive(Debug)]
struct Inner {
    /// The first isn't durable yet, and perhaps on its way; the last takes operations.
    groups: VecDeque<Gathering>,
    /// Number of the first.
    first: u64,
    /// How many entries have a body, if it isn't one.
    bodies: Map<u64, u32>,
    /// Nothing becomes durable any more.
    failed: bool,
}

/// A group that isn't durable yet.
#[derive(Debug, Default)]
struct Gathering {
    changes: Map<Bytes, Change>,
    bytes: usize,
    want: Durability,
    /// How many have it open.
    open: usize,
    /// Its operations are with the writer: so many.
    taken: Option<usize>,
    waiters: Vec<Waiter>,
}

#[derive(Debug)]
enum Change {
    /// `new`: the store has nothing under this key.
    Put {
        value: Bytes,
        new: bool,
    },
    Delete,
}

/// A group on its way into the store.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) group: Group,
    pub(crate) operations: Vec<StoreOp>,
    pub(crate) want: Durability,
}

impl Journal {
    /// Returns the journal of a store that takes batches of `batch_bytes_max`.
    pub(crate) fn new(strongest: Durability, batch_bytes_max: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                groups: VecDeque::from([Gathering::default()]),
                first: 1,
                bodies: Map::default(),
                failed: false,
            }),
            work: Notify::new(),
            numbers: AtomicU64::new(1),
            strongest,
            group_bytes: batch_bytes_max / GROUP_PART,
            message_bytes: batch_bytes_max / MESSAGE_PART,
        }
    }

    /// Returns a number that no body and no Will Message had before.
    pub(crate) fn new_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Continues after what the store holds: the highest number, and how many entries have each body.
    pub(crate) fn resume(&self, last_number: u64, bodies: Map<u64, u32>) {
        self.resume_numbers(last_number);
        self.lock().bodies = bodies.into_iter().filter(|(_, count)| *count > 1).collect();
    }

    /// Continues after a number that the store holds.
    pub(crate) fn resume_numbers(&self, last: u64) {
        self.numbers.fetch_max(last + 1, Ordering::Relaxed);
    }

    /// Tells whether a message of so many bytes can be stored.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        bytes < self.message_bytes
    }

    /// Opens the current group, for operations that belong together; [`Self::close`] it soon.
    pub(crate) fn open(&self) -> Group {
        let mut inner = self.lock();
        inner.make_room(self.group_bytes);
        let group = inner.current();
        inner.gathering(group).open += 1;
        group
    }

    /// Closes what [`Self::open`] opened.
    pub(crate) fn close(&self, group: Group) {
        let mut inner = self.lock();
        let gathering = inner.gathering(group);
        gathering.open -= 1;
        if gathering.open == 0 {
            self.work.notify_one();
        }
    }

    /// Lets the caller write operations that are to be as durable as `want`: into `group`, which it has open, or into the
    /// current one.
    pub(crate) fn pen(&self, group: Option<Group>, want: Durability) -> Pen<'_> {
        let mut inner = self.lock();
        let group = group.unwrap_or_else(|| {
            inner.make_room(self.group_bytes);
            inner.current()
        });
        let gathering = inner.gathering(group);
        gathering.want = gathering.want.max(want);
        Pen {
            journal: self,
            inner,
            group,
        }
    }

    /// Leaves a waiter for `group`. Returns it when the group is durable already; drops it when it never will be.
    pub(crate) fn wait(&self, group: Group, waiter: Waiter) -> Option<Waiter> {
        let mut inner = self.lock();
        if group.0 < inner.first {
            return Some(waiter);
        }
        if !inner.failed {
            inner.gathering(group).waiters.push(waiter);
            self.work.notify_one();
        }
        None
    }

    /// Waits until everything that was written so far is durable. False: it never will be.
    pub(crate) async fn settled(&self) -> bool {
        let group = self.lock().current();
        self.durable(group).await
    }

    /// Waits until `group` is durable. False: it never will be.
    pub(crate) async fn durable(&self, group: Group) -> bool {
        let (done, told) = oneshot::channel();
        match self.wait(group, Waiter::Task(done)) {
            Some(_) => true,
            None => told.await.is_ok(),
        }
    }

    /// Tells whether nothing becomes durable any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.lock().failed
    }

    /// Returns how many operations are not durable yet.
    pub(crate) fn pending(&self) -> usize {
        let count = |group: &Gathering| group.changes.len() + group.taken.unwrap_or(0);
        self.lock().groups.iter().map(count).sum()
    }

    /// Returns the bytes of what is not durable yet.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().groups.iter().map(|group| group.bytes).sum()
    }

    /// Returns the next group when it is complete and has anything to do. One at a time.
    pub(crate) async fn next_batch(&self) -> Batch {
        loop {
            if let Some(batch) = self.lock().take_batch() {
                return batch;
            }
            self.work.notified().await;
        }
    }

    /// Notes that a group is durable and returns who waited for it.
    pub(crate) fn committed(&self, group: Group) -> Vec<Waiter> {
        let mut inner = self.lock();
        debug_assert_eq!(group.0, inner.first, "groups are committed in order");
        inner.first += 1;
        let done = inner.groups.pop_front().unwrap_or_default();
        if inner.groups.is_empty() {
            inner.groups.push_back(Gathering::default());
        }
        done.waiters
    }

    /// Gives up: whoever waits will not be told, and nothing more is kept.
    pub(crate) fn fail(&self) {
        let mut inner = self.lock();
        inner.failed = true;
        let mut waiters = Vec::new();
        for group in &mut inner.groups {
            group.changes = Map::default();
            group.taken = Some(0);
            group.bytes = 0;
            waiters.append(&mut group.waiters);
        }
        inner.bodies = Map::default();
        // What is dropped with them may be a Session's last reference; not under the lock.
        drop(inner);
        waiters.into_iter().for_each(Waiter::give_up);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn current(&self) -> Group {
        Group(self.first + self.groups.len() as u64 - 1)
    }

    fn gathering(&mut self, group: Group) -> &mut Gathering {
        let at = usize::try_from(group.0 - self.first).unwrap_or(usize::MAX);
        &mut self.groups[at]
    }

    /// Begins another group when the current one is full.
    fn make_room(&mut self, group_bytes: usize) {
        if self.groups.back().is_none_or(|last| last.bytes >= group_bytes) {
            self.groups.push_back(Gathering::default());
        }
    }

    fn take_batch(&mut self) -> Option<Batch> {
        let alone = self.groups.len() == 1;
        let group = Group(self.first);
        let first = self.groups.front_mut()?;
        let nothing = first.changes.is_empty() && first.waiters.is_empty();
        if first.taken.is_some() || alone && nothing {
            return None;
        }
        let complete = first.open == 0;
        let batch = complete.then(|| {
            let changes = std::mem::take(&mut first.changes);
            first.taken = Some(changes.len());
            Batch {
                group,
                operations: changes
                    .into_iter()
                    .map(|(key, change)| change.operation(key))
                    .collect(),
                want: first.want,
            }
        });
        if alone {
            // From now on others go into the next.
            self.groups.push_back(Gathering::default());
        }
        batch
    }
}

impl Change {
    fn operation(self, key: Bytes) -> StoreOp {
        match self {
            Self::Put { value, .. } => StoreOp::Put { key, value },
            Self::Delete => StoreOp::Delete { key },
        }
    }

    fn bytes(&self, key: &Bytes) -> usize {
        let value = match self {
            Self::Put { value, .. } => value.len(),
            Self::Delete => 0,
        };
        OPERATION_BYTES + key.len() + value
    }
}

/// Writes operations into a group, under the journal's lock.
#[derive(Debug)]
pub(crate) struct Pen<'a> {
    journal: &'a Journal,
    inner: MutexGuard<'a, Inner>,
    group: Group,
}

impl Pen<'_> {
    /// Returns the group.
    pub(crate) fn group(&self) -> Group {
        self.group
    }

    /// Sets a key.
    pub(crate) fn put(&mut self, key: Bytes, value: Bytes) {
        self.change(key, Change::Put { value, new: false });
    }

    /// Sets a key that the store doesn't have.
    pub(crate) fn put_new(&mut self, key: Bytes, value: Bytes) {
        self.change(key, Change::Put { value, new: true });
    }

    /// Removes a key.
    pub(crate) fn delete(&mut self, key: Bytes) {
        self.change(key, Change::Delete);
    }

    /// Sets a key whose value may be larger than the store's, in place of one of `before` bytes.
    pub(crate) fn put_long(&mut self, key: &[u8], value: &Bytes, before: Option<usize>) {
        let chunks = chunks_of(value.len());
        for chunk in 0..chunks {
            let from = chunk as usize * CHUNK;
            let to = value.len().min(from + CHUNK);
            let (key, value) = (chunk_key(key, chunk), value.slice(from..to));
            match before {
                None => self.put_new(key, value),
                Some(_) => self.put(key, value),
            }
        }
        for chunk in chunks..before.map_or(0, chunks_of) {
            self.delete(chunk_key(key, chunk));
        }
    }

    /// Removes a value of so many chunks.
    pub(crate) fn delete_long(&mut self, key: &[u8], chunks: u32) {
        (0..chunks).for_each(|chunk| self.delete(chunk_key(key, chunk)));
    }

    /// Counts one entry more that has `body`, which has one already.
    pub(crate) fn share_body(&mut self, body: u64) {
        *self.inner.bodies.entry(body).or_insert(1) += 1;
    }

    /// Counts one entry less that has `body`. True: it was the last.
    pub(crate) fn release_body(&mut self, body: u64) -> bool {
        match self.inner.bodies.get_mut(&body) {
            None => true,
            Some(2) => {
                self.inner.bodies.remove(&body);
                false
            }
            Some(count) => {
                *count -= 1;
                false
            }
        }
    }

    fn change(&mut self, key: Bytes, change: Change) {
        if self.inner.failed {
            return;
        }
        let gathering = self.inner.gathering(self.group);
        let added = change.bytes(&key);
        match gathering.changes.get_mut(&key) {
            None => {
                gathering.bytes += added;
                gathering.changes.insert(key, change);
            }
            Some(Change::Put { new: true, .. }) if matches!(change, Change::Delete) => {
                // It was never written, and never will be.
                if let Some(before) = gathering.changes.remove(&key) {
                    gathering.bytes -= before.bytes(&key);
                }
            }
            Some(before) => {
                gathering.bytes = gathering.bytes + added - before.bytes(&key);
                let new = matches!(before, Change::Put { new: true, .. });
                *before = match change {
                    Change::Put { value, .. } => Change::Put { value, new },
                    Change::Delete => Change::Delete,
                };
            }
        }
    }
}

impl Drop for Pen<'_> {
    fn drop(&mut self) {
        // Whoever has it open closes it.
        if self.inner.gathering(self.group).open == 0 {
            self.journal.work.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const WANT: Durability = Durability::Fsync;

    fn key(name: &str) -> Bytes {
        Bytes::copy_from_slice(name.as_bytes())
    }

    fn journal() -> Journal {
        Journal::new(WANT, usize::MAX)
    }

    /// Takes the next group if it is complete.
    fn next(journal: &Journal) -> Option<Batch> {
        journal.lock().take_batch()
    }

    fn names(batch: &Batch) -> Vec<String> {
        let name = |op: &StoreOp| match op {
            StoreOp::Put { key, .. } => format!("+{}", String::from_utf8_lossy(key)),
            StoreOp::Delete { key } => format!("-{}", String::from_utf8_lossy(key)),
            StoreOp::Expect { .. } => unreachable!("the journal expects nothing"),
        };
        let mut names: Vec<_> = batch.operations.iter().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_undone_in_its_group_is_never_written() {
        let journal = journal();
        journal.pen(None, WANT).put_new(key("a"), key("1"));
        journal.pen(None, WANT).put(key("b"), key("1"));
        journal.pen(None, WANT).delete(key("a"));
        journal.pen(None, WANT).delete(key("b"));
        let batch = next(&journal).unwrap();
        assert_eq!(names(&batch), ["-b"]);
        // On its way it can't be undone any more.
        journal.pen(None, WANT).put_new(key("c"), key("1"));
        assert!(next(&journal).is_none(), "one at a time");
        journal.committed(batch.group);
        let batch = next(&journal).unwrap();
        journal.pen(None, WANT).delete(key("c"));
        assert_eq!(names(&batch), ["+c"]);
        journal.committed(batch.group);
        assert_eq!(names(&next(&journal).unwrap()), ["-c"]);
    }

    #[test]
    fn an_open_group_waits_for_whoever_has_it_open_and_others_go_on_in_the_next() {
        let journal = journal();
        let group = journal.open();
        journal.pen(Some(group), WANT).put(key("a"), key("1"));
        assert!(next(&journal).is_none());
        let later = {
            let mut pen = journal.pen(None, WANT);
            pen.put(key("b"), key("1"));
            pen.group()
        };
        assert!(later > group);
        journal.pen(Some(group), WANT).put(key("c"), key("1"));
        assert!(next(&journal).is_none());
        journal.close(group);
        let batch = next(&journal).unwrap();
        assert_eq!(
            (batch.group, names(&batch)),
            (group, vec!["+a".to_owned(), "+c".to_owned()])
        );
        journal.committed(group);
        assert_eq!(next(&journal).unwrap().group, later);
    }

    #[test]
    fn waiters_are_handed_out_with_their_group_or_told_at_once() {
        let journal = journal();
        journal.pen(None, WANT).put(key("a"), key("1"));
        let group = next(&journal).unwrap().group;
        // Also while it is on its way.
        assert!(journal.wait(group, Waiter::Sweep(1)).is_none());
        assert!(matches!(journal.committed(group)[..], [Waiter::Sweep(1)]));
        assert!(journal.wait(group, Waiter::Sweep(2)).is_some());
    }

    #[test]
    fn a_waiter_alone_makes_an_empty_group() {
        let journal = journal();
        let current = journal.lock().current();
        assert!(next(&journal).is_none());
        journal.wait(current, Waiter::Sweep(1));
        assert!(next(&journal).unwrap().operations.is_empty());
    }

    #[test]
    fn after_a_failure_nothing_is_kept_and_nobody_waits() {
        let journal = journal();
        let (done, mut told) = oneshot::channel();
        let current = journal.lock().current();
        journal.wait(current, Waiter::Task(done));
        journal.fail();
        assert!(told.try_recv().is_err());
        journal.pen(None, WANT).put(key("a"), key("1"));
        assert_eq!((journal.pending(), journal.has_failed()), (0, true));
        let (done, mut told) = oneshot::channel();
        assert!(journal.wait(current, Waiter::Task(done)).is_none());
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn groups_are_bounded_and_a_full_one_is_followed_by_another() {
        let journal = Journal::new(WANT, 4000);
        for number in 0..100 {
            journal
                .pen(None, WANT)
                .put(key(&number.to_string()), Bytes::from(vec![0; 100]));
        }
        let mut seen = 0;
        while let Some(batch) = next(&journal) {
            let bytes: usize = batch
                .operations
                .iter()
                .map(|op| match op {
                    StoreOp::Put { key, value } => key.len() + value.len(),
                    _ => 0,
                })
                .sum();
            assert!(bytes < 1200);
            seen += batch.operations.len();
            journal.committed(batch.group);
        }
        assert_eq!(seen, 100);
        assert!(journal.takes(499) && !journal.takes(500));
    }

    #[test]
    fn a_body_goes_with_the_last_that_has_it() {
        let journal = journal();
        let mut pen = journal.pen(None, WANT);
        pen.share_body(7);
        pen.share_body(7);
        assert!(!pen.release_body(7) && !pen.release_body(7) && pen.release_body(7));
        drop(pen);
        journal.resume(7, [(1, 1), (2, 3)].into_iter().collect());
        let mut pen = journal.pen(None, WANT);
        assert!(pen.release_body(1) && !pen.release_body(2));
        assert!(pen.journal.new_number() > 7);
    }

    proptest! {
        /// Groups merged and committed leave what the operations one by one would have left.
        #[test]
        fn merging_changes_nothing(ops in prop::collection::vec((0u8..5, 0u8..4, any::<u8>()), 0..60)) {
            let journal = journal();
            let (mut model, mut disk) = (BTreeMap::new(), BTreeMap::new());
            for (name, what, value) in ops {
                let (key, value) = (Bytes::copy_from_slice(&[name]), Bytes::copy_from_slice(&[value]));
                match what {
                    0 => {
                        journal.pen(None, WANT).delete(key.clone());
                        model.remove(&key);
                    }
                    1 | 2 => {
                        let mut pen = journal.pen(None, WANT);
                        match model.contains_key(&key) {
                            true => pen.put(key.clone(), value.clone()),
                            false => pen.put_new(key.clone(), value.clone()),
                        }
                        model.insert(key, value);
                    }
                    _ => commit(&journal, &mut disk),
                }
            }
            commit(&journal, &mut disk);
            prop_assert_eq!(disk, model);
        }
    }

    fn commit(journal: &Journal, disk: &mut BTreeMap<Bytes, Bytes>) {
        while let Some(batch) = next(journal) {
            for op in batch.operations {
                match op {
                    StoreOp::Put { key, value } => _ = disk.insert(key, value),
                    StoreOp::Delete { key } => _ = disk.remove(&key),
                    StoreOp::Expect { .. } => unreachable!("the journal expects nothing"),
                }
            }
            journal.committed(batch.group);
        }
    }
}

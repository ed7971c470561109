//! What waits to be carried out by one bridge. Filled by all shards, emptied by the bridge's task, which holds what it has
//! in hand until the other side took it; that counts against the bounds too, but is never dropped for newer ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker_proto::Stored;
use tokio::sync::Notify;

use super::Rule;

/// A message, and the rule it waits for: it goes out by that, whatever rules there are by then.
pub(super) struct Waiting {
    pub(super) stored: Arc<Stored>,
    pub(super) rule: Arc<Rule>,
}

pub(super) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Default)]
struct State {
    messages_max: usize,
    bytes_max: usize,
    list: VecDeque<Waiting>,
    /// Of the list and of what is in hand.
    bytes: usize,
    in_hand: usize,
}

impl State {
    fn len(&self) -> usize {
        self.list.len() + self.in_hand
    }
}

impl Queue {
    pub(super) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                messages_max,
                bytes_max,
                ..State::default()
            }),
            filled: Notify::new(),
            emptied: Notify::new(),
        }
    }

    /// Appends a message; the oldest make room. Returns how many were dropped, the new one perhaps among them.
    pub(super) fn push(&self, waiting: Waiting) -> usize {
        let size = waiting.stored.size();
        let mut gone = Vec::new();
        let mut state = self.lock();
        while state.len() >= state.messages_max || state.bytes + size > state.bytes_max {
            // Dropping others makes no sense for a message that doesn't fit even alone.
            let oldest = if size > state.bytes_max {
                None
            } else {
                state.list.pop_front()
            };
            let Some(oldest) = oldest else {
                return gone.len() + 1;
            };
            state.bytes -= oldest.stored.size();
            gone.push(oldest);
        }
        state.bytes += size;
        state.list.push_back(waiting);
        drop(state);
        self.filled.notify_one();
        gone.len()
    }

    /// Takes the oldest messages in hand, at most `most`. They count until [`Self::done`].
    pub(super) fn take(&self, most: usize) -> Vec<Waiting> {
        let mut state = self.lock();
        let count = most.min(state.list.len());
        state.in_hand += count;
        state.list.drain(..count).collect()
    }

    /// Sets other bounds; what is over them already leaves as it came.
    pub(super) fn set_max(&self, messages: usize, bytes: usize) {
        let mut state = self.lock();
        state.messages_max = messages;
        state.bytes_max = bytes;
    }

    /// Puts back what was taken in hand and not carried out, before all others.
    pub(super) fn put_back(&self, hand: Vec<Waiting>) {
        let mut state = self.lock();
        state.in_hand -= hand.len();
        for waiting in hand.into_iter().rev() {
            state.list.push_front(waiting);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Lets go of all that waits. Returns how many messages that were.
    pub(super) fn clear(&self) -> usize {
        let mut state = self.lock();
        let gone = std::mem::take(&mut state.list);
        state.bytes -= gone.iter().map(|waiting| waiting.stored.size()).sum::<usize>();
        drop(state);
        self.emptied.notify_waiters();
        gone.len()
    }

    /// Lets go of `messages` that were in hand, with `bytes`.
    pub(super) fn done(&self, messages: usize, bytes: usize) {
        let mut state = self.lock();
        state.in_hand -= messages;
        state.bytes -= bytes;
        let empty = state.len() == 0;
        drop(state);
        if empty {
            self.emptied.notify_waiters();
        }
    }

    /// Waits until there is something to take.
    pub(super) async fn filled(&self) {
        loop {
            // A message that came before is remembered by the Notify, so nothing is missed in between.
            if !self.lock().list.is_empty() {
                return;
            }
            self.filled.notified().await;
        }
    }

    /// Waits until nothing waits and nothing is in hand.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.lock().len() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Returns messages and bytes that wait or are in hand.
    pub(super) fn len(&self) -> (usize, usize) {
        let state = self.lock();
        (state.len(), state.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use broker_proto::MessageRef;
    use broker_types::{Message, Timestamp, TopicName};

    use super::*;
    use crate::bridge::BridgeRule;

    fn waiting(text: &str) -> Waiting {
        let message = Message::new(TopicName::new("t").unwrap(), text.to_owned());
        let stored = Arc::new(Stored::new(&MessageRef::from(&message), Timestamp::ZERO));
        let rule = BridgeRule::new("#").compile().unwrap().into();
        Waiting { stored, rule }
    }

    fn texts(taken: &[Waiting]) -> Vec<&[u8]> {
        taken.iter().map(|waiting| waiting.stored.payload()).collect()
    }

    #[test]
    fn the_oldest_makes_room() {
        let queue = Queue::new(2, 1000);
        assert_eq!(["1", "2", "3"].map(|text| queue.push(waiting(text))), [0, 0, 1]);
        assert_eq!(queue.len(), (2, 4));
        assert_eq!(texts(&queue.take(10)), [b"2", b"3"]);
    }

    #[test]
    fn bytes_are_bounded_too_and_a_giant_costs_nobody_its_place() {
        let queue = Queue::new(100, 10);
        assert_eq!(queue.push(waiting("1234")), 0);
        assert_eq!(queue.push(waiting("5678")), 0);
        assert_eq!(queue.push(waiting("a giant of a message")), 1);
        assert_eq!(queue.len(), (2, 10));
        assert_eq!(queue.push(waiting("9")), 1);
        assert_eq!(queue.len(), (2, 7));
    }

    #[test]
    fn what_is_put_back_is_the_first_again() {
        let queue = Queue::new(10, 1000);
        for text in ["1", "2", "3", "4"] {
            queue.push(waiting(text));
        }
        let mut hand = queue.take(3);
        queue.done(1, hand.remove(0).stored.size());
        queue.put_back(hand);
        assert_eq!(queue.len(), (3, 6));
        assert_eq!(texts(&queue.take(10)), [b"2", b"3", b"4"]);
        queue.push(waiting("5"));
        queue.push(waiting("6"));
        assert_eq!(
            (queue.clear(), queue.len().0),
            (2, 3),
            "what is in hand stays there"
        );
    }

    #[test]
    fn what_is_in_hand_counts_but_is_not_dropped() {
        let queue = Queue::new(2, 1000);
        queue.push(waiting("1"));
        queue.push(waiting("2"));
        let hand = queue.take(2);
        assert_eq!(
            queue.push(waiting("3")),
            1,
            "no room, and nothing that may be dropped"
        );
        queue.done(1, hand[0].stored.size());
        assert_eq!((queue.push(waiting("4")), queue.push(waiting("5"))), (0, 1));
        assert_eq!(texts(&queue.take(10)), [b"5"]);
    }
}

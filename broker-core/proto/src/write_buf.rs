//! The bytes that wait to be written to one connection: small frames in one buffer, large payloads by reference in
//! between. Whoever flushes takes the contents out under the owner's lock, writes outside of it and puts back what the
//! socket did not take. This is not a queue of messages: nothing in here can be dropped or reordered any more, and it
//! never refuses; the bound is kept by those who append (`session/outbound.rs`, and the driver that stops reading).
//!
//! Cost: one copy of a small frame, none of a large payload. An empty one owns no memory and has 40 bytes.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;

use bytes::{Buf, Bytes};

/// Payloads from this many bytes on are written by reference instead of being copied: at 64 KiB a copy costs more than
/// the extra slice of a vectored write, at 4 KiB it is the other way round.
pub const SHARED_BODY_MIN: usize = 16 * 1024;

/// Bytes to be written to one connection, in order.
#[derive(Debug, Default)]
pub struct WriteBuf {
    /// Frames, and the heads of those whose body is shared.
    frames: Vec<u8>,
    /// How much of `frames` has left already.
    written: usize,
    /// Absent while nothing large waits.
    bodies: Option<Box<Bodies>>,
}

#[derive(Debug, Default)]
struct Bodies {
    list: VecDeque<Body>,
    bytes: usize,
}

/// A body that stands before `frames[at]`.
#[derive(Debug)]
struct Body {
    at: usize,
    bytes: Bytes,
}

impl WriteBuf {
    /// Returns an empty one that owns no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frames: Vec::new(),
            written: 0,
            bodies: None,
        }
    }

    /// Returns how many bytes wait.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len() - self.written + self.bodies.as_ref().map_or(0, |bodies| bodies.bytes)
    }

    /// Returns how many bytes its own buffer holds, shared payloads not included.
    #[inline]
    #[must_use]
    pub const fn own_len(&self) -> usize {
        self.frames.len()
    }

    /// Tells whether nothing waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether it owns a buffer; if not, [`Self::adopt`] one of a pool before appending.
    #[inline]
    #[must_use]
    pub const fn has_buffer(&self) -> bool {
        self.frames.capacity() > 0
    }

    /// Appends one whole frame, or several.
    #[inline]
    pub fn push_frame(&mut self, frame: &[u8]) {
        self.frames.extend_from_slice(frame);
    }

    /// Appends a frame whose last part is shared.
    pub fn push_shared(&mut self, head: &[u8], body: Bytes) {
        self.frames.extend_from_slice(head);
        self.push_body(body);
    }

    /// Returns the buffer in which the next frame is encoded: append to it, and nothing else.
    #[inline]
    pub const fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.frames
    }

    /// Appends the shared part of a frame whose head stands at the end of [`Self::frames`].
    pub(crate) fn push_body(&mut self, body: Bytes) {
        if body.is_empty() {
            return;
        }
        let bodies = self.bodies.get_or_insert_default();
        bodies.bytes += body.len();
        bodies.list.push_back(Body {
            at: self.frames.len(),
            bytes: body,
        });
    }

    /// Fills `slices` with what comes next and returns how many were used.
    pub fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut put = |bytes: &'a [u8]| {
            if let (false, Some(slice)) = (bytes.is_empty(), slices.get_mut(used)) {
                *slice = IoSlice::new(bytes);
                used += 1;
            }
        };
        let mut start = self.written;
        for body in self.bodies.iter().flat_map(|bodies| &bodies.list) {
            put(&self.frames[start..body.at]);
            put(&body.bytes);
            start = body.at;
        }
        put(&self.frames[start..]);
        used
    }

    /// Forgets the first `count` bytes: they were written.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "more was written than there was");
        let mut rest = count;
        if let Some(bodies) = &mut self.bodies {
            while let Some(body) = bodies.list.front_mut() {
                let head = rest.min(body.at - self.written);
                self.written += head;
                rest -= head;
                if self.written < body.at {
                    break;
                }
                let len = rest.min(body.bytes.len());
                body.bytes.advance(len);
                bodies.bytes -= len;
                rest -= len;
                if !body.bytes.is_empty() {
                    break;
                }
                bodies.list.pop_front();
            }
        }
        self.written += rest;
        if self.written == self.frames.len() && self.bodies.as_ref().is_none_or(|b| b.list.is_empty()) {
            self.clear();
        } else if self.written >= COMPACT_MIN && self.written >= self.frames.len() / 2 {
            self.compact();
        }
    }

    /// Takes everything out; what is left behind is empty and owns no memory.
    #[must_use]
    pub const fn take(&mut self) -> Self {
        mem::replace(self, Self::new())
    }

    /// Puts `rest`, which was taken out before and could not be written completely, before everything that came since.
    pub fn put_back(&mut self, rest: Self) {
        let newer = mem::replace(self, rest);
        self.append(newer);
    }

    /// Appends everything that waits in `other`.
    pub fn append(&mut self, other: Self) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = other;
            return;
        }
        let base = self.frames.len();
        self.frames.extend_from_slice(&other.frames[other.written..]);
        if let Some(theirs) = other.bodies.filter(|bodies| !bodies.list.is_empty()) {
            let bodies = self.bodies.get_or_insert_default();
            bodies.bytes += theirs.bytes;
            bodies.list.extend(theirs.list.into_iter().map(|body| Body {
                at: base + body.at - other.written,
                ..body
            }));
        }
    }

    /// Takes a buffer of a pool to append to. Only an empty one takes it, others return it.
    pub fn adopt(&mut self, buffer: Vec<u8>) -> Option<Vec<u8>> {
        if self.has_buffer() {
            return Some(buffer);
        }
        self.frames = buffer;
        self.frames.clear();
        None
    }

    /// Gives the buffer up, for a pool; everything that waited is gone.
    #[must_use]
    pub fn into_buffer(mut self) -> Vec<u8> {
        self.frames.clear();
        self.frames
    }

    /// Throws everything away, keeps the buffer.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.written = 0;
        self.bodies = None;
    }

    /// Moves what waits to the front of the buffer, so that a connection that takes its bytes slowly while others append
    /// holds no more than twice what waits. Amortised: as many bytes left since the last time.
    fn compact(&mut self) {
        self.frames.drain(..self.written);
        for body in self.bodies.iter_mut().flat_map(|bodies| &mut bodies.list) {
            body.at -= self.written;
        }
        self.written = 0;
    }
}

/// Below this many written bytes moving the rest isn't worth it.
const COMPACT_MIN: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Writes everything in portions of `step` bytes, seen through at most three slices at a time.
    fn drain(buf: &mut WriteBuf, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !buf.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let used = buf.io_slices(&mut slices);
            let seen: Vec<u8> = slices[..used].iter().flat_map(|s| s.iter().copied()).collect();
            assert!(!seen.is_empty() && slices[..used].iter().all(|s| !s.is_empty()));
            let taken = step.min(seen.len());
            all.extend_from_slice(&seen[..taken]);
            buf.advance(taken);
        }
        all
    }

    #[test]
    fn frames_and_bodies_leave_in_order() {
        let mut buf = WriteBuf::new();
        assert!(buf.is_empty() && !buf.has_buffer());
        buf.push_frame(b"one");
        buf.push_shared(b"two", Bytes::from_static(b"BODY"));
        buf.push_shared(b"", Bytes::from_static(b"MORE"));
        buf.push_frame(b"three");
        assert_eq!(buf.len(), 19);
        assert_eq!(drain(&mut buf, 2), b"onetwoBODYMOREthree");
        assert!(buf.has_buffer());
    }

    #[test]
    fn a_short_write_is_put_back_before_what_came_since() {
        let mut buf = WriteBuf::new();
        buf.push_shared(b"head", Bytes::from_static(b"BODY"));
        let mut taken = buf.take();
        assert!(buf.is_empty() && !buf.has_buffer());
        buf.push_shared(b"new", Bytes::from_static(b"ER"));
        taken.advance(6);
        buf.put_back(taken);
        assert_eq!(buf.len(), 7);
        assert_eq!(drain(&mut buf, 100), b"DYnewER");
    }

    #[test]
    fn a_buffer_is_adopted_once_and_given_back() {
        let mut buf = WriteBuf::new();
        assert!(buf.adopt(Vec::with_capacity(64)).is_none());
        buf.push_frame(b"x");
        assert!(buf.adopt(Vec::with_capacity(1)).is_some());
        assert!(buf.into_buffer().capacity() >= 64);
    }

    #[test]
    fn a_slow_reader_does_not_grow_the_buffer() {
        let mut buf = WriteBuf::new();
        let frame = [7; 1000];
        for _ in 0..20 {
            buf.push_frame(&frame);
        }
        for _ in 0..10_000 {
            buf.push_frame(&frame);
            buf.advance(frame.len());
        }
        assert_eq!(buf.len(), 20_000);
        assert!(buf.frames.capacity() < 100_000, "{}", buf.frames.capacity());
    }

    proptest! {
        #[test]
        fn behaves_as_one_string_of_bytes(
            ops in prop::collection::vec((0u8..4, 0usize..9000, any::<u8>()), 1..60),
            step in 1usize..5000,
        ) {
            let (mut buf, mut model, mut left) = (WriteBuf::new(), Vec::new(), Vec::new());
            for (op, len, byte) in ops {
                let bytes = vec![byte; len];
                match op {
                    0 => {
                        buf.push_frame(&bytes);
                        model.extend(&bytes);
                    }
                    1 => {
                        buf.push_shared(&[byte], Bytes::from(bytes.clone()));
                        model.push(byte);
                        model.extend(&bytes);
                    }
                    2 => {
                        let len = len.min(buf.len());
                        buf.advance(len);
                        left.extend(model.drain(..len));
                    }
                    _ => {
                        let mut taken = buf.take();
                        buf.push_shared(b"new", Bytes::from(bytes.clone()));
                        let len = len.min(taken.len());
                        taken.advance(len);
                        left.extend(model.drain(..len));
                        model.extend(b"new");
                        model.extend(&bytes);
                        buf.put_back(taken);
                    }
                }
                prop_assert_eq!(buf.len(), model.len());
            }
            prop_assert_eq!(drain(&mut buf, step), model);
        }
    }
}

//! The bytes that wait to be written to one connection: small frames in one buffer, large payloads by reference in
//! between. Whoever flushes takes the contents out under the owner's lock, writes outside of it and puts back what the
//! socket did not take. This is not a queue of messages: nothing in here can be dropped or reordered any more, and it
//! never refuses; the bound is kept by those who append (`session/outbound.rs`, and the driver that stops reading).
//!
//! Cost: one copy of a small frame, none of a large payload. An empty one owns no memory and is one pointer.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;

use bytes::{Buf, Bytes};

/// Payloads from this many bytes on are written by reference instead of being copied: at 64 KiB a copy costs more than
/// the extra slice of a vectored write, at 4 KiB it is the other way round.
pub const SHARED_BODY_MIN: usize = 16 * 1024;

/// Bytes to be written to one connection, in order. One pointer when it owns no buffer.
#[derive(Debug, Default)]
pub struct WriteBuf(Option<Box<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    /// Frames, and the heads of those whose body is shared.
    frames: Vec<u8>,
    /// How much of `frames` has left already.
    written: usize,
    bodies: VecDeque<Body>,
    /// Bytes of `bodies`.
    body_bytes: usize,
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
        Self(None)
    }

    /// Returns how many bytes wait.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |contents| contents.len())
    }

    /// Returns how many bytes its own buffer holds, shared payloads not included.
    #[inline]
    #[must_use]
    pub fn own_len(&self) -> usize {
        self.0.as_ref().map_or(0, |contents| contents.frames.len())
    }

    /// Tells whether nothing waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many bytes its buffer has room for, used or not; 0: it owns none. Put one of a pool in its place before
    /// appending to such a one.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |contents| contents.frames.capacity())
    }

    /// Appends one whole frame, or several.
    #[inline]
    pub fn push_frame(&mut self, frame: &[u8]) {
        self.frames().extend_from_slice(frame);
    }

    /// Appends a frame whose last part is shared.
    pub fn push_shared(&mut self, head: &[u8], body: Bytes) {
        self.frames().extend_from_slice(head);
        self.push_body(body);
    }

    /// Returns the buffer in which the next frame is encoded: append to it, and nothing else.
    #[inline]
    pub fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.0.get_or_insert_default().frames
    }

    /// Appends the shared part of a frame whose head stands at the end of [`Self::frames`].
    pub(crate) fn push_body(&mut self, body: Bytes) {
        if body.is_empty() {
            return;
        }
        let contents = self.0.get_or_insert_default();
        contents.body_bytes += body.len();
        contents.bodies.push_back(Body {
            at: contents.frames.len(),
            bytes: body,
        });
    }

    /// Fills `slices` with what comes next and returns how many were used.
    pub fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.0.as_ref().map_or(0, |contents| contents.io_slices(slices))
    }

    /// Forgets the first `count` bytes: they were written.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "more was written than there was");
        if let Some(contents) = &mut self.0 {
            contents.advance(count);
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
        match &mut self.0 {
            Some(contents) if contents.len() > 0 => {
                contents.append(*other.0.expect("it isn't empty"));
            }
            _ => *self = other,
        }
    }

    /// Throws everything away, keeps the buffer.
    pub fn clear(&mut self) {
        if let Some(contents) = &mut self.0 {
            contents.clear();
        }
    }
}

impl Contents {
    fn len(&self) -> usize {
        self.frames.len() - self.written + self.body_bytes
    }

    fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut put = |bytes: &'a [u8]| {
            if let (false, Some(slice)) = (bytes.is_empty(), slices.get_mut(used)) {
                *slice = IoSlice::new(bytes);
                used += 1;
            }
        };
        let mut start = self.written;
        for body in &self.bodies {
            put(&self.frames[start..body.at]);
            put(&body.bytes);
            start = body.at;
        }
        put(&self.frames[start..]);
        used
    }

    fn advance(&mut self, count: usize) {
        let mut rest = count;
        while let Some(body) = self.bodies.front_mut() {
            let head = rest.min(body.at - self.written);
            self.written += head;
            rest -= head;
            if self.written < body.at {
                break;
            }
            let len = rest.min(body.bytes.len());
            body.bytes.advance(len);
            self.body_bytes -= len;
            rest -= len;
            if !body.bytes.is_empty() {
                break;
            }
            self.bodies.pop_front();
        }
        self.written += rest;
        if self.written == self.frames.len() && self.bodies.is_empty() {
            self.clear();
        } else if self.written >= COMPACT_MIN && self.written >= self.frames.len() / 2 {
            self.compact();
        }
    }

    fn append(&mut self, other: Self) {
        let base = self.frames.len();
        self.frames.extend_from_slice(&other.frames[other.written..]);
        self.body_bytes += other.body_bytes;
        self.bodies.extend(other.bodies.into_iter().map(|body| Body {
            at: base + body.at - other.written,
            ..body
        }));
    }

    /// Forgets everything. Only the buffer for frames is kept: bodies come seldom, and in their own memory.
    fn clear(&mut self) {
        self.frames.clear();
        self.written = 0;
        self.bodies = VecDeque::new();
        self.body_bytes = 0;
    }

    /// Moves what waits to the front of the buffer, so that a connection that takes its bytes slowly while others append
    /// holds no more than twice what waits. Amortised: as many bytes left since the last time.
    fn compact(&mut self) {
        self.frames.drain(..self.written);
        for body in &mut self.bodies {
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
        assert!(buf.is_empty() && buf.capacity() == 0);
        buf.push_frame(b"one");
        buf.push_shared(b"two", Bytes::from_static(b"BODY"));
        buf.push_shared(b"", Bytes::from_static(b"MORE"));
        buf.push_frame(b"three");
        assert_eq!(buf.len(), 19);
        assert_eq!(drain(&mut buf, 2), b"onetwoBODYMOREthree");
        assert!(buf.capacity() > 0);
    }

    #[test]
    fn a_short_write_is_put_back_before_what_came_since() {
        let mut buf = WriteBuf::new();
        buf.push_shared(b"head", Bytes::from_static(b"BODY"));
        let mut taken = buf.take();
        assert!(buf.is_empty() && buf.capacity() == 0);
        buf.push_shared(b"new", Bytes::from_static(b"ER"));
        taken.advance(6);
        buf.put_back(taken);
        assert_eq!(buf.len(), 7);
        assert_eq!(drain(&mut buf, 100), b"DYnewER");
    }

    #[test]
    fn a_buffer_that_was_written_can_be_used_again() {
        let mut buf = WriteBuf::new();
        buf.frames().reserve(64);
        buf.push_frame(b"x");
        buf.advance(1);
        assert!(buf.is_empty() && buf.capacity() >= 64);
        assert_eq!(size_of::<WriteBuf>(), size_of::<usize>());
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
        assert!(buf.capacity() < 100_000, "{}", buf.capacity());
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

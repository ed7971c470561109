//! Bytes of records: fixed-width big-endian numbers and length-prefixed texts, written and read back. What they mean is
//! `records.rs`. Reading never panics and never guesses: what doesn't fit is [`Damaged`].

use std::sync::Arc;

use bytes::Bytes;
use plugin_api::StoreFault;

/// A record that isn't what this broker writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged record: {0}")]
pub(crate) struct Damaged(pub(crate) &'static str);

impl From<Damaged> for StoreFault {
    fn from(damaged: Damaged) -> Self {
        Self::Corrupt(damaged.to_string())
    }
}

/// Writes the bytes of one key or value.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// Begins with one byte: the kind of a key, the codec version of a value.
    pub(crate) fn new(first: u8, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(first);
        Self(bytes)
    }

    pub(crate) fn u8(mut self, number: u8) -> Self {
        self.0.push(number);
        self
    }

    pub(crate) fn u16(self, number: u16) -> Self {
        self.raw(&number.to_be_bytes())
    }

    pub(crate) fn u32(self, number: u32) -> Self {
        self.raw(&number.to_be_bytes())
    }

    pub(crate) fn u64(self, number: u64) -> Self {
        self.raw(&number.to_be_bytes())
    }

    /// Bytes without their length.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A text behind its length.
    #[expect(clippy::cast_possible_truncation, reason = "no text comes near 4 GiB")]
    pub(crate) fn text(self, text: &str) -> Self {
        self.u32(text.len() as u32).raw(text.as_bytes())
    }

    /// A text that may be absent.
    pub(crate) fn text_or_none(self, text: Option<&str>) -> Self {
        match text {
            None => self.u8(0),
            Some(text) => self.u8(1).text(text),
        }
    }

    pub(crate) fn done(self) -> Bytes {
        self.0.into()
    }
}

/// Reads the bytes of one key or value.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins to read what must begin with `first`.
    pub(crate) fn new(bytes: &'a [u8], first: u8) -> Result<Self, Damaged> {
        match bytes.split_first() {
            Some((byte, rest)) if *byte == first => Ok(Self(rest)),
            Some(_) => Err(Damaged("another codec version or kind")),
            None => Err(Damaged("empty")),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Damaged> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Damaged> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damaged("a flag that is neither 0 nor 1")),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Damaged> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Damaged> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Damaged> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn raw(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Damaged("cut short"))?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Damaged> {
        let len = self.u32()?;
        let bytes = self.raw(usize::try_from(len).unwrap_or(usize::MAX))?;
        std::str::from_utf8(bytes).map_err(|_| Damaged("a text that is not UTF-8"))
    }

    pub(crate) fn text_or_none(&mut self) -> Result<Option<Arc<str>>, Damaged> {
        match self.flag()? {
            false => Ok(None),
            true => Ok(Some(self.text()?.into())),
        }
    }

    /// Returns what is left as a text.
    pub(crate) fn rest_as_text(self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.0).map_err(|_| Damaged("a text that is not UTF-8"))
    }

    /// Returns what is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Ends: nothing may be left.
    pub(crate) fn done(self) -> Result<(), Damaged> {
        match self.0 {
            [] => Ok(()),
            _ => Err(Damaged("more bytes than belong to it")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Damaged("cut short"))?;
        self.0 = rest;
        Ok(*bytes)
    }
}

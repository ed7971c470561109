//! The data types of the standard (MQTT 5.0 section 1.5): integers, strings, binary data. Reading never allocates.

use crate::{DecodeError, EncodeError};

/// What is left to read of a frame or a part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.0.split_first().ok_or(SHORT)?;
        self.0 = rest;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Binary Data: two bytes of length, then the bytes.
    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A UTF-8 Encoded String: no ill-formed UTF-8, hence no surrogates `[MQTT-1.5.4-1]`, no U+0000 `[MQTT-1.5.4-2]`.
    /// U+FEFF stays where it is `[MQTT-1.5.4-3]`.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let text = core::str::from_utf8(self.binary()?)
            .map_err(|_| DecodeError::malformed("a string is not valid UTF-8"))?;
        if text.bytes().any(|b| b == 0) {
            return Err(DecodeError::malformed("a string contains U+0000"));
        }
        Ok(text)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (&array, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(array)
    }
}

const SHORT: DecodeError = DecodeError::malformed("the packet ends within a field");

/// Appends Binary Data or a UTF-8 Encoded String: two bytes of length, then the bytes.
#[inline]
pub(crate) fn put_binary(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let len = u16::try_from(bytes.len()).map_err(|_| EncodeError::FieldTooLong(bytes.len()))?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

//! The data types of the standard (MQTT 5.0 section 1.5): integers, strings, binary data. Reading never allocates;
//! writing appends. The Variable Byte Integer has its own file.

use broker_types::PacketId;

use crate::varint;
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
    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        let (value, len) = varint::decode(self.0)?.ok_or(SHORT)?;
        self.0 = &self.0[len..];
        Ok(value)
    }

    /// A Packet Identifier, which is never 0 `[MQTT-2.2.1-3]`.
    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(const { DecodeError::protocol("the packet identifier is 0") })
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Takes everything that is left.
    #[inline]
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
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
        let text = self.utf8()?;
        if text.as_bytes().contains(&0) {
            return Err(NULL);
        }
        Ok(text)
    }

    /// A string whose reader looks for U+0000 himself.
    #[inline]
    pub(crate) fn utf8(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.binary()?).map_err(|_| DecodeError::malformed("a string is not UTF-8"))
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (&array, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(array)
    }
}

const SHORT: DecodeError = DecodeError::malformed("the packet ends within a field");
pub(crate) const NULL: DecodeError = DecodeError::malformed("a string contains U+0000");

/// Appends Binary Data or a UTF-8 Encoded String: two bytes of length, then the bytes.
#[inline]
pub(crate) fn put_binary(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let len = u16::try_from(bytes.len()).map_err(|_| EncodeError::FieldTooLong(bytes.len()))?;
    put_u16(len, out);
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends a Two Byte Integer.
#[inline]
pub(crate) fn put_u16(value: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a whole packet: `first`, the Remaining Length, and what `body` appends. A failure leaves `out` as it was.
pub(crate) fn put_frame(
    first: u8,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.push(first);
    put_prefixed(out, body).inspect_err(|_| out.truncate(start))
}

/// Appends what `body` appends, behind its length. One byte is set aside for the length, which is nearly always enough;
/// if not, the body moves up.
pub(crate) fn put_prefixed(
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let at = out.len();
    out.push(0);
    body(out)?;
    let len = out.len() - at - 1;
    if len > varint::MAX {
        return Err(EncodeError::too_large(len));
    }
    let (digits, count) = varint::encode(len);
    out.resize(at + count + len, 0);
    out.copy_within(at + 1..at + 1 + len, at + count);
    out[at..at + count].copy_from_slice(&digits[..count]);
    Ok(())
}

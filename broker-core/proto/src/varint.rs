//! The Variable Byte Integer (MQTT 5.0 section 1.5.5): one to four bytes, seven bits each, least significant first.

use crate::DecodeError;
use crate::primitive::Reader;

/// The greatest number that four bytes can say.
pub(crate) const MAX: u32 = 268_435_455;

/// Reads one. More than four bytes are malformed, and so are more bytes than needed `[MQTT-1.5.5-1]`.
#[inline]
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    match decode(reader.0)? {
        Some((value, len)) => {
            reader.take(len)?;
            Ok(value)
        }
        None => Err(DecodeError::malformed(
            "the packet ends within a variable byte integer",
        )),
    }
}

/// Returns the number that starts `bytes` and how many bytes it has; `None` when more are needed to know.
#[inline]
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            if byte == 0 && i > 0 {
                return Err(DecodeError::malformed(
                    "a variable byte integer is longer than needed",
                ));
            }
            return Ok(Some((value, i + 1)));
        }
    }
    match bytes.len() {
        0..4 => Ok(None),
        _ => Err(DecodeError::malformed(
            "a variable byte integer has more than four bytes",
        )),
    }
}

/// Returns how many bytes `value` takes.
#[inline]
pub(crate) const fn len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Appends `value`, which is at most [`MAX`].
#[inline]
pub(crate) fn write(value: usize, out: &mut Vec<u8>) {
    debug_assert!(value <= MAX as usize);
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

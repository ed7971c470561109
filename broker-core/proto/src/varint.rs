//! The Variable Byte Integer (MQTT 5.0 section 1.5.5): one to four bytes, seven bits each, least significant first.

use crate::DecodeError;

/// The greatest number that four bytes can say.
pub(crate) const MAX: usize = 268_435_455;

/// Returns the number that starts `bytes` and how many bytes it has; `None` when more are needed to know. More than four
/// bytes are malformed, and so are more bytes than needed `[MQTT-1.5.5-1]`.
#[inline]
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let digit = |byte: u8, place: u32| u32::from(byte & 0x7F) << (7 * place);
    Ok(Some(match *bytes {
        [a @ 0..0x80, ..] => (digit(a, 0), 1),
        [a, b @ 1..0x80, ..] => (digit(a, 0) | digit(b, 1), 2),
        [a, b @ 0x80..=0xFF, c @ 1..0x80, ..] => (digit(a, 0) | digit(b, 1) | digit(c, 2), 3),
        [a, b @ 0x80..=0xFF, c @ 0x80..=0xFF, d @ 1..0x80, ..] => {
            (digit(a, 0) | digit(b, 1) | digit(c, 2) | digit(d, 3), 4)
        }
        [_, 0, ..] | [_, _, 0, ..] | [_, _, _, 0, ..] => {
            return Err(DecodeError::malformed(
                "a variable byte integer is longer than needed",
            ));
        }
        [_, _, _, _, ..] => {
            return Err(DecodeError::malformed(
                "a variable byte integer has more than four bytes",
            ));
        }
        _ => return Ok(None),
    }))
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

/// Returns the bytes of `value`, which is at most [`MAX`], and how many of the four they are.
#[inline]
pub(crate) const fn encode(value: usize) -> ([u8; 4], usize) {
    debug_assert!(value <= MAX);
    let mut digits = [0; 4];
    let count = len(value);
    let mut i = 0;
    while i < count {
        let more = if i + 1 < count { 0x80 } else { 0 };
        digits[i] = (value >> (7 * i)) as u8 & 0x7F | more;
        i += 1;
    }
    (digits, count)
}

/// Appends `value`, which is at most [`MAX`].
#[inline]
pub(crate) fn put(value: usize, out: &mut Vec<u8>) {
    let (digits, count) = encode(value);
    out.extend_from_slice(&digits[..count]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_has_its_first_and_last_number() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[0x7F]),
            (128, &[0x80, 1]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 1]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 1]),
            (MAX, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ] {
            let mut out = Vec::new();
            put(value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(decode(bytes), Ok(Some((value as u32, bytes.len()))));
            assert_eq!(len(value), bytes.len());
            for short in 0..bytes.len() {
                assert_eq!(decode(&bytes[..short]), Ok(None), "{value} cut to {short}");
            }
        }
    }

    #[test]
    fn more_bytes_than_needed_are_malformed() {
        for bytes in [
            &[0x80, 0][..],
            &[0xFF, 0],
            &[0x80, 0x80, 0],
            &[0x80, 0x80, 0x80, 0],
        ] {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn the_fourth_byte_must_be_the_last() {
        assert!(decode(&[0x80, 0x80, 0x80, 0x80]).is_err());
        assert!(decode(&[0xFF, 0xFF, 0xFF, 0xFF, 1]).is_err());
    }
}

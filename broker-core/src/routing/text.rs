//! The text of a trie node: short ones, nearly all, inside the node itself.

use std::fmt;

/// Bytes that need no allocation.
const INLINE_MAX: usize = 30;

/// Some whole levels of a Topic Filter, immutable. 32 bytes.
#[derive(Clone)]
pub(super) enum Text {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Heap(Box<[u8]>),
}

impl Text {
    pub(super) fn new(text: &[u8]) -> Self {
        let mut bytes = [0; INLINE_MAX];
        match (u8::try_from(text.len()), bytes.get_mut(..text.len())) {
            (Ok(len), Some(inline)) => {
                inline.copy_from_slice(text);
                Self::Inline { len, bytes }
            }
            _ => Self::Heap(text.into()),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_comes_back() {
        for len in [0, 1, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, 255, 256, 65_535] {
            let text = vec![b'x'; len];
            assert_eq!(Text::new(&text).as_bytes(), text, "{len}");
        }
        assert_eq!(size_of::<Text>(), 32);
    }
}

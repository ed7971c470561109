//! One packet under construction: a first byte, a body, and a Remaining Length that may lie.

use super::{Property, Version, Wire};

/// A packet as bytes. The Remaining Length is computed unless [`Frame::claim`] or [`Frame::length_bytes`] says otherwise.
#[derive(Clone, Debug)]
pub struct Frame {
    first: u8,
    length: Option<Vec<u8>>,
    body: Vec<u8>,
}

impl Frame {
    /// Starts a packet with its first byte: type and flags.
    #[must_use]
    pub fn new(first: u8) -> Self {
        Self {
            first,
            length: None,
            body: Vec::new(),
        }
    }

    /// Replaces the first byte.
    #[must_use]
    pub fn first(mut self, first: u8) -> Self {
        self.first = first;
        self
    }

    /// Appends one byte.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.bytes([value])
    }

    /// Appends a Two Byte Integer.
    #[must_use]
    pub fn u16(self, value: u16) -> Self {
        self.bytes(value.to_be_bytes())
    }

    /// Appends a Four Byte Integer.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.bytes(value.to_be_bytes())
    }

    /// Appends a length-prefixed string or Binary Data; the bytes need not be UTF-8.
    #[must_use]
    pub fn text(self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        let length = u16::try_from(text.len()).expect("a string holds at most 65,535 bytes");
        self.u16(length).bytes(text)
    }

    /// Appends bytes as they are.
    #[must_use]
    pub fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.body.extend_from_slice(bytes.as_ref());
        self
    }

    /// Appends a property block: its length and the properties.
    #[must_use]
    pub fn props(self, props: &[Property]) -> Self {
        let mut block = Vec::new();
        props.iter().for_each(|prop| prop.encode(&mut block));
        self.bytes(varint(block.len())).bytes(block)
    }

    /// Appends a property block if the version has them.
    #[must_use]
    pub fn props_if(self, version: Version, props: &[Property]) -> Self {
        if version.is_v5() { self.props(props) } else { self }
    }

    /// Lets the header promise `remaining` bytes, whatever the body has.
    #[must_use]
    pub fn claim(self, remaining: usize) -> Self {
        self.length_bytes(&varint(remaining))
    }

    /// Writes the Remaining Length field exactly like this.
    #[must_use]
    pub fn length_bytes(mut self, bytes: &[u8]) -> Self {
        self.length = Some(bytes.to_vec());
        self
    }

    /// Drops the last `count` bytes of the body; the Remaining Length follows.
    #[must_use]
    pub fn cut(mut self, count: usize) -> Self {
        self.body.truncate(self.body.len() - count);
        self
    }

    /// Returns the whole packet.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut packet = vec![self.first];
        match &self.length {
            Some(bytes) => packet.extend_from_slice(bytes),
            None => packet.extend_from_slice(&varint(self.body.len())),
        }
        packet.extend_from_slice(&self.body);
        packet
    }
}

impl Wire for Frame {
    fn wire(&self, _: Version) -> Vec<u8> {
        self.encode()
    }
}

/// Encodes a Variable Byte Integer in its minimal form.
#[must_use]
pub fn varint(mut value: usize) -> Vec<u8> {
    assert!(
        value <= 268_435_455,
        "a Variable Byte Integer holds at most 268,435,455"
    );
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

//! Builders of the packets a client sends, CONNECT apart. Every one can be made wrong: fields are left out, doubled or
//! overridden by the caller, and [`Frame`] lets the header lie.

use super::{Frame, Property, Version, Wire};

/// A PUBLISH. QoS and Packet Identifier are set separately, so that each can be missing.
#[derive(Clone, Debug)]
pub struct Publish {
    first: u8,
    topic: Vec<u8>,
    id: Option<u16>,
    props: Vec<Property>,
    payload: Vec<u8>,
}

/// Builds a QoS 0 PUBLISH.
pub fn publish(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Publish {
    Publish {
        first: 0x30,
        topic: topic.as_ref().to_vec(),
        id: None,
        props: Vec::new(),
        payload: payload.as_ref().to_vec(),
    }
}

impl Publish {
    /// Sets QoS and Packet Identifier.
    #[must_use]
    pub fn qos(self, qos: u8, id: u16) -> Self {
        let mut publish = self.qos_bits(qos);
        publish.id = (qos > 0).then_some(id);
        publish
    }

    /// Sets the QoS bits alone: the Packet Identifier stays as it is.
    #[must_use]
    pub fn qos_bits(mut self, qos: u8) -> Self {
        self.first = self.first & !0x06 | qos << 1;
        self
    }

    /// Sets the Packet Identifier alone.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the DUP flag.
    #[must_use]
    pub fn dup(mut self) -> Self {
        self.first |= 0x08;
        self
    }

    /// Sets the RETAIN flag.
    #[must_use]
    pub fn retain(mut self) -> Self {
        self.first |= 0x01;
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn prop(mut self, prop: Property) -> Self {
        self.props.push(prop);
        self
    }

    /// Returns the frame for further harm.
    #[must_use]
    pub fn frame(&self, version: Version) -> Frame {
        let mut frame = Frame::new(self.first).text(&self.topic);
        if let Some(id) = self.id {
            frame = frame.u16(id);
        }
        frame.props_if(version, &self.props).bytes(&self.payload)
    }
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Debug)]
pub struct Ack {
    first: u8,
    id: u16,
    code: Option<u8>,
    props: Vec<Property>,
}

macro_rules! acks {
    ($($name:ident $first:literal $doc:literal;)*) => {$(
        #[doc = concat!("Builds a ", $doc, ".")]
        #[must_use]
        pub fn $name(id: u16) -> Ack {
            Ack { first: $first, id, code: None, props: Vec::new() }
        }
    )*};
}

acks! {
    puback 0x40 "PUBACK";
    pubrec 0x50 "PUBREC";
    pubrel 0x62 "PUBREL";
    pubcomp 0x70 "PUBCOMP";
}

impl Ack {
    /// Sets the Reason Code; without it the short form is sent.
    #[must_use]
    pub fn code(mut self, code: u8) -> Self {
        self.code = Some(code);
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn prop(mut self, prop: Property) -> Self {
        self.code.get_or_insert(0);
        self.props.push(prop);
        self
    }

    /// Returns the frame for further harm.
    #[must_use]
    pub fn frame(&self, version: Version) -> Frame {
        tail(
            Frame::new(self.first).u16(self.id),
            version,
            self.code,
            &self.props,
        )
    }
}

/// Appends Reason Code and properties as far as there are some.
fn tail(frame: Frame, version: Version, code: Option<u8>, props: &[Property]) -> Frame {
    match code {
        Some(code) if version.is_v5() && props.is_empty() => frame.u8(code),
        Some(code) if version.is_v5() => frame.u8(code).props(props),
        _ => frame,
    }
}

/// A SUBSCRIBE.
#[derive(Clone, Debug)]
pub struct Subscribe {
    id: u16,
    props: Vec<Property>,
    filters: Vec<(Vec<u8>, u8)>,
}

/// Builds a SUBSCRIBE without filters.
#[must_use]
pub fn subscribe(id: u16) -> Subscribe {
    Subscribe {
        id,
        props: Vec::new(),
        filters: Vec::new(),
    }
}

impl Subscribe {
    /// Adds a Topic Filter with its Subscription Options: the QoS and the constants of this module, added.
    #[must_use]
    pub fn filter(mut self, filter: impl AsRef<[u8]>, options: u8) -> Self {
        self.filters.push((filter.as_ref().to_vec(), options));
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn prop(mut self, prop: Property) -> Self {
        self.props.push(prop);
        self
    }

    /// Returns the frame for further harm.
    #[must_use]
    pub fn frame(&self, version: Version) -> Frame {
        let head = Frame::new(0x82).u16(self.id).props_if(version, &self.props);
        self.filters
            .iter()
            .fold(head, |frame, (filter, options)| frame.text(filter).u8(*options))
    }
}

/// An UNSUBSCRIBE.
#[derive(Clone, Debug)]
pub struct Unsubscribe {
    id: u16,
    props: Vec<Property>,
    filters: Vec<Vec<u8>>,
}

/// Builds an UNSUBSCRIBE without filters.
#[must_use]
pub fn unsubscribe(id: u16) -> Unsubscribe {
    Unsubscribe {
        id,
        props: Vec::new(),
        filters: Vec::new(),
    }
}

impl Unsubscribe {
    /// Adds a Topic Filter.
    #[must_use]
    pub fn filter(mut self, filter: impl AsRef<[u8]>) -> Self {
        self.filters.push(filter.as_ref().to_vec());
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn prop(mut self, prop: Property) -> Self {
        self.props.push(prop);
        self
    }

    /// Returns the frame for further harm.
    #[must_use]
    pub fn frame(&self, version: Version) -> Frame {
        let head = Frame::new(0xa2).u16(self.id).props_if(version, &self.props);
        self.filters.iter().fold(head, |frame, filter| frame.text(filter))
    }
}

/// A PINGREQ.
#[derive(Clone, Copy, Debug)]
pub struct Pingreq;

/// Builds a PINGREQ.
#[must_use]
pub fn pingreq() -> Pingreq {
    Pingreq
}

impl Pingreq {
    /// Returns the frame for further harm.
    #[must_use]
    pub fn frame(self, _: Version) -> Frame {
        Frame::new(0xc0)
    }
}

/// A DISCONNECT.
#[derive(Clone, Debug)]
pub struct Disconnect {
    code: Option<u8>,
    props: Vec<Property>,
}

/// Builds a DISCONNECT; without a code or a property it is the two-byte form.
#[must_use]
pub fn disconnect() -> Disconnect {
    Disconnect {
        code: None,
        props: Vec::new(),
    }
}

impl Disconnect {
    /// Sets the Reason Code.
    #[must_use]
    pub fn code(mut self, code: u8) -> Self {
        self.code = Some(code);
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn prop(mut self, prop: Property) -> Self {
        self.code.get_or_insert(0);
        self.props.push(prop);
        self
    }

    /// Returns the frame for further harm.
    #[must_use]
    pub fn frame(&self, version: Version) -> Frame {
        tail(Frame::new(0xe0), version, self.code, &self.props)
    }
}

/// An AUTH.
#[derive(Clone, Debug)]
pub struct Auth {
    code: u8,
    props: Vec<Property>,
}

/// Builds an AUTH.
#[must_use]
pub fn auth(code: u8) -> Auth {
    Auth {
        code,
        props: Vec::new(),
    }
}

impl Auth {
    /// Adds a property.
    #[must_use]
    pub fn prop(mut self, prop: Property) -> Self {
        self.props.push(prop);
        self
    }

    /// Returns the frame for further harm.
    #[must_use]
    pub fn frame(&self, _: Version) -> Frame {
        Frame::new(0xf0).u8(self.code).props(&self.props)
    }
}

macro_rules! wire {
    ($($type:ty),*) => {$(
        impl Wire for $type {
            fn wire(&self, version: Version) -> Vec<u8> {
                self.frame(version).encode()
            }
        }
    )*};
}

wire!(Publish, Ack, Subscribe, Unsubscribe, Pingreq, Disconnect, Auth);

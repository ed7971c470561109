//! CONNECT (MQTT 5.0 section 3.1).

use broker_types::{ProtocolVersion, QoS, ReasonCode, TopicRef};

use super::property::{MISPLACED, Property, PropertyReader};
use super::{PropertyBlock, UserBlock};
use crate::primitive::{self, Reader};
use crate::{DecodeError, EncodeError};

/// A Client's request for a connection. What 3.1 and 3.1.1 can't say holds the value they imply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version that the connection will speak.
    pub version: ProtocolVersion,
    /// Clean Start; Clean Session in 3.1 and 3.1.1.
    pub clean_start: bool,
    /// Keep Alive in seconds; 0: none.
    pub keep_alive: u16,
    /// The Client Identifier; may be empty. Whether it may is decided by the handshake.
    pub client_id: &'a str,
    /// The Will Message.
    pub will: Option<Will<'a>>,
    /// The User Name.
    pub username: Option<&'a str>,
    /// The Password.
    pub password: Option<&'a [u8]>,
    /// The Session Expiry Interval in seconds. 3.1 and 3.1.1: 0 with Clean Session, else `u32::MAX` (never).
    pub session_expiry: u32,
    /// PUBLISH packets with QoS 1 and 2 that the Client takes at a time; never 0.
    pub receive_maximum: u16,
    /// The largest packet that the Client takes, in bytes; never 0.
    pub packet_size_max: Option<u32>,
    /// The highest Topic Alias that the Client takes.
    pub topic_alias_maximum: u16,
    /// Whether the Client asks for Response Information.
    pub request_response_information: bool,
    /// Whether the Client wants Reason Strings and User Properties with failures.
    pub request_problem_information: bool,
    /// The User Properties.
    pub user: UserBlock<'a>,
    /// The Authentication Method of enhanced authentication.
    pub auth_method: Option<&'a str>,
    /// The Authentication Data; only with a method.
    pub auth_data: Option<&'a [u8]>,
}

impl<'a> Connect<'a> {
    /// Returns a CONNECT with Clean Start, without Keep Alive, Will Message and credentials.
    #[must_use]
    pub const fn new(version: ProtocolVersion, client_id: &'a str) -> Self {
        Self {
            version,
            clean_start: true,
            keep_alive: 0,
            client_id,
            will: None,
            username: None,
            password: None,
            session_expiry: 0,
            receive_maximum: u16::MAX,
            packet_size_max: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            user: UserBlock::EMPTY,
            auth_method: None,
            auth_data: None,
        }
    }

    pub(crate) fn decode(body: &mut Reader<'a>) -> Result<Box<Self>, DecodeError> {
        let name = body.string()?;
        let level = body.byte()?;
        let version = match (name, level) {
            ("MQIsdp", 3) => ProtocolVersion::V31,
            ("MQTT", 4) => ProtocolVersion::V311,
            ("MQTT", 5) => ProtocolVersion::V5,
            // [MQTT-3.1.2-1], [MQTT-3.1.2-2]
            _ => {
                return Err(DecodeError::new(
                    ReasonCode::UnsupportedProtocolVersion,
                    "the protocol name or version is unknown",
                ));
            }
        };
        let flags = Flags::decode(body.byte()?, version)?;
        let mut connect = Box::new(Self::new(version, ""));
        connect.clean_start = flags.has(Flags::CLEAN_START);
        connect.keep_alive = body.u16()?;
        if version.is_v5() {
            connect.decode_properties(body)?;
        } else if !connect.clean_start {
            connect.session_expiry = u32::MAX;
        }
        connect.client_id = body.string()?;
        if flags.has(Flags::WILL) {
            connect.will = Some(Will::decode(body, version, flags)?);
        }
        // 3.1: a string that its flag promises may be missing ("the Remaining Length takes precedence", section 3.1).
        let missing = |body: &Reader<'_>| version == ProtocolVersion::V31 && body.is_empty();
        if flags.has(Flags::USERNAME) && !missing(body) {
            connect.username = Some(body.string()?);
        }
        if flags.has(Flags::PASSWORD) && !missing(body) {
            connect.password = Some(body.binary()?);
        }
        Ok(connect)
    }

    fn decode_properties(&mut self, body: &mut Reader<'a>) -> Result<(), DecodeError> {
        let mut reader = PropertyReader::open(body)?;
        self.user = reader.user();
        while let Some(property) = reader.next()? {
            match property {
                Property::SessionExpiry(seconds) => self.session_expiry = seconds,
                Property::ReceiveMaximum(count) => self.receive_maximum = count,
                Property::PacketSizeMax(bytes) => self.packet_size_max = Some(bytes),
                Property::TopicAliasMaximum(alias) => self.topic_alias_maximum = alias,
                Property::RequestResponseInformation(wanted) => self.request_response_information = wanted,
                Property::RequestProblemInformation(wanted) => self.request_problem_information = wanted,
                Property::User(_) => {}
                Property::AuthMethod(method) => self.auth_method = Some(method),
                Property::AuthData(data) => self.auth_data = Some(data),
                _ => return Err(MISPLACED),
            }
        }
        if self.auth_data.is_some() && self.auth_method.is_none() {
            return Err(DecodeError::protocol(
                "CONNECT has authentication data without a method",
            ));
        }
        Ok(())
    }

    /// Returns the version in which to refuse a CONNECT that could not be decoded: what `frame` asks for if its beginning
    /// can be read, the nearest we speak if its level is unknown, and `None` if it isn't MQTT at all.
    #[must_use]
    pub fn answer_version(frame: &[u8]) -> Option<ProtocolVersion> {
        let mut reader = Reader(frame);
        reader.byte().ok().filter(|&first| first == FIRST_BYTE)?;
        reader.varint().ok()?;
        match (reader.string().ok()?, reader.byte().ok()?) {
            ("MQIsdp", _) => Some(ProtocolVersion::V31),
            // Bit 7 marks the bridges of one broker, which speak 3.1.1 or 5.0 and read a CONNACK of 3.1.1.
            ("MQTT", 5..0x80) => Some(ProtocolVersion::V5),
            ("MQTT", _) => Some(ProtocolVersion::V311),
            _ => None,
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        primitive::put_frame(FIRST_BYTE, out, |out| {
            primitive::put_binary(self.version.protocol_name().as_bytes(), out)?;
            out.push(self.version.level());
            out.push(Flags::of(self).0);
            primitive::put_u16(self.keep_alive, out);
            if self.version.is_v5() {
                primitive::put_prefixed(out, |out| self.put_properties(out))?;
            }
            primitive::put_binary(self.client_id.as_bytes(), out)?;
            if let Some(will) = &self.will {
                will.put(self.version, out)?;
            }
            if let Some(username) = self.username {
                primitive::put_binary(username.as_bytes(), out)?;
            }
            if let Some(password) = self.password {
                primitive::put_binary(password, out)?;
            }
            Ok(())
        })
    }

    fn put_properties(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.session_expiry != 0 {
            Property::SessionExpiry(self.session_expiry).put(out)?;
        }
        if self.receive_maximum != u16::MAX {
            Property::ReceiveMaximum(self.receive_maximum).put(out)?;
        }
        if let Some(bytes) = self.packet_size_max {
            Property::PacketSizeMax(bytes).put(out)?;
        }
        if self.topic_alias_maximum != 0 {
            Property::TopicAliasMaximum(self.topic_alias_maximum).put(out)?;
        }
        if self.request_response_information {
            Property::RequestResponseInformation(true).put(out)?;
        }
        if !self.request_problem_information {
            Property::RequestProblemInformation(false).put(out)?;
        }
        if let Some(method) = self.auth_method {
            Property::AuthMethod(method).put(out)?;
        }
        if let Some(data) = self.auth_data {
            Property::AuthData(data).put(out)?;
        }
        self.user.put(out)
    }
}

const FIRST_BYTE: u8 = 0x10;

/// The Will Message of a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// The Will Topic.
    pub topic: TopicRef<'a>,
    /// The Will Payload.
    pub payload: &'a [u8],
    /// The Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// The Will Delay Interval in seconds.
    pub delay: u32,
    /// The Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
    /// What travels with the message.
    pub properties: PropertyBlock<'a>,
}

impl<'a> Will<'a> {
    fn decode(body: &mut Reader<'a>, version: ProtocolVersion, flags: Flags) -> Result<Self, DecodeError> {
        let mut delay = 0;
        let (properties, expiry) = match version {
            ProtocolVersion::V5 => PropertyReader::open(body)?.read_message(|property| {
                let Property::WillDelay(seconds) = property else {
                    return Err(MISPLACED);
                };
                delay = seconds;
                Ok(())
            })?,
            ProtocolVersion::V31 | ProtocolVersion::V311 => (PropertyBlock::EMPTY, None),
        };
        let topic = TopicRef::new(body.string()?).map_err(|_| {
            DecodeError::new(
                ReasonCode::TopicNameInvalid,
                "the will topic is empty or has wildcards",
            )
        })?;
        Ok(Self {
            topic,
            payload: body.binary()?,
            qos: flags.will_qos()?,
            retain: flags.has(Flags::WILL_RETAIN),
            delay,
            expiry,
            properties,
        })
    }

    fn put(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if version.is_v5() {
            primitive::put_prefixed(out, |out| {
                if self.delay != 0 {
                    Property::WillDelay(self.delay).put(out)?;
                }
                if let Some(seconds) = self.expiry {
                    Property::MessageExpiry(seconds).put(out)?;
                }
                out.extend_from_slice(self.properties.as_bytes());
                Ok(())
            })?;
        }
        primitive::put_binary(self.topic.as_str().as_bytes(), out)?;
        primitive::put_binary(self.payload, out)
    }
}

/// The Connect Flags (section 3.1.2.3).
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    const RESERVED: u8 = 0x01;
    const CLEAN_START: u8 = 0x02;
    const WILL: u8 = 0x04;
    const WILL_QOS: u8 = 0x18;
    const WILL_RETAIN: u8 = 0x20;
    const PASSWORD: u8 = 0x40;
    const USERNAME: u8 = 0x80;

    fn decode(byte: u8, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let flags = Self(byte);
        // [MQTT-3.1.2-3]; 3.1 doesn't say what the bit must be.
        if flags.has(Self::RESERVED) && version != ProtocolVersion::V31 {
            return Err(DecodeError::malformed("the reserved connect flag is set"));
        }
        // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
        if !flags.has(Self::WILL) && flags.has(Self::WILL_QOS | Self::WILL_RETAIN) {
            return Err(DecodeError::malformed("a will flag is set without a will"));
        }
        // [MQTT-3.1.2-22] of 3.1.1
        if flags.has(Self::PASSWORD) && !flags.has(Self::USERNAME) && !version.is_v5() {
            return Err(DecodeError::malformed(
                "CONNECT has a password without a user name",
            ));
        }
        Ok(flags)
    }

    fn of(connect: &Connect<'_>) -> Self {
        let when = |set: bool, flag: u8| if set { flag } else { 0 };
        let will = connect.will.as_ref().map_or(0, |will| {
            Self::WILL | will.qos.bits() << 3 | when(will.retain, Self::WILL_RETAIN)
        });
        Self(
            will | when(connect.clean_start, Self::CLEAN_START)
                | when(connect.password.is_some(), Self::PASSWORD)
                | when(connect.username.is_some(), Self::USERNAME),
        )
    }

    /// Tells whether any of `flags` is set.
    const fn has(self, flags: u8) -> bool {
        self.0 & flags != 0
    }

    /// `[MQTT-3.1.2-12]`
    fn will_qos(self) -> Result<QoS, DecodeError> {
        QoS::from_bits((self.0 & Self::WILL_QOS) >> 3).ok_or(DecodeError::malformed("the will has QoS 3"))
    }
}

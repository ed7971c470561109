//! The properties of MQTT 5.0 as one table: identifier, name, type. Encoding and decoding follow from it.

use super::varint;

/// The type of a property's value: how it looks on the wire.
trait Value: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(input: &mut &[u8]) -> Option<Self>;
}

impl Value for u8 {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }
    fn take(input: &mut &[u8]) -> Option<Self> {
        take_array::<1>(input).map(|[byte]| byte)
    }
}

impl Value for u16 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
    fn take(input: &mut &[u8]) -> Option<Self> {
        take_array(input).map(Self::from_be_bytes)
    }
}

impl Value for u32 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
    fn take(input: &mut &[u8]) -> Option<Self> {
        take_array(input).map(Self::from_be_bytes)
    }
}

/// A Variable Byte Integer.
impl Value for usize {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&varint(*self));
    }
    fn take(input: &mut &[u8]) -> Option<Self> {
        take_varint(input)
    }
}

impl Value for String {
    fn put(&self, out: &mut Vec<u8>) {
        self.clone().into_bytes().put(out);
    }
    fn take(input: &mut &[u8]) -> Option<Self> {
        let text = Self::from_utf8(Vec::take(input)?).ok()?;
        (!text.contains('\0')).then_some(text)
    }
}

impl Value for Vec<u8> {
    fn put(&self, out: &mut Vec<u8>) {
        u16::try_from(self.len())
            .expect("Binary Data holds at most 65,535 bytes")
            .put(out);
        out.extend_from_slice(self);
    }
    fn take(input: &mut &[u8]) -> Option<Self> {
        let length = u16::take(input)?;
        let (data, rest) = input.split_at_checked(usize::from(length))?;
        *input = rest;
        Some(data.to_vec())
    }
}

impl Value for (String, String) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(input: &mut &[u8]) -> Option<Self> {
        Some((String::take(input)?, String::take(input)?))
    }
}

fn take_array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*head)
}

/// Reads a Variable Byte Integer; `None` if it is cut off, longer than four bytes, or not minimal [MQTT-1.5.5-1].
pub(super) fn take_varint(input: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for index in 0..4 {
        let [byte] = take_array::<1>(input)?;
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return (byte != 0 || index == 0).then_some(value);
        }
    }
    None
}

macro_rules! properties {
    ($($id:literal $name:ident $function:ident $type:ty, $argument:ty, $doc:literal;)*) => {
        /// One property of a packet.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Property {
            $(#[doc = $doc] $name($type),)*
            /// Bytes put into the block as they are: identifier and value of something that is wrong on purpose.
            Raw(Vec<u8>),
        }

        impl Property {
            /// Returns the identifier.
            #[must_use]
            pub fn id(&self) -> u8 {
                match self {
                    $(Self::$name(_) => $id,)*
                    Self::Raw(bytes) => bytes.first().copied().unwrap_or(0),
                }
            }

            pub(super) fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(value) => {
                        out.push($id);
                        value.put(out);
                    })*
                    Self::Raw(bytes) => out.extend_from_slice(bytes),
                }
            }

            pub(super) fn decode(input: &mut &[u8]) -> Option<Self> {
                match take_varint(input)? {
                    $($id => <$type>::take(input).map(Self::$name),)*
                    _ => None,
                }
            }
        }

        /// Short constructors: `prop::content_type("text/plain")`.
        pub mod prop {
            use super::Property;
            $(
                #[doc = concat!("Makes the property ", $doc)]
                #[must_use]
                pub fn $function(value: $argument) -> Property {
                    Property::$name(value.into())
                }
            )*

            /// Makes a User Property.
            #[must_use]
            pub fn user(name: &str, value: &str) -> Property {
                Property::User((name.into(), value.into()))
            }

            /// Makes bytes that go into the block as they are.
            #[must_use]
            pub fn raw(bytes: impl AsRef<[u8]>) -> Property {
                Property::Raw(bytes.as_ref().to_vec())
            }
        }
    };
}

properties! {
    0x01 PayloadFormat payload_format u8, u8, "Payload Format Indicator.";
    0x02 MessageExpiry message_expiry u32, u32, "Message Expiry Interval.";
    0x03 ContentType content_type String, &str, "Content Type.";
    0x08 ResponseTopic response_topic String, &str, "Response Topic.";
    0x09 CorrelationData correlation_data Vec<u8>, &[u8], "Correlation Data.";
    0x0b SubscriptionId subscription_id usize, usize, "Subscription Identifier.";
    0x11 SessionExpiry session_expiry u32, u32, "Session Expiry Interval.";
    0x12 AssignedClientId assigned_client_id String, &str, "Assigned Client Identifier.";
    0x13 ServerKeepAlive server_keep_alive u16, u16, "Server Keep Alive.";
    0x15 AuthMethod auth_method String, &str, "Authentication Method.";
    0x16 AuthData auth_data Vec<u8>, &[u8], "Authentication Data.";
    0x17 RequestProblem request_problem u8, u8, "Request Problem Information.";
    0x18 WillDelay will_delay u32, u32, "Will Delay Interval.";
    0x19 RequestResponse request_response u8, u8, "Request Response Information.";
    0x1a ResponseInformation response_information String, &str, "Response Information.";
    0x1c ServerReference server_reference String, &str, "Server Reference.";
    0x1f ReasonString reason_string String, &str, "Reason String.";
    0x21 ReceiveMaximum receive_maximum u16, u16, "Receive Maximum.";
    0x22 TopicAliasMaximum topic_alias_maximum u16, u16, "Topic Alias Maximum.";
    0x23 TopicAlias topic_alias u16, u16, "Topic Alias.";
    0x24 MaximumQos maximum_qos u8, u8, "Maximum QoS.";
    0x25 RetainAvailable retain_available u8, u8, "Retain Available.";
    0x26 User user_pair (String, String), (String, String), "User Property.";
    0x27 MaximumPacketSize maximum_packet_size u32, u32, "Maximum Packet Size.";
    0x28 WildcardAvailable wildcard_available u8, u8, "Wildcard Subscription Available.";
    0x29 SubscriptionIdsAvailable subscription_ids_available u8, u8, "Subscription Identifiers Available.";
    0x2a SharedAvailable shared_available u8, u8, "Shared Subscription Available.";
}

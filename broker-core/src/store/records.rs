//! What the records are: keys in order of kind, owner and number, and values that begin with a one-byte codec version.
//!
//! | kind | key | value |
//! |---|---|---|
//! | `m` | `format` | major and minor format version, who wrote it |
//! | `s` | Client Identifier | the Session: its number, owner, listener, expiry, when it lost its connection |
//! | `u` | Session, filter as asked for | the subscription: filter as routed, options |
//! | `i` | Session, Packet Identifier | a QoS 2 message was received and not released |
//! | `q` | Session, sequence | a message that waits or is under way, how far it has come, and which body it has |
//! | `b` | body, chunk | a message |
//! | `r` | topic, chunk | a Retained Message |
//! | `w` | Session, number, chunk | a Will Message, for whom it is authorized, and when it is due |
//! | `k` | plugin, key | what a plugin keeps |
//!
//! A message that waits for many Sessions is stored once, as a body; a body is gone with the last entry that has it. What
//! may be larger than a store's values is cut into chunks: only the first has a codec version. Times are wall clock, in
//! milliseconds. Pure: no store, no clock, no Session.

use std::sync::Arc;

use broker_proto::{Ledger, MessageRef, Payload, Phase, Stored, Terms};
use broker_types::{
    ClientHandle, ClientId, Message, PacketId, Properties, ProtocolVersion, QoS, ShareName,
    SubscriptionFilter, SubscriptionId, Timestamp, TopicFilter, TopicName, TopicRef,
};
use bytes::Bytes;
use plugin_api::{ClientView, Peer};
use smallvec::SmallVec;

use super::codec::{Damaged, Reader, Writer};
use crate::engine::session::Owner;
use crate::engine::subscriptions::Held;
use crate::routing::SubscriptionOptions;

/// First byte of every value.
const CODEC: u8 = 1;
/// Format of the whole: another major is refused, a higher minor too.
const FORMAT: (u16, u16) = (1, 0);
/// Bytes of a chunk.
pub(crate) const CHUNK: usize = 1024 * 1024;
/// What a value may be longer than a chunk, and a batch longer than its values; a store must take as much.
pub(crate) const OVERHEAD: usize = 256 * 1024;

/// The kinds of records.
pub(crate) mod kind {
    pub(crate) const META: u8 = b'm';
    pub(crate) const SESSION: u8 = b's';
    pub(crate) const SUBSCRIPTION: u8 = b'u';
    pub(crate) const RECEIVED: u8 = b'i';
    pub(crate) const ENTRY: u8 = b'q';
    pub(crate) const BODY: u8 = b'b';
    pub(crate) const RETAINED: u8 = b'r';
    pub(crate) const WILL: u8 = b'w';
    pub(crate) const PLUGIN: u8 = b'k';
}

/// One moment on the broker's clock and on the wall's: what takes times from one to the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) wall: u64,
}

impl Moment {
    /// Returns when `at` is by the wall clock.
    pub(crate) fn wall_of(self, at: Timestamp) -> u64 {
        match at {
            Timestamp::NEVER => u64::MAX,
            at if at >= self.now => self.wall.saturating_add(millis(at.since(self.now))),
            at => self.wall.saturating_sub(millis(self.now.since(at))),
        }
    }

    /// Returns when `wall` is by the broker's clock; what has passed is now.
    pub(crate) fn time_of(self, wall: u64) -> Timestamp {
        match wall {
            u64::MAX => Timestamp::NEVER,
            wall => Timestamp::from_millis(
                self.now
                    .as_millis()
                    .saturating_add(wall.saturating_sub(self.wall)),
            ),
        }
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A Session, without what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionRecord {
    pub(crate) number: u64,
    pub(crate) owner: Owner,
    pub(crate) listener: Arc<str>,
    pub(crate) version: ProtocolVersion,
    /// Session Expiry Interval in seconds.
    pub(crate) expiry: u32,
    /// When it lost its connection; `None`: it has one.
    pub(crate) ended_at: Option<u64>,
}

/// A message that waits for a Session or is under way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) phase: EntryPhase,
    /// Absent when it is not needed any more.
    pub(crate) body: Option<u64>,
    /// Bytes of topic, payload and properties.
    pub(crate) size: u32,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) shared: bool,
    pub(crate) ids: SmallVec<[SubscriptionId; 2]>,
}

/// How far an entry has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryPhase {
    /// It waits.
    Waits,
    /// It is under way.
    UnderWay(PacketId, Phase),
}

/// A Will Message and for whom it will be authorized.
#[derive(Clone, Debug)]
pub(crate) struct WillRecord {
    pub(crate) message: Message,
    pub(crate) client: ClientView,
    /// Will Delay Interval in seconds.
    pub(crate) delay: u32,
    /// When it is due; `None`: its connection is open.
    pub(crate) due: Option<u64>,
}

// Keys.

/// Returns the key of what says how everything is written.
pub(crate) fn format_key() -> Bytes {
    Writer::new(kind::META, 7).raw(b"format").done()
}

/// Returns the key of a Session.
pub(crate) fn session_key(client_id: &ClientId) -> Bytes {
    let id = client_id.as_str();
    Writer::new(kind::SESSION, 1 + id.len()).raw(id.as_bytes()).done()
}

/// Returns the Client Identifier of a Session's key.
pub(crate) fn read_session_key(key: &[u8]) -> Result<ClientId, Damaged> {
    Ok(Reader::new(key, kind::SESSION)?.rest_as_text()?.into())
}

/// Returns the key of a subscription.
pub(crate) fn subscription_key(session: u64, requested: &SubscriptionFilter) -> Bytes {
    let filter = requested.filter.as_str();
    let share = requested.share.as_ref().map(ShareName::as_str);
    let len = 14 + filter.len() + share.map_or(0, str::len);
    Writer::new(kind::SUBSCRIPTION, len)
        .u64(session)
        .text_or_none(share)
        .raw(filter.as_bytes())
        .done()
}

/// Returns the key of a received Packet Identifier.
pub(crate) fn received_key(session: u64, packet_id: PacketId) -> Bytes {
    Writer::new(kind::RECEIVED, 11)
        .u64(session)
        .u16(packet_id.get())
        .done()
}

/// Returns Session and Packet Identifier of the key of a received Packet Identifier.
pub(crate) fn read_received_key(key: &[u8]) -> Result<(u64, PacketId), Damaged> {
    let mut reader = Reader::new(key, kind::RECEIVED)?;
    let (session, packet_id) = (reader.u64()?, read_packet_id(&mut reader)?);
    reader.done()?;
    Ok((session, packet_id))
}

/// Returns the key of an entry.
pub(crate) fn entry_key(session: u64, seq: u64) -> Bytes {
    Writer::new(kind::ENTRY, 17).u64(session).u64(seq).done()
}

/// Returns what the keys of all entries of a Session begin with.
pub(crate) fn entry_prefix(session: u64) -> Bytes {
    Writer::new(kind::ENTRY, 9).u64(session).done()
}

/// Returns Session and sequence of the key of an entry.
pub(crate) fn read_entry_key(key: &[u8]) -> Result<(u64, u64), Damaged> {
    let mut reader = Reader::new(key, kind::ENTRY)?;
    let read = (reader.u64()?, reader.u64()?);
    reader.done()?;
    Ok(read)
}

/// Returns the key of a body, without chunk.
pub(crate) fn body_key(body: u64) -> Bytes {
    Writer::new(kind::BODY, 9).u64(body).done()
}

/// Returns the key of a Retained Message, without chunk.
pub(crate) fn retained_key(topic: &str) -> Bytes {
    Writer::new(kind::RETAINED, 1 + topic.len())
        .raw(topic.as_bytes())
        .done()
}

/// Returns the key of a Will Message, without chunk.
pub(crate) fn will_key(session: u64, number: u64) -> Bytes {
    Writer::new(kind::WILL, 17).u64(session).u64(number).done()
}

/// Returns Session and number of the key of a Will Message without chunk.
pub(crate) fn read_will_key(key: &[u8]) -> Result<(u64, u64), Damaged> {
    let mut reader = Reader::new(key, kind::WILL)?;
    let read = (reader.u64()?, reader.u64()?);
    reader.done()?;
    Ok(read)
}

/// Returns what the keys of all records of a plugin begin with.
pub(crate) fn plugin_prefix(plugin: &str) -> Bytes {
    Writer::new(kind::PLUGIN, 5 + plugin.len()).text(plugin).done()
}

/// Returns the key of a plugin's record.
pub(crate) fn plugin_key(plugin: &str, key: &str) -> Bytes {
    Writer::new(kind::PLUGIN, 5 + plugin.len() + key.len())
        .text(plugin)
        .raw(key.as_bytes())
        .done()
}

// Chunks.

/// Returns the number of chunks that a value of so many bytes has.
pub(crate) fn chunks_of(len: usize) -> u32 {
    u32::try_from(len.div_ceil(CHUNK)).unwrap_or(u32::MAX)
}

/// Returns the key of a chunk.
pub(crate) fn chunk_key(key: &[u8], chunk: u32) -> Bytes {
    [key, &chunk.to_be_bytes()].concat().into()
}

/// Key and value of what was put together.
pub(crate) type Whole = (Vec<u8>, Vec<u8>);

/// Puts chunks together that come in key order.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    key: Vec<u8>,
    value: Vec<u8>,
    chunks: u32,
}

impl Assembly {
    /// Adds the next chunk, and returns key and value of what was complete before it.
    pub(crate) fn add(&mut self, key: &[u8], chunk: &[u8]) -> Result<Option<Whole>, Damaged> {
        let (key, number) = key.split_last_chunk().ok_or(Damaged("a chunk without number"))?;
        let whole = match self.chunks > 0 && self.key != key {
            true => self.take(),
            false => None,
        };
        if u32::from_be_bytes(*number) != self.chunks {
            return Err(Damaged("a chunk is missing"));
        }
        self.key = key.to_vec();
        self.value.extend_from_slice(chunk);
        self.chunks += 1;
        Ok(whole)
    }

    /// Returns what is left when there are no more chunks.
    pub(crate) fn take(&mut self) -> Option<Whole> {
        let done = std::mem::take(self);
        (done.chunks > 0).then_some((done.key, done.value))
    }
}

// Values.

/// Returns the value that says how everything is written.
pub(crate) fn format_value() -> Bytes {
    Writer::new(CODEC, 16)
        .u16(FORMAT.0)
        .u16(FORMAT.1)
        .text(env!("CARGO_PKG_VERSION"))
        .done()
}

/// Checks that this broker can read what is there.
pub(crate) fn check_format(value: &[u8]) -> Result<(), Damaged> {
    let mut reader = Reader::new(value, CODEC)?;
    let (major, minor) = (reader.u16()?, reader.u16()?);
    reader.text()?;
    reader.done()?;
    if major != FORMAT.0 || minor > FORMAT.1 {
        return Err(Damaged("written by a broker with another format"));
    }
    Ok(())
}

/// Returns the value of a received Packet Identifier.
pub(crate) fn received_value() -> Bytes {
    Bytes::from_static(&[CODEC])
}

impl SessionRecord {
    pub(crate) fn encode(&self) -> Bytes {
        Writer::new(CODEC, 64)
            .u64(self.number)
            .text_or_none(self.owner.username.as_deref())
            .text(&self.owner.mount)
            .text(&self.listener)
            .u8(self.version.level())
            .u32(self.expiry)
            .u64(self.ended_at.unwrap_or(u64::MAX))
            .done()
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(value, CODEC)?;
        let record = Self {
            number: reader.u64()?,
            owner: Owner {
                username: reader.text_or_none()?,
                mount: reader.text()?.into(),
            },
            listener: reader.text()?.into(),
            version: read_version(&mut reader)?,
            expiry: reader.u32()?,
            ended_at: Some(reader.u64()?).filter(|at| *at != u64::MAX),
        };
        reader.done()?;
        Ok(record)
    }
}

/// Returns the value of a subscription.
pub(crate) fn subscription_value(held: &Held) -> Bytes {
    let options = &held.options;
    let flags =
        options.qos.bits() | u8::from(options.no_local) << 2 | u8::from(options.retain_as_published) << 3;
    let routed = held.routed();
    let filter = routed.filter.as_str();
    Writer::new(CODEC, 32 + filter.len())
        .u8(flags)
        .u32(options.id.map_or(0, SubscriptionId::get))
        .u32(options.class)
        .text_or_none(routed.share.as_ref().map(ShareName::as_str))
        .raw(filter.as_bytes())
        .done()
}

/// Returns the Session and its subscription.
pub(crate) fn read_subscription(key: &[u8], value: &[u8]) -> Result<(u64, Held), Damaged> {
    let mut reader = Reader::new(key, kind::SUBSCRIPTION)?;
    let session = reader.u64()?;
    let requested = read_filter(reader)?;
    let mut reader = Reader::new(value, CODEC)?;
    let flags = reader.u8()?;
    let id = match reader.u32()? {
        0 => None,
        id => Some(SubscriptionId::new(id).ok_or(Damaged("a subscription identifier"))?),
    };
    let options = SubscriptionOptions {
        qos: read_qos(flags & 3)?,
        no_local: flags & 4 != 0,
        retain_as_published: flags & 8 != 0,
        id,
        class: reader.u32()?,
    };
    Ok((session, Held::new(requested, read_filter(reader)?, options)))
}

impl Entry {
    /// Returns the entry of a message that isn't written yet.
    pub(crate) fn new(phase: EntryPhase, terms: &Terms) -> Self {
        Self {
            phase,
            body: None,
            size: 0,
            qos: terms.qos,
            retain: terms.retain,
            shared: terms.shared,
            ids: terms.ids().into(),
        }
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms::new(self.qos, self.retain, self.shared, &self.ids)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let (phase, packet_id) = match self.phase {
            EntryPhase::Waits => (0, 0),
            EntryPhase::UnderWay(id, Phase::Sent) => (1, id.get()),
            EntryPhase::UnderWay(id, Phase::Released) => (2, id.get()),
        };
        let flags = self.qos.bits() | u8::from(self.retain) << 2 | u8::from(self.shared) << 3;
        let writer = Writer::new(CODEC, 18 + 4 * self.ids.len())
            .u8(phase)
            .u16(packet_id)
            .u8(flags)
            .u32(self.size)
            .u64(self.body.unwrap_or(u64::MAX));
        let writer = self.ids.iter().fold(writer, |writer, id| writer.u32(id.get()));
        writer.done()
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(value, CODEC)?;
        let phase = match reader.u8()? {
            0 => match reader.u16()? {
                0 => EntryPhase::Waits,
                _ => return Err(Damaged("a packet identifier of a message that waits")),
            },
            1 => EntryPhase::UnderWay(read_packet_id(&mut reader)?, Phase::Sent),
            2 => EntryPhase::UnderWay(read_packet_id(&mut reader)?, Phase::Released),
            _ => return Err(Damaged("a phase")),
        };
        let flags = reader.u8()?;
        let size = reader.u32()?;
        let body = Some(reader.u64()?).filter(|body| *body != u64::MAX);
        let ids = reader.rest().chunks(4).map(|id| {
            let id = id.try_into().map(u32::from_be_bytes).ok();
            id.and_then(SubscriptionId::new)
                .ok_or(Damaged("a subscription identifier"))
        });
        Ok(Self {
            phase,
            body,
            size,
            qos: read_qos(flags & 3)?,
            retain: flags & 4 != 0,
            shared: flags & 8 != 0,
            ids: ids.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the number of chunks of its body.
    pub(crate) fn body_chunks(&self) -> u32 {
        chunks_of(stored_len(self.size as usize))
    }
}

/// Bytes of a message's value besides the message itself.
const STORED_HEAD: usize = 1 + MESSAGE_HEAD;
const MESSAGE_HEAD: usize = 1 + 8 + 4 + 2 + 4 + 4;
const RETAINED_HEAD: usize = 8 + STORED_HEAD;
/// A message without Message Expiry Interval.
const NO_EXPIRY: u8 = 1 << 3;

/// Returns how long the value of a body is whose topic, properties and payload have so many bytes.
pub(crate) fn stored_len(size: usize) -> usize {
    STORED_HEAD + size
}

/// Returns how long the value of a Retained Message is.
pub(crate) fn retained_len(size: usize) -> usize {
    RETAINED_HEAD + size
}

/// Returns the value of a body.
pub(crate) fn stored_value(stored: &Stored, moment: Moment) -> Bytes {
    let message = stored.message();
    let writer = Writer::new(CODEC, stored_len(message.size()));
    write_message(writer, &message, moment.wall_of(stored.received_at())).done()
}

/// Returns the message of a body, as if it had come in as long ago as it has.
pub(crate) fn read_stored(value: &[u8], moment: Moment, ledger: &Ledger) -> Result<Stored, Damaged> {
    let mut reader = Reader::new(value, CODEC)?;
    let stored = read_message(&mut reader, moment, ledger)?;
    reader.done()?;
    Ok(stored)
}

/// Returns the value of a Retained Message that is kept until `expires`.
pub(crate) fn retained_value(stored: &Stored, expires: Timestamp, moment: Moment) -> Bytes {
    let message = stored.message();
    let writer = Writer::new(CODEC, retained_len(message.size())).u64(moment.wall_of(expires));
    write_message(writer, &message, moment.wall_of(stored.received_at())).done()
}

/// Returns a Retained Message and when it expires by the wall clock.
pub(crate) fn read_retained(value: &[u8], moment: Moment, ledger: &Ledger) -> Result<(Stored, u64), Damaged> {
    let mut reader = Reader::new(value, CODEC)?;
    let expires = reader.u64()?;
    let stored = read_message(&mut reader, moment, ledger)?;
    reader.done()?;
    Ok((stored, expires))
}

impl WillRecord {
    pub(crate) fn encode(&self) -> Bytes {
        let client = &self.client;
        #[expect(clippy::cast_possible_truncation, reason = "a few attributes")]
        let mut writer = Writer::new(CODEC, 128 + self.message.size())
            .u64(self.due.unwrap_or(u64::MAX))
            .u32(self.delay)
            .text(client.id.as_str())
            .text_or_none(client.username.as_deref())
            .u8(client.authenticated.into())
            .text(&client.listener)
            .u8(client.version.level())
            .text(&client.mount)
            .u32(client.attributes.len() as u32);
        for (name, value) in client.attributes.iter() {
            writer = writer.text(name).text(value);
        }
        // Its Message Expiry Interval begins when it is published.
        write_message(writer, &(&self.message).into(), u64::MAX).done()
    }

    pub(crate) fn decode(value: &[u8], moment: Moment, ledger: &Ledger) -> Result<Self, Damaged> {
        let mut reader = Reader::new(value, CODEC)?;
        let due = Some(reader.u64()?).filter(|due| *due != u64::MAX);
        let delay = reader.u32()?;
        let id = reader.text()?.into();
        let username = reader.text_or_none()?;
        let authenticated = reader.flag()?;
        let listener = reader.text()?.into();
        let version = read_version(&mut reader)?;
        let mount = reader.text()?.into();
        let attributes = (0..reader.u32()?)
            .map(|_| Ok((reader.text()?.to_owned(), reader.text()?.to_owned())))
            .collect::<Result<Vec<_>, Damaged>>()?;
        let client = ClientView {
            handle: ClientHandle(0),
            id,
            username,
            authenticated,
            listener,
            peer: Peer::Local,
            version,
            clean_start: false,
            mount,
            attributes: attributes.into(),
            certificate: None,
            unrestricted: false,
        };
        let message = read_message(&mut reader, moment, ledger)?.message().to_message();
        reader.done()?;
        Ok(Self {
            message,
            client,
            delay,
            due,
        })
    }
}

/// Returns the value of a plugin's record that is kept until `expires`.
pub(crate) fn plugin_value(value: &[u8], expires: u64) -> Bytes {
    Writer::new(CODEC, 9 + value.len()).u64(expires).raw(value).done()
}

/// Returns a plugin's record and when it expires.
pub(crate) fn read_plugin_value(value: &Bytes) -> Result<(Bytes, u64), Damaged> {
    let mut reader = Reader::new(value, CODEC)?;
    let expires = reader.u64()?;
    Ok((value.slice_ref(reader.rest()), expires))
}

/// Returns the key that a plugin knows its record by.
pub(crate) fn read_plugin_key<'a>(plugin: &str, key: &'a [u8]) -> Result<&'a str, Damaged> {
    let rest = key
        .strip_prefix(&*plugin_prefix(plugin))
        .ok_or(Damaged("another plugin's key"))?;
    std::str::from_utf8(rest).map_err(|_| Damaged("a text that is not UTF-8"))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a packet's parts are below 256 MiB"
)]
fn write_message(writer: Writer, message: &MessageRef<'_>, received_at: u64) -> Writer {
    let (topic, payload) = (message.topic.as_str(), message.payload.as_bytes());
    let expiry = match message.expiry {
        None => NO_EXPIRY,
        Some(_) => 0,
    };
    writer
        .u8(message.qos.bits() | u8::from(message.retain) << 2 | expiry)
        .u64(received_at)
        .u32(message.expiry.unwrap_or(0))
        .u16(topic.len() as u16)
        .u32(message.properties.len() as u32)
        .u32(payload.len() as u32)
        .raw(topic.as_bytes())
        .raw(message.properties)
        .raw(payload)
}

fn read_message(reader: &mut Reader<'_>, moment: Moment, ledger: &Ledger) -> Result<Stored, Damaged> {
    let flags = reader.u8()?;
    let received_at = reader.u64()?;
    let expiry = Some(reader.u32()?).filter(|_| flags & NO_EXPIRY == 0);
    let (topic, properties, payload) = (reader.u16()?, reader.u32()?, reader.u32()?);
    let topic = std::str::from_utf8(reader.raw(topic.into())?).ok();
    let topic = topic.and_then(|topic| TopicRef::new(topic).ok());
    let properties = Bytes::copy_from_slice(reader.raw(properties as usize)?);
    let properties = Properties::parse(properties).map_err(|_| Damaged("properties"))?;
    let payload = reader.raw(payload as usize)?;
    let (expiry, received_at) = left_of(expiry, moment.wall.saturating_sub(received_at), moment.now);
    let message = MessageRef {
        topic: topic.ok_or(Damaged("a topic name"))?,
        payload: Payload::Borrowed(payload),
        qos: read_qos(flags & 3)?,
        retain: flags & 4 != 0,
        properties: properties.as_bytes(),
        expiry,
    };
    Ok(Stored::counted(&message, received_at, ledger))
}

/// Returns a Message Expiry Interval, and when it began, of a message that has waited so many milliseconds. The broker's
/// clock may not go back as far as that.
fn left_of(expiry: Option<u32>, waited: u64, now: Timestamp) -> (Option<u32>, Timestamp) {
    let Some(interval) = expiry else {
        return (None, now);
    };
    let before = |millis: u64| Timestamp::from_millis(now.as_millis().saturating_sub(millis));
    let left = (u64::from(interval) * 1000).saturating_sub(waited);
    if left == 0 {
        // An interval of zero that began before now has passed.
        return (Some(0), before(1));
    }
    let seconds = left.div_ceil(1000);
    (u32::try_from(seconds).ok(), before(seconds * 1000 - left))
}

fn read_filter(mut reader: Reader<'_>) -> Result<SubscriptionFilter, Damaged> {
    let share = match reader.text_or_none()? {
        None => None,
        Some(share) => Some(ShareName::new(share).ok_or(Damaged("a share name"))?),
    };
    let filter = TopicFilter::new(reader.rest_as_text()?).map_err(|_| Damaged("a topic filter"))?;
    Ok(SubscriptionFilter { share, filter })
}

fn read_packet_id(reader: &mut Reader<'_>) -> Result<PacketId, Damaged> {
    PacketId::new(reader.u16()?).ok_or(Damaged("a packet identifier of zero"))
}

fn read_qos(bits: u8) -> Result<QoS, Damaged> {
    QoS::from_bits(bits).ok_or(Damaged("a QoS"))
}

fn read_version(reader: &mut Reader<'_>) -> Result<ProtocolVersion, Damaged> {
    match reader.u8()? {
        3 => Ok(ProtocolVersion::V31),
        4 => Ok(ProtocolVersion::V311),
        5 => Ok(ProtocolVersion::V5),
        _ => Err(Damaged("a protocol version")),
    }
}

/// Returns the topic of a Retained Message's key without chunk.
pub(crate) fn read_retained_key(key: &[u8]) -> Result<TopicName, Damaged> {
    let topic = Reader::new(key, kind::RETAINED)?.rest_as_text()?;
    TopicName::new(topic).map_err(|_| Damaged("a topic name"))
}

#[cfg(test)]
mod tests;

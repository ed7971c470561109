//! How `sub` prints a message: the payload, with its topic (`-v`), by a pattern (`-F`) or as JSON.

use std::fmt::Write;
use std::io;
use std::time::{Duration, SystemTime};

use super::link::Incoming;
use broker_types::Properties;
use serde_json::{Map, Value as Json, json};

/// A message that came in.
#[derive(Clone, Debug)]
pub(crate) struct Received<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: &'a Properties,
    pub(crate) expiry: Option<u32>,
    pub(crate) subscription_ids: &'a [u32],
    pub(crate) at: SystemTime,
}

impl<'a> Received<'a> {
    /// What there is to print of a message that came.
    pub(crate) fn of(message: &'a Incoming) -> Self {
        Self {
            topic: &message.topic,
            payload: &message.payload,
            qos: message.qos,
            retain: message.retain,
            properties: &message.properties,
            expiry: message.expiry,
            subscription_ids: &message.subscription_ids,
            at: message.at,
        }
    }
}

/// How to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// The payload as it came.
    Payload,
    /// The topic, a blank, the payload.
    Verbose,
    /// One JSON object.
    Json,
    /// A pattern, taken apart.
    Pattern(Vec<Part>),
}

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Field(char),
}

/// The letters behind `%` that a pattern may have.
const FIELDS: &str = "tpxXlqrCDEFPRSIUjJ";

impl Style {
    /// Takes a pattern apart. `%t` topic, `%p` payload, `%x` and `%X` payload in hexadecimal, `%l` its length, `%q` QoS,
    /// `%r` retain, `%C` Content Type, `%R` Response Topic, `%D` Correlation Data, `%E` Message Expiry Interval, `%F`
    /// Payload Format Indicator, `%P` User Properties, `%S` Subscription Identifiers, `%I` time, `%U` Unix time, `%j` JSON,
    /// `%J` JSON with the payload as JSON, `%%` a percent sign; `\n`, `\t`, `\r`, `\0`, `\e`, `\a`, `\v`, `\\`.
    pub(crate) fn pattern(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => match chars.next() {
                    Some('%') => plain.push('%'),
                    Some(field) if FIELDS.contains(field) => {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                        parts.push(Part::Field(field));
                    }
                    Some(other) => return Err(format!("`%{other}` is not known")),
                    None => return Err("a single `%` at the end".to_owned()),
                },
                '\\' => plain.push(match chars.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some('0') => '\0',
                    Some('e') => '\x1b',
                    Some('a') => '\x07',
                    Some('v') => '\x0b',
                    Some('\\') => '\\',
                    Some(other) => return Err(format!("`\\{other}` is not known")),
                    None => return Err("a single `\\` at the end".to_owned()),
                }),
                other => plain.push(other),
            }
        }
        parts.push(Part::Text(plain));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self::Pattern(parts))
    }

    /// Writes a message, without a line end.
    pub(crate) fn write(&self, message: &Received<'_>, out: &mut impl io::Write) -> io::Result<()> {
        match self {
            Self::Payload => out.write_all(message.payload),
            Self::Verbose => {
                write!(out, "{} ", message.topic)?;
                out.write_all(message.payload)
            }
            Self::Json => write!(out, "{}", json(message, false)),
            Self::Pattern(parts) => parts.iter().try_for_each(|part| match part {
                Part::Text(text) => out.write_all(text.as_bytes()),
                Part::Field('p') => out.write_all(message.payload),
                Part::Field('D') => out.write_all(message.properties.correlation_data().unwrap_or_default()),
                Part::Field(field) => out.write_all(self::field(*field, message).as_bytes()),
            }),
        }
    }
}

fn field(letter: char, message: &Received<'_>) -> String {
    let properties = message.properties;
    let digit = |set: bool| u8::from(set).to_string();
    match letter {
        't' => message.topic.to_owned(),
        'x' => hexadecimal(message.payload),
        'X' => hexadecimal(message.payload).to_uppercase(),
        'l' => message.payload.len().to_string(),
        'q' => message.qos.to_string(),
        'r' => digit(message.retain),
        'C' => properties.content_type().unwrap_or_default().to_owned(),
        'R' => properties.response_topic().unwrap_or_default().to_owned(),
        'E' => message
            .expiry
            .map_or(String::new(), |seconds| seconds.to_string()),
        'F' => digit(properties.payload_is_utf8()),
        'P' => {
            let pairs: Vec<_> = properties
                .user()
                .map(|p| format!("{}:{}", p.name, p.value))
                .collect();
            pairs.join(" ")
        }
        'S' => {
            let ids: Vec<_> = message.subscription_ids.iter().map(u32::to_string).collect();
            ids.join(" ")
        }
        'I' => date_time(message.at),
        'U' => {
            let since = since_epoch(message.at);
            format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
        }
        'j' => json(message, false).to_string(),
        'J' => json(message, true).to_string(),
        _ => String::new(),
    }
}

/// The message as JSON, with mosquitto's names. A payload that is no text is given in hexadecimal, under another name.
fn json(message: &Received<'_>, payload_is_json: bool) -> Json {
    let properties = message.properties;
    let mut extra = Map::new();
    let mut add = |name: &str, value: Option<Json>| extra.extend(value.map(|value| (name.to_owned(), value)));
    add(
        "payload-format-indicator",
        properties.payload_is_utf8().then(|| json!(1)),
    );
    add("content-type", properties.content_type().map(Json::from));
    add("response-topic", properties.response_topic().map(Json::from));
    let correlation = properties.correlation_data();
    add(
        "correlation-data",
        correlation.map(|data| Json::from(String::from_utf8_lossy(data))),
    );
    add("message-expiry-interval", message.expiry.map(Json::from));
    let user: Vec<_> = properties.user().map(|p| json!({ p.name: p.value })).collect();
    add("user-properties", (!user.is_empty()).then(|| user.into()));
    let ids = message.subscription_ids;
    add("subscription-identifiers", (!ids.is_empty()).then(|| ids.into()));

    let mut all = json!({
        "tst": date_time(message.at),
        "topic": message.topic,
        "qos": message.qos,
        "retain": u8::from(message.retain),
        "payloadlen": message.payload.len(),
    });
    if !extra.is_empty() {
        all["properties"] = Json::Object(extra);
    }
    let parsed = payload_is_json
        .then(|| serde_json::from_slice(message.payload).ok())
        .flatten();
    match (parsed, std::str::from_utf8(message.payload)) {
        (Some(value), _) => all["payload"] = value,
        (None, Ok(text)) => all["payload"] = text.into(),
        (None, Err(_)) => all["payload_hex"] = hexadecimal(message.payload).into(),
    }
    all
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String can't fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// ISO 8601 in UTC, with microseconds.
fn date_time(at: SystemTime) -> String {
    let since = since_epoch(at);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// The date of a day since 1 January 1970. Counts years from 1 March 0000, so that the leap day is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use broker_types::PropertiesBuilder;

    use super::*;

    fn print(style: &Style, payload: &[u8]) -> String {
        let properties = PropertiesBuilder::new()
            .content_type("text")
            .user("a", "b")
            .build()
            .unwrap();
        let message = Received {
            topic: "a/b",
            payload,
            qos: 1,
            retain: true,
            properties: &properties,
            expiry: Some(9),
            subscription_ids: &[3, 4],
            at: SystemTime::UNIX_EPOCH + Duration::new(951_782_400, 5_000),
        };
        let mut out = Vec::new();
        style.write(&message, &mut out).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn patterns_are_filled() {
        let style = Style::pattern("%t|%p|%x|%X|%l|%q|%r|%C|%E|%P|%S|%I|%U|%%\\t.").unwrap();
        assert_eq!(
            print(&style, b"k\xff"),
            "a/b|k\u{fffd}|6bff|6BFF|2|1|1|text|9|a:b|3 4|2000-02-29T00:00:00.000005Z|951782400.000005000|%\t."
        );
        for bad in ["%", "%y", "\\", "\\q"] {
            assert!(Style::pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_keeps_every_payload() {
        let text = print(&Style::Json, b"{\"x\":1}");
        let json: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(json["payload"], "{\"x\":1}");
        assert_eq!(json["properties"]["user-properties"][0]["a"], "b");
        let json: Json = serde_json::from_str(&print(&Style::pattern("%J").unwrap(), b"{\"x\":1}")).unwrap();
        assert_eq!(json["payload"]["x"], 1);
        let json: Json = serde_json::from_str(&print(&Style::Json, b"\xff")).unwrap();
        assert_eq!(
            (&json["payload_hex"], &json["payload"]),
            (&"ff".into(), &Json::Null)
        );
    }

    #[test]
    fn days_become_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_781, (2026, 11, 24)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }
}

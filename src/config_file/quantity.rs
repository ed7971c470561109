//! Sizes and times as people write them: `16MiB`, `50ms`. The range of each key is the schema's business.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes: `1048576`, `"64KiB"`, `"16MiB"`, `"1GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A part of the machine's memory: a size, or `"80 %"` of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemorySize {
    /// So many bytes.
    Bytes(ByteSize),
    /// So much of a hundred, 1 to 100.
    Percent(u8),
}

/// A span of time: `"50ms"`, `"10s"`, `"5m"`, `"2h"`, `"7d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(pub Duration);

/// A text that is no quantity. The list is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It doesn't begin with a whole number.
    #[error("must begin with a whole number")]
    Number,
    /// The unit behind the number is none of those that are known.
    #[error("has no known unit")]
    Unit,
    /// Not a part of the whole.
    #[error("must be from 1 % to 100 %")]
    Percent,
    /// More than can be counted.
    #[error("is too large")]
    TooLarge,
}

const SIZES: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];
const TIMES: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl FromStr for ByteSize {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text, &SIZES).map(Self)
    }
}

impl FromStr for MemorySize {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let Some(percent) = text.strip_suffix('%') else {
            return text.parse().map(Self::Bytes);
        };
        match percent.trim_end().parse() {
            Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
            _ => Err(QuantityError::Percent),
        }
    }
}

impl FromStr for TimeSpan {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text, &TIMES).map(|millis| Self(Duration::from_millis(millis)))
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Result<u64, QuantityError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(QuantityError::Number);
    }
    let (_, factor) = units
        .iter()
        .find(|(name, _)| *name == unit.trim_start())
        .ok_or(QuantityError::Unit)?;
    let number: u64 = number.parse().map_err(|_| QuantityError::TooLarge)?;
    number.checked_mul(*factor).ok_or(QuantityError::TooLarge)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(f, self.0, &SIZES)
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        display(f, millis, &TIMES)
    }
}

/// Writes the largest unit that divides the number.
fn display(f: &mut fmt::Formatter<'_>, number: u64, units: &[(&str, u64)]) -> fmt::Result {
    for (unit, factor) in units {
        if number >= *factor && number.is_multiple_of(*factor) {
            return write!(f, "{}{unit}", number / factor);
        }
    }
    let (smallest, _) = units[units.len() - 1];
    write!(f, "{number}{smallest}")
}

/// What may stand where a size is wanted.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Bytes(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

impl<'de> Deserialize<'de> for MemorySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => Ok(Self::Bytes(ByteSize(bytes))),
            Written::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

/// For defaults in the schema.
impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteSize".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB|TiB)$",
            "format": "byte-size"
        })
    }
}

impl JsonSchema for MemorySize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MemorySize".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB|TiB|%)$",
            "format": "memory-size"
        })
    }
}

impl JsonSchema for TimeSpan {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeSpan".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+ ?(ms|s|m|h|d)$",
            "format": "time-span"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_and_written() {
        for (text, bytes) in [("0B", 0), ("1KiB", 1024), ("16MiB", 16 << 20), ("3 GiB", 3 << 30)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
        for (text, millis) in [("50ms", 50), ("10s", 10_000), ("7d", 7 * 86_400_000)] {
            assert_eq!(
                text.parse(),
                Ok(TimeSpan(Duration::from_millis(millis))),
                "{text}"
            );
            assert_eq!(TimeSpan(Duration::from_millis(millis)).to_string(), text);
        }
        assert_eq!(ByteSize(1025).to_string(), "1025B");
        assert_eq!(TimeSpan(Duration::ZERO).to_string(), "0ms");
    }

    #[test]
    fn a_part_of_the_memory_is_a_size_or_a_percentage() {
        let size = |text: &str| text.parse::<MemorySize>();
        assert_eq!(size("80 %"), Ok(MemorySize::Percent(80)));
        assert_eq!(size("100%"), Ok(MemorySize::Percent(100)));
        assert_eq!(size("2GiB"), Ok(MemorySize::Bytes(ByteSize(2 << 30))));
        for text in ["0 %", "101 %", "%", "-1 %", "1.5 %"] {
            assert_eq!(size(text), Err(QuantityError::Percent), "{text}");
        }
        assert_eq!(size("80"), Err(QuantityError::Unit));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        assert_eq!("MiB".parse::<ByteSize>(), Err(QuantityError::Number));
        assert_eq!("-1B".parse::<ByteSize>(), Err(QuantityError::Number));
        assert_eq!("16".parse::<ByteSize>(), Err(QuantityError::Unit));
        assert_eq!("16MB".parse::<ByteSize>(), Err(QuantityError::Unit));
        assert_eq!("1.5s".parse::<TimeSpan>(), Err(QuantityError::Unit));
        assert_eq!("99999999TiB".parse::<ByteSize>(), Err(QuantityError::TooLarge));
        assert_eq!(
            "99999999999999999999s".parse::<TimeSpan>(),
            Err(QuantityError::TooLarge)
        );
    }
}

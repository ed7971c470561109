//! What the operator can say, and which of it makes no sense.

use plugin_sdk::alloc::collections::BTreeMap;
use plugin_sdk::prelude::*;
use serde_json::{Map, Value};

use crate::Unit;

/// More digits than a double has.
const DIGITS_MAX: u8 = 15;

/// The options.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Fields whose unit is changed, in this order.
    #[serde(default)]
    pub convert: Vec<Conversion>,
    /// A reading goes on only if all of these hold, after the conversion; else the message is acknowledged and dropped.
    #[serde(default)]
    pub only: Vec<Range>,
    /// Fields to add, unless the reading has them.
    #[serde(default)]
    pub add: BTreeMap<String, Value>,
    /// Fields to add from levels of the topic; 0 is the first level.
    #[serde(default)]
    pub levels: BTreeMap<String, u8>,
    /// What becomes of a payload that is no JSON object.
    #[serde(default)]
    pub invalid: Invalid,
}

/// A field that is converted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    /// The field.
    pub field: String,
    /// The unit it comes in.
    pub from: Unit,
    /// The unit it leaves in.
    pub to: Unit,
    /// Digits behind the point.
    #[serde(default = "two")]
    pub digits: u8,
}

const fn two() -> u8 {
    2
}

/// Where a number must lie.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The field; a reading without it isn't let through.
    pub field: String,
    /// The least it may be.
    pub min: Option<f64>,
    /// The most it may be.
    pub max: Option<f64>,
}

impl Range {
    /// Tells whether the field of `reading` is a number in the range.
    #[must_use]
    pub fn holds(&self, reading: &Map<String, Value>) -> bool {
        let number = reading.get(&self.field).and_then(Value::as_f64);
        number.is_some_and(|number| {
            self.min.is_none_or(|min| number >= min) && self.max.is_none_or(|max| number <= max)
        })
    }
}

/// What becomes of a payload that is no JSON object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Invalid {
    /// It goes on as it is.
    Pass,
    /// It is acknowledged and goes nowhere.
    Drop,
    /// It is refused: 0x99, payload format invalid.
    #[default]
    Reject,
}

impl Options {
    /// Returns what is wrong beyond the schema.
    pub(crate) fn complaint(&self) -> Option<String> {
        let units = self.convert.iter().find_map(|conversion| {
            let Conversion {
                field,
                from,
                to,
                digits,
            } = conversion;
            if from.quantity() != to.quantity() {
                Some(format!("`{field}`: {from} is no {}", to.quantity()))
            } else if *digits > DIGITS_MAX {
                Some(format!("`{field}`: at most {DIGITS_MAX} digits"))
            } else {
                None
            }
        });
        let empty = |range: &&Range| matches!((range.min, range.max), (Some(min), Some(max)) if min > max);
        units.or_else(|| {
            let range = self.only.iter().find(empty)?;
            Some(format!("`{}`: nothing is between min and max", range.field))
        })
    }
}

//! Units of measurement: each is a line through the base unit of its quantity.

use core::fmt;

use plugin_sdk::prelude::*;

/// A unit of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Temperature.
    Celsius,
    /// Temperature.
    Fahrenheit,
    /// Temperature.
    Kelvin,
    /// Pressure.
    Pascal,
    /// Pressure: 100,000 pascal.
    Bar,
    /// Pressure: pounds on a square inch.
    Psi,
    /// Speed.
    MetrePerSecond,
    /// Speed.
    KilometrePerHour,
    /// Speed.
    MilePerHour,
}

impl Unit {
    /// Returns what it measures.
    pub(crate) const fn quantity(self) -> &'static str {
        match self {
            Self::Celsius | Self::Fahrenheit | Self::Kelvin => "temperature",
            Self::Pascal | Self::Bar | Self::Psi => "pressure",
            Self::MetrePerSecond | Self::KilometrePerHour | Self::MilePerHour => "speed",
        }
    }

    /// Converts a number of this unit into one of `other`, which measures the same.
    pub(crate) fn to(self, other: Self, number: f64) -> f64 {
        let (factor, offset) = self.line();
        let (other_factor, other_offset) = other.line();
        (number * factor + offset - other_offset) / other_factor
    }

    /// Returns factor and offset that lead to the base unit: kelvin, pascal, metre per second.
    const fn line(self) -> (f64, f64) {
        match self {
            Self::Kelvin | Self::Pascal | Self::MetrePerSecond => (1.0, 0.0),
            Self::Celsius => (1.0, 273.15),
            Self::Fahrenheit => (5.0 / 9.0, 459.67 * 5.0 / 9.0),
            Self::Bar => (100_000.0, 0.0),
            Self::Psi => (6_894.757_293_168, 0.0),
            Self::KilometrePerHour => (1.0 / 3.6, 0.0),
            Self::MilePerHour => (0.447_04, 0.0),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Celsius => "celsius",
            Self::Fahrenheit => "fahrenheit",
            Self::Kelvin => "kelvin",
            Self::Pascal => "pascal",
            Self::Bar => "bar",
            Self::Psi => "psi",
            Self::MetrePerSecond => "metre_per_second",
            Self::KilometrePerHour => "kilometre_per_hour",
            Self::MilePerHour => "mile_per_hour",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Unit;

    #[track_caller]
    fn check(from: Unit, number: f64, to: Unit, expected: f64) {
        let found = from.to(to, number);
        assert!(
            (found - expected).abs() < 1e-6,
            "{number} {from} are {found} {to}"
        );
    }

    #[test]
    fn units_are_converted_there_and_back() {
        check(Unit::Fahrenheit, 212.0, Unit::Celsius, 100.0);
        check(Unit::Celsius, -40.0, Unit::Fahrenheit, -40.0);
        check(Unit::Kelvin, 0.0, Unit::Celsius, -273.15);
        check(Unit::Bar, 1.0, Unit::Psi, 14.503_773_8);
        check(Unit::MilePerHour, 60.0, Unit::KilometrePerHour, 96.560_64);
        check(Unit::KilometrePerHour, 36.0, Unit::MetrePerSecond, 10.0);
    }
}

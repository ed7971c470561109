//! How long a Client may be silent.

use std::time::Duration;

/// Returns how long after one packet of a Client with this Keep Alive the next must have come: one and a half times the
/// interval `[MQTT-3.1.2-22]`. `None`, for 0 seconds: it may be silent for ever.
#[must_use]
pub fn keep_alive_limit(keep_alive_secs: u16) -> Option<Duration> {
    match keep_alive_secs {
        0 => None,
        secs => Some(Duration::from_millis(u64::from(secs) * 1500)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v5_3_1_2_22_keep_alive_is_one_and_a_half_times_the_interval() {
        assert_eq!(keep_alive_limit(10), Some(Duration::from_secs(15)));
        assert_eq!(keep_alive_limit(1), Some(Duration::from_millis(1500)));
        assert_eq!(keep_alive_limit(0), None);
        assert_eq!(
            keep_alive_limit(u16::MAX),
            Some(Duration::from_millis(98_302_500))
        );
    }
}

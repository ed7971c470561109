//! One event as one line of JSON.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use plugin_api::{Event, EventKind};
use serde::Serialize;

/// The fields of a line, in the order they are written.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_server: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receivers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// Appends the line of `event`, its end included.
pub(crate) fn write_line(event: &Event, out: &mut String) {
    let line = Line {
        time: rfc3339(event.at),
        event: event.kind.as_str(),
        client_id: event.client_id.as_ref().map(|id| id.as_str()),
        username: event.username.as_deref(),
        listener: event.listener.as_deref(),
        peer: event.peer.map(|peer| peer.to_string()),
        connection: event.client.map(|handle| handle.0),
        topic: event.topic.as_deref(),
        reason_code: event.reason.map(|reason| reason.byte()),
        reason: event.reason.map(|reason| reason.name()),
        by_server: (event.kind == EventKind::Disconnected).then_some(event.by_server),
        receivers: (event.kind == EventKind::Published).then_some(event.count),
        text: event.text.as_deref(),
    };
    let json = serde_json::to_string(&line).expect("a struct of texts and numbers always has a JSON form");
    push_printable(&json, out);
    out.push('\n');
}

/// JSON escapes the control characters of ASCII below space; terminals also obey those above.
fn push_printable(json: &str, out: &mut String) {
    let mut rest = json;
    while let Some(at) = rest.find(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        let (good, bad) = rest.split_at(at);
        out.push_str(good);
        let mut chars = bad.chars();
        let code = chars.next().map_or(0, u32::from);
        write!(out, "\\u{code:04x}").expect("a String takes everything");
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// Returns a moment as RFC 3339 writes it, in UTC with milliseconds. A moment before 1970 is 1970.
fn rfc3339(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Returns year, month and day of the Gregorian calendar, `days` after 1970-01-01.
///
/// Years are counted from March, so that the leap day is the last of its year; 400 of them have 146,097 days.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use broker_types::{ClientHandle, ClientId, ReasonCode};
    use plugin_api::Peer;
    use proptest::prelude::*;

    use super::*;

    fn line(event: &Event) -> String {
        let mut out = String::new();
        write_line(event, &mut out);
        out
    }

    #[test]
    fn a_full_line_is_as_documented() {
        let event = Event {
            at: UNIX_EPOCH + Duration::from_millis(1_795_453_445_250),
            client: Some(ClientHandle(4711)),
            client_id: Some(ClientId::from("pump-7")),
            username: Some("pumps".into()),
            listener: Some("main".into()),
            peer: Some(Peer::Tcp("10.0.0.7:51234".parse().unwrap())),
            reason: Some(ReasonCode::SessionTakenOver),
            by_server: true,
            ..Event::new(EventKind::Disconnected)
        };
        let documented = include_str!("../README.md")
            .lines()
            .find(|line| line.starts_with('{'))
            .unwrap();
        assert_eq!(line(&event), format!("{documented}\n"));
    }

    #[test]
    fn fields_without_a_meaning_are_not_there() {
        let at = UNIX_EPOCH;
        let dropped = Event {
            at,
            topic: Some("a/b".into()),
            text: Some("queue is full".into()),
            by_server: true,
            count: 3,
            ..Event::new(EventKind::Dropped)
        };
        assert_eq!(
            line(&dropped),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"event\":\"dropped\",\"topic\":\"a/b\",\"text\":\"queue is full\"}\n"
        );
        let published = Event {
            at,
            count: 3,
            ..Event::new(EventKind::Published)
        };
        assert!(line(&published).ends_with("\"receivers\":3}\n"));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    proptest! {
        /// What clients call themselves comes back unchanged, and can't break a line or a terminal.
        #[test]
        fn any_text_is_one_printable_line_and_comes_back(
            text in "(\\PC|[\u{0}-\u{1F}\u{7F}-\u{9F}\u{2028}\u{2029}\"\\\\]){0,12}"
        ) {
            let event = Event { client_id: Some(ClientId::from(text.as_str())), ..Event::new(EventKind::Connected) };
            let line = line(&event);
            let body = line.strip_suffix('\n').unwrap();
            prop_assert!(!body.contains(char::is_control));
            let separators = ['\u{2028}', '\u{2029}'];
            prop_assert!(!body.contains(separators));
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            prop_assert_eq!(&json["client_id"], &text);
        }
    }
}

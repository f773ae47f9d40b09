//! Times as people type them: `in 2h`, `22:00`, `tomorrow 08:00`, `2026-11-27 08:00`, RFC 3339.
//!
//! What names no day is the next time that the clock shows it where the person is; what names no
//! zone is meant there too.

use jiff::civil::{DateTime, Time};
use jiff::{Span, Timestamp, Zoned};

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not a time: write it like 'in 2h', '22:00', 'tomorrow 08:00', '2026-11-27 08:00' or '2026-11-27T08:00:00Z'"
)]
pub struct NotATime {
    /// The text.
    pub text: String,
}

/// The time that a text means, said at `now` by somebody whose clock shows that. A time of day is
/// the first after `after`.
pub fn parse(text: &str, now: &Zoned, after: Timestamp) -> Result<Timestamp, NotATime> {
    let wrong = || NotATime {
        text: text.to_owned(),
    };
    let text = text.trim();
    if text == "now" {
        return Ok(now.timestamp());
    }
    if let Some(span) = text.strip_prefix("in ") {
        let span: Span = span.trim().parse().map_err(|_| wrong())?;
        if span.is_negative() {
            return Err(wrong());
        }
        return now
            .checked_add(span)
            .map(|then| then.timestamp())
            .map_err(|_| wrong());
    }
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Ok(exact);
    }
    if let Some(time) = text.strip_prefix("tomorrow ") {
        let time: Time = time.trim().parse().map_err(|_| wrong())?;
        let day = now.date().tomorrow().map_err(|_| wrong())?;
        return local(day.to_datetime(time), now).ok_or_else(wrong);
    }
    // A time of day comes before dates: a date alone would be midnight, which is rarely meant.
    if let Ok(time) = text.parse::<Time>()
        && text.contains(':')
        && !text.contains('-')
    {
        let from = after.to_zoned(now.time_zone().clone());
        let today = local(from.date().to_datetime(time), now).ok_or_else(wrong)?;
        if today > after {
            return Ok(today);
        }
        let day = from.date().tomorrow().map_err(|_| wrong())?;
        return local(day.to_datetime(time), now).ok_or_else(wrong);
    }
    match text.parse::<DateTime>() {
        Ok(civil) if text.contains(':') => local(civil, now).ok_or_else(wrong),
        Ok(_) | Err(_) => Err(wrong()),
    }
}

fn local(civil: DateTime, now: &Zoned) -> Option<Timestamp> {
    civil
        .to_zoned(now.time_zone().clone())
        .ok()
        .map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jiff::tz::{Offset, TimeZone};

    /// Half past two in the afternoon, two hours east of Greenwich.
    fn now() -> Zoned {
        let zone = TimeZone::fixed(Offset::constant(2));
        "2026-11-26T12:30:00Z"
            .parse::<Timestamp>()
            .unwrap()
            .to_zoned(zone)
    }

    #[test]
    fn every_form_means_what_it_says() {
        let now = now();
        for (text, meant) in [
            ("now", "2026-11-26T12:30:00Z"),
            ("in 2h", "2026-11-26T14:30:00Z"),
            ("in 90 minutes", "2026-11-26T14:00:00Z"),
            ("in 1 day", "2026-11-27T12:30:00Z"),
            ("22:00", "2026-11-26T20:00:00Z"),
            ("08:15", "2026-11-27T06:15:00Z"),
            ("14:30", "2026-11-27T12:30:00Z"),
            ("tomorrow 22:00", "2026-11-27T20:00:00Z"),
            ("2026-12-01 08:00", "2026-12-01T06:00:00Z"),
            ("2026-12-01T08:00:00", "2026-12-01T06:00:00Z"),
            ("2026-12-01T08:00:00Z", "2026-12-01T08:00:00Z"),
            ("2026-12-01T08:00:00+05:00", "2026-12-01T03:00:00Z"),
        ] {
            let meant: Timestamp = meant.parse().unwrap();
            assert_eq!(parse(text, &now, now.timestamp()), Ok(meant), "{text}");
        }
        for text in [
            "",
            "2h",
            "soon",
            "in",
            "in -2h",
            "25:00",
            "2026-12-01",
            "22",
        ] {
            let said = parse(text, &now, now.timestamp());
            assert!(said.is_err(), "{text}: {said:?}");
        }
    }

    #[test]
    fn a_time_of_day_comes_after_the_one_it_follows() {
        let now = now();
        let start: Timestamp = "2026-11-26T20:00:00Z".parse().unwrap();
        let meant: Timestamp = "2026-11-26T22:30:00Z".parse().unwrap();
        assert_eq!(parse("00:30", &now, start), Ok(meant));
    }
}

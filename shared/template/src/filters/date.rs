//! Dates: reading what people and programs write, the caller's clock, and moving dates.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Span};

use super::{Answer, Call, Filter, Outcome, date_format};
use crate::template::Options;

/// What is known of a date's place on the globe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    /// Nothing.
    Unspecified,
    Utc,
    /// A local time, or one with a written offset.
    Offset(Offset),
}

/// A date, its time, and its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) civil: DateTime,
    pub(super) zone: Zone,
}

/// The caller's time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) offset: Offset,
    pub(super) local: DateTime,
    utc: DateTime,
}

impl Clock {
    pub(super) fn of(options: &Options) -> Self {
        let offset = options.offset;
        Self {
            offset,
            local: offset.to_datetime(options.now),
            utc: Offset::UTC.to_datetime(options.now),
        }
    }
}

pub(super) fn filter(name: &str) -> Option<Filter> {
    Some(match name {
        "nowdate" => |call| now(call, Zone::Unspecified),
        "nowdateutc" => |call| now(call, Zone::Utc),
        "addseconds" => |call| add(call, 1.0),
        "addminutes" => |call| add(call, 60.0),
        "addhours" => |call| add(call, 3_600.0),
        "adddays" => |call| add(call, 86_400.0),
        "addweeks" => |call| add(call, 604_800.0),
        "addmonths" => add_months,
        "addtimespan" => add_time_span,
        _ => return None,
    })
}

fn now(call: &Call<'_>, zone: Zone) -> Answer {
    let clock = Clock::of(call.options);
    if call.input.is_some() {
        return Err(Outcome::failed("takes no value before it"));
    }
    let civil = if zone == Zone::Utc {
        clock.utc
    } else {
        clock.local
    };
    let format = match call.args {
        [] => "O",
        [format] => format,
        _ => return Err(Outcome::failed("takes one format")),
    };
    let formatted = date_format::format(&Moment { civil, zone }, format, &clock);
    formatted.ok_or_else(|| Outcome::failed("cannot read its format"))
}

fn add(call: &Call<'_>, unit_seconds: f64) -> Answer {
    let amount = crate::number::parse(call.only()?)
        .filter(|_| call.args.iter().all(|arg| !arg.contains(',')));
    let seconds = amount
        .map(|amount| amount * unit_seconds)
        .and_then(duration);
    let Some(duration) = seconds else {
        return Err(Outcome::failed("takes a number that is not too large"));
    };
    shift(call, |civil| civil.checked_add(duration).ok())
}

/// Rounded to .NET's ticks of 100 ns.
fn duration(seconds: f64) -> Option<SignedDuration> {
    let ticks = (seconds * 10_000_000.0).round();
    // Ten thousand years; also what fits into the integer.
    if ticks.abs() > 3.2e18 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole and in range, as checked above"
    )]
    let ticks = ticks as i64;
    SignedDuration::from_secs(ticks / 10_000_000)
        .checked_add(SignedDuration::from_nanos(ticks % 10_000_000 * 100))
}

fn add_months(call: &Call<'_>) -> Answer {
    let months = call.only()?.trim().parse::<i32>().ok();
    let Some(span) = months.and_then(|months| Span::new().try_months(months).ok()) else {
        return Err(Outcome::failed("takes a whole number"));
    };
    shift(call, |civil| civil.checked_add(span).ok())
}

fn add_time_span(call: &Call<'_>) -> Answer {
    let Some(duration) = time_span(call.only()?.trim()) else {
        return Err(Outcome::failed("takes a time such as '1.02:30:00'"));
    };
    shift(call, |civil| civil.checked_add(duration).ok())
}

/// `[-][d.]hh:mm[:ss[.fffffff]]`, or days alone.
fn time_span(text: &str) -> Option<SignedDuration> {
    let (sign, body) = text.strip_prefix('-').map_or((1, text), |body| (-1, body));
    let number = |text: &str, below: i64| {
        let plain =
            !text.is_empty() && text.len() < 9 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain
            .then(|| text.parse::<i64>().ok())
            .flatten()
            .filter(|value| *value < below)
    };
    let Some((head, tail)) = body.split_once(':') else {
        return Some(SignedDuration::from_hours(
            24 * sign * number(body, 10_675_200)?,
        ));
    };
    let (days, hours) = head.split_once('.').unwrap_or(("0", head));
    let (minutes, seconds) = tail.split_once(':').unwrap_or((tail, "0"));
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let whole = ((number(days, 10_675_200)? * 24 + number(hours, 24)?) * 60 + number(minutes, 60)?)
        * 60
        + number(seconds, 60)?;
    let ticks = number(fraction.get(..fraction.len().min(7))?, 10_000_000)?;
    let scale = 10_i64.pow(u32::try_from(7_usize.saturating_sub(fraction.len())).ok()?);
    SignedDuration::from_secs(sign * whole)
        .checked_add(SignedDuration::from_nanos(sign * ticks * scale * 100))
}

/// Moves a date; one without a zone stays without, one with an offset keeps it.
fn shift(call: &Call<'_>, by: impl FnOnce(DateTime) -> Option<DateTime>) -> Answer {
    let clock = Clock::of(call.options);
    let Some(moment) = parse(call.text()?, &clock) else {
        return Err(Outcome::failed("needs a date"));
    };
    let moved = by(moment.civil).map(|civil| Moment { civil, ..moment });
    let formatted = moved.and_then(|moment| date_format::format(&moment, "O", &clock));
    formatted.ok_or_else(|| Outcome::failed("leads outside the calendar"))
}

/// Reads a date as local time, converting from a zone that is written with it.
pub(super) fn parse_local(text: &str, clock: &Clock) -> Option<Moment> {
    let moment = parse(text, clock)?;
    let from = match moment.zone {
        Zone::Unspecified => return Some(moment),
        Zone::Utc => Offset::UTC,
        Zone::Offset(offset) => offset,
    };
    let civil = clock
        .offset
        .to_datetime(from.to_timestamp(moment.civil).ok()?);
    Some(Moment {
        civil,
        zone: Zone::Offset(clock.offset),
    })
}

/// Reads a date with its offset; the local one if none is written.
pub(super) fn parse_offset(text: &str, clock: &Clock) -> Option<Moment> {
    let moment = parse(text, clock)?;
    let zone = match moment.zone {
        Zone::Unspecified => Zone::Offset(clock.offset),
        Zone::Utc => Zone::Offset(Offset::UTC),
        zone @ Zone::Offset(_) => zone,
    };
    Some(Moment { zone, ..moment })
}

/// Reads a date: ISO 8601, `2030/05/22 09:05`, `5/22/2030 9:05 AM`, `22 May 2030`, RFC 1123.
fn parse(text: &str, clock: &Clock) -> Option<Moment> {
    let text = text.trim();
    if text.is_empty() || text.len() > 80 || !text.is_ascii() {
        return None;
    }
    let (rest, zone) = zone(text);
    let (date_text, time) = time(rest)?;
    let date = if date_text.is_empty() {
        clock.local.date()
    } else {
        date(date_text, clock)?
    };
    Some(Moment {
        civil: DateTime::from_parts(date, time),
        zone,
    })
}

/// Takes a zone off the end, if there is one.
fn zone(text: &str) -> (&str, Zone) {
    for word in ["GMT", "UTC", "Z", "z"] {
        if let Some(rest) = text.strip_suffix(word)
            && rest.ends_with(|c: char| c.is_ascii_digit() || c == ' ')
        {
            return (rest.trim_end(), Zone::Utc);
        }
    }
    let offset = text
        .rfind(['+', '-'])
        .filter(|at| text.get(..*at).is_some_and(|head| head.contains(':')));
    if let Some(at) = offset
        && let Some(offset) = text.get(at..).and_then(read_offset)
    {
        return (
            text.get(..at).unwrap_or_default().trim_end(),
            Zone::Offset(offset),
        );
    }
    (text, Zone::Unspecified)
}

fn read_offset(text: &str) -> Option<Offset> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let body = text.get(1..)?;
    let digits: String = body.chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 = digits
        .get(2..)
        .filter(|text| !text.is_empty())
        .map_or(Some(0), |text| text.parse().ok())?;
    if hours > 14 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// Takes a time off the end; midnight if there is none.
fn time(text: &str) -> Option<(&str, Time)> {
    let (body, afternoon) = meridiem(text);
    let Some(colon) = body.find(':') else {
        return if afternoon.is_none() {
            Some((text, Time::midnight()))
        } else {
            None
        };
    };
    let head = body.get(..colon)?;
    let hour_start = head
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |at| at + 1);
    let mut hour: i8 = head.get(hour_start..)?.parse().ok()?;
    match afternoon {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(true) if hour < 12 => hour += 12,
        Some(false) if hour == 12 => hour = 0,
        _ => {}
    }
    let mut parts = body.get(colon + 1..)?.split(':');
    let minute: i8 = two_digits(parts.next()?)?;
    let (second, nanosecond) = parts.next().map_or(Some((0, 0)), seconds)?;
    if parts.next().is_some() {
        return None;
    }
    let before = body
        .get(..hour_start)?
        .trim_end_matches(['T', 't', ' ', ',']);
    Some((before, Time::new(hour, minute, second, nanosecond).ok()?))
}

fn meridiem(text: &str) -> (&str, Option<bool>) {
    let lower = text.to_ascii_lowercase();
    for (word, afternoon) in [("am", false), ("pm", true)] {
        if let Some(rest) = lower.strip_suffix(word)
            && rest.ends_with(|c: char| c.is_ascii_digit() || c == ' ')
        {
            return (
                text.get(..rest.len()).unwrap_or_default().trim_end(),
                Some(afternoon),
            );
        }
    }
    (text, None)
}

fn two_digits(text: &str) -> Option<i8> {
    ((1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

fn seconds(text: &str) -> Option<(i8, i32)> {
    let (second, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos = format!("{:0<9}", fraction.get(..fraction.len().min(7))?);
    Some((two_digits(second)?, nanos.parse().ok()?))
}

fn date(text: &str, clock: &Clock) -> Option<Date> {
    let mut numbers: Vec<&str> = Vec::new();
    let mut month = None;
    for word in text
        .split(['-', '/', '.', ' ', ','])
        .filter(|word| !word.is_empty())
    {
        if word.bytes().all(|byte| byte.is_ascii_digit()) {
            numbers.push(word);
        } else if let Some(named) = date_format::month_named(word) {
            if month.replace(named).is_some() {
                return None;
            }
        } else if !date_format::is_weekday(word) {
            return None;
        }
    }
    let this_year = clock.local.year();
    let (year, month, day) = match (month, numbers.as_slice()) {
        (Some(month), [one]) if one.len() > 2 => (year(one)?, month, 1),
        (Some(month), [day]) => (this_year, month, day.parse().ok()?),
        (Some(month), [a, b]) if a.len() > 2 => (year(a)?, month, b.parse().ok()?),
        (Some(month), [a, b]) => (year(b)?, month, a.parse().ok()?),
        (None, [y, m, d]) if y.len() > 2 => (year(y)?, m.parse().ok()?, d.parse().ok()?),
        (None, [m, d, y]) => (year(y)?, m.parse().ok()?, d.parse().ok()?),
        (None, [y, m]) if y.len() == 4 => (year(y)?, m.parse().ok()?, 1),
        (None, [m, y]) if y.len() == 4 => (year(y)?, m.parse().ok()?, 1),
        (None, [m, d]) => (this_year, m.parse().ok()?, d.parse().ok()?),
        _ => return None,
    };
    Date::new(year, month, day)
        .ok()
        .filter(|date| date.year() > 0)
}

/// Two digits are taken for 1950 to 2049.
fn year(text: &str) -> Option<i16> {
    let value: i16 = text.parse().ok()?;
    Some(match (text.len(), value) {
        (1 | 2, 0..50) => value + 2000,
        (1 | 2, _) => value + 1900,
        _ => value,
    })
}

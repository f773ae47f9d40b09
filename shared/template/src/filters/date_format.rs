//! .NET's date formats, standard and custom, in the culture en-US.

use std::fmt::Write as _;

use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::date::{Clock, Moment, Zone};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// The month of that name, in full or by its first three letters.
pub(super) fn month_named(word: &str) -> Option<i8> {
    let at = MONTHS.iter().position(|month| named(month, word))?;
    i8::try_from(at + 1).ok()
}

pub(super) fn is_weekday(word: &str) -> bool {
    WEEKDAYS.iter().any(|day| named(day, word))
}

fn named(name: &str, word: &str) -> bool {
    name.eq_ignore_ascii_case(word)
        || name
            .get(..3)
            .is_some_and(|short| short.eq_ignore_ascii_case(word))
}

/// Formats a date; `None` for a format that does not exist.
pub(super) fn format(moment: &Moment, format: &str, clock: &Clock) -> Option<String> {
    let mut letters = format.chars();
    let pattern = match (letters.next(), letters.next()) {
        (None, _) => "M/d/yyyy h:mm:ss tt",
        (Some(letter), None) => standard(letter)?,
        _ => format,
    };
    // These two are given in UTC when the moment has an offset.
    let universal = matches!(format, "R" | "r" | "u" | "U");
    let civil = if universal && let Zone::Offset(offset) = moment.zone {
        Offset::UTC.to_datetime(offset.to_timestamp(moment.civil).ok()?)
    } else {
        moment.civil
    };
    custom(&Moment { civil, ..*moment }, pattern, clock)
}

fn standard(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "M/d/yyyy",
        'D' => "dddd, MMMM d, yyyy",
        'f' => "dddd, MMMM d, yyyy h:mm tt",
        'F' | 'U' => "dddd, MMMM d, yyyy h:mm:ss tt",
        'g' => "M/d/yyyy h:mm tt",
        'G' => "M/d/yyyy h:mm:ss tt",
        'm' | 'M' => "MMMM d",
        'o' | 'O' => "yyyy-MM-dd'T'HH:mm:ss.fffffffK",
        'r' | 'R' => "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
        's' => "yyyy-MM-dd'T'HH:mm:ss",
        't' => "h:mm tt",
        'T' => "h:mm:ss tt",
        'u' => "yyyy-MM-dd HH:mm:ss'Z'",
        'y' | 'Y' => "MMMM yyyy",
        _ => return None,
    })
}

fn custom(moment: &Moment, pattern: &str, clock: &Clock) -> Option<String> {
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                let mut closed = false;
                for next in chars.by_ref() {
                    if next == c {
                        closed = true;
                        break;
                    }
                    out.push(next);
                }
                if !closed {
                    return None;
                }
            }
            '\\' => out.push(chars.next()?),
            // Marks the one letter after it as custom.
            '%' => {
                chars.peek().filter(|next| **next != '%')?;
            }
            'd' | 'M' | 'y' | 'h' | 'H' | 'm' | 's' | 'f' | 'F' | 't' | 'z' | 'K' | 'g' => {
                let mut count = 1;
                while c != 'K' && chars.next_if_eq(&c).is_some() {
                    count += 1;
                }
                piece(moment, c, count, clock, &mut out)?;
            }
            _ => out.push(c),
        }
    }
    Some(out)
}

fn piece(
    moment: &Moment,
    letter: char,
    count: usize,
    clock: &Clock,
    out: &mut String,
) -> Option<()> {
    let civil = moment.civil;
    let padded = |value: i8, out: &mut String| {
        // Writing to a String cannot fail; so below.
        let _ = write!(out, "{value:0width$}", width = count.min(2));
    };
    match letter {
        'd' if count <= 2 => padded(civil.day(), out),
        'd' => out.push_str(short(weekday(civil), count)),
        'M' if count <= 2 => padded(civil.month(), out),
        'M' => {
            let at = usize::try_from(civil.month() - 1).ok()?;
            out.push_str(short(MONTHS.get(at)?, count));
        }
        'y' => {
            let year = if count <= 2 {
                civil.year().rem_euclid(100)
            } else {
                civil.year()
            };
            let _ = write!(out, "{year:0width$}", width = count.min(20));
        }
        'h' => padded((civil.hour() + 11) % 12 + 1, out),
        'H' => padded(civil.hour(), out),
        'm' => padded(civil.minute(), out),
        's' => padded(civil.second(), out),
        'f' | 'F' => {
            let digits = format!("{:09}", civil.subsec_nanosecond());
            let shown = digits.get(..count).filter(|_| count <= 7)?;
            if letter == 'f' {
                out.push_str(shown);
            } else {
                let shown = shown.trim_end_matches('0');
                if shown.is_empty() && out.ends_with('.') {
                    out.pop();
                }
                out.push_str(shown);
            }
        }
        't' => out.push_str(match (civil.hour() < 12, count) {
            (true, 1) => "A",
            (true, _) => "AM",
            (false, 1) => "P",
            (false, _) => "PM",
        }),
        'z' => offset(zone_offset(moment, clock), count, out),
        'K' => match moment.zone {
            Zone::Unspecified => {}
            Zone::Utc => out.push('Z'),
            Zone::Offset(zone) => offset(zone, 3, out),
        },
        // The era.
        _ => out.push_str("A.D."),
    }
    Some(())
}

fn zone_offset(moment: &Moment, clock: &Clock) -> Offset {
    match moment.zone {
        Zone::Unspecified => clock.offset,
        Zone::Utc => Offset::UTC,
        Zone::Offset(offset) => offset,
    }
}

fn offset(offset: Offset, count: usize, out: &mut String) {
    let seconds = offset.seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    let _ = match count {
        1 => write!(out, "{sign}{hours}"),
        2 => write!(out, "{sign}{hours:02}"),
        _ => write!(out, "{sign}{hours:02}:{minutes:02}"),
    };
}

fn weekday(civil: DateTime) -> &'static str {
    let at = usize::try_from(civil.weekday().to_sunday_zero_offset()).unwrap_or(0);
    WEEKDAYS.get(at).copied().unwrap_or_default()
}

fn short(name: &str, count: usize) -> &str {
    if count == 3 {
        name.get(..3).unwrap_or(name)
    } else {
        name
    }
}

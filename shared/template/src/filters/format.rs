//! `Format`: decides between numbers and dates.

use super::date::{self, Clock};
use super::number_format::{self, Decimal};
use super::{Answer, Call, Outcome, date_format};

/// A longer format string is refused; real ones have a few dozen characters.
const MAX_FORMAT: usize = 1024;

pub(super) fn format(call: &Call<'_>) -> Answer {
    let text = call.text()?;
    let clock = Clock::of(call.options);
    if call.args.iter().any(|arg| arg.len() > MAX_FORMAT) {
        return Err(Outcome::failed("has too long a format"));
    }
    let formatted = match call.args {
        [format] => {
            if let Some(number) = Decimal::parse(text) {
                number_format::decimal(&number, format)
            } else {
                date::parse_offset(text, &clock)
                    .and_then(|date| date_format::format(&date, format, &clock))
            }
        }
        [kind, format] => match kind.to_ascii_lowercase().as_str() {
            "int" | "int32" => text
                .trim()
                .parse::<i32>()
                .ok()
                .and_then(|int| number_format::integer(int, format)),
            "double" => crate::number::parse(text)
                .and_then(|value| number_format::decimal(&Decimal::from_float(value), format)),
            "decimal" => {
                Decimal::parse(text).and_then(|number| number_format::decimal(&number, format))
            }
            "date" | "datetime" => date::parse_local(text, &clock)
                .and_then(|date| date_format::format(&date, format, &clock)),
            "datetimeoffset" => date::parse_offset(text, &clock)
                .and_then(|date| date_format::format(&date, format, &clock)),
            _ => None,
        },
        _ => return Err(Outcome::failed("takes a format, or a type and a format")),
    };
    formatted.ok_or_else(|| Outcome::failed("cannot read its value or its format"))
}

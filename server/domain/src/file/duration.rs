//! Lengths of time as people write them: `500ms`, `30s`, `10m`, `1h30m`, `2d`.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};

/// The longest one that makes sense anywhere: a year.
const MAX_MS: u64 = 365 * 24 * 60 * 60 * 1000;

const UNITS: [(&str, u64); 5] = [
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// A text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a length of time; write one like 30s, 10m or 1h30m")]
pub struct DurationError {
    /// What was given, shortened.
    pub text: String,
}

/// Reads a length of time, in milliseconds.
pub fn parse(text: &str) -> Result<u64, DurationError> {
    let error = || DurationError {
        text: text.chars().take(40).collect(),
    };
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(error());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let number: u64 = number.parse().map_err(|_| error())?;
        let (_, size) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(error)?;
        total = number
            .checked_mul(*size)
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= MAX_MS)
            .ok_or_else(error)?;
        rest = after;
    }
    Ok(total)
}

/// Writes a length of time as [`parse`] reads it.
pub fn format(milliseconds: u64) -> String {
    let mut rest = milliseconds;
    let mut text = String::new();
    for (unit, size) in UNITS {
        if rest >= size {
            text = format!("{text}{}{unit}", rest / size);
            rest %= size;
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// The text of a length of time, with an error that says so for anything else.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Reader;
    impl Visitor<'_> for Reader {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a length of time with its unit, such as 30s, 10m or 1h30m")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
    }
    deserializer.deserialize_any(Reader)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lengths_of_time_round_trip() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1m0s", 60_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text).unwrap(), ms, "{text}");
            assert_eq!(parse(&format(ms)).unwrap(), ms, "{text}");
        }
        for bad in ["", "30", "s", "1x", "-1s", "1.5s", "99999999999d", "1h 30m"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

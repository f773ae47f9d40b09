//! Lengths of time as people write them: `500ms`, `30s`, `10m`, `1h30m`, `2d`.

use std::fmt;

use mantle_shared::inputs::{UNITS, duration_ms};
use serde::de::{self, Deserializer, Visitor};

/// A text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a length of time; {}", self.advice())]
pub struct DurationError {
    /// What was given, shortened.
    pub text: String,
}

impl DurationError {
    /// A number alone lacks nothing but its unit.
    fn advice(&self) -> String {
        let number = !self.text.is_empty() && self.text.bytes().all(|c| c.is_ascii_digit());
        if number {
            format!("write {0}s for seconds, or {0}m for minutes", self.text)
        } else {
            "write one like 30s, 10m or 1h30m".to_owned()
        }
    }
}

/// Reads a length of time, in milliseconds.
pub fn parse(text: &str) -> Result<u64, DurationError> {
    duration_ms(text).ok_or_else(|| DurationError {
        text: text.chars().take(40).collect(),
    })
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

//! How inputs of actions are written where a text alone says what is meant: lengths of time and
//! HTTP statuses. The server reads them when a file is applied, the agent once the templates in
//! them are evaluated; what the one takes the other must take.

use std::fmt;

/// The longest length of time that makes sense anywhere: a year.
const MAX_MS: u64 = 365 * 24 * 60 * 60 * 1000;

/// The units of lengths of time, in milliseconds, the largest first.
pub const UNITS: [(&str, u64); 5] = [
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a length of time such as `500ms`, `30s` or `1h30m`, in milliseconds.
pub fn duration_ms(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters)?;
        let number: u64 = number.parse().ok()?;
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = number
            .checked_mul(*size)
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= MAX_MS)?;
        rest = after;
    }
    Some(total)
}

/// The most characters of a service's name: systemd takes 255 with its ending.
const LONGEST_SERVICE_NAME: usize = 200;

/// A name that a service may have; an error says what is wrong with it. It becomes the name of a file
/// and an argument of commands, so it is neither a path nor an option.
pub fn service_name(name: &str) -> Result<&str, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '.' | '@' | '-');
    if let Some(short) = name.strip_suffix(".service") {
        return Err(format!(
            "'{name}' is the name of a unit; write '{short}', the name of the service"
        ));
    }
    if name.is_empty() || name.len() > LONGEST_SERVICE_NAME {
        return Err(format!(
            "the name of a service has from 1 to {LONGEST_SERVICE_NAME} characters"
        ));
    }
    if !name.chars().all(fits) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(format!(
            "'{name}' cannot be the name of a service: it begins with a letter or a digit, and has only letters, digits and : _ . @ - in it"
        ));
    }
    Ok(name)
}

/// Reads the rights of a file as Linux writes them: three or four octal digits.
pub fn file_mode(text: &str) -> Result<u32, String> {
    let digits = text.trim();
    let octal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(digits, 8).ok();
    mode.filter(|_| octal && matches!(digits.len(), 3 | 4))
        .ok_or_else(|| {
            format!("'{text}' are no rights of a file; write three or four octal digits in quotes, such as \"0640\"")
        })
}

/// Reads the owner of a file: `USER`, `USER:GROUP` or `:GROUP`, each a name or a number.
pub fn file_owner(text: &str) -> Result<(Option<&str>, Option<&str>), String> {
    let (user, group) = match text.trim().split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text.trim(), None),
    };
    let fits = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '$' | '@');
        !name.is_empty() && name.len() <= 64 && name.chars().all(plain) && !name.starts_with('-')
    };
    let user = Some(user).filter(|user| !user.is_empty());
    let named = user.is_some() || group.is_some();
    if !named || ![user, group].into_iter().flatten().all(fits) {
        return Err(format!(
            "'{text}' is no owner; write USER, USER:GROUP or :GROUP"
        ));
    }
    Ok((user, group))
}

/// HTTP statuses that are right: one, or all from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    from: u16,
    to: u16,
}

impl StatusRange {
    /// 200.
    pub const OK: Self = Self { from: 200, to: 200 };

    /// Reads `200`, `2xx` or `200-299`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let code = |text: &str| {
            let code = text.trim().parse().ok()?;
            (100..=599).contains(&code).then_some(code)
        };
        if let Some(class) = text.strip_suffix("xx") {
            let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
            return Some(Self {
                from: class * 100,
                to: class * 100 + 99,
            });
        }
        let (from, to) = match text.split_once('-') {
            Some((from, to)) => (code(from)?, code(to)?),
            None => (code(text)?, code(text)?),
        };
        (from <= to).then_some(Self { from, to })
    }

    /// Reads several, with commas between them.
    pub fn parse_list(text: &str) -> Option<Vec<Self>> {
        text.split(',').map(Self::parse).collect()
    }

    /// Whether a status is one of them.
    pub fn contains(self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to {
            write!(f, "{}", self.from)
        } else {
            write!(f, "{}-{}", self.from, self.to)
        }
    }
}

/// Reads a switch: true or false in any case; nothing at all is false.
pub fn switch(text: &str) -> Option<bool> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.is_empty() || text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Reads a whole number.
pub fn count(text: &str) -> Option<u32> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lengths_of_time_have_units() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            (" 1m30s ", 90_000),
            ("0s", 0),
            ("2d", 172_800_000),
        ] {
            assert_eq!(duration_ms(text), Some(ms), "{text}");
        }
        for bad in [
            "",
            "30",
            "s",
            "30x",
            "-1s",
            "1.5s",
            "1h 30m",
            "1s2",
            "366d",
            "9999999999999999d",
        ] {
            assert_eq!(duration_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn rights_are_octal_and_owners_are_names() {
        assert_eq!(file_mode("0640"), Ok(0o640));
        assert_eq!(file_mode("755"), Ok(0o755));
        for bad in ["", "8", "0o640", "+644", "rw-r--r--", "06400", "64"] {
            assert!(file_mode(bad).is_err(), "{bad}");
        }
        assert_eq!(file_owner("web"), Ok((Some("web"), None)));
        assert_eq!(
            file_owner("web:www-data"),
            Ok((Some("web"), Some("www-data")))
        );
        assert_eq!(file_owner(":33"), Ok((None, Some("33"))));
        for bad in ["", ":", "web:", "-u", "a b", "a/b", "a:b:c", "a\nb"] {
            assert!(file_owner(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn statuses_stand_alone_by_class_and_from_to() {
        for (text, within, outside) in [("204", 204, 200), ("2xx", 299, 300), ("200-204", 204, 205)]
        {
            let range = StatusRange::parse(text).unwrap();
            assert!(range.contains(within) && !range.contains(outside), "{text}");
        }
        for bad in [
            "", "0", "99", "600", "6xx", "xx", "204-200", "2x", "ok", "-200", "200,204",
        ] {
            assert_eq!(StatusRange::parse(bad), None, "{bad}");
        }
        let list = StatusRange::parse_list("200, 3xx").unwrap();
        assert_eq!(
            list.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["200", "300-399"]
        );
        assert_eq!(StatusRange::parse_list("200,"), None);
    }
}

//! Numbers as .NET reads and prints them, in the invariant spelling.

/// The shortest text that reads back as `value`: `0.5`, `1E+16`, `1E-05`.
pub(crate) fn shortest(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return value.to_string();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..15).contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}E{sign}{:02}", exponent.unsigned_abs())
}

/// Reads a number with optional thousands separators and exponent; `None` for words such as `NaN`.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.,eE".contains(&byte));
    if !plain || text.len() > 400 {
        return None;
    }
    // A separator may only stand between digits of the whole part.
    let whole = text.split(['.', 'e', 'E']).next().unwrap_or_default();
    let commas_fit =
        !text.get(whole.len()..).unwrap_or_default().contains(',') && !whole.starts_with(',');
    let digits = text.replace(',', "");
    digits
        .parse::<f64>()
        .ok()
        .filter(|value| commas_fit && value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::{parse, shortest};

    #[test]
    fn floats_print_shortest() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (5.0, "5"),
            (-12.0, "-12"),
            (0.1, "0.1"),
            (2.0 / 7.0, "0.2857142857142857"),
            (1.4, "1.4"),
            (999_999_999_999_999.0, "999999999999999"),
            (1e15, "1E+15"),
            (1.5e300, "1.5E+300"),
            (0.0001, "0.0001"),
            (0.000_01, "1E-05"),
        ];
        for (value, expected) in cases {
            assert_eq!(shortest(value), expected);
        }
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        let cases = [
            (" 12 ", Some(12.0)),
            ("1,234.5", Some(1234.5)),
            ("-3e2", Some(-300.0)),
            ("+4", Some(4.0)),
            ("1.2,3", None),
            (",1", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
            ("twelve", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}

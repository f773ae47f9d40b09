//! What an unquoted YAML scalar means: YAML 1.2's core schema, so `yes`, `no` and `on` are text.

/// A plain scalar's meaning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text,
}

pub(super) fn resolve(plain: &str) -> Scalar {
    match plain {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        _ => {}
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = plain.strip_prefix(prefix) {
            // `from_str_radix` would also take a sign, which has no place here.
            return match u64::from_str_radix(digits, radix) {
                Ok(number) if digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    Scalar::Unsigned(number)
                }
                _ => Scalar::Text,
            };
        }
    }
    if is_decimal(plain) {
        let number = plain.strip_prefix('+').unwrap_or(plain);
        if let Ok(number) = number.parse() {
            return Scalar::Integer(number);
        }
        if let Ok(number) = number.parse() {
            return Scalar::Unsigned(number);
        }
    }
    if is_float(plain)
        && let Ok(number) = plain.parse::<f64>()
        && number.is_finite()
    {
        return Scalar::Float(number);
    }
    Scalar::Text
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let sound = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
        None => !mantissa.is_empty() && digits(mantissa),
    };
    sound && exponent.is_none_or(is_decimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_schema_holds() {
        for (text, scalar) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("true", Scalar::Bool(true)),
            ("yes", Scalar::Text),
            ("8080", Scalar::Integer(8080)),
            ("-1", Scalar::Integer(-1)),
            ("+1", Scalar::Integer(1)),
            ("0x1F", Scalar::Unsigned(31)),
            ("0x+1", Scalar::Text),
            ("18446744073709551615", Scalar::Unsigned(u64::MAX)),
            ("1.0", Scalar::Float(1.0)),
            ("1e3", Scalar::Float(1000.0)),
            ("1.2.3", Scalar::Text),
            (".", Scalar::Text),
            ("e3", Scalar::Text),
            ("-", Scalar::Text),
            (".inf", Scalar::Text),
        ] {
            assert_eq!(resolve(text), scalar, "{text}");
        }
    }
}

//! .NET's number formats over decimal digits, so that no precision is lost on the way. Halves are rounded away
//! from zero, as .NET does for decimals.

use super::number_custom;

/// Places that a format may ask for.
const MAX_PRECISION: usize = 99;

/// A number as digits and the place of its point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) negative: bool,
    /// Values 0 to 9, without leading zeros.
    digits: Vec<u8>,
    /// How many of the digits stand before the point; may be negative or larger than their number.
    point: i32,
}

impl Decimal {
    /// Reads digits with an optional sign, point and thousands separators.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, body) = match text.strip_prefix('-') {
            Some(body) => (true, body),
            None => match text.strip_suffix('-') {
                Some(body) => (true, body),
                None => (false, text.strip_prefix('+').unwrap_or(text)),
            },
        };
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        let whole_fits = whole
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b',')
            && !whole.starts_with(',');
        let digits: Vec<u8> = whole
            .bytes()
            .chain(fraction.bytes())
            .filter(|byte| *byte != b',')
            .map(|byte| byte.wrapping_sub(b'0'))
            .collect();
        let fits = whole_fits && fraction.bytes().all(|byte| byte.is_ascii_digit());
        // .NET's decimals have at most 29 digits.
        if !fits || digits.is_empty() || digits.len() > 29 {
            return None;
        }
        let point = i32::try_from(digits.len() - fraction.len()).ok()?;
        Some(
            Self {
                negative,
                digits,
                point,
            }
            .without_leading_zeros(),
        )
    }

    pub(super) fn from_float(value: f64) -> Self {
        let text = format!("{:e}", value.abs());
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits: Vec<u8> = mantissa
            .bytes()
            .filter(u8::is_ascii_digit)
            .map(|byte| byte - b'0')
            .collect();
        let point = exponent.parse::<i32>().unwrap_or(0) + 1;
        Self {
            negative: value < 0.0,
            digits,
            point,
        }
        .without_leading_zeros()
    }

    fn without_leading_zeros(mut self) -> Self {
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        let zeros = zeros.min(usize::try_from(self.point.max(0)).unwrap_or(0));
        self.digits.drain(..zeros);
        self.point -= i32::try_from(zeros).unwrap_or(0);
        self
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits.iter().all(|digit| *digit == 0)
    }

    /// The same with `places` digits after the point.
    pub(super) fn rounded(&self, places: usize) -> Self {
        let places = i32::try_from(places).unwrap_or(i32::MAX);
        let keep = self.point.saturating_add(places);
        let mut digits: Vec<u8> = Vec::new();
        let mut point = self.point;
        if keep < 0 {
            return Self {
                negative: false,
                digits,
                point: 0,
            };
        }
        let keep = usize::try_from(keep).unwrap_or(0);
        digits.extend(self.digits.iter().take(keep));
        digits.resize(keep, 0);
        if self.digits.get(keep).is_some_and(|next| *next >= 5) {
            let mut at = keep;
            loop {
                let Some(before) = at.checked_sub(1) else {
                    digits.insert(0, 1);
                    point += 1;
                    break;
                };
                at = before;
                match digits.get_mut(at) {
                    Some(digit) if *digit == 9 => *digit = 0,
                    Some(digit) => {
                        *digit += 1;
                        break;
                    }
                    None => break,
                }
            }
        }
        let rounded = Self {
            negative: self.negative,
            digits,
            point,
        };
        let negative = rounded.negative && !rounded.is_zero();
        Self {
            negative,
            ..rounded
        }
    }

    fn digit(&self, at: i32) -> u8 {
        usize::try_from(at)
            .ok()
            .and_then(|at| self.digits.get(at).copied())
            .unwrap_or(0)
    }

    /// The digits before the point, at least one.
    pub(super) fn whole(&self) -> String {
        let text: String = (0..self.point)
            .map(|at| char::from(b'0' + self.digit(at)))
            .collect();
        let text = text.trim_start_matches('0');
        if text.is_empty() {
            "0".to_owned()
        } else {
            text.to_owned()
        }
    }

    pub(super) fn fraction(&self, places: usize) -> String {
        let places = i32::try_from(places).unwrap_or(0);
        (self.point..self.point + places)
            .map(|at| char::from(b'0' + self.digit(at)))
            .collect()
    }

    fn places(&self) -> usize {
        usize::try_from(i32::try_from(self.digits.len()).unwrap_or(0) - self.point).unwrap_or(0)
    }

    pub(super) fn scaled(mut self, by: i32) -> Self {
        self.point += by;
        self
    }
}

/// Formats a decimal or a float; `None` for a format that it does not have.
pub(super) fn decimal(number: &Decimal, format: &str) -> Option<String> {
    match standard(format) {
        Some((letter, precision)) => standard_decimal(number, letter, precision),
        None if format.is_empty() => standard_decimal(number, 'G', None),
        None => Some(number_custom::custom(number, format)),
    }
}

/// Formats an integer, for which `D` and `X` exist as well.
pub(super) fn integer(number: i32, format: &str) -> Option<String> {
    let magnitude = number.unsigned_abs().to_string();
    let sign = if number < 0 { "-" } else { "" };
    match standard(format) {
        Some(('d' | 'D', width)) => Some(format!(
            "{sign}{magnitude:0>width$}",
            width = width.unwrap_or(1)
        )),
        Some(('X', width)) => Some(format!("{number:0width$X}", width = width.unwrap_or(1))),
        Some(('x', width)) => Some(format!("{number:0width$x}", width = width.unwrap_or(1))),
        Some(('b' | 'B', width)) => Some(format!("{number:0width$b}", width = width.unwrap_or(1))),
        _ => decimal(&Decimal::parse(&number.to_string())?, format),
    }
}

/// A letter and an optional precision.
fn standard(format: &str) -> Option<(char, Option<usize>)> {
    let letter = format.chars().next().filter(char::is_ascii_alphabetic)?;
    let precision = format.get(1..)?;
    if precision.is_empty() {
        return Some((letter, None));
    }
    if precision.len() > 2 || !precision.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((
        letter,
        precision
            .parse()
            .ok()
            .filter(|precision| *precision <= MAX_PRECISION),
    ))
}

fn standard_decimal(number: &Decimal, letter: char, precision: Option<usize>) -> Option<String> {
    let fixed = |number: &Decimal, places: usize, grouped: bool| {
        let rounded = number.rounded(places);
        let whole = if grouped {
            group(&rounded.whole())
        } else {
            rounded.whole()
        };
        let point = if places > 0 { "." } else { "" };
        (
            rounded.negative,
            format!("{whole}{point}{}", rounded.fraction(places)),
        )
    };
    let signed =
        |(negative, text): (bool, String)| if negative { format!("-{text}") } else { text };
    match letter.to_ascii_uppercase() {
        'F' => Some(signed(fixed(number, precision.unwrap_or(2), false))),
        'N' => Some(signed(fixed(number, precision.unwrap_or(2), true))),
        'C' => {
            let (negative, text) = fixed(number, precision.unwrap_or(2), true);
            Some(format!("{}${text}", if negative { "-" } else { "" }))
        }
        'P' => Some(
            signed(fixed(
                &number.clone().scaled(2),
                precision.unwrap_or(2),
                true,
            )) + "%",
        ),
        'E' => Some(scientific(number, precision.unwrap_or(6), letter)),
        'G' | 'R' => Some(general(
            number,
            precision.filter(|precision| *precision > 0),
            letter,
        )),
        _ => None,
    }
}

fn group(whole: &str) -> String {
    let mut out = String::with_capacity(whole.len() + whole.len() / 3);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The number with its first digit before the point, and the power of ten that it was scaled by.
pub(super) fn normalised(number: &Decimal) -> (Decimal, i32) {
    let zeros = number
        .digits
        .iter()
        .take_while(|digit| **digit == 0)
        .count();
    if zeros == number.digits.len() {
        return (
            Decimal {
                negative: false,
                digits: vec![0],
                point: 1,
            },
            0,
        );
    }
    let digits = number.digits.iter().skip(zeros).copied().collect();
    let exponent = number.point - i32::try_from(zeros).unwrap_or(0) - 1;
    (
        Decimal {
            negative: number.negative,
            digits,
            point: 1,
        },
        exponent,
    )
}

fn scientific(number: &Decimal, places: usize, letter: char) -> String {
    let (mantissa, mut exponent) = normalised(number);
    let mut rounded = mantissa.rounded(places);
    if rounded.point > 1 {
        rounded.point = 1;
        exponent += 1;
    }
    let sign = if rounded.negative { "-" } else { "" };
    let point = if places > 0 { "." } else { "" };
    let direction = if exponent < 0 { '-' } else { '+' };
    let exponent = exponent.unsigned_abs();
    format!(
        "{sign}{}{point}{}{letter}{direction}{exponent:03}",
        rounded.whole(),
        rounded.fraction(places)
    )
}

fn general(number: &Decimal, precision: Option<usize>, letter: char) -> String {
    let sign = |negative: bool| if negative { "-" } else { "" };
    let Some(precision) = precision else {
        let places = number.places();
        let point = if places > 0 { "." } else { "" };
        let negative = number.negative && !number.is_zero();
        return format!(
            "{}{}{point}{}",
            sign(negative),
            number.whole(),
            number.fraction(places)
        );
    };
    let (mantissa, mut exponent) = normalised(number);
    let mut rounded = mantissa.rounded(precision - 1);
    if rounded.point > 1 {
        rounded.point = 1;
        exponent += 1;
    }
    while rounded.digits.len() > 1 && rounded.digits.last() == Some(&0) {
        rounded.digits.pop();
    }
    let negative = sign(rounded.negative);
    if exponent > -5 && i64::from(exponent) < i64::try_from(precision).unwrap_or(i64::MAX) {
        let shown = rounded.scaled(exponent);
        let places = shown.places();
        let point = if places > 0 { "." } else { "" };
        return format!(
            "{negative}{}{point}{}",
            shown.whole(),
            shown.fraction(places)
        );
    }
    let places = rounded.places();
    let point = if places > 0 { "." } else { "" };
    let direction = if exponent < 0 { '-' } else { '+' };
    let e = if letter.is_ascii_lowercase() {
        'e'
    } else {
        'E'
    };
    let exponent = exponent.unsigned_abs();
    format!(
        "{negative}{}{point}{}{e}{direction}{exponent:02}",
        rounded.whole(),
        rounded.fraction(places)
    )
}

//! .NET's custom number formats: `#,##0.00`, `0.0%`, `0.00E+0`, `positive;negative;zero`.

use std::fmt::Write as _;

use super::number_format::{Decimal, normalised};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Zero,
    Digit,
    Point,
    Comma,
    Text(String),
    /// Percent or per mille: the sign and the power of ten.
    Scale(char, i32),
    Exponent {
        letter: char,
        plus: bool,
        digits: usize,
    },
}

/// A custom format: sections for positive, negative and zero apart by `;`.
pub(super) fn custom(number: &Decimal, format: &str) -> String {
    let sections = sections(format);
    let empty = Vec::new();
    let first = sections.first().unwrap_or(&empty);
    let (section, negative) = match sections.as_slice() {
        [_, second, ..] if number.negative && !number.is_zero() && !second.is_empty() => {
            (second, false)
        }
        _ => (first, number.negative),
    };
    let shown = round_for(section, number);
    if shown.is_zero()
        && let Some(third) = sections.get(2).filter(|third| !third.is_empty())
    {
        return write(third, &round_for(third, number), false);
    }
    write(section, &shown, negative && !shown.is_zero())
}

fn sections(format: &str) -> Vec<Vec<Piece>> {
    let mut sections = vec![Vec::new()];
    let mut chars = format.chars().peekable();
    let mut push = |piece: Option<Piece>| match piece {
        Some(piece) => {
            if let Some(section) = sections.last_mut() {
                section.push(piece);
            }
        }
        None => sections.push(Vec::new()),
    };
    while let Some(c) = chars.next() {
        push(match c {
            ';' => None,
            '0' => Some(Piece::Zero),
            '#' => Some(Piece::Digit),
            '.' => Some(Piece::Point),
            ',' => Some(Piece::Comma),
            '%' => Some(Piece::Scale(c, 2)),
            '\u{2030}' => Some(Piece::Scale(c, 3)),
            '\\' => chars
                .next()
                .map(|c| Piece::Text(c.to_string()))
                .or(Some(Piece::Text(String::new()))),
            '\'' | '"' => Some(Piece::Text(
                chars.by_ref().take_while(|next| *next != c).collect(),
            )),
            'e' | 'E' => {
                let mut ahead = chars.clone();
                let sign = ahead.next_if(|next| matches!(next, '+' | '-'));
                let digits = ahead.clone().take_while(|next| *next == '0').count();
                if digits == 0 {
                    Some(Piece::Text(c.to_string()))
                } else {
                    chars = ahead;
                    chars.by_ref().take(digits).for_each(drop);
                    Some(Piece::Exponent {
                        letter: c,
                        plus: sign == Some('+'),
                        digits,
                    })
                }
            }
            _ => Some(Piece::Text(c.to_string())),
        });
    }
    sections
}

/// Digits before and after the point, and the thousands that commas before the point take away.
struct Layout {
    whole: usize,
    places: usize,
    /// The first `0` before the point, counted from the left; what is right of it is always written.
    first_zero: Option<usize>,
    last_zero: usize,
    grouped: bool,
    scale: i32,
    exponent: bool,
}

fn layout(section: &[Piece]) -> Layout {
    let mut layout = Layout {
        whole: 0,
        places: 0,
        first_zero: None,
        last_zero: 0,
        grouped: false,
        scale: 0,
        exponent: false,
    };
    let mut after = false;
    let mut commas = 0;
    for piece in section {
        match piece {
            Piece::Zero | Piece::Digit if after => {
                layout.places += 1;
                if *piece == Piece::Zero {
                    layout.last_zero = layout.places;
                }
            }
            Piece::Zero | Piece::Digit => {
                layout.grouped |= commas > 0 && layout.whole > 0;
                commas = 0;
                if *piece == Piece::Zero && layout.first_zero.is_none() {
                    layout.first_zero = Some(layout.whole);
                }
                layout.whole += 1;
            }
            Piece::Point => after = true,
            Piece::Comma if !after => commas += 1,
            Piece::Scale(_, by) => layout.scale += by,
            Piece::Exponent { .. } => layout.exponent = true,
            Piece::Comma | Piece::Text(_) => {}
        }
    }
    layout.scale -= 3 * commas;
    layout
}

fn round_for(section: &[Piece], number: &Decimal) -> Decimal {
    let layout = layout(section);
    if layout.exponent {
        number.clone()
    } else {
        number.clone().scaled(layout.scale).rounded(layout.places)
    }
}

fn write(section: &[Piece], number: &Decimal, negative: bool) -> String {
    let layout = layout(section);
    let (number, exponent) = if layout.exponent {
        let (mantissa, exponent) = normalised(number);
        let shift = i32::try_from(layout.whole.max(1)).unwrap_or(1) - 1;
        (
            mantissa.scaled(shift).rounded(layout.places),
            exponent - shift,
        )
    } else {
        (number.clone(), 0)
    };
    let whole = number.whole();
    let whole = if whole == "0" { String::new() } else { whole };
    let forced = layout.first_zero.map_or(0, |first| layout.whole - first);
    let whole = format!("{whole:0>forced$}");
    let fraction = number.fraction(layout.places);
    let shown_places = fraction.trim_end_matches('0').len().max(layout.last_zero);
    let mut out = String::new();
    if negative {
        out.push('-');
    }
    let (mut placed, mut place, mut after) = (0, 0, false);
    for piece in section {
        match piece {
            Piece::Zero | Piece::Digit if after => {
                if place < shown_places {
                    out.push_str(fraction.get(place..=place).unwrap_or_default());
                }
                place += 1;
            }
            Piece::Zero | Piece::Digit => {
                // Digits that have no place of their own stand before the first one.
                let until = whole.len().saturating_sub(layout.whole - placed - 1);
                let from = whole.len().saturating_sub(layout.whole - placed);
                let from = if placed == 0 { 0 } else { from };
                for at in from..until {
                    if layout.grouped && at > 0 && (whole.len() - at).is_multiple_of(3) {
                        out.push(',');
                    }
                    out.push_str(whole.get(at..=at).unwrap_or_default());
                }
                placed += 1;
            }
            Piece::Point => {
                if !after && layout.whole == 0 {
                    out.push_str(&whole);
                }
                if !after && shown_places > 0 {
                    out.push('.');
                }
                after = true;
            }
            Piece::Comma => {}
            Piece::Text(text) => out.push_str(text),
            Piece::Scale(sign, _) => out.push(*sign),
            Piece::Exponent {
                letter,
                plus,
                digits,
            } => {
                out.push(*letter);
                if exponent < 0 {
                    out.push('-');
                } else if *plus {
                    out.push('+');
                }
                // Writing to a String cannot fail.
                let _ = write!(
                    out,
                    "{:0>digits$}",
                    exponent.unsigned_abs(),
                    digits = *digits
                );
            }
        }
    }
    out
}

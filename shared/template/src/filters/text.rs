//! Filters that cut and join text. Lengths count UTF-16 units, as .NET's do.

use super::{Answer, Call, Outcome};
use crate::evaluate::{Eval, Halt};
use crate::problem::Error;

/// The widest indent in spaces.
const MAX_INDENT: usize = 255;

pub(super) fn to_lower(call: &Call<'_>) -> Answer {
    Ok(call
        .plain()?
        .chars()
        .map(|c| one(c, c.to_lowercase()))
        .collect())
}

pub(super) fn to_upper(call: &Call<'_>) -> Answer {
    Ok(call
        .plain()?
        .chars()
        .map(|c| one(c, c.to_uppercase()))
        .collect())
}

/// The mapping if it is one character for one, the character itself otherwise.
fn one(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(mapped), None) => mapped,
        _ => c,
    }
}

pub(super) fn trim(call: &Call<'_>) -> Answer {
    let text = call.text()?;
    let trimmed = match call
        .args
        .first()
        .map(|side| side.to_ascii_lowercase())
        .as_deref()
    {
        None => text.trim(),
        Some("start") => text.trim_start(),
        Some("end") => text.trim_end(),
        Some(_) => return Err(Outcome::failed("takes 'start', 'end' or nothing")),
    };
    Ok(trimmed.to_owned())
}

pub(super) fn substring(call: &Call<'_>) -> Answer {
    let text = call.text()?;
    let number = |text: &String| {
        text.trim()
            .parse::<i32>()
            .ok()
            .and_then(|value| usize::try_from(value).ok())
    };
    let (start, length) = match call.args {
        [length] => (Some(0), number(length)),
        [start, length] => (number(start), number(length)),
        _ => return Err(Outcome::failed("takes a length, or a start and a length")),
    };
    let (Some(start), Some(length)) = (start, length) else {
        return Err(Outcome::failed("takes whole numbers that are not negative"));
    };
    if start + length > utf16_len(text) {
        return Err(Outcome::failed("reaches beyond the end of its value"));
    }
    Ok(utf16_slice(text, start, length))
}

pub(super) fn truncate(call: &Call<'_>) -> Answer {
    let text = call.text()?;
    let length = call
        .args
        .first()
        .and_then(|length| length.trim().parse::<i32>().ok());
    let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else {
        return Err(Outcome::failed("takes a length that is not negative"));
    };
    if length < utf16_len(text) {
        Ok(utf16_slice(text, 0, length) + "...")
    } else {
        Ok(text.to_owned())
    }
}

fn utf16_len(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().map(char::len_utf16).sum()
    }
}

fn utf16_slice(text: &str, start: usize, length: usize) -> String {
    if text.is_ascii() {
        return text
            .get(start..start + length)
            .unwrap_or_default()
            .to_owned();
    }
    let units: Vec<u16> = text.encode_utf16().skip(start).take(length).collect();
    // Half a pair at an edge becomes the replacement character.
    String::from_utf16_lossy(&units)
}

pub(super) fn append(call: &Call<'_>) -> Answer {
    let joined = joined(call)?;
    Ok(call.input.unwrap_or_default().to_owned() + &joined)
}

pub(super) fn prepend(call: &Call<'_>) -> Answer {
    let joined = joined(call)?;
    Ok(joined + call.input.unwrap_or_default())
}

fn joined(call: &Call<'_>) -> Answer {
    if call.args.is_empty() {
        Err(Outcome::failed("takes at least one argument"))
    } else {
        Ok(call.args.concat())
    }
}

pub(super) fn indent(call: &Call<'_>) -> Eval<Answer> {
    let text = match call.text() {
        Ok("") => return Ok(Ok(String::new())),
        Ok(text) => text,
        Err(failed) => return Ok(Err(failed)),
    };
    let (first, rest) = match call.args {
        [] => (" ".repeat(4), " ".repeat(4)),
        [one] => widths(one).unwrap_or_else(|| (one.clone(), one.clone())),
        [first, rest] => (first.clone(), rest.clone()),
        _ => return Ok(Err(Outcome::failed("takes at most two arguments"))),
    };
    // Before it is made: a line may be one byte and what stands before each of them megabytes.
    let lines = text.matches('\n').count();
    let size = rest
        .len()
        .saturating_mul(lines)
        .saturating_add(first.len() + text.len());
    let limit = call.most_bytes();
    if size > limit {
        return Err(Halt::Limit(Error::TooLarge { limit }));
    }
    Ok(Ok(first + &text.replace('\n', &format!("\n{rest}"))))
}

/// `4`, `/4` (not the first line) or `2/4`.
fn widths(text: &str) -> Option<(String, String)> {
    let width = |digits: &str| {
        let plain =
            (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain
            .then(|| digits.parse::<usize>().ok())
            .flatten()
            .filter(|width| *width <= MAX_INDENT)
    };
    let (first, rest) = match text.split_once('/') {
        None => (width(text)?, width(text)?),
        Some(("", rest)) => (0, width(rest)?),
        Some((first, rest)) => (width(first)?, width(rest)?),
    };
    Some((" ".repeat(first), " ".repeat(rest)))
}

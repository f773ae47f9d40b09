//! Regular expressions as .NET spells them, rewritten for `fancy-regex`.
//!
//! Both know look-around, back references, atomic and named groups. What differs in spelling or meaning is
//! rewritten here; what .NET alone has (balancing groups, matching from right to left) cannot be read.

use std::iter::Peekable;
use std::str::Chars;

/// Character classes within classes, each taking a little stack.
const MAX_NESTING: usize = 16;

/// Rewrites an expression. `final_newline` says that the text ends with a line break: `$` then matches before it
/// as well.
pub fn translate(pattern: &str, final_newline: bool) -> String {
    let multi_line = pattern.starts_with("(?m");
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut quoted_name = false;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(&mut chars, &mut out),
            '[' => class(&mut chars, &mut out, 0),
            '$' if final_newline && !multi_line => out.push_str(r"(?=\n?\z)"),
            '\'' if out.ends_with("(?") => {
                out.push('<');
                quoted_name = true;
            }
            '\'' if quoted_name => {
                out.push('>');
                quoted_name = false;
            }
            '{' if !is_quantifier(chars.clone()) => out.push_str("\\{"),
            _ => out.push(c),
        }
    }
    out
}

/// What follows a backslash outside a class.
fn escape(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    match chars.next() {
        None => out.push('\\'),
        // These are boundaries of words elsewhere.
        Some(c @ ('<' | '>')) => out.push(c),
        Some('k') if chars.peek() == Some(&'\'') => {
            chars.next();
            out.push_str("\\k<");
            out.extend(chars.by_ref().take_while(|c| *c != '\''));
            out.push('>');
        }
        Some(c) => {
            out.push('\\');
            out.push(c);
            property(c, chars, out);
        }
    }
}

/// The braces of `\p{Lu}` are no quantifier.
fn property(c: char, chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    if matches!(c, 'p' | 'P') && chars.peek() == Some(&'{') {
        for c in chars.by_ref() {
            out.push(c);
            if c == '}' {
                return;
            }
        }
    }
}

/// A class after its `[`: brackets and doubled signs in it are characters; `-[...]` at its end takes away.
fn class(chars: &mut Peekable<Chars<'_>>, out: &mut String, nesting: usize) {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    if chars.next_if_eq(&']').is_some() {
        out.push_str("\\]");
    }
    while let Some(c) = chars.next() {
        match c {
            ']' => {
                out.push(']');
                return;
            }
            '\\' => match chars.next() {
                None => out.push('\\'),
                Some('b') => out.push_str("\\x08"),
                Some(c) => {
                    out.push('\\');
                    out.push(c);
                    property(c, chars, out);
                }
            },
            '-' if chars.peek() == Some(&'[') && nesting < MAX_NESTING => {
                chars.next();
                out.push_str("--");
                class(chars, out, nesting + 1);
            }
            '-' if chars.next_if_eq(&'-').is_some() => out.push_str("-\\-"),
            '[' | '&' | '~' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
}

/// Whether the text after a `{` is `3}`, `3,}` or `3,5}`.
fn is_quantifier(chars: Peekable<Chars<'_>>) -> bool {
    let (mut digits, mut comma) = (0, false);
    for c in chars {
        match c {
            '0'..='9' => digits += 1,
            ',' if digits > 0 && !comma => comma = true,
            '}' => return digits > 0,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::translate;

    #[test]
    fn what_is_spelt_differently_is_rewritten() {
        for (pattern, expected) in [
            ("^a+$", "^a+$"),
            ("(?'n'x)\\k'n'", "(?<n>x)\\k<n>"),
            ("it's", "it's"),
            ("a{2}b{2,}c{2,3}", "a{2}b{2,}c{2,3}"),
            ("{a}{,3}{", "\\{a}\\{,3}\\{"),
            ("\\p{Lu}[\\P{L}]", "\\p{Lu}[\\P{L}]"),
            ("\\<b\\>", "<b>"),
            ("[[]", "[\\[]"),
            ("[]x]", "[\\]x]"),
            ("[^]x]", "[^\\]x]"),
            ("[a&&b~~c]", "[a\\&\\&b\\~\\~c]"),
            ("[+--]", "[+-\\-]"),
            ("[a-z-[aeiou]]", "[a-z--[aeiou]]"),
            ("[\\b]", "[\\x08]"),
            ("[$']", "[$']"),
            ("open[", "open["),
            ("\\", "\\"),
        ] {
            assert_eq!(translate(pattern, false), expected, "{pattern}");
        }
        assert_eq!(translate("a$|[$]\\$", true), "a(?=\\n?\\z)|[$]\\$");
        assert_eq!(translate("(?m)a$", true), "(?m)a$");
    }

    #[test]
    fn what_is_rewritten_means_the_same() {
        for (pattern, text, matches) in [
            ("^[a-z-[aeiou]]+$", "xyz", true),
            ("^[a-z-[aeiou]]+$", "xaz", false),
            ("[[]", "a[b", true),
            ("^[^[]*$", "a[b", false),
            ("x{a}", "x{a}", true),
            ("^[+--]+$", "+,-", true),
            ("^[+--]+$", "*", false),
            ("(?'d'\\d)\\k'd'", "a11", true),
            ("(?<d>\\d)\\k<d>", "a12", false),
            ("(?<=beta)\\.", "beta.1", true),
            ("(?<!^be.*)1", "beta.1", false),
            ("(?>a+)b", "aab", true),
            ("^(a)?(?(1)b|c)$", "c", true),
            ("\\u0041\\x42", "AB", true),
            ("(?i)BETA", "beta", true),
            ("(?x) b e # note", "be", true),
        ] {
            let regex = fancy_regex::Regex::new(&translate(pattern, false));
            let found = regex.map(|regex| regex.is_match(text).unwrap());
            assert_eq!(found.ok(), Some(matches), "{pattern} on {text}");
        }
    }
}

//! An expression's tokens.

use super::super::names;
use super::XPathError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name without a prefix, or a word that is an operator where one may stand.
    Name(String),
    /// `prefix:name`, either of which may be `*`.
    Qualified(String, String),
    Literal(String),
    Number(f64),
    /// One of `( ) [ ] . .. @ , :: / // | + - = != < <= > >= * $`.
    Sign(&'static str),
}

const SIGNS: [&str; 22] = [
    "..", "::", "//", "!=", "<=", ">=", "(", ")", "[", "]", ".", "@", ",", "/", "|", "+", "-", "=",
    "<", ">", "*", "$",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, XPathError> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let (token, length) = match c {
            '"' | '\'' => literal(rest, c)?,
            '0'..='9' => number(rest),
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(rest),
            c if names::is_start(c) && c != ':' => name(rest),
            '*' if rest.starts_with("*:") && !rest.starts_with("*::") => {
                let length = name_length(&rest[2..]);
                if length == 0 {
                    return Err(XPathError::Syntax(
                        "a name is missing after '*:'".to_owned(),
                    ));
                }
                let name = rest[2..2 + length].to_owned();
                (Token::Qualified("*".to_owned(), name), 2 + length)
            }
            _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None => return Err(XPathError::Syntax(format!("'{c}' may not stand there"))),
            },
        };
        found.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

fn literal(rest: &str, quote: char) -> Result<(Token, usize), XPathError> {
    match rest[1..].find(quote) {
        Some(end) => Ok((Token::Literal(rest[1..=end].to_owned()), end + 2)),
        None => Err(XPathError::Syntax("a text has no end".to_owned())),
    }
}

fn number(rest: &str) -> (Token, usize) {
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(rest.len());
    (Token::Number(rest[..end].parse().unwrap_or(f64::NAN)), end)
}

fn name_length(rest: &str) -> usize {
    if !rest.starts_with(|c| names::is_start(c) && c != ':') {
        return 0;
    }
    rest.find(|c| !names::is_part(c) || c == ':')
        .unwrap_or(rest.len())
}

fn name(rest: &str) -> (Token, usize) {
    let length = name_length(rest);
    let name = rest[..length].to_owned();
    let after = &rest[length..];
    if after.starts_with(':') && !after.starts_with("::") {
        if after.starts_with(":*") {
            return (Token::Qualified(name, "*".to_owned()), length + 2);
        }
        let local = name_length(&after[1..]);
        if local > 0 {
            let end = length + 1 + local;
            return (
                Token::Qualified(name, rest[length + 1..end].to_owned()),
                end,
            );
        }
    }
    (Token::Name(name), length)
}

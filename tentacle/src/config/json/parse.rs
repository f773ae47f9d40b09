//! JSON with its places, as leniently as .NET's readers take it: comments, trailing commas, names
//! without quotes, single quotes.

use super::super::{ConfigError, Format, MAX_DEPTH};

/// A value and where it stands.
#[derive(Debug, PartialEq)]
pub(super) struct Node {
    /// Its first byte.
    pub(super) start: usize,
    /// The byte after its last.
    pub(super) end: usize,
    /// What it is.
    pub(super) kind: Kind,
}

/// The kinds of values.
#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    Number,
    Bool,
    Null,
    String,
}

/// One value, and nothing but blanks and comments around it.
pub(super) fn document(source: &str) -> Result<Node, ConfigError> {
    let mut parser = Parser { source, at: 0 };
    parser.skip()?;
    let node = parser.value(0)?;
    parser.skip()?;
    if parser.at < source.len() {
        return Err(parser.error("something follows the value"));
    }
    Ok(node)
}

/// The text of a string that was read before, its quotes included.
pub(super) fn unquoted(literal: &str) -> String {
    let mut parser = Parser {
        source: literal,
        at: 0,
    };
    parser.string().unwrap_or_default()
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn error(&self, what: impl Into<String>) -> ConfigError {
        ConfigError::syntax(Format::Json, self.source, self.at, what)
    }

    fn peek(&self) -> Option<char> {
        self.source.get(self.at..)?.chars().next()
    }

    fn rest(&self) -> &str {
        self.source.get(self.at..).unwrap_or_default()
    }

    /// Past blanks and comments.
    fn skip(&mut self) -> Result<(), ConfigError> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            if blank > 0 {
                self.at += blank;
            } else if rest.starts_with("//") {
                self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                match rest.find("*/") {
                    Some(end) => self.at += end + 2,
                    None => return Err(self.error("a comment has no end")),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, ConfigError> {
        if depth > MAX_DEPTH {
            return Err(ConfigError::Limit(format!(
                "it nests deeper than {MAX_DEPTH} levels"
            )));
        }
        let start = self.at;
        let kind = match self.peek() {
            Some('{') => self.object(depth)?,
            Some('[') => self.array(depth)?,
            Some('"' | '\'') => {
                self.string()?;
                Kind::String
            }
            Some(_) => self.word()?,
            None => return Err(self.error("a value is missing")),
        };
        Ok(Node {
            start,
            end: self.at,
            kind,
        })
    }

    fn object(&mut self, depth: usize) -> Result<Kind, ConfigError> {
        self.at += 1;
        let mut fields = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                Some('}') => {
                    self.at += 1;
                    return Ok(Kind::Object(fields));
                }
                None => return Err(self.error("an object has no end")),
                Some(_) => {}
            }
            let key = self.key()?;
            self.skip()?;
            if self.peek() != Some(':') {
                return Err(self.error("after a name a ':' is missing"));
            }
            self.at += 1;
            self.skip()?;
            let value = self.value(depth + 1)?;
            fields.push((key, value));
            self.separator('}')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<Kind, ConfigError> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                Some(']') => {
                    self.at += 1;
                    return Ok(Kind::Array(items));
                }
                None => return Err(self.error("a list has no end")),
                Some(_) => {}
            }
            items.push(self.value(depth + 1)?);
            self.separator(']')?;
        }
    }

    /// A comma, or the end that follows.
    fn separator(&mut self, end: char) -> Result<(), ConfigError> {
        self.skip()?;
        match self.peek() {
            Some(',') => {
                self.at += 1;
                Ok(())
            }
            Some(c) if c == end => Ok(()),
            _ => Err(self.error(format!("a ',' or '{end}' is missing"))),
        }
    }

    fn key(&mut self) -> Result<String, ConfigError> {
        match self.peek() {
            Some('"' | '\'') => self.string(),
            Some(c) if c.is_alphanumeric() || c == '_' || c == '$' => {
                let rest = self.rest();
                let end = rest
                    .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
                    .unwrap_or(rest.len());
                let key = rest[..end].to_owned();
                self.at += end;
                Ok(key)
            }
            _ => Err(self.error("a name is missing")),
        }
    }

    /// A string's text; stands after its closing quote then.
    fn string(&mut self) -> Result<String, ConfigError> {
        let start = self.at;
        let quote = self.peek().unwrap_or('"');
        self.at += quote.len_utf8();
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else {
                self.at = start;
                return Err(self.error("a text has no end"));
            };
            self.at += c.len_utf8();
            if c == quote {
                return Ok(text);
            }
            if c == '\\' {
                self.escape(&mut text)?;
            } else {
                text.push(c);
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), ConfigError> {
        let Some(c) = self.peek() else {
            return Err(self.error("a text has no end"));
        };
        if c == 'u' {
            let unit = self.unit()?;
            let low = self.rest().starts_with("\\u") && (0xd800..0xdc00).contains(&unit);
            let units = if low {
                self.at += 1;
                vec![unit, self.unit()?]
            } else {
                vec![unit]
            };
            text.push_str(&String::from_utf16_lossy(&units));
            return Ok(());
        }
        text.push(match c {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            '"' | '\'' | '\\' | '/' => c,
            _ => return Err(self.error(format!("'\\{c}' is no escape"))),
        });
        self.at += c.len_utf8();
        Ok(())
    }

    /// `uXXXX`.
    fn unit(&mut self) -> Result<u16, ConfigError> {
        let digits = self.source.get(self.at + 1..self.at + 5);
        let unit = digits
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .ok_or_else(|| self.error("'\\u' needs four hexadecimal digits"))?;
        self.at += 5;
        Ok(unit)
    }

    fn word(&mut self) -> Result<Kind, ConfigError> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c)))
            .unwrap_or(rest.len());
        let word = &rest[..end];
        let kind = match word {
            "true" | "false" => Kind::Bool,
            "null" | "undefined" => Kind::Null,
            "NaN" | "Infinity" | "-Infinity" => Kind::Number,
            _ if word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
                && (word.parse::<f64>().is_ok() || is_hexadecimal(word)) =>
            {
                Kind::Number
            }
            "" => {
                let found = self.peek().unwrap_or(' ');
                return Err(self.error(format!("'{found}' is no value")));
            }
            _ => return Err(self.error(format!("'{word}' is no value"))),
        };
        self.at += end;
        Ok(kind)
    }
}

fn is_hexadecimal(word: &str) -> bool {
    let digits = word.trim_start_matches('-');
    let digits = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    digits.is_some_and(|d| !d.is_empty() && d.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

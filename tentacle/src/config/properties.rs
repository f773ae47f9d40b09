//! Variables into Java's `.properties`: the value of a key that is named is replaced, and escaped
//! as Java reads it. Comments, separators and continued lines of others stay.

use super::edits::Edits;
use super::settings::{Settings, fold};
use super::{ConfigError, Edited, Format};

/// The text with every variable in its place.
pub(super) fn replace(source: &str, settings: &Settings) -> Result<Edited, ConfigError> {
    let mut edits = Edits::default();
    let mut edited = Edited::default();
    for pair in pairs(source)? {
        // The system's own names, even those that a colon makes a path elsewhere.
        if fold(&pair.key).starts_with("octopus") || fold(&pair.key).starts_with("mantle.") {
            continue;
        }
        let Some(setting) = settings.get(&pair.key) else {
            continue;
        };
        let Some(value) = &setting.value else {
            continue;
        };
        // Without a separator the value would become part of the key.
        let separator = if pair.separated { "" } else { ":" };
        edits.replace(pair.value, format!("{separator}{}", escaped(value)));
        edited.set.push(setting.name.clone());
    }
    edited.text = edits.apply(source);
    Ok(edited)
}

/// A key and where its value stands.
#[derive(Debug, PartialEq, Eq)]
struct Pair {
    key: String,
    separated: bool,
    value: std::ops::Range<usize>,
}

fn pairs(source: &str) -> Result<Vec<Pair>, ConfigError> {
    let mut reader = Reader { source, at: 0 };
    let mut pairs = Vec::new();
    loop {
        reader.blanks_and_lines();
        match reader.peek() {
            None => return Ok(pairs),
            Some('#' | '!') => reader.line(),
            Some(_) => pairs.push(reader.pair()?),
        }
    }
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn blanks_and_lines(&mut self) {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\u{c}', '\r', '\n']);
        self.at += rest.len() - trimmed.len();
    }

    /// To the end of the line, which no backslash continues.
    fn line(&mut self) {
        self.at += self.rest().find(['\r', '\n']).unwrap_or(self.rest().len());
    }

    /// Blanks, and line ends that a backslash continues.
    fn blanks(&mut self) -> bool {
        let start = self.at;
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\u{c}']).len();
            if blank > 0 {
                self.at += blank;
            } else if !self.continuation() {
                return self.at > start;
            }
        }
    }

    /// A backslash and the line end behind it.
    fn continuation(&mut self) -> bool {
        let length = ["\\\r\n", "\\\n", "\\\r"]
            .iter()
            .find(|end| self.rest().starts_with(**end))
            .map(|end| end.len());
        self.at += length.unwrap_or(0);
        length.is_some()
    }

    fn pair(&mut self) -> Result<Pair, ConfigError> {
        let mut key = String::new();
        loop {
            match self.peek() {
                None | Some(':' | '=' | ' ' | '\t' | '\u{c}' | '\r' | '\n') => break,
                Some('\\') if self.continuation() => {
                    self.blanks();
                }
                Some('\\') => self.escape(&mut key)?,
                Some(c) => {
                    key.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
        let mut separated = self.blanks();
        if matches!(self.peek(), Some(':' | '=')) {
            separated = true;
            self.at += 1;
            self.blanks();
        }
        let start = self.at;
        let mut ignored = String::new();
        loop {
            match self.peek() {
                None | Some('\r' | '\n') => break,
                Some('\\') if self.continuation() => {}
                Some('\\') => self.escape(&mut ignored)?,
                Some(c) => self.at += c.len_utf8(),
            }
        }
        Ok(Pair {
            key,
            separated,
            value: start..self.at,
        })
    }

    fn escape(&mut self, out: &mut String) -> Result<(), ConfigError> {
        self.at += 1;
        let Some(c) = self.peek() else {
            // Java drops a backslash that ends the file.
            return Ok(());
        };
        if c != 'u' {
            self.at += c.len_utf8();
            out.push(match c {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'f' => '\u{c}',
                other => other,
            });
            return Ok(());
        }
        let mut units = Vec::new();
        while self.rest().starts_with('u') {
            let digits = self.source.get(self.at + 1..self.at + 5);
            let unit = digits
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .and_then(|digits| u16::from_str_radix(digits, 16).ok());
            let Some(unit) = unit else {
                return Err(ConfigError::syntax(
                    Format::Properties,
                    self.source,
                    self.at - 1,
                    "'\\u' needs four hexadecimal digits",
                ));
            };
            units.push(unit);
            self.at += 5;
            let first_half = units.len() == 1 && (0xd800..0xdc00).contains(&unit);
            if !(first_half && self.rest().starts_with("\\u")) {
                break;
            }
            self.at += 1;
        }
        out.push_str(&String::from_utf16_lossy(&units));
        Ok(())
    }
}

/// A value as it must be written: only the first of leading blanks needs its backslash. Whatever is
/// not ASCII is written by number, since Java reads files as it was told, not as they are.
fn escaped(value: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(value.len());
    for (at, c) in value.chars().enumerate() {
        match c {
            ' ' if at == 0 => out.push_str("\\ "),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::settings::Setting;
    use super::*;

    const FILE: &str = "key1:old\nkey2 = old \\\n   continued\nke\\\n  y3 old\nkey\\n4:old\n\n! a comment\n# another \\\nnot continued = x\n\nempty:\nbare\n   indented: fine\nk\\u1e1by=x\nkey1=again\nOctopus.Release.Id:12";

    fn replaced(list: &[(&str, Option<&str>)]) -> String {
        let settings = Settings::new(list.iter().map(|(name, value)| Setting {
            name: (*name).to_owned(),
            value: value.map(str::to_owned),
        }));
        replace(FILE, &settings).unwrap().text
    }

    #[test]
    fn values_are_replaced_where_they_stand() {
        for (name, value, before, after) in [
            (
                "KEY2",
                "new",
                "key2 = old \\\n   continued\n",
                "key2 = new\n",
            ),
            ("key3", "new", "ke\\\n  y3 old\n", "ke\\\n  y3 new\n"),
            ("key\n4", "new", "key\\n4:old\n", "key\\n4:new\n"),
            ("empty", "  a b", "empty:\n", "empty:\\  a b\n"),
            ("bare", "x", "bare\n", "bare:x\n"),
            ("indented", "", "   indented: fine\n", "   indented: \n"),
            (
                "k\u{1e1b}y",
                "\u{398}\u{1f600}\\\r\n\t",
                "y=x\n",
                "y=\\u0398\\ud83d\\ude00\\\\\\r\\n\\t\n",
            ),
            ("not", "x", "not continued = x\n", "not x\n"),
        ] {
            assert!(FILE.contains(before), "{before}");
            assert_eq!(
                replaced(&[(name, Some(value))]),
                FILE.replace(before, after),
                "{name}"
            );
        }
        let twice = replaced(&[("key1", Some("new"))]);
        assert!(
            twice.starts_with("key1:new\n") && twice.contains("\nkey1=new\n"),
            "{twice}"
        );
    }

    #[test]
    fn other_names_change_nothing() {
        for (name, value) in [
            ("Octopus.Release.Id", Some("99")),
            ("no-such-key", Some("x")),
            ("key1", None),
        ] {
            assert_eq!(replaced(&[(name, value)]), FILE);
        }
    }

    #[test]
    fn a_bad_escape_is_refused_by_its_place() {
        let error = replace("a=b\nc=\\u12g4", &Settings::default()).unwrap_err();
        assert!(
            error.to_string().starts_with("2:3: not properties"),
            "{error}"
        );
        assert_eq!(pairs("a=\\").unwrap().len(), 1);
        assert_eq!(pairs("").unwrap().len(), 0);
    }
}

//! Templates in a text file, replaced by what they give.

use jiff::Timestamp;
use mantle_template::{Error, Options, Template, Variables};

use super::text::{DecodeError, TextEncoding, decode, encode};

/// How many problems of one file are told one by one.
pub const MAX_PROBLEMS: usize = 20;

/// A file with its templates replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Substituted {
    /// Its new bytes; `None` if there is nothing to replace.
    pub bytes: Option<Vec<u8>>,
    /// What could not be replaced and stands there as it did, each with its place.
    pub problems: Vec<String>,
    /// How many more there are.
    pub more_problems: usize,
}

/// Why a file stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum SubstituteError {
    /// Its bytes are no text.
    #[error("{0}")]
    Encoding(#[from] DecodeError),
    /// A template is too costly, or runs in a circle.
    #[error("{0}")]
    Template(Error),
}

/// Replaces the templates of a file; its encoding and its mark stay.
pub fn substitute(
    bytes: &[u8],
    variables: &Variables,
    now: Timestamp,
) -> Result<Substituted, SubstituteError> {
    let declared = super::xml::declared_encoding(bytes);
    let (text, encoding) = decode(bytes, declared.as_deref())?;
    let rendered = Template::parse(&text)
        .render(variables, &Options::new(now))
        .map_err(SubstituteError::Template)?;
    let mut problems: Vec<String> = rendered.problems.iter().map(ToString::to_string).collect();
    let more_problems =
        rendered.more_problems + rendered.problems.len().saturating_sub(MAX_PROBLEMS);
    problems.truncate(MAX_PROBLEMS);
    let new = rendered.text;
    let bytes = (new != text).then(|| written(&new, encoding, &mut problems));
    Ok(Substituted {
        bytes,
        problems,
        more_problems,
    })
}

fn written(text: &str, encoding: TextEncoding, problems: &mut Vec<String>) -> Vec<u8> {
    encode(text, encoding).unwrap_or_else(|| {
        problems.push(format!(
            "{encoding} cannot express a value, so the file is UTF-8 now"
        ));
        text.as_bytes().to_vec()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn substituted(bytes: &[u8]) -> Substituted {
        let variables: Variables = [("Name", "\u{e9}"), ("Wide", "\u{5f20}")]
            .into_iter()
            .collect();
        substitute(bytes, &variables, Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn encodings_and_marks_stay() {
        for (before, after) in [
            (&b"a #{Name}\r\n"[..], Some(&b"a \xc3\xa9\r\n"[..])),
            (b"\xef\xbb\xbf#{Name}", Some(b"\xef\xbb\xbf\xc3\xa9")),
            (b"\xff\xfe#\0{\0N\0a\0m\0e\0}\0", Some(b"\xff\xfe\xe9\0")),
            (b"\x80 #{Name}", Some(b"\x80 \xe9")),
            (b"no templates", None),
        ] {
            let done = substituted(before);
            assert_eq!(done.bytes.as_deref(), after, "{before:?}");
            assert!(done.problems.is_empty(), "{done:?}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_stays_and_is_told() {
        let done = substituted(b"#{Missing} and\n#{Name}");
        assert_eq!(done.bytes.unwrap(), b"#{Missing} and\n\xc3\xa9");
        assert!(done.problems[0].contains("Missing"), "{:?}", done.problems);
        let many: Vec<_> = (0..30).map(|at| format!("#{{None{at}}}")).collect();
        let many = substituted(many.join("\n").as_bytes());
        assert_eq!(
            (many.problems.len(), many.more_problems),
            (MAX_PROBLEMS, 10)
        );
        let wide = substituted(b"\x80 #{Wide}");
        assert_eq!(wide.bytes.unwrap(), "\u{20ac} \u{5f20}".as_bytes());
        assert!(
            wide.problems[0].contains("UTF-8 now"),
            "{:?}",
            wide.problems
        );
        let variables = Variables::new();
        assert!(substitute(b"a\0b", &variables, Timestamp::UNIX_EPOCH).is_err());
    }
}

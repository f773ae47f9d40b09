//! Finds tags in text and reads the characters that names are made of.
//!
//! A run of `#` before `{` is judged as a whole: one is a tag; an even run is an escape (one `#` goes, the
//! brace is text); an odd run of three or more is an escaped `#` and a tag.

use std::ops::Range;

/// What comes next in the text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    /// A tag opens at `at`; the text before it ends at `text_end`.
    Tag { text_end: usize, at: usize },
    /// Text up to `text_end`, then a literal `{`, then go on at `resume`.
    Escape { text_end: usize, resume: usize },
}

/// The next tag or escape in `range`, if any.
pub(crate) fn next(source: &str, range: Range<usize>) -> Option<Hit> {
    let window = source.get(range.clone())?;
    let found = window.find("#{")?;
    let before = window.as_bytes().get(..found)?;
    let hashes = 1 + before
        .iter()
        .rev()
        .take_while(|byte| **byte == b'#')
        .count();
    let at = range.start + found;
    Some(if hashes == 1 {
        Hit::Tag { text_end: at, at }
    } else if hashes % 2 == 0 {
        Hit::Escape {
            text_end: at,
            resume: at + 2,
        }
    } else {
        Hit::Tag {
            text_end: at - 1,
            at,
        }
    })
}

/// Whether rendering could change this text at all.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.contains("#{")
}

/// The characters a name may have, white space aside.
pub(crate) fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '/' | '~' | '(' | ')')
}

/// One spelling for names that differ only in case: of variables, and of what else is found without it. Letter
/// by letter, so that what a name ends with changes nothing.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.chars().flat_map(char::to_lowercase).collect()
    }
}

/// Whether two names are the same apart from their case: exactly those are that [`fold`] spells alike.
pub fn same_name(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
        || (!(left.is_ascii() && right.is_ascii())
            && left
                .chars()
                .flat_map(char::to_lowercase)
                .eq(right.chars().flat_map(char::to_lowercase)))
}

#[cfg(test)]
mod tests {
    use super::{Hit, fold, next, same_name};

    #[test]
    fn runs_of_hashes_are_judged_as_a_whole() {
        let cases = [
            ("abc", None),
            ("# ## {", None),
            ("a#{b}", Some(Hit::Tag { text_end: 1, at: 1 })),
            (
                "a##{b}",
                Some(Hit::Escape {
                    text_end: 2,
                    resume: 4,
                }),
            ),
            ("###{b}", Some(Hit::Tag { text_end: 1, at: 2 })),
            (
                "####{b}",
                Some(Hit::Escape {
                    text_end: 3,
                    resume: 5,
                }),
            ),
            ("#####{b}", Some(Hit::Tag { text_end: 3, at: 4 })),
        ];
        for (text, expected) in cases {
            assert_eq!(next(text, 0..text.len()), expected, "{text}");
        }
    }

    #[test]
    fn names_are_compared_without_case() {
        assert!(same_name(
            "Straße.Ä",
            "sTRASSE.ä".replace("SS", "ß").as_str()
        ));
        assert!(!same_name("a", "b"));
        // The two must agree: who looks up by the one finds what the other takes for the same.
        let names = [
            "É", "é", "e", "ΣΑΣ", "σας", "σασ", "K", "\u{212a}", "İ", "i\u{307}", "ß", "SS", "ss",
            "Port", "pORT",
        ];
        for a in names {
            for b in names {
                assert_eq!(same_name(a, b), fold(a) == fold(b), "{a} and {b}");
            }
        }
        assert!(same_name("É", "é") && same_name("ΣΑΣ", "σασ"));
    }
}

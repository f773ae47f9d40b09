//! Rust source taken apart as far as the rules need: code, texts and comments, by line.
//!
//! Not a parser: it knows strings, characters, lifetimes and comments, so that a rule about code is
//! not fooled by a word in a text, nor a rule about texts by a word in a comment.

/// A file's parts. Each has the lines of the file, so that line numbers agree.
pub(crate) struct Source {
    /// The code: comments and the insides of texts are blank.
    code: Vec<String>,
    /// The insides of texts: all else is blank.
    texts: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Code,
    LineComment,
    BlockComment { depth: u32 },
    Text { hashes: Option<usize> },
}

impl Source {
    /// Takes a file apart.
    pub(crate) fn parse(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let (mut code, mut texts) = (String::new(), String::new());
        let mut mode = Mode::Code;
        let mut at = 0;
        while let Some(&now) = chars.get(at) {
            let (next_mode, taken) = step(mode, &chars, at);
            let closes = matches!(mode, Mode::Text { .. }) && next_mode == Mode::Code;
            for &char in chars.iter().skip(at).take(taken) {
                let inside = matches!(mode, Mode::Text { .. }) && mode == next_mode;
                let blank = if char == '\n' { '\n' } else { ' ' };
                let in_code = closes || mode == Mode::Code && !starts_comment(next_mode);
                code.push(if in_code { char } else { blank });
                texts.push(if inside { char } else { blank });
            }
            debug_assert!(taken > 0, "stuck at {now}");
            at += taken.max(1);
            mode = next_mode;
        }
        let lines = |text: &str| text.split('\n').map(str::to_owned).collect();
        Self {
            code: lines(&code),
            texts: lines(&texts),
        }
    }

    /// The lines of code, numbered from 1.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.iter().map(String::as_str))
    }

    /// The insides of texts by line, numbered from 1.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.texts.iter().map(String::as_str))
    }

    /// How many lines hold code or a part of a text.
    pub(crate) fn code_lines(&self) -> usize {
        self.code
            .iter()
            .zip(&self.texts)
            .filter(|(code, text)| !code.trim().is_empty() || !text.trim().is_empty())
            .count()
    }
}

fn starts_comment(mode: Mode) -> bool {
    matches!(mode, Mode::LineComment | Mode::BlockComment { .. })
}

/// What comes next: the mode after it, and how many characters it takes.
fn step(mode: Mode, chars: &[char], at: usize) -> (Mode, usize) {
    let get = |offset: usize| chars.get(at + offset).copied();
    match mode {
        Mode::LineComment => match get(0) {
            Some('\n') => (Mode::Code, 1),
            _ => (mode, 1),
        },
        Mode::BlockComment { depth } => match (get(0), get(1)) {
            (Some('*'), Some('/')) if depth == 1 => (Mode::Code, 2),
            (Some('*'), Some('/')) => (Mode::BlockComment { depth: depth - 1 }, 2),
            (Some('/'), Some('*')) => (Mode::BlockComment { depth: depth + 1 }, 2),
            _ => (mode, 1),
        },
        Mode::Text { hashes: None } => match get(0) {
            Some('\\') => (mode, 2),
            Some('"') => (Mode::Code, 1),
            _ => (mode, 1),
        },
        Mode::Text {
            hashes: Some(hashes),
        } => {
            let ends = get(0) == Some('"') && (1..=hashes).all(|n| get(n) == Some('#'));
            if ends {
                (Mode::Code, 1 + hashes)
            } else {
                (mode, 1)
            }
        }
        Mode::Code => step_code(chars, at),
    }
}

fn step_code(chars: &[char], at: usize) -> (Mode, usize) {
    let get = |offset: usize| chars.get(at + offset).copied();
    let after_word = at > 0
        && chars
            .get(at - 1)
            .is_some_and(|c| c.is_alphanumeric() || *c == '_');
    match (get(0), get(1)) {
        (Some('/'), Some('/')) => (Mode::LineComment, 2),
        (Some('/'), Some('*')) => (Mode::BlockComment { depth: 1 }, 2),
        (Some('"'), _) => (Mode::Text { hashes: None }, 1),
        (Some('r'), Some('"' | '#')) if !after_word => raw_text(chars, at, 1),
        (Some('b'), Some('r')) if !after_word => raw_text(chars, at, 2),
        // A character: 'x' or an escape. Otherwise it is a lifetime.
        (Some('\''), Some('\\')) => {
            let end = (3..12).find(|n| get(*n) == Some('\''));
            (Mode::Code, end.map_or(1, |n| n + 1))
        }
        (Some('\''), _) if get(2) == Some('\'') => (Mode::Code, 3),
        _ => (Mode::Code, 1),
    }
}

/// `r"`, `r#"`, ...: where the text begins; an identifier such as `r#type` is code.
fn raw_text(chars: &[char], at: usize, prefix: usize) -> (Mode, usize) {
    let hashes = chars
        .iter()
        .skip(at + prefix)
        .take_while(|c| **c == '#')
        .count();
    if chars.get(at + prefix + hashes) == Some(&'"') {
        let mode = Mode::Text {
            hashes: Some(hashes),
        };
        (mode, prefix + hashes + 1)
    } else {
        (Mode::Code, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String) {
        let source = Source::parse(text);
        (source.code.join("\n"), source.texts.join("\n"))
    }

    #[test]
    fn comments_and_texts_are_no_code() {
        let (code, texts) = parts("let a = \"SELECT\"; // sleep(\n/* x /* y */ z */ b");
        assert!(code.contains("let a = \"      \";"), "{code}");
        assert!(!code.contains("sleep") && !code.contains('z') && code.ends_with(" b"));
        assert_eq!(texts.trim(), "SELECT");
    }

    #[test]
    fn raw_texts_characters_and_lifetimes_are_told_apart() {
        let (code, texts) = parts("f::<'a>('\"', r#\"a \" b\"#, '\\'', br\"c\", r#type)");
        assert!(texts.contains("a \" b") && texts.contains('c'), "{texts}");
        assert!(code.contains("r#type)"), "{code}");
    }

    #[test]
    fn lines_of_code_are_counted_without_blanks_and_comments() {
        let source = Source::parse("//! Doc.\n\nfn a() {\n    // why\n    b(\"\n  text\n\");\n}\n");
        assert_eq!(source.code_lines(), 5);
    }
}

//! How others spell a text: the ways in which tools print what they were given, so that a secret is found in
//! them too. Each is what stands between the quotes, if the tool puts any around.

use std::fmt::Write as _;

/// All spellings; some are the same, and most are the text itself where it has no character that any of them
/// minds.
pub(super) fn all(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    urls(text, &mut all);
    json(text, &mut all);
    html(text, &mut all);
    shells(text, &mut all);
    languages(text, &mut all);
    all.push(hex(text, HEX_LOWER));
    all.push(hex(text, HEX_UPPER));
    all
}

const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Which characters stay as they are differs: RFC 3986, JavaScript's encodeURIComponent, Python's quote, a
/// whole URL's path.
fn urls(text: &str, all: &mut Vec<String>) {
    for kept in ["", "/", "!'()*", "!'()*/:@&=+$,;"] {
        for plus in [false, true] {
            all.push(url_encoded(text, kept, plus, HEX_UPPER));
            all.push(url_encoded(text, kept, plus, HEX_LOWER));
        }
    }
}

fn json(text: &str, all: &mut Vec<String>) {
    let Ok(quoted) = serde_json::to_string(text) else {
        return;
    };
    let inner = quoted.strip_prefix('"').unwrap_or(&quoted);
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    for upper in [false, true] {
        all.push(json_escaped(inner, |c| c.is_ascii(), upper));
        // Encoders that mind HTML escape these too.
        let harmless = |c: char| c.is_ascii() && !"<>&'+".contains(c);
        all.push(json_escaped(inner, harmless, upper));
        let outside_html = |c: char| !"<>&\u{2028}\u{2029}".contains(c);
        all.push(json_escaped(inner, outside_html, upper));
    }
    all.push(inner.replace('/', "\\/"));
    all.push(inner.to_owned());
}

/// As text, or as an attribute's value by what different libraries put for the two quotes.
fn html(text: &str, all: &mut Vec<String>) {
    let text = text.replace('&', "&amp;");
    let text = text.replace('<', "&lt;").replace('>', "&gt;");
    for double in ["\"", "&quot;", "&#34;"] {
        for single in ["'", "&#39;", "&#039;", "&#x27;", "&apos;"] {
            all.push(text.replace('"', double).replace('\'', single));
        }
    }
}

/// What `set -x`, `printf %q`, `declare -p` and those who quote for a shell print.
fn shells(text: &str, all: &mut Vec<String>) {
    // Between single quotes: sh and bash, dash and Python's shlex; PowerShell, YAML and SQL.
    for quote in ["'\\''", "'\"'\"'", "''"] {
        all.push(text.replace('\'', quote));
    }
    // Between double quotes; CSV and cmd double them.
    all.push(with_backslash(text, |c| "\"\\$`".contains(c)));
    all.push(with_backslash(text, |c| "\"\\$`!".contains(c)));
    all.push(text.replace('"', "\"\""));
    // Between none: bash's own list, and whatever is no letter.
    all.push(with_backslash(text, |c| {
        " '\"\\|&;()<>!{}*[]?^$`,".contains(c)
    }));
    all.push(with_backslash(text, |c| {
        c.is_ascii() && !c.is_ascii_alphanumeric() && !"_-./:=@%+,".contains(c)
    }));
    // `$'...'`, which bash takes where a character cannot be printed.
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{1b}' => out.push_str("\\E"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\{:03o}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    all.push(out);
}

/// What Python's `repr` and `ascii` print of a text and of its bytes.
fn languages(text: &str, all: &mut Vec<String>) {
    for single in ["'", "\\'"] {
        for kind in [Repr::Text, Repr::Ascii, Repr::Bytes] {
            all.push(repr(text, single, kind));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Repr {
    Text,
    Ascii,
    Bytes,
}

fn repr(text: &str, single: &str, kind: Repr) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Writing to a string cannot fail.
        let _ = match c {
            '\\' => write!(out, "\\\\"),
            '\'' => write!(out, "{single}"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            c if c.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(c)),
            c if c.is_ascii() || kind == Repr::Text => write!(out, "{c}"),
            c if kind == Repr::Bytes => {
                let bytes = c.encode_utf8(&mut [0; 4]).as_bytes().to_vec();
                bytes
                    .iter()
                    .try_for_each(|byte| write!(out, "\\x{byte:02x}"))
            }
            c => match u32::from(c) {
                code @ ..=0xff => write!(out, "\\x{code:02x}"),
                code @ ..=0xffff => write!(out, "\\u{code:04x}"),
                code => write!(out, "\\U{code:08x}"),
            },
        };
    }
    out
}

fn with_backslash(text: &str, minds: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if minds(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn hex(text: &str, digits: &[u8; 16]) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        push_hex(&mut out, byte, digits);
    }
    out
}

fn push_hex(out: &mut String, byte: u8, digits: &[u8; 16]) {
    for nibble in [byte >> 4, byte & 15] {
        let digit = digits.get(usize::from(nibble)).copied().unwrap_or(b'0');
        out.push(char::from(digit));
    }
}

/// The text of a JSON string with what is not `kept` as `\uXXXX`.
fn json_escaped(inner: &str, kept: impl Fn(char) -> bool, upper: bool) -> String {
    let mut out = String::with_capacity(inner.len());
    for c in inner.chars() {
        if kept(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = if upper {
                write!(out, "\\u{unit:04X}")
            } else {
                write!(out, "\\u{unit:04x}")
            };
        }
    }
    out
}

fn url_encoded(text: &str, kept: &str, plus: bool, digits: &[u8; 16]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' if plus => out.push('+'),
            byte if kept.as_bytes().contains(&byte) => out.push(char::from(byte)),
            _ => {
                out.push('%');
                push_hex(&mut out, byte, digits);
            }
        }
    }
    out
}

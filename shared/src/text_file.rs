//! How a package's text files are read: the server looks for names in exactly the files, and in exactly
//! the characters, that an agent later writes values into. What the one would miss, the other would
//! leave without its secret.

/// The largest file that values are written into: configuration, not data.
pub const MAX_TEXT_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// A path or glob in a package as people write it, with either separator and perhaps a leading one, in
/// the form of a package's own paths.
pub fn pattern(written: &str) -> String {
    let path = written.trim().replace('\\', "/");
    let path = path.trim_start_matches("./").trim_start_matches('/');
    path.to_owned()
}

/// How a text file says its characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8.
    Utf8,
    /// UTF-8 behind a byte order mark.
    Utf8WithMark,
    /// UTF-16, the low byte first.
    Utf16Le,
    /// UTF-16, the high byte first.
    Utf16Be,
}

/// A file's text and how it is encoded: UTF-8 with or without its mark, or UTF-16 with one. `None` for
/// what is no text.
pub fn decode(bytes: &[u8]) -> Option<(String, Encoding)> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        if rest.is_empty() {
            String::from_utf16(&units).ok()
        } else {
            None
        }
    };
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        let text = std::str::from_utf8(rest).ok()?;
        Some((text.to_owned(), Encoding::Utf8WithMark))
    } else if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        Some((utf16(rest, u16::from_le_bytes)?, Encoding::Utf16Le))
    } else if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        Some((utf16(rest, u16::from_be_bytes)?, Encoding::Utf16Be))
    } else {
        let text = std::str::from_utf8(bytes).ok()?;
        Some((text.to_owned(), Encoding::Utf8))
    }
}

/// A text as a file of this encoding.
pub fn encode(text: &str, encoding: Encoding) -> Vec<u8> {
    let utf16 = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
        let units = text.encode_utf16().flat_map(bytes);
        mark.into_iter().chain(units).collect()
    };
    match encoding {
        Encoding::Utf8 => text.as_bytes().to_vec(),
        Encoding::Utf8WithMark => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        Encoding::Utf16Le => utf16([0xff, 0xfe], u16::to_le_bytes),
        Encoding::Utf16Be => utf16([0xfe, 0xff], u16::to_be_bytes),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn paths_are_taken_with_either_separator() {
        for written in [
            "conf/*.json",
            "./conf/*.json",
            "/conf/*.json",
            " conf\\*.json ",
        ] {
            assert_eq!(pattern(written), "conf/*.json", "{written}");
        }
    }

    #[test]
    fn texts_keep_their_encoding() {
        for bytes in [
            &b"plain \xc3\xa9"[..],
            b"\xef\xbb\xbfmarked",
            b"\xff\xfea\x00\xe9\x00",
            b"\xfe\xff\x00a\x00\xe9",
            b"",
        ] {
            let (text, encoding) = decode(bytes).unwrap();
            assert_eq!(encode(&text, encoding), bytes);
            assert!(!text.starts_with('\u{feff}'));
        }
        for bytes in [&b"\xff\x00binary"[..], b"\xff\xfea", b"\x80"] {
            assert!(decode(bytes).is_none(), "{bytes:?}");
        }
    }
}

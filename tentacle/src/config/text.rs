//! How a text file says its characters: read, and written back the same way.

use std::fmt;

use encoding_rs::Encoding;

/// An encoding, with or without its mark in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextEncoding {
    /// UTF-8 without a mark.
    Utf8,
    /// UTF-8 with its mark.
    Utf8WithMark,
    /// UTF-16, the low byte first, with its mark.
    Utf16Le,
    /// UTF-16, the high byte first, with its mark.
    Utf16Be,
    /// UTF-32, the low byte first, with its mark.
    Utf32Le,
    /// UTF-32, the high byte first, with its mark.
    Utf32Be,
    /// ASCII, because the file says so.
    Ascii,
    /// ISO 8859-1, because the file says so.
    Latin1,
    /// Another one of one or two bytes: what the file says of itself, or Windows-1252.
    Other(&'static Encoding),
}

impl fmt::Display for TextEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf8 | Self::Utf8WithMark => "UTF-8",
            Self::Utf16Le | Self::Utf16Be => "UTF-16",
            Self::Utf32Le | Self::Utf32Be => "UTF-32",
            Self::Ascii => "ASCII",
            Self::Latin1 => "ISO-8859-1",
            Self::Other(encoding) => encoding.name(),
        })
    }
}

/// The bytes are no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A mark says one thing, the bytes another.
    #[error("its mark says {0}, and its bytes are not that")]
    Mark(TextEncoding),
    /// Bytes that no text has.
    #[error("it is not text: it has a zero byte")]
    Binary,
}

/// The text and how it was written. `declared` is what the file says of itself. Without a mark it
/// is that, or UTF-8, or else Windows-1252, which reads anything but a zero byte.
pub fn decode(bytes: &[u8], declared: Option<&str>) -> Result<(String, TextEncoding), DecodeError> {
    if let Some((encoding, rest)) = marked(bytes) {
        let text = match encoding {
            TextEncoding::Utf8WithMark => std::str::from_utf8(rest).ok().map(str::to_owned),
            TextEncoding::Utf16Le => units(rest, u16::from_le_bytes),
            TextEncoding::Utf16Be => units(rest, u16::from_be_bytes),
            TextEncoding::Utf32Le => scalars(rest, u32::from_le_bytes),
            TextEncoding::Utf32Be => scalars(rest, u32::from_be_bytes),
            TextEncoding::Utf8
            | TextEncoding::Ascii
            | TextEncoding::Latin1
            | TextEncoding::Other(_) => None,
        };
        return text
            .map(|text| (text, encoding))
            .ok_or(DecodeError::Mark(encoding));
    }
    if bytes.contains(&0) {
        return Err(DecodeError::Binary);
    }
    if let Some(found) = declared.and_then(|label| as_declared(bytes, label)) {
        return Ok(found);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok((text.to_owned(), TextEncoding::Utf8));
    }
    let other = encoding_rs::WINDOWS_1252;
    let (text, _) = other.decode_without_bom_handling(bytes);
    Ok((text.into_owned(), TextEncoding::Other(other)))
}

fn marked(bytes: &[u8]) -> Option<(TextEncoding, &[u8])> {
    // UTF-32 first: its mark begins with that of UTF-16.
    [
        (&b"\xff\xfe\0\0"[..], TextEncoding::Utf32Le),
        (b"\0\0\xfe\xff", TextEncoding::Utf32Be),
        (b"\xef\xbb\xbf", TextEncoding::Utf8WithMark),
        (b"\xff\xfe", TextEncoding::Utf16Le),
        (b"\xfe\xff", TextEncoding::Utf16Be),
    ]
    .into_iter()
    .find_map(|(mark, encoding)| Some((encoding, bytes.strip_prefix(mark)?)))
}

fn as_declared(bytes: &[u8], label: &str) -> Option<(String, TextEncoding)> {
    let latin1 = || bytes.iter().copied().map(char::from).collect();
    match label.trim().to_ascii_lowercase().as_str() {
        "us-ascii" | "ascii" => bytes.is_ascii().then(|| (latin1(), TextEncoding::Ascii)),
        "iso-8859-1" | "latin1" => Some((latin1(), TextEncoding::Latin1)),
        label => {
            let encoding = Encoding::for_label(label.as_bytes())?;
            let legacy = encoding != encoding_rs::UTF_8
                && encoding.is_ascii_compatible()
                && encoding != encoding_rs::REPLACEMENT;
            let text = legacy
                .then(|| encoding.decode_without_bom_handling_and_without_replacement(bytes))??;
            Some((text.into_owned(), TextEncoding::Other(encoding)))
        }
    }
}

fn units(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
    rest.is_empty().then(|| String::from_utf16(&units).ok())?
}

fn scalars(bytes: &[u8], scalar: fn([u8; 4]) -> u32) -> Option<String> {
    let (fours, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| {
        fours
            .iter()
            .map(|four| char::from_u32(scalar(*four)))
            .collect()
    })?
}

/// The bytes of a text, its mark among them; `None` if the encoding cannot express it.
pub fn encode(text: &str, encoding: TextEncoding) -> Option<Vec<u8>> {
    let marked = |mark: &[u8], bytes: Vec<u8>| Some([mark, &bytes].concat());
    match encoding {
        TextEncoding::Utf8 => Some(text.as_bytes().to_vec()),
        TextEncoding::Utf8WithMark => marked(b"\xef\xbb\xbf", text.as_bytes().to_vec()),
        TextEncoding::Utf16Le => marked(
            b"\xff\xfe",
            text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        TextEncoding::Utf16Be => marked(
            b"\xfe\xff",
            text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        ),
        TextEncoding::Utf32Le => marked(
            b"\xff\xfe\0\0",
            text.chars()
                .flat_map(|c| u32::from(c).to_le_bytes())
                .collect(),
        ),
        TextEncoding::Utf32Be => marked(
            b"\0\0\xfe\xff",
            text.chars()
                .flat_map(|c| u32::from(c).to_be_bytes())
                .collect(),
        ),
        TextEncoding::Ascii => text.is_ascii().then(|| text.as_bytes().to_vec()),
        TextEncoding::Latin1 => text.chars().map(|c| u8::try_from(c).ok()).collect(),
        TextEncoding::Other(encoding) => {
            let (bytes, _, unmappable) = encoding.encode(text);
            (!unmappable).then(|| bytes.into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_their_encoding() {
        for (bytes, declared) in [
            (&b"plain \xc3\xa9"[..], None),
            (b"\xef\xbb\xbfmarked", None),
            (b"\xff\xfea\x00\xe9\x00", None),
            (b"\xfe\xff\x00a\x00\xe9", None),
            (b"\xff\xfe\0\0a\0\0\0", None),
            (b"\0\0\xfe\xff\0\0\0a", None),
            (b"\x86\x80", None),
            (b"Micha\xb3", Some("iso-8859-2")),
            (b"\xe9", Some("ISO-8859-1")),
            (b"ascii", Some("us-ascii")),
            (b"\xc3\xa9", Some("utf-8")),
            (b"\xc3\xa9", Some("no such thing")),
            (b"", None),
        ] {
            let (text, encoding) = decode(bytes, declared).unwrap();
            assert_eq!(encode(&text, encoding).unwrap(), bytes, "{encoding:?}");
            assert!(!text.starts_with('\u{feff}'));
        }
        assert_eq!(decode(b"\x86", None).unwrap().0, "\u{2020}");
        assert_eq!(decode(b"\xb3", Some("iso-8859-2")).unwrap().0, "\u{142}");
    }

    #[test]
    fn what_is_no_text_or_cannot_be_expressed_is_refused() {
        assert_eq!(decode(b"a\x00b", None), Err(DecodeError::Binary));
        let odd = decode(b"\xff\xfea", None);
        assert_eq!(odd, Err(DecodeError::Mark(TextEncoding::Utf16Le)));
        let (_, windows) = decode(b"\x86", None).unwrap();
        assert_eq!(encode("\u{ffe6}", windows), None);
        assert_eq!(encode("\u{20ac}", TextEncoding::Latin1), None);
        assert_eq!(encode("\u{e9}", TextEncoding::Ascii), None);
    }
}

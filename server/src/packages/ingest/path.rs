//! An entry's path: parsed once into checked parts, or refused.
//!
//! What passes is relative, has no `.` and no `..`, is UTF-8 in normal form C, and every part of it
//! can be a file's name on every platform that the package is for.

use mantle_shared::manifest::{MAX_DEPTH, MAX_NAME_BYTES};
use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

use super::error::{IngestError, Refusal, printable};

/// The longest path of an entry. Linux takes 4096 bytes with the folder that it is unpacked to.
pub const MAX_PATH_BYTES: usize = 2048;

/// Where a package may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Anywhere: names that Windows refuses or mixes up are refused.
    #[default]
    Any,
    /// Linux only: names are taken as they are.
    Linux,
}

/// One part of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its name, in normal form C.
    pub(super) name: String,
    /// It was not in normal form C in the archive.
    pub(super) altered: bool,
}

/// An entry's path, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryPath {
    pub(super) parts: Vec<Part>,
    /// The name ended in a slash.
    pub(super) is_folder: bool,
    /// The name as it stood in the archive, safe to print.
    pub(super) shown: String,
}

impl EntryPath {
    /// Parses a name; no parts mean the package's own folder (`./`).
    pub(super) fn parse(raw: &[u8], platform: Platform) -> Result<Self, IngestError> {
        let refuse = |why| IngestError::refused(raw, why);
        if raw.contains(&0) {
            return Err(refuse(Refusal::Nul));
        }
        let name = std::str::from_utf8(raw).map_err(|_| refuse(Refusal::NotUtf8))?;
        if name.len() > MAX_PATH_BYTES {
            return Err(refuse(Refusal::PathTooLong(MAX_PATH_BYTES)));
        }
        check_shape(name).map_err(refuse)?;
        let (body, is_folder) = match name.strip_suffix('/') {
            Some(body) => (body, true),
            None => (name, false),
        };
        let body = body.strip_prefix("./").unwrap_or(body);
        let mut parts = Vec::new();
        if body != "." {
            for part in body.split('/') {
                parts.push(parse_part(part, platform).map_err(refuse)?);
            }
        }
        if parts.len() > MAX_DEPTH {
            return Err(refuse(Refusal::TooDeep(MAX_DEPTH)));
        }
        Ok(Self {
            is_folder: is_folder || parts.is_empty(),
            parts,
            shown: printable(raw),
        })
    }
}

/// What would leave the package on some platform, whatever it is packed for: agents of both kinds
/// read these names.
fn check_shape(name: &str) -> Result<(), Refusal> {
    if name.starts_with('/') {
        return Err(Refusal::Absolute);
    }
    if name.starts_with('\\') {
        return Err(Refusal::DriveOrShare);
    }
    let mut chars = name.chars();
    if let (Some(letter), Some(':')) = (chars.next(), chars.next())
        && letter.is_ascii_alphabetic()
    {
        return Err(Refusal::DriveOrShare);
    }
    if name.split(['/', '\\']).any(|part| part == "..") {
        return Err(Refusal::Climbs);
    }
    Ok(())
}

fn parse_part(part: &str, platform: Platform) -> Result<Part, Refusal> {
    if part.is_empty() || part == "." {
        return Err(Refusal::EmptyPart);
    }
    let altered = !is_nfc(part);
    let name: String = if altered {
        part.nfc().collect()
    } else {
        part.to_owned()
    };
    if name.len() > MAX_NAME_BYTES {
        return Err(Refusal::NameTooLong);
    }
    if platform == Platform::Any {
        check_windows(&name)?;
    }
    Ok(Part { name, altered })
}

fn check_windows(name: &str) -> Result<(), Refusal> {
    if let Some(bad) = name
        .chars()
        .find(|c| matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*' | '\\') || *c < ' ')
    {
        return Err(Refusal::WindowsName(match bad {
            ':' => "':' starts an alternate stream",
            '\\' => "'\\' separates folders there",
            c if c < ' ' => "a control character",
            _ => "one of < > \" | ? *",
        }));
    }
    if name.ends_with(['.', ' ']) {
        return Err(Refusal::WindowsName("it ends in a dot or a space"));
    }
    if is_device(name) {
        return Err(Refusal::WindowsName("it is a device's name"));
    }
    Ok(())
}

/// `CON`, `COM1.txt` and their like; older Windows takes them for devices in any folder, with any
/// extension, and with spaces before the extension.
pub(in crate::packages) fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ');
    let stem = stem.to_uppercase();
    if matches!(
        stem.as_str(),
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$"
    ) {
        return true;
    }
    let Some(number) = stem
        .strip_prefix("COM")
        .or_else(|| stem.strip_prefix("LPT"))
    else {
        return false;
    };
    let mut chars = number.chars();
    matches!(
        (chars.next(), chars.next()),
        (Some('0'..='9' | '\u{b9}' | '\u{b2}' | '\u{b3}'), None)
    )
}

/// The form under which names that Windows takes for the same are equal.
pub(super) fn fold(name: &str) -> String {
    name.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfc()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(raw: &[u8], platform: Platform) -> Option<Refusal> {
        match EntryPath::parse(raw, platform) {
            Ok(_) => None,
            Err(IngestError::Refused { why, .. }) => Some(why),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a29_paths_that_leave_are_refused_on_every_platform() {
        for (raw, why) in [
            (&b"../evil"[..], Refusal::Climbs),
            (b"a/../../evil", Refusal::Climbs),
            (b"a/..", Refusal::Climbs),
            (b"..", Refusal::Climbs),
            (b"..\\evil", Refusal::Climbs),
            (b"a\\..\\..\\evil", Refusal::Climbs),
            (b"a/..\\evil", Refusal::Climbs),
            (b"/etc/passwd", Refusal::Absolute),
            (b"//server/share/x", Refusal::Absolute),
            (b"\\\\server\\share\\x", Refusal::DriveOrShare),
            (b"\\\\?\\C:\\x", Refusal::DriveOrShare),
            (b"\\x", Refusal::DriveOrShare),
            (b"C:\\x", Refusal::DriveOrShare),
            (b"C:/x", Refusal::DriveOrShare),
            (b"C:x", Refusal::DriveOrShare),
            (b"a\0b", Refusal::Nul),
            (b"\xff\xfe", Refusal::NotUtf8),
            (b"", Refusal::EmptyPart),
            (b"a//b", Refusal::EmptyPart),
            (b"a/./b", Refusal::EmptyPart),
            (b"a//", Refusal::EmptyPart),
        ] {
            for platform in [Platform::Any, Platform::Linux] {
                assert_eq!(refusal(raw, platform), Some(why.clone()), "{raw:?}");
            }
        }
    }

    #[test]
    fn a29_names_that_windows_refuses_need_a_platform() {
        for raw in [
            "CON",
            "con.txt",
            "a/NUL",
            "aux.tar.gz",
            "COM1",
            "LPT9.log",
            "com\u{b9}",
            "NUL .txt",
            "CONIN$",
            "a.",
            "a ",
            "dir./x",
            "ab:c",
            "ab:c:$DATA",
            "what?",
            "a*b",
            "<x>",
            "a|b",
            "quo\"te",
            "tab\there",
            "bell\u{7}",
            "a\\b",
        ] {
            assert!(
                matches!(
                    refusal(raw.as_bytes(), Platform::Any),
                    Some(Refusal::WindowsName(_))
                ),
                "{raw:?}"
            );
            assert_eq!(refusal(raw.as_bytes(), Platform::Linux), None, "{raw:?}");
        }
        for fine in [
            "CONSOLE",
            "COM10",
            "COM",
            "nullable",
            ".hidden",
            "a b",
            "ünï/çødé",
        ] {
            assert_eq!(refusal(fine.as_bytes(), Platform::Any), None, "{fine}");
        }
    }

    #[test]
    fn a29_lengths_and_depth_are_bounded() {
        let long = "x".repeat(256);
        assert_eq!(
            refusal(long.as_bytes(), Platform::Linux),
            Some(Refusal::NameTooLong)
        );
        let path = vec!["x".repeat(200); 11].join("/");
        assert_eq!(
            refusal(path.as_bytes(), Platform::Linux),
            Some(Refusal::PathTooLong(MAX_PATH_BYTES))
        );
        let deep = vec!["d"; MAX_DEPTH + 1].join("/");
        assert_eq!(
            refusal(deep.as_bytes(), Platform::Linux),
            Some(Refusal::TooDeep(MAX_DEPTH))
        );
    }

    #[test]
    fn names_come_out_in_normal_form_c() {
        let path = EntryPath::parse("./e\u{301}/x/".as_bytes(), Platform::Any).unwrap();
        let names: Vec<&str> = path.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["\u{e9}", "x"]);
        assert!(path.is_folder);
        assert!(path.parts.iter().any(|part| part.altered));
        let own = EntryPath::parse(b"./", Platform::Any).unwrap();
        assert!(own.parts.is_empty() && own.is_folder);
        assert!(
            EntryPath::parse(b".", Platform::Any)
                .unwrap()
                .parts
                .is_empty()
        );
    }

    #[test]
    fn folding_makes_equal_what_windows_takes_for_equal() {
        for (a, b) in [
            ("README", "readme"),
            ("\u{c9}", "\u{e9}"),
            ("\u{3a3}", "\u{3c2}"),
        ] {
            assert_eq!(fold(a), fold(b));
        }
        assert_ne!(fold("a"), fold("b"));
    }
}

//! The archive formats, told by name and checked by content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A package's archive format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// `.zip`
    #[serde(rename = "zip")]
    Zip,
    /// `.nupkg`: a zip whose names are percent-encoded and whose packaging parts are dropped.
    #[serde(rename = "nupkg")]
    Nupkg,
    /// `.jar`: a zip.
    #[serde(rename = "jar")]
    Jar,
    /// `.war`: a zip.
    #[serde(rename = "war")]
    War,
    /// `.tar`
    #[serde(rename = "tar")]
    Tar,
    /// `.tar.gz` and `.tgz`
    #[serde(rename = "tar.gz")]
    TarGz,
    /// `.tar.zst` and `.tzst`
    #[serde(rename = "tar.zst")]
    TarZst,
    /// `.tar.bz2`, `.tbz2` and `.tbz`
    #[serde(rename = "tar.bz2")]
    TarBz2,
    /// `.tar.xz` and `.txz`
    #[serde(rename = "tar.xz")]
    TarXz,
}

/// A text that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no package format; they are {FORMATS}")]
pub struct BadFormat {
    /// What was given.
    pub text: String,
}

/// The formats, for people.
pub const FORMATS: &str = "zip, nupkg, jar, war, tar, tar.gz, tar.bz2, tar.xz and tar.zst";

/// Every ending that tells a format, the longer before those that they end in.
const ENDINGS: [(&str, Format); 14] = [
    (".tar.gz", Format::TarGz),
    (".tar.zst", Format::TarZst),
    (".tar.bz2", Format::TarBz2),
    (".tar.xz", Format::TarXz),
    (".tgz", Format::TarGz),
    (".tbz2", Format::TarBz2),
    (".tbz", Format::TarBz2),
    (".txz", Format::TarXz),
    (".tzst", Format::TarZst),
    (".zip", Format::Zip),
    (".nupkg", Format::Nupkg),
    (".jar", Format::Jar),
    (".war", Format::War),
    (".tar", Format::Tar),
];

/// How many bytes of a file [`Container::of`] wants to see.
pub(super) const MAGIC_BYTES: usize = 512;

impl Format {
    /// Every format. The fuzzer's seeds choose one by its place, so new ones come last.
    pub const ALL: [Self; 9] = [
        Self::Zip,
        Self::Nupkg,
        Self::Jar,
        Self::War,
        Self::Tar,
        Self::TarGz,
        Self::TarZst,
        Self::TarBz2,
        Self::TarXz,
    ];

    /// Its name, as in manifests and in the endings of files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::Nupkg => "nupkg",
            Self::Jar => "jar",
            Self::War => "war",
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::TarZst => "tar.zst",
            Self::TarBz2 => "tar.bz2",
            Self::TarXz => "tar.xz",
        }
    }

    /// Splits a file's name into what precedes its format's ending, and the format.
    pub fn split_name(file_name: &str) -> Option<(&str, Self)> {
        ENDINGS.iter().find_map(|(ending, format)| {
            let at = file_name.len().checked_sub(ending.len())?;
            let (stem, tail) = file_name.split_at_checked(at)?;
            (tail.eq_ignore_ascii_case(ending) && !stem.is_empty()).then_some((stem, *format))
        })
    }

    pub(super) fn container(self) -> Container {
        match self {
            Self::Zip | Self::Nupkg | Self::Jar | Self::War => Container::Zip,
            Self::Tar => Container::Tar,
            Self::TarGz => Container::Gzip,
            Self::TarZst => Container::Zstd,
            Self::TarBz2 => Container::Bzip2,
            Self::TarXz => Container::Xz,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = BadFormat;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.strip_prefix('.').unwrap_or(text);
        ENDINGS
            .iter()
            .find(|(ending, _)| ending.trim_start_matches('.').eq_ignore_ascii_case(plain))
            .map(|(_, format)| *format)
            .ok_or_else(|| BadFormat {
                text: text.chars().take(80).collect(),
            })
    }
}

/// What a file's first bytes say that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Zip,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    Tar,
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = b"\xfd7zXZ\0";

impl Container {
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            Some(Self::Zip)
        } else if head.starts_with(GZIP) {
            Some(Self::Gzip)
        } else if head.starts_with(ZSTD) {
            Some(Self::Zstd)
        } else if head.starts_with(BZIP2) {
            Some(Self::Bzip2)
        } else if head.starts_with(XZ) {
            Some(Self::Xz)
        } else if super::tar::looks_like(head) {
            Some(Self::Tar)
        } else {
            None
        }
    }

    /// The format of a file that only its content describes.
    pub(super) fn plain_format(self) -> Format {
        match self {
            Self::Zip => Format::Zip,
            Self::Gzip => Format::TarGz,
            Self::Zstd => Format::TarZst,
            Self::Bzip2 => Format::TarBz2,
            Self::Xz => Format::TarXz,
            Self::Tar => Format::Tar,
        }
    }
}

/// What a file's first bytes look like, for people.
pub(super) fn describe(head: &[u8]) -> &'static str {
    const KNOWN: [(&[u8], &str); 8] = [
        (b"PK\x03\x04", "a zip"),
        (b"PK\x05\x06", "an empty zip"),
        (GZIP, "gzip"),
        (ZSTD, "zstd"),
        (BZIP2, "bzip2"),
        (XZ, "xz"),
        (b"7z\xbc\xaf\x27\x1c", "7-zip"),
        (b"Rar!", "rar"),
    ];
    if head.is_empty() {
        return "an empty file";
    }
    if super::tar::looks_like(head) {
        return "a tar";
    }
    KNOWN
        .iter()
        .find(|(magic, _)| head.starts_with(magic))
        .map_or("something else", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats() {
        for (name, expected) in [
            ("Acme.Web.1.0.0.zip", Some(("Acme.Web.1.0.0", Format::Zip))),
            ("a.TAR.GZ", Some(("a", Format::TarGz))),
            ("a.tgz", Some(("a", Format::TarGz))),
            ("a.tar.zst", Some(("a", Format::TarZst))),
            ("a.tar", Some(("a", Format::Tar))),
            ("a.tar.bz2", Some(("a", Format::TarBz2))),
            ("a.tbz", Some(("a", Format::TarBz2))),
            ("a.tar.XZ", Some(("a", Format::TarXz))),
            ("a.txz", Some(("a", Format::TarXz))),
            ("a.xz", None),
            ("a.war", Some(("a", Format::War))),
            (".zip", None),
            ("a.rar", None),
            ("zip", None),
            ("ä", None),
        ] {
            assert_eq!(Format::split_name(name), expected, "{name}");
        }
        for format in Format::ALL {
            assert_eq!(format.as_str().parse(), Ok(format));
            let json = serde_json::to_string(&format).unwrap();
            assert_eq!(json, format!("\"{format}\""));
            assert!(FORMATS.contains(format.as_str()), "{format}");
        }
        assert!("rar".parse::<Format>().is_err());
    }
}

//! Why an archive is refused: which entry, for what reason, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use super::format::{FORMATS, Format};
use crate::packages::objects::ObjectError;

/// Why a package cannot be taken in. Nothing of it is visible afterwards.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Neither its name nor its content says what it is.
    #[error("'{name}' is no archive that packages are made of; they are {FORMATS}")]
    UnknownFormat {
        /// The file.
        name: String,
    },
    /// Its content is not what its name or the command says.
    #[error("'{name}' is not a {format} file: its content looks like {found}")]
    WrongFormat {
        /// The file.
        name: String,
        /// What it was said to be.
        format: Format,
        /// What its first bytes are.
        found: &'static str,
    },
    /// An entry that no package may have.
    #[error("the entry '{entry}' is refused: {why}")]
    Refused {
        /// The entry, in a form that is safe to print.
        entry: String,
        /// Why.
        why: Refusal,
    },
    /// Too many entries.
    #[error("the archive has more than {limit} entries; split it into several packages")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// Too much content.
    #[error(
        "the archive holds more than {limit_bytes} bytes of content, which is the server's limit for a package"
    )]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// Its content is so much larger than itself that it can only be meant to do harm.
    #[error(
        "the archive unpacks to more than {ratio} times its size; a package's content never does, a bomb's does"
    )]
    Bomb {
        /// The limit.
        ratio: u64,
    },
    /// Its compression asks for more memory than one push may take.
    #[error(
        "unpacking the archive needs a window of more than 128 MiB; pack it with a smaller one, as 'xz -9' and 'zstd -19' do by themselves"
    )]
    Window,
    /// The archive does not follow its own format, or contradicts itself.
    #[error("the archive is damaged: {what}; build it again and push that")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// The archive cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] ObjectError),
}

/// Why an entry is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// `..` in its path.
    Climbs,
    /// It starts at the file system's root.
    Absolute,
    /// It names a Windows drive, a share or a device path.
    DriveOrShare,
    /// No name, or an empty or `.` part in its path.
    EmptyPart,
    /// A NUL.
    Nul,
    /// Not UTF-8.
    NotUtf8,
    /// A part of it is over 255 bytes.
    NameTooLong,
    /// It is over the limit as a whole.
    PathTooLong(usize),
    /// Nested deeper than the limit.
    TooDeep(usize),
    /// Windows cannot have this name.
    WindowsName(&'static str),
    /// The same path twice.
    Duplicate,
    /// Differs from another only in case.
    CaseCollision(String),
    /// Differs from another only in Unicode normal form.
    FormCollision(String),
    /// Another entry makes a file of what this one needs as a folder, or the reverse.
    Conflict(String),
    /// It goes through a symbolic link of the archive.
    ThroughLink(String),
    /// A device, fifo or socket, or another type that is no content.
    Special(&'static str),
    /// A hard link to what is not in the archive before it.
    HardLink(String),
    /// A symbolic link to an absolute path, or one with backslashes.
    LinkAbsolute(String),
    /// A symbolic link out of the package.
    LinkLeaves(String),
    /// A symbolic link with an empty, overlong or otherwise impossible target.
    LinkTarget(&'static str),
    /// Symbolic links in a circle.
    LinkLoop,
    /// Encrypted.
    Encrypted,
    /// A compression that is not supported.
    Method(u16),
    /// Two places of the archive say different things of it.
    Disagreement(&'static str),
    /// It has not the size that it states.
    Size,
    /// Its checksum does not match.
    Checksum,
    /// It shares bytes with another entry.
    Overlap,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Climbs => f.write_str("'..' would leave the package; pack it with plain paths"),
            Self::Absolute => f.write_str("it is an absolute path; pack it from inside its folder"),
            Self::DriveOrShare => {
                f.write_str("it names a Windows drive, share or device; pack it with plain paths")
            }
            Self::EmptyPart => f.write_str("a part of its path is empty or '.'"),
            Self::Nul => f.write_str("its name holds a NUL"),
            Self::NotUtf8 => f.write_str("its name is not UTF-8; pack it with UTF-8 names"),
            Self::NameTooLong => f.write_str("a name in it is over 255 bytes"),
            Self::PathTooLong(limit) => write!(f, "its path is over {limit} bytes"),
            Self::TooDeep(limit) => write!(f, "it is nested deeper than {limit} folders"),
            Self::WindowsName(why) => write!(
                f,
                "Windows cannot have this name ({why}); rename it, or push with --platform linux"
            ),
            Self::Duplicate => f.write_str("it is in the archive twice"),
            Self::CaseCollision(other) => write!(
                f,
                "it differs from '{other}' only in case, so Windows would mix them up; rename one, or push with --platform linux"
            ),
            Self::FormCollision(other) => write!(
                f,
                "it differs from '{other}' only in how its accents are encoded; rename one"
            ),
            Self::Conflict(other) => write!(f, "'{other}' is both a file and a folder"),
            Self::ThroughLink(link) => write!(
                f,
                "it goes through the symbolic link '{link}'; point to the real folder"
            ),
            Self::Special(kind) => write!(f, "it is {kind}, and a package holds files only"),
            Self::HardLink(target) => {
                write!(
                    f,
                    "it is a hard link to '{target}', which is no file earlier in the archive"
                )
            }
            Self::LinkAbsolute(target) => write!(
                f,
                "it links to '{target}'; links must be relative, with '/' between names"
            ),
            Self::LinkLeaves(target) => write!(f, "it links to '{target}', outside the package"),
            Self::LinkTarget(why) => write!(f, "the target of this symbolic link {why}"),
            Self::LinkLoop => f.write_str("its symbolic link leads in a circle"),
            Self::Encrypted => f.write_str(
                "it is encrypted; pack it without a password, packages are protected in the store",
            ),
            Self::Method(method) => write!(
                f,
                "its compression (method {method}) is not supported; use deflate"
            ),
            Self::Disagreement(what) => write!(f, "the archive contradicts itself about {what}"),
            Self::Size => f.write_str("it has not the size that it states"),
            Self::Checksum => f.write_str("its checksum does not match; the archive is damaged"),
            Self::Overlap => f.write_str("it shares its bytes with another entry"),
        }
    }
}

impl IngestError {
    pub(super) fn refused(entry: impl AsRef<[u8]>, why: Refusal) -> Self {
        Self::Refused {
            entry: printable(entry.as_ref()),
            why,
        }
    }

    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    /// Sorts an error of reading: decoders report what is wrong with the archive as I/O errors,
    /// but only the operating system's carry a code.
    pub(super) fn read(error: std::io::Error, reading: &str) -> Self {
        if error.raw_os_error().is_some() {
            Self::Io {
                path: PathBuf::from(reading),
                source: error,
            }
        } else if error.kind() == std::io::ErrorKind::UnexpectedEof {
            Self::damaged(format!("it is cut short in {reading}"))
        } else if wants_memory(&error) {
            Self::Window
        } else {
            Self::damaged(format!("{reading} cannot be unpacked"))
        }
    }
}

/// Whether a decoder refuses a stream for its window: xz says so by kind, zstd in words alone.
fn wants_memory(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::OutOfMemory || error.to_string().contains("too much memory")
}

/// An entry's name as a terminal may show it: bounded, without control characters.
pub(super) fn printable(name: &[u8]) -> String {
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(name);
    let mut out: String = text
        .chars()
        .take(SHOWN)
        .flat_map(|c| {
            let plain = !c.is_control() && !is_direction_mark(c);
            plain
                .then_some(c)
                .into_iter()
                .chain(c.escape_default().take(if plain { 0 } else { 12 }))
        })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        out.push_str("...");
    }
    out
}

/// Characters that make a terminal show a name backwards.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

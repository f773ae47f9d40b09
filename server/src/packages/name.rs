//! `Id.1.2.3.ext`: which package and version a file's name tells.
//!
//! The version begins at the first dotted part that starts with a digit and from which on all is a
//! version of one to four numbers, with a pre-release and build metadata if there are any; what is
//! before is the id. So `Acme.3rd.Web.2.1.0-rc.1.zip` is `Acme.3rd.Web` at `2.1.0-rc.1`. What is
//! given explicitly wins over the name.

use super::ingest::Format;

/// The longest id, so that `<apps>/<environment>/<project>/<id>/<version>` stays a possible path.
pub const MAX_ID_BYTES: usize = 100;
/// The longest version.
pub const MAX_VERSION_BYTES: usize = 100;

/// A package's name: which one, which version, in which format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageName {
    /// The package's id.
    pub id: String,
    /// Its version, as written.
    pub version: String,
    /// The format that the file's ending tells, if it tells one.
    pub format: Option<Format>,
}

/// Why a name tells no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no version in the file's name.
    #[error(
        "the name '{file}' tells no version; name it like Acme.Web.1.2.3.zip, or give --id and --version"
    )]
    NoVersion {
        /// The file.
        file: String,
    },
    /// There is nothing before the version.
    #[error("the name '{file}' begins with its version; give the package's id with --id")]
    NoId {
        /// The file.
        file: String,
    },
    /// This cannot be an id.
    #[error("'{id}' is no package id: {why}; give another with --id")]
    BadId {
        /// The id.
        id: String,
        /// Why.
        why: &'static str,
    },
    /// This cannot be a version.
    #[error(
        "'{version}' is no version; give one to four numbers like 1.2.3 or 1.2.3-rc.1 with --version"
    )]
    BadVersion {
        /// The version.
        version: String,
    },
}

impl PackageName {
    /// Reads a file's name; what is given in `id` and `version` wins over it.
    pub fn parse(file: &str, id: Option<&str>, version: Option<&str>) -> Result<Self, NameError> {
        let base = file.rsplit(['/', '\\']).next().unwrap_or(file);
        let (stem, format) = match Format::split_name(base) {
            Some((stem, format)) => (stem, Some(format)),
            None => (base, None),
        };
        let told = split(stem);
        let version = match (version, told) {
            (Some(given), _) => check_version(given)?,
            (None, Some((_, told))) => check_version(told)?,
            (None, None) => {
                return Err(NameError::NoVersion {
                    file: base.to_owned(),
                });
            }
        };
        let id = match (id, told) {
            (Some(given), _) => given,
            (None, Some(("", _))) => {
                return Err(NameError::NoId {
                    file: base.to_owned(),
                });
            }
            (None, Some((told, _))) => told,
            // Only the version was given: all of the name is the id.
            (None, None) => stem,
        };
        Ok(Self {
            id: check_id(id)?,
            version,
            format,
        })
    }
}

/// Splits at the first dot after which all is a version.
fn split(stem: &str) -> Option<(&str, &str)> {
    if is_version(stem) {
        return Some(("", stem));
    }
    stem.match_indices('.')
        .filter_map(|(at, _)| Some((stem.get(..at)?, stem.get(at + 1..)?)))
        .find(|(_, rest)| is_version(rest))
        // `web.v1.2.3` means version 1.2.3, and the rule would find 2.3 of `web.v1`: better ask.
        .filter(|(id, _)| !ends_in_v_number(id))
}

fn ends_in_v_number(id: &str) -> bool {
    let last = id.rsplit('.').next().unwrap_or(id);
    last.strip_prefix(['v', 'V']).is_some_and(is_number)
}

fn check_version(version: &str) -> Result<String, NameError> {
    if version.len() <= MAX_VERSION_BYTES && is_version(version) {
        Ok(version.to_owned())
    } else {
        Err(NameError::BadVersion {
            version: version.chars().take(MAX_VERSION_BYTES).collect(),
        })
    }
}

/// One to four numbers, then `-` and dotted identifiers, then `+` and dotted identifiers.
fn is_version(text: &str) -> bool {
    let (rest, metadata) = match text.split_once('+') {
        Some((rest, metadata)) => (rest, Some(metadata)),
        None => (text, None),
    };
    let (core, pre_release) = match rest.split_once('-') {
        Some((core, pre_release)) => (core, Some(pre_release)),
        None => (rest, None),
    };
    let numbers = core.split('.').count();
    (1..=4).contains(&numbers)
        && core.split('.').all(is_number)
        && pre_release.is_none_or(is_dotted)
        && metadata.is_none_or(is_dotted)
}

/// Up to nine digits, so that it fits an ordinary integer; dates like 20240131 do.
fn is_number(part: &str) -> bool {
    (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
}

fn is_dotted(text: &str) -> bool {
    text.split('.').all(|part| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// An id is a folder's name on every target: letters, digits, `.`, `_` and `-`, and nothing that
/// Windows would take for something else.
fn check_id(id: &str) -> Result<String, NameError> {
    let why = if id.is_empty() {
        "it is empty"
    } else if id.len() > MAX_ID_BYTES {
        "it is over 100 characters"
    } else if !id
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    {
        "it may hold letters, digits, '.', '_' and '-'"
    } else if !id.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        "it must begin with a letter, a digit or '_'"
    } else if id.ends_with('.') || id.contains("..") {
        "a '.' must stand between two names"
    } else if super::ingest::is_windows_device(id) {
        "Windows takes it for a device"
    } else {
        return Ok(id.to_owned());
    };
    Err(NameError::BadId {
        id: id.chars().take(MAX_ID_BYTES).collect(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(file: &str) -> Result<(String, String, Option<Format>), NameError> {
        PackageName::parse(file, None, None).map(|n| (n.id, n.version, n.format))
    }

    #[test]
    fn file_names_tell_id_version_and_format() {
        for (file, id, version, format) in [
            ("Acme.Web.1.2.3.zip", "Acme.Web", "1.2.3", Format::Zip),
            ("web.1.zip", "web", "1", Format::Zip),
            ("web.1.2.3.4.nupkg", "web", "1.2.3.4", Format::Nupkg),
            ("App.7.1.0.0.0.zip", "App.7", "1.0.0.0", Format::Zip),
            ("web.1.0.0-rc.1.tar.gz", "web", "1.0.0-rc.1", Format::TarGz),
            (
                "web.1.0.0+sha.5114f85.tgz",
                "web",
                "1.0.0+sha.5114f85",
                Format::TarGz,
            ),
            (
                "web.1.0-beta+7.tar.zst",
                "web",
                "1.0-beta+7",
                Format::TarZst,
            ),
            (
                "Acme.3rd.Web.2.1.0.zip",
                "Acme.3rd.Web",
                "2.1.0",
                Format::Zip,
            ),
            (
                "my-app_x.2024.01.31.war",
                "my-app_x",
                "2024.01.31",
                Format::War,
            ),
            ("/some/dir.9/web.1.0.0.jar", "web", "1.0.0", Format::Jar),
            ("C:\\dir\\web.1.0.0.ZIP", "web", "1.0.0", Format::Zip),
        ] {
            assert_eq!(
                name(file),
                Ok((id.to_owned(), version.to_owned(), Some(format))),
                "{file}"
            );
        }
    }

    #[test]
    fn names_that_tell_nothing_say_what_to_type() {
        for (file, said) in [
            ("site.zip", "--id and --version"),
            ("web.1.0.0.x.zip", "--id and --version"),
            ("web.v1.0.0.zip", "--id and --version"),
            ("1.0.0.zip", "--id"),
            ("we b.1.0.0.zip", "--id"),
            ("-web.1.0.0.zip", "--id"),
            ("a..b.1.0.0.zip", "--id"),
            ("CON.1.0.0.zip", "--id"),
            ("web.1.0.0-.zip", "--version"),
            ("web.1.0.0-a..b.zip", "--version"),
        ] {
            let error = name(file).unwrap_err().to_string();
            assert!(error.contains(said), "{file}: {error}");
        }
    }

    #[test]
    fn what_is_given_wins() {
        let both = PackageName::parse("site.zip", Some("Web"), Some("2.0.0")).unwrap();
        assert_eq!((both.id.as_str(), both.version.as_str()), ("Web", "2.0.0"));
        let version = PackageName::parse("site.zip", None, Some("2.0.0")).unwrap();
        assert_eq!(version.id, "site");
        let id = PackageName::parse("x.1.0.0.zip", Some("Web"), None).unwrap();
        assert_eq!((id.id.as_str(), id.version.as_str()), ("Web", "1.0.0"));
        assert!(PackageName::parse("x.1.0.0.zip", None, Some("latest")).is_err());
        assert!(PackageName::parse("x.1.0.0.zip", Some("../x"), None).is_err());
    }
}

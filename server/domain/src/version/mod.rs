//! Versions of packages and releases.
//!
//! One to four numbers (leading zeros allowed), then an optional pre-release and optional build
//! metadata. Order is `SemVer` 2's, missing numbers count as zero, letters compare without case and
//! metadata does not count, as in `NuGet`. The text stays as it was typed.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod floating;
#[cfg(test)]
mod manual;
mod mask;
mod next;
mod pattern;
mod range;

pub use next::{
    NextVersion, NextVersionError, Released, next_version, unknown_number, written_version,
};
pub use pattern::{PatternError, PrereleasePattern};
pub use range::{Range, RangeError};

/// Longer texts are no version: it names folders and must fit on a line.
const MAX_LENGTH: usize = 250;

/// A version. Equal means equal in precedence: `1.0` equals `1.0.0` and `1.0.0+build`.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    numbers: [u64; 4],
    prerelease: String,
    metadata: String,
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a version: {why}; write one like 1.2.3 or 1.2.3-beta.1")]
pub struct VersionError {
    /// What was given, shortened.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Version {
    /// Reads a version.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        let error = |why| VersionError {
            text: text.chars().take(80).collect(),
            why,
        };
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        if text.len() > MAX_LENGTH {
            return Err(error("it is longer than 250 characters"));
        }
        let after = text.trim_start_matches(['v', 'V']);
        if after.len() < text.len() && after.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(error("it has a 'v' in front, as tags do; leave that out"));
        }
        let (rest, metadata) = match text.split_once('+') {
            Some((rest, metadata)) => (rest, Some(metadata)),
            None => (text, None),
        };
        let (core, prerelease) = match rest.split_once('-') {
            Some((core, prerelease)) => (core, Some(prerelease)),
            None => (rest, None),
        };
        let mut numbers = [0_u64; 4];
        let mut parts = core.split('.');
        for slot in &mut numbers {
            let Some(part) = parts.next() else { break };
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(error("its parts before a '-' must be numbers"));
            }
            *slot = part
                .parse()
                .map_err(|_| error("one of its numbers is too large"))?;
        }
        if parts.next().is_some() {
            return Err(error("it has more than four numbers"));
        }
        for labels in [prerelease, metadata].into_iter().flatten() {
            let sound = labels.split('.').all(|label| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            });
            if !sound {
                return Err(error(
                    "after '-' and '+' stand letters, digits, '-' and single dots",
                ));
            }
        }
        Ok(Self {
            text: text.to_owned(),
            numbers,
            prerelease: prerelease.unwrap_or_default().to_owned(),
            metadata: metadata.unwrap_or_default().to_owned(),
        })
    }

    /// As it was typed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The four numbers; those not typed are 0.
    pub fn numbers(&self) -> [u64; 4] {
        self.numbers
    }

    /// The pre-release text, without its `-`; empty for a stable version.
    pub fn prerelease(&self) -> &str {
        &self.prerelease
    }

    /// The build metadata, without its `+`.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// It has a pre-release.
    pub fn is_prerelease(&self) -> bool {
        !self.prerelease.is_empty()
    }

    /// Order in which the metadata counts last: builds of one version in the order of their labels.
    pub fn cmp_builds(&self, other: &Self) -> Ordering {
        self.cmp(other).then_with(
            || match (self.metadata.is_empty(), other.metadata.is_empty()) {
                (false, false) => compare_prereleases(&self.metadata, &other.metadata),
                (mine, theirs) => theirs.cmp(&mine),
            },
        )
    }

    /// The same version and the same build: what may exist once.
    pub fn is_same_build(&self, other: &Self) -> bool {
        self == other && self.metadata.eq_ignore_ascii_case(&other.metadata)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| compare_prereleases(&self.prerelease, &other.prerelease))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.numbers.hash(state);
        for label in self.prerelease.split('.') {
            normal_label(label).hash(state);
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Version {
    type Err = VersionError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A stable version comes after all of its pre-releases; labels compare one by one.
fn compare_prereleases(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let mut left = a.split('.');
    let mut right = b.split('.');
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => {
                let order = compare_labels(x, y);
                if order != Ordering::Equal {
                    return order;
                }
            }
        }
    }
}

/// Numbers come before texts and compare by value, however long they are.
fn compare_labels(a: &str, b: &str) -> Ordering {
    match (is_number(a), is_number(b)) {
        (true, true) => {
            let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        }
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase()),
    }
}

fn is_number(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit())
}

fn normal_label(label: &str) -> String {
    if is_number(label) {
        label.trim_start_matches('0').to_owned()
    } else {
        label.to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests;

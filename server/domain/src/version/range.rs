//! `NuGet` version ranges: `1.0`, `[1.0]`, `[1.0,2.0)`, `(1.0,)`, `(,2.0]`, `1.*`, `[1.*,1.5)`.

use std::cmp::Ordering;

use super::floating::Floating;
use super::{Version, VersionError};

/// Which versions a rule lets through, by order alone: pre-releases count like any other. Where a
/// lower end floats they count only if it says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    floating: Option<Floating>,
    low: Option<Bound>,
    high: Option<Bound>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound {
    version: Version,
    inclusive: bool,
}

/// A text that is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The brackets or commas are wrong.
    #[error("'{text}' is not a version range; write one like [1.0,2.0), [1.0,) or 1.*")]
    Shape {
        /// What was given, shortened.
        text: String,
    },
    /// A star stands where none can.
    #[error(
        "'{text}' is not a floating version; write one like 1.*, 1.2.*, 1.*-* (with pre-releases) or 2.0.0-rc.*"
    )]
    Floating {
        /// What was given, shortened.
        text: String,
    },
    /// Only an inclusive lower end can float.
    #[error("in the version range '{text}' {why}")]
    FloatingEnd {
        /// What was given, shortened.
        text: String,
        /// What is wrong, and what to write.
        why: &'static str,
    },
    /// There is no text at all.
    #[error(
        "the version range is empty; write one like [1.0,2.0), or leave it out to allow every version"
    )]
    Nothing,
    /// No version can be in it.
    #[error("the version range '{text}' is empty: {why}")]
    Empty {
        /// What was given.
        text: String,
        /// Why.
        why: &'static str,
    },
    /// It has neither end, as in `(,)`: `NuGet` has no such range.
    #[error("the version range '{text}' names no version; leave it out to allow every version")]
    Boundless {
        /// What was given.
        text: String,
    },
    /// One of its ends is no version.
    #[error(transparent)]
    Version(#[from] VersionError),
}

impl Range {
    /// Reads a range.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        let shape = || RangeError::Shape {
            text: text.chars().take(80).collect(),
        };
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(RangeError::Nothing);
        }
        let (low_inclusive, inner) = if let Some(inner) = trimmed.strip_prefix('[') {
            (true, inner)
        } else if let Some(inner) = trimmed.strip_prefix('(') {
            (false, inner)
        } else {
            if trimmed.contains(['[', ']', '(', ')', ',']) {
                return Err(shape());
            }
            // A bare version is the lowest one allowed.
            return Ok(Self::rising(low(trimmed, true)?, None));
        };
        let (high_inclusive, inner) = if let Some(inner) = inner.strip_suffix(']') {
            (true, inner)
        } else if let Some(inner) = inner.strip_suffix(')') {
            (false, inner)
        } else {
            return Err(shape());
        };
        let misplaced = |why| RangeError::FloatingEnd {
            text: trimmed.chars().take(80).collect(),
            why,
        };
        let range = match inner.split_once(',') {
            None if Floating::is_meant(inner) => {
                return Err(misplaced(
                    "one version cannot float; write 1.* without brackets",
                ));
            }
            None if low_inclusive && high_inclusive => {
                let exact = bound(inner, true)?.ok_or_else(shape)?;
                Self {
                    floating: None,
                    low: Some(exact.clone()),
                    high: Some(exact),
                }
            }
            None => return Err(shape()),
            Some((_, high)) if high.contains(',') => return Err(shape()),
            Some((_, high)) if Floating::is_meant(high) => {
                return Err(misplaced("the upper end cannot float; write a version"));
            }
            Some((low, _)) if Floating::is_meant(low) && !low_inclusive => {
                return Err(misplaced(
                    "a lower end that floats belongs to it; write [1.*,2.0)",
                ));
            }
            Some((low, high)) if low.trim().is_empty() && high.trim().is_empty() => {
                return Err(RangeError::Boundless {
                    text: trimmed.to_owned(),
                });
            }
            Some((lower, higher)) => {
                let high = bound(higher, high_inclusive)?;
                if lower.trim().is_empty() {
                    Self {
                        floating: None,
                        low: None,
                        high,
                    }
                } else {
                    Self::rising(low(lower.trim(), low_inclusive)?, high)
                }
            }
        };
        if let (Some(low), Some(high)) = (&range.low, &range.high) {
            let both = low.inclusive && high.inclusive;
            let why = match low.version.cmp(&high.version) {
                Ordering::Greater => Some("its lower end lies above its upper end"),
                Ordering::Equal if !both => {
                    Some("its ends are the same version, which does not belong to it")
                }
                Ordering::Equal | Ordering::Less => None,
            };
            if let Some(why) = why {
                return Err(RangeError::Empty {
                    text: trimmed.to_owned(),
                    why,
                });
            }
        }
        Ok(range)
    }

    fn rising((floating, low): (Option<Floating>, Bound), high: Option<Bound>) -> Self {
        Self {
            floating,
            low: Some(low),
            high,
        }
    }

    /// Whether a version lies in it.
    pub fn contains(&self, version: &Version) -> bool {
        let floats = self.floating.as_ref();
        let above = self
            .low
            .as_ref()
            .is_none_or(|low| *version > low.version || (low.inclusive && *version == low.version));
        let below = self.high.as_ref().is_none_or(|high| {
            *version < high.version || (high.inclusive && *version == high.version)
        });
        above && below && floats.is_none_or(|floating| floating.contains(version))
    }
}

/// A lower end, which may float.
fn low(text: &str, inclusive: bool) -> Result<(Option<Floating>, Bound), RangeError> {
    if Floating::is_meant(text) {
        let floating = Floating::parse(text)?;
        let version = floating.floor()?;
        return Ok((Some(floating), Bound { version, inclusive }));
    }
    let version = Version::parse(text)?;
    Ok((None, Bound { version, inclusive }))
}

fn bound(text: &str, inclusive: bool) -> Result<Option<Bound>, RangeError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(Bound {
        version: Version::parse(text)?,
        inclusive,
    }))
}

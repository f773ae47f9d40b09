//! `NuGet` version ranges: `1.0`, `[1.0]`, `[1.0,2.0)`, `(1.0,)`, `(,2.0]`.

use super::{Version, VersionError};

/// Which versions a rule lets through, by order alone: pre-releases count like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
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
    #[error("'{text}' is not a version range; write one like [1.0,2.0) or [1.0,)")]
    Shape {
        /// What was given, shortened.
        text: String,
    },
    /// No version can be in it.
    #[error("the version range '{text}' is empty: its lower end lies above its upper end")]
    Empty {
        /// What was given.
        text: String,
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
        let (low_inclusive, inner) = if let Some(inner) = trimmed.strip_prefix('[') {
            (true, inner)
        } else if let Some(inner) = trimmed.strip_prefix('(') {
            (false, inner)
        } else {
            // A bare version is the lowest one allowed.
            return Ok(Self {
                low: Some(Bound {
                    version: Version::parse(trimmed)?,
                    inclusive: true,
                }),
                high: None,
            });
        };
        let (high_inclusive, inner) = if let Some(inner) = inner.strip_suffix(']') {
            (true, inner)
        } else if let Some(inner) = inner.strip_suffix(')') {
            (false, inner)
        } else {
            return Err(shape());
        };
        let range = match inner.split_once(',') {
            None if low_inclusive && high_inclusive => {
                let exact = bound(inner, true)?.ok_or_else(shape)?;
                Self {
                    low: Some(exact.clone()),
                    high: Some(exact),
                }
            }
            None => return Err(shape()),
            Some((_, high)) if high.contains(',') => return Err(shape()),
            Some((low, high)) if low.trim().is_empty() && high.trim().is_empty() => {
                return Err(RangeError::Boundless {
                    text: trimmed.to_owned(),
                });
            }
            Some((low, high)) => Self {
                low: bound(low, low_inclusive)?,
                high: bound(high, high_inclusive)?,
            },
        };
        if let (Some(low), Some(high)) = (&range.low, &range.high) {
            let both = low.inclusive && high.inclusive;
            if low.version > high.version || (low.version == high.version && !both) {
                return Err(RangeError::Empty {
                    text: trimmed.to_owned(),
                });
            }
        }
        Ok(range)
    }

    /// Whether a version lies in it.
    pub fn contains(&self, version: &Version) -> bool {
        let above = self
            .low
            .as_ref()
            .is_none_or(|low| *version > low.version || (low.inclusive && *version == low.version));
        let below = self.high.as_ref().is_none_or(|high| {
            *version < high.version || (high.inclusive && *version == high.version)
        });
        above && below
    }
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

//! How a use case is refused. `api::error` turns each into its HTTP answer, in one place.

use std::error::Error as StdError;

/// Why a use case did nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody, or nobody that is known.
    #[error("{detail}")]
    Unauthenticated {
        /// What was wrong with the key.
        detail: String,
    },
    /// Somebody who may not.
    #[error("{detail}")]
    Forbidden {
        /// Who may not do what.
        detail: String,
    },
    /// Something that was named does not exist.
    #[error("there is no {kind} '{name}'{}", .suggestion.as_ref().map(|s| format!("; did you mean '{s}'?")).unwrap_or_default())]
    NotFound {
        /// Its kind.
        kind: &'static str,
        /// The name as it was given.
        name: String,
        /// The name that was probably meant.
        suggestion: Option<String>,
        /// What to type next.
        help: String,
    },
    /// It exists already and is something else.
    #[error("{detail}")]
    Exists {
        /// Stable, for programs.
        code: &'static str,
        /// What exists.
        detail: String,
        /// What to type next.
        help: String,
    },
    /// A rule forbids it as things stand.
    #[error("{detail}")]
    Refused {
        /// Stable, for programs.
        code: &'static str,
        /// What was refused.
        detail: String,
        /// Every reason.
        reasons: Vec<String>,
        /// What to type next.
        help: String,
    },
    /// What was given cannot be meant.
    #[error("{detail}")]
    Invalid {
        /// Stable, for programs.
        code: &'static str,
        /// What is wrong.
        detail: String,
        /// Every single fault.
        reasons: Vec<String>,
        /// What to type next.
        help: String,
    },
    /// The server's disk is full.
    #[error("{detail}")]
    StorageFull {
        /// What could not be written.
        detail: String,
    },
    /// The server cannot now; trying again may help.
    #[error("{detail}")]
    Unavailable {
        /// Why.
        detail: String,
    },
    /// A fault of ours or of what we stand on.
    #[error("an internal error in {operation}")]
    Internal {
        /// What was being done.
        operation: &'static str,
        /// The cause, for the log.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// What a use case answers.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A fault that is not the caller's.
    pub fn internal(
        operation: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::Internal {
            operation,
            source: source.into(),
        }
    }

    /// Input that cannot be meant.
    pub fn invalid(code: &'static str, detail: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Invalid {
            code,
            detail: detail.into(),
            reasons: Vec::new(),
            help: help.into(),
        }
    }

    /// A rule forbids it.
    pub fn refused(code: &'static str, detail: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused {
            code,
            detail: detail.into(),
            reasons: Vec::new(),
            help: help.into(),
        }
    }

    /// Something that was named does not exist; suggests the nearest of what does.
    pub fn not_found<'a>(
        kind: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
        help: impl Into<String>,
    ) -> Self {
        Self::NotFound {
            kind,
            name: name.to_owned(),
            suggestion: nearest(name, known),
            help: help.into(),
        }
    }
}

/// The known name that was most probably meant, if one is near enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let wanted = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()),
                candidate,
            )
        })
        // One slip for each three letters: 'prodution' finds 'production', 'web' does not find 'db'.
        .filter(|(distance, candidate)| {
            *distance <= (candidate.chars().count().max(3) / 3)
                || (wanted.len() >= 3 && candidate.to_lowercase().starts_with(&wanted))
        })
        .min_by_key(|(distance, candidate)| (*distance, candidate.to_string()))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        let known = ["production", "test", "staging"];
        for (given, expected) in [
            ("prodution", Some("production")),
            ("Production", Some("production")),
            ("prod", Some("production")),
            ("tset", Some("test")),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn a_missing_thing_is_named_with_its_suggestion() {
        let error = Error::not_found("environment", "prodution", ["production"], "");
        assert_eq!(
            error.to_string(),
            "there is no environment 'prodution'; did you mean 'production'?"
        );
    }
}

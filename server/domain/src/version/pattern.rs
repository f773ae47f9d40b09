//! Expressions over the pre-release text of a version, in .NET's dialect (look-around included).

use fancy_regex::{Regex, RegexBuilder};

use mantle_template::dotnet_regex::translate;

use super::Version;

/// Steps of backtracking before a match is given up: far more than any honest expression needs on
/// a text of at most 250 characters, and milliseconds at most.
const BACKTRACK_LIMIT: usize = 100_000;
/// The most memory that a compiled expression may take.
const COMPILED_SIZE_BYTES: usize = 1024 * 1024;
/// Longer expressions are a mistake.
const MAX_LENGTH: usize = 1000;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct PrereleasePattern {
    regex: Regex,
    text: String,
}

/// An expression that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It cannot be read.
    #[error("the pre-release expression '{text}' cannot be read: {why}")]
    Unreadable {
        /// What was given, shortened.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// It takes too long.
    #[error("the pre-release expression '{text}' takes too long on '{version}'; make it simpler")]
    TooSlow {
        /// The expression.
        text: String,
        /// The version that it was tried on.
        version: String,
    },
}

impl PrereleasePattern {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let unreadable = |why: String| PatternError::Unreadable {
            text: text.chars().take(80).collect(),
            why,
        };
        if text.len() > MAX_LENGTH {
            return Err(unreadable("it is longer than 1000 characters".to_owned()));
        }
        let regex = RegexBuilder::new(&translate(text, false))
            .backtrack_limit(BACKTRACK_LIMIT)
            .delegate_size_limit(COMPILED_SIZE_BYTES)
            .build()
            .map_err(|error| unreadable(error.to_string()))?;
        Ok(Self {
            regex,
            text: text.to_owned(),
        })
    }

    /// What an expression is matched against: `rc.1+sha.5` of `1.0-rc.1+sha.5`.
    pub fn subject(version: &Version) -> String {
        let mut subject = version.prerelease().to_owned();
        if !version.metadata().is_empty() {
            subject.push('+');
            subject.push_str(version.metadata());
        }
        subject
    }

    /// Whether it matches anywhere in the pre-release text together with `+metadata`.
    pub fn accepts(&self, version: &Version) -> Result<bool, PatternError> {
        self.regex
            .is_match(&Self::subject(version))
            .map_err(|_| PatternError::TooSlow {
                text: self.text.chars().take(80).collect(),
                version: version.to_string(),
            })
    }
}

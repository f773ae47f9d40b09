//! How a use case is refused. `api::error` turns each into its HTTP answer, in one place.

use std::error::Error as StdError;

use mantle_domain::explain::{self, Refusal};
use mantle_domain::interruption::CannotAnswer;

use crate::store::StoreError;

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
        /// What to type next.
        help: String,
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
    /// Things that were named do not exist; a rule of the domain says so in its words.
    #[error("{detail}")]
    Missing {
        /// What does not exist.
        detail: String,
        /// Every reason.
        reasons: Vec<String>,
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
    /// It is larger than the server takes.
    #[error("{detail}")]
    TooLarge {
        /// What, and how large it may be.
        detail: String,
        /// What to do instead.
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
    /// The transaction collided with another; nothing of it was kept, and it may be done again.
    #[error("{detail}")]
    Collision {
        /// What the database said.
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

/// The known name that was most probably meant, if one is near enough or begins like it.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    explain::nearest(name, known.iter().copied()).or_else(|| {
        let lower = name.to_lowercase();
        let mut longer = known
            .iter()
            .filter(|known| name.len() >= 3 && known.to_lowercase().starts_with(&lower));
        longer.next().map(|known| (*known).to_owned())
    })
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSpace(_) => Self::StorageFull {
                detail: "the server's disk is full: nothing was changed".to_owned(),
            },
            error @ StoreError::Busy(_) if error.is_collision() => Self::Collision {
                detail: error.to_string(),
            },
            StoreError::Busy(_) | StoreError::Unavailable(_) => Self::Unavailable {
                detail: error.to_string(),
            },
            // Services look before they write; what still conflicts was changed in between.
            StoreError::Conflict { what } => Self::refused(
                "changed-meanwhile",
                format!("the {what} was changed by somebody else at the same moment"),
                "look at it again, then run the command again",
            ),
            StoreError::NotFound { what } => Self::NotFound {
                kind: what,
                name: String::new(),
                suggestion: None,
                help: "it was removed meanwhile".to_owned(),
            },
            error @ (StoreError::Corrupt { .. }
            | StoreError::Aborted
            | StoreError::Statement(_)) => Self::internal("the database", error),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::from(vec![refusal])
    }
}

impl From<Vec<Refusal>> for Error {
    /// One refusal speaks for itself; several are listed. The kind of the first decides what the
    /// answer is.
    fn from(refusals: Vec<Refusal>) -> Self {
        let Some(first) = refusals.first() else {
            return Self::internal("a rule", "it refused without a reason");
        };
        let (detail, help) = match refusals.as_slice() {
            [one] => (one.message(), one.next().unwrap_or_default()),
            many => (
                format!("{} things stand in the way", many.len()),
                String::new(),
            ),
        };
        let reasons = match refusals.as_slice() {
            [_] => Vec::new(),
            many => many.iter().map(ToString::to_string).collect(),
        };
        match kind(first) {
            Kind::Forbidden => Self::Forbidden { detail, help },
            Kind::Missing => Self::Missing {
                detail,
                reasons,
                help,
            },
            Kind::Exists(code) => Self::Exists { code, detail, help },
            Kind::Invalid(code) => Self::Invalid {
                code,
                detail,
                reasons,
                help,
            },
            Kind::Refused(code) => Self::Refused {
                code,
                detail,
                reasons,
                help,
            },
        }
    }
}

enum Kind {
    Forbidden,
    Missing,
    Exists(&'static str),
    Invalid(&'static str),
    Refused(&'static str),
}

fn kind(refusal: &Refusal) -> Kind {
    match refusal {
        Refusal::Forbidden { .. }
        | Refusal::CannotAnswer(CannotAnswer::NotInTeam { .. } | CannotAnswer::FourEyes { .. }) => {
            Kind::Forbidden
        }
        Refusal::CannotAnswer(
            CannotAnswer::AnswerNotOffered { .. } | CannotAnswer::NotesTooLong { .. },
        ) => Kind::Invalid("not-offered"),
        Refusal::CannotAnswer(CannotAnswer::AnsweredBefore { .. }) => {
            Kind::Refused("answered-before")
        }
        Refusal::CannotAnswer(CannotAnswer::TakenByAnother { .. }) => {
            Kind::Refused("taken-by-another")
        }
        Refusal::CannotAnswer(CannotAnswer::Closed { .. }) => Kind::Refused("interruption-over"),
        Refusal::UnknownEnvironment { .. }
        | Refusal::UnknownProject { .. }
        | Refusal::UnknownRelease { .. }
        | Refusal::UnknownTarget { .. }
        | Refusal::UnknownStep { .. }
        | Refusal::UnknownChannel { .. }
        | Refusal::UnknownPackage { .. }
        | Refusal::PackageMissing { .. }
        | Refusal::PackageVersionMissing { .. }
        | Refusal::UnknownSecret { .. }
        | Refusal::UnknownVariableSet { .. }
        | Refusal::UnknownVariable { .. }
        | Refusal::NoSuchVariable { .. }
        | Refusal::NoSuchSnapshot { .. } => Kind::Missing,
        Refusal::VersionExists { .. } => Kind::Exists("release-exists"),
        Refusal::BadVersion { .. } => Kind::Invalid("bad-version"),
        Refusal::BadRule { .. } => Kind::Invalid("bad-rule"),
        Refusal::BadTemplate { .. } => Kind::Invalid("bad-template"),
        Refusal::Tie(_) => Kind::Invalid("tie"),
        Refusal::BadField { .. } => Kind::Invalid("bad-field"),
        Refusal::TooMuchWork { .. } => Kind::Invalid("too-much-work"),
        Refusal::Unjudgeable { .. } => Kind::Invalid("condition-unjudgeable"),
        Refusal::BadComment { .. } => Kind::Invalid("bad-comment"),
        Refusal::BadSchedule { .. } => Kind::Invalid("bad-schedule"),
        Refusal::ReleaseBlocked { .. } => Kind::Refused("release-blocked"),
        Refusal::ChannelAmbiguous { .. } => Kind::Refused("channel-ambiguous"),
        Refusal::PlanChanged { .. } => Kind::Refused("plan-changed"),
        Refusal::BadAnswer { .. } => Kind::Invalid("bad-answer"),
        Refusal::NotPrompted { .. } => Kind::Invalid("not-prompted"),
        Refusal::PromptsUnanswered { .. } => Kind::Refused("prompts-unanswered"),
        Refusal::NotInLifecycle { .. } => Kind::Refused("not-in-lifecycle"),
        Refusal::PhaseNotReached { .. } => Kind::Refused("phase-not-reached"),
        Refusal::NoTargetInEnvironment { .. } | Refusal::NoTargetForStep { .. } => {
            Kind::Refused("no-target")
        }
        // Nobody named the tag now: the release does, and the targets of this moment lack it.
        Refusal::UnknownTag { .. } => Kind::Refused("unknown-tag"),
        Refusal::NoExecutor { .. } => Kind::Refused("no-executor"),
        Refusal::NotJoined { .. } => Kind::Refused("not-joined"),
        Refusal::TargetDisabled { .. } => Kind::Refused("target-disabled"),
        Refusal::TargetInMaintenance { .. } => Kind::Refused("target-in-maintenance"),
        Refusal::TargetUnhealthy { .. } => Kind::Refused("target-unhealthy"),
        Refusal::AgentOffline { .. } => Kind::Refused("agent-offline"),
        Refusal::ActionUnsupported { .. } => Kind::Refused("action-unsupported"),
        Refusal::ArchiveNotInRelease { .. } => Kind::Refused("archive-not-in-release"),
        Refusal::InputUnsupported { .. } => Kind::Refused("input-unsupported"),
        Refusal::ShellMissing { .. } => Kind::Refused("shell-missing"),
        Refusal::NothingToDo { .. } => Kind::Refused("nothing-to-do"),
        Refusal::RequiredStep { .. } => Kind::Refused("step-required"),
        Refusal::PackageForLinux { .. } => Kind::Refused("package-for-linux"),
        Refusal::NeedsServerWorker { .. } => Kind::Refused("needs-server-worker"),
        Refusal::PackageNotInRelease { .. } => Kind::Refused("package-not-in-release"),
        Refusal::NoPackageForChannel { .. } => Kind::Refused("no-package-for-channel"),
        Refusal::ChannelRuleBroken { .. } => Kind::Refused("channel-rule-broken"),
    }
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

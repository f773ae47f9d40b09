//! Health check scripts: what they are, which targets they are about, when one is due, and what a
//! target's health is.
//!
//! A target's health rests on its agent's standing connection first: one that is away is unavailable,
//! whatever a script found before. Of a target that is there every check that is about it counts, the
//! worst of them. A check that never ran says nothing; one that ended without an answer makes the
//! health unknown, never healthy.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::target::{Platform, TargetFacts};

mod findings;
mod run;

pub use findings::{Finding, findings};
pub use run::{HealthOrder, Uncheckable, plan, process};

#[cfg(test)]
mod tests;

/// How long a script may take when its check does not say.
pub const DEFAULT_TIMEOUT_MS: u64 = 60 * 1000;
/// The longest that a check may allow: a check that takes longer is no check.
pub const LONGEST_TIMEOUT_MS: u64 = 60 * 60 * 1000;
/// The shortest time between two runs: a script that is started more often is a load of its own.
pub const SHORTEST_INTERVAL_MS: u64 = 5 * 1000;
/// So many tasks of a check are kept once they are over.
pub const KEPT_TASKS: u32 = 20;

/// A health check as files declare it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheckDefinition {
    /// Its name.
    pub name: String,
    /// What it looks at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Only targets with one of these tags, sorted; empty means whatever their tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Only targets in one of these environments, sorted; empty means wherever they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
    /// What runs on Linux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux: Option<String>,
    /// What runs on Windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<String>,
    /// How often it runs by itself; `None` is only by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// A script is ended after this long, and its target is unhealthy.
    pub timeout_ms: u64,
    /// What it does about targets in maintenance.
    #[serde(default, skip_serializing_if = "InMaintenance::is_default")]
    pub maintenance: InMaintenance,
}

/// What a check does about targets in maintenance.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum InMaintenance {
    /// It runs on them as on any other.
    #[default]
    Check,
    /// It leaves them out.
    Skip,
}

impl InMaintenance {
    /// It is what holds where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl HealthCheckDefinition {
    /// It is about a target with these tags in these environments.
    pub fn is_about(&self, tags: &[String], environments: &[String]) -> bool {
        let one_of = |wanted: &[String], own: &[String]| {
            wanted.is_empty() || own.iter().any(|name| wanted.contains(name))
        };
        one_of(&self.tags, tags) && one_of(&self.environments, environments)
    }

    /// The script of a platform.
    pub fn script(&self, platform: Platform) -> Option<&str> {
        match platform {
            Platform::Linux => self.linux.as_deref(),
            Platform::Windows => self.windows.as_deref(),
        }
    }

    /// A run of it would be about a target as it stands, were its agent there.
    pub fn may_check(&self, target: &TargetFacts) -> bool {
        let agent = target.agent.as_ref();
        let has_script = agent.is_some_and(|agent| self.script(agent.platform).is_some());
        let in_maintenance =
            target.maintenance.is_some() && self.maintenance == InMaintenance::Skip;
        has_script
            && !target.disabled
            && !in_maintenance
            && self.is_about(&target.tags, &target.environments)
    }

    /// It is to run by itself now. One whose times passed while nobody looked is due once.
    pub fn is_due(&self, last: Option<Timestamp>, now: Timestamp) -> bool {
        let Some(every_ms) = self.every_ms else {
            return false;
        };
        let every = SignedDuration::from_millis(i64::try_from(every_ms).unwrap_or(i64::MAX));
        // A clock that was set back must not keep it from running until it has caught up.
        last.is_none_or(|last| last > now || now.duration_since(last) >= every)
    }
}

/// What a script found about a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStatus {
    /// It ended with exit code 0.
    Healthy,
    /// It did, and printed a warning.
    HealthyWithWarnings,
    /// What it found is not known: nothing was run, or nobody said how it ended.
    Unknown,
    /// It ended with another exit code, or not in time.
    Unhealthy,
}

impl CheckStatus {
    /// The word in JSON, the database and for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::HealthyWithWarnings => "healthy-with-warnings",
            Self::Unknown => "unknown",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Reads the word back.
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [
            Self::Healthy,
            Self::HealthyWithWarnings,
            Self::Unknown,
            Self::Unhealthy,
        ];
        all.into_iter().find(|status| status.word() == word)
    }
}

/// The finding that a target's health goes by: the worst, of those the one that has stood longest.
pub fn worst<T>(
    found: impl IntoIterator<Item = T>,
    of: impl Fn(&T) -> (CheckStatus, i64),
) -> Option<T> {
    found.into_iter().max_by_key(|one| {
        let (status, since_us) = of(one);
        (status, std::cmp::Reverse(since_us))
    })
}

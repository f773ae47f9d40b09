//! The deployment process: steps, and the actions of each.
//!
//! This is the normal form: the shorthand of project files (a step that is its own single action)
//! is gone, every default is filled in. It is what a release's process snapshot holds, so fields
//! are only ever added, with a default that means what their absence meant.

use std::collections::BTreeSet;

use mantle_shared::lock::Lock;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::plan::Eyes;
use crate::target::Platform;

/// An action's own time limit when none is given: an hour, never "never".
pub const DEFAULT_ACTION_TIMEOUT_MS: u64 = 60 * 60 * 1000;
/// How long a manual action waits for people when nothing is given: longer than a weekend with
/// holidays around it.
pub const DEFAULT_ANSWER_TIMEOUT_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// How long a process has between the request to stop and the kill.
pub const DEFAULT_GRACE_MS: u64 = 10 * 1000;
/// The tag of the targets that run the steps without targets, each of which runs once.
pub const WORKER_TAG: &str = "server-worker";
/// The most targets of one step at work at once when the step does not roll.
pub const DEFAULT_PARALLELISM: u32 = 10;

/// All steps, in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Process {
    /// The steps.
    pub steps: Vec<Step>,
    /// How long its deployments may take.
    #[serde(default, skip_serializing_if = "Timeouts::is_default")]
    pub timeouts: Timeouts,
    /// What becomes of targets that are away when a deployment is planned.
    #[serde(default, skip_serializing_if = "Unavailable::is_default")]
    pub unavailable: Unavailable,
    /// What becomes of targets that are unhealthy when a deployment is planned.
    #[serde(default, skip_serializing_if = "Unhealthy::is_default")]
    pub unhealthy: Unhealthy,
    /// Whether a failure asks a person; `None` is as the environment has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guided_failure: Option<bool>,
}

/// What becomes of a target that is away when a deployment is planned.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Unavailable {
    /// There is no deployment while it is.
    #[default]
    Fail,
    /// It is left out, and the deployment's manifest says so.
    Skip,
}

impl Unavailable {
    /// It is what holds where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of a target that is unhealthy by a check when a deployment is planned.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Unhealthy {
    /// It takes part as any other: a deployment may be what cures it.
    #[default]
    Deploy,
    /// It is left out, and the deployment's manifest says so.
    Skip,
    /// There is no deployment while it is.
    Fail,
}

impl Unhealthy {
    /// It is what holds where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The word in files and for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Skip => "skip",
            Self::Fail => "fail",
        }
    }
}

/// How long a deployment may take. What is not said here is as the server has it, never endless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timeouts {
    /// For all packages to be on their targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages_ms: Option<u64>,
    /// From its begin to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_ms: Option<u64>,
}

impl Timeouts {
    /// Nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where and when: which targets, which window, under which condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its name, unique in the process.
    pub name: String,
    /// Which targets it is about; `None` for a step that runs once, on no target.
    pub targets: Option<TargetSelector>,
    /// How many targets at once go through the whole step; `None` if it does not roll.
    pub rolling: Option<Rolling>,
    /// The most targets at work at once.
    pub max_parallel: u32,
    /// Whether it runs, judged when its turn comes.
    pub run: RunCondition,
    /// Where it applies at all, judged at plan.
    pub when: When,
    /// When its turn comes.
    #[serde(default, skip_serializing_if = "Start::is_default")]
    pub start: Start,
    /// Nobody may leave it out: no option of a deployment, and nobody who is asked about a failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// It is stopped after this long, with all that it is about; `None` is as the server has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What becomes of targets that are away; `None` is as the project has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<Unavailable>,
    /// What becomes of targets that are unhealthy; `None` is as the project has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<Unhealthy>,
    /// What it does, in order.
    pub actions: Vec<Action>,
}

impl Step {
    /// Nobody may leave it out: it says so, or it asks others than the one who deploys, which is not
    /// to be got around.
    pub fn is_required(&self) -> bool {
        let asks_others = |action: &Action| {
            crate::action::ask(action).is_some_and(|ask| {
                !ask.teams.is_empty() || ask.approvals > 1 || ask.eyes == Eyes::Four
            })
        };
        self.required || self.actions.iter().any(asks_others)
    }
}

/// When a step's turn comes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// When everything before it is over.
    #[default]
    AfterPrevious,
    /// Together with the step before it. Such steps in a row are one group with the first that is
    /// none; the next that waits waits for all of them.
    WithPrevious,
}

impl Start {
    /// It is what holds where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What: one unit of work of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Its name, unique in the process; output variables are addressed by it.
    pub name: String,
    /// The action type, such as `script`.
    pub uses: String,
    /// What the type takes. Texts are templates.
    pub with: Map<String, Value>,
    /// Which targets' agents run it; `None` means the subject's own.
    pub run_on: Option<TargetSelector>,
    /// Whether it runs for a subject, judged when its turn comes.
    pub run: RunCondition,
    /// Where it applies at all, judged at plan.
    pub when: When,
    /// It is stopped after this long.
    pub timeout_ms: u64,
    /// Between the request to stop and the kill.
    pub grace_ms: u64,
    /// How often and how soon a failed attempt is repeated.
    pub retries: Retries,
    /// Which secrets it may see beside those that its inputs reach.
    pub secrets: SecretAccess,
    /// It stays in the process but never runs.
    pub disabled: bool,
    /// What it holds on its executor in place of what its type holds on the target as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locks: Option<Vec<Lock>>,
}

/// Which targets, by tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetSelector {
    /// Targets with this tag.
    pub tag: String,
    /// All of them, or the first by name.
    #[serde(default)]
    pub pick: Pick,
}

/// How many of the targets that a selector finds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Pick {
    /// Every one.
    #[default]
    All,
    /// The first available, by name.
    One,
}

/// How a step rolls over its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolling {
    /// How many targets are inside the step at once.
    pub window: Window,
    /// So many targets may fail, and the step has not failed; `None` is none at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failed: Option<Window>,
    /// After the first target a person is asked whether to go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pause_after_first: bool,
    /// What becomes of the targets that wait once more have failed than may.
    #[serde(default, skip_serializing_if = "OnFailure::is_default")]
    pub on_failure: OnFailure,
}

impl Rolling {
    /// A window and nothing else.
    pub fn of(window: Window) -> Self {
        Self {
            window,
            max_failed: None,
            pause_after_first: false,
            on_failure: OnFailure::default(),
        }
    }
}

/// What becomes of the targets that wait once more have failed than may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// They are not begun.
    #[default]
    Stop,
    /// They are gone through all the same.
    Continue,
    /// They are not begun, and what was done about the others is undone, the last first.
    Rollback,
}

impl OnFailure {
    /// It is what holds where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A number of targets, or a share of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// So many targets.
    Targets(u32),
    /// So many of a hundred.
    Percent(u32),
}

impl Window {
    /// How many of so many targets are inside at once: a share is rounded up, one at least.
    pub fn size(self, of: usize) -> u32 {
        match self {
            Self::Targets(count) => count,
            Self::Percent(percent) => whole(share(of, percent).div_ceil(100)).max(1),
        }
    }

    /// How many of so many targets may fail: a share is rounded down, for what is not allowed in
    /// full is not allowed.
    pub fn allowance(self, of: usize) -> u32 {
        match self {
            Self::Targets(count) => count,
            Self::Percent(percent) => whole(share(of, percent) / 100),
        }
    }
}

fn share(of: usize, percent: u32) -> u64 {
    u64::try_from(of)
        .unwrap_or(u64::MAX)
        .saturating_mul(u64::from(percent))
}

fn whole(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Whether something runs, given how the deployment stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunCondition {
    /// Only if everything before it went well.
    #[default]
    Success,
    /// Only if something before it failed.
    Failure,
    /// In any case (not after a cancel).
    Always,
    /// If this template is true; evaluated also after a failure.
    Template(String),
}

/// Where a step or action applies. Empty means everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct When {
    /// Only in these environments.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub environments: BTreeSet<String>,
    /// In all but these environments.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub not_environments: BTreeSet<String>,
    /// Only for releases of these channels.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub channels: BTreeSet<String>,
    /// Only for subjects on this platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// How a failed action is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retries {
    /// How many more attempts after the first.
    pub count: u32,
    /// The wait before the first of them.
    pub backoff_ms: u64,
    /// The wait doubles from one to the next, up to this; `None`: it is the same before each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_backoff_ms: Option<u64>,
}

impl Retries {
    /// How long to wait after so many failed attempts: a function of the number alone, so that a
    /// log that is folded again waits as long.
    pub fn wait_ms(&self, failed: u32) -> u64 {
        let Some(most) = self.max_backoff_ms else {
            return self.backoff_ms;
        };
        let doublings = failed.saturating_sub(1);
        let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        self.backoff_ms.saturating_mul(factor).min(most)
    }
}

/// Which secrets an action may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretAccess {
    /// Those that its inputs reach, and these.
    Named(BTreeSet<String>),
    /// Every one of the project. For processes that come from elsewhere; the plan warns.
    All,
}

impl Default for SecretAccess {
    fn default() -> Self {
        Self::Named(BTreeSet::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_cap_or_stays_as_it_is() {
        let waits = |backoff_ms, max_backoff_ms| {
            let retries = Retries {
                count: 9,
                backoff_ms,
                max_backoff_ms,
            };
            [1, 2, 3, 4, 5, 64, 200].map(|failed| retries.wait_ms(failed))
        };
        assert_eq!(waits(5, None), [5; 7]);
        assert_eq!(waits(5, Some(30)), [5, 10, 20, 30, 30, 30, 30]);
        assert_eq!(waits(0, Some(30)), [0; 7]);
        assert_eq!(waits(40, Some(30)), [30; 7]);
        let most = u64::MAX;
        assert_eq!(
            waits(1 << 63, Some(most)),
            [1 << 63, most, most, most, most, most, most]
        );
    }
}

//! How far something is, and why something did not run, in the words of people.

use mantle_shared::protocol::Outcome;
use serde::{Deserialize, Serialize};

use super::event::SkipReason;

/// How far something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its turn has not come.
    Pending,
    /// It waits for its agent, a retry or its turn.
    Waiting,
    /// It is at work.
    Running,
    /// It went well.
    Succeeded,
    /// It did not.
    Failed,
    /// It took too long.
    TimedOut,
    /// It was stopped on request, or never started because of one.
    Cancelled,
    /// It did not have to run.
    Skipped,
    /// Nothing was run.
    NotStarted,
    /// The machine went down under it.
    Interrupted,
    /// What it did is not known.
    Unknown,
    /// It could not be stopped.
    Abandoned,
}

impl From<Outcome> for Status {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Failed => Self::Failed,
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::NotStarted => Self::NotStarted,
            Outcome::Interrupted => Self::Interrupted,
            Outcome::Unknown => Self::Unknown,
            Outcome::Abandoned => Self::Abandoned,
        }
    }
}

impl SkipReason {
    /// The reason, for people.
    pub fn sentence(&self) -> String {
        match self {
            Self::NotApplicable { detail } => detail.clone(),
            Self::EarlierFailure => "something before it failed".to_owned(),
            Self::NoFailure => "it runs on failure only, and nothing failed".to_owned(),
            Self::Condition { template } => format!("its condition is not true: {template}"),
            Self::Unjudgeable { template, why } => {
                format!("its condition '{template}' cannot be judged: {why}")
            }
            Self::Cancelled => "the deployment was cancelled".to_owned(),
            Self::StepTimedOut => "the step ran out of time".to_owned(),
            Self::DeploymentTimedOut => "the deployment ran out of time".to_owned(),
            Self::SetAside { step } => format!("it failed in '{step}' and was set aside"),
            Self::Excluded { by } => format!("{by} said to go on without it"),
            Self::NotGoneOn => "nobody let the step go on after its first target".to_owned(),
            Self::NothingToUndo => "there is nothing to roll back".to_owned(),
            Self::Untouched => "what it would undo was not done".to_owned(),
        }
    }
}

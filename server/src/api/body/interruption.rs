//! Interruptions: what deployments ask people. And teams, whose members answer.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that a deployment asks a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Interruption {
    /// Its name, such as `T-12.1`.
    pub id: String,
    /// The task's number.
    pub task: String,
    /// The project's slug.
    pub project: String,
    /// The release's version.
    pub version: String,
    /// The environment.
    pub environment: String,
    /// What kind of question it is.
    pub kind: InterruptionKind,
    /// The step that it is about.
    pub step: String,
    /// The action; empty if it is about the step.
    pub action: String,
    /// The target; empty if it is about none.
    pub target: String,
    /// The target whose agent ran the action; empty if none did.
    pub executor: String,
    /// What it waits for, in a sentence without a subject.
    pub question: String,
    /// What to look at before answering; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    /// What may be answered.
    pub choices: Vec<String>,
    /// The teams whose members may answer; empty for whoever may answer anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
    /// How many people must let it go on.
    pub approvals: u32,
    /// Those who have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<String>,
    /// This one may not: it is who deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_by: Option<String>,
    /// When it was raised.
    pub raised_at: Timestamp,
    /// It is over if nobody has answered by then.
    pub deadline: Timestamp,
    /// Who takes care of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_by: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Timestamp>,
    /// What was answered, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<InterruptionGiven>,
    /// How it stands.
    pub state: InterruptionState,
    /// What became of it, in a sentence; empty while it is open.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outcome: String,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
}

/// What kind of question it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InterruptionKind {
    /// An action did not go well: what becomes of it?
    Failure,
    /// A manual action: may it go on?
    Manual,
    /// A rolling step went through its first target: does it go on?
    Pause,
}

/// How an interruption stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InterruptionState {
    /// It waits.
    Open,
    /// It was answered.
    Answered,
    /// Nobody answered in time.
    Expired,
    /// Its task was asked to stop.
    Cancelled,
    /// What it was about is of no concern any more.
    Moot,
}

impl InterruptionState {
    /// The word in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Moot => "moot",
        }
    }
}

/// An answer that somebody gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InterruptionGiven {
    /// Who.
    pub by: String,
    /// What.
    pub answer: String,
    /// What they said about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// When.
    pub at: Timestamp,
}

/// Answers an interruption.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InterruptionAnswer {
    /// One of its choices.
    pub answer: String,
    /// What is to be said about it, at most 2000 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
}

/// An answer was taken.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InterruptionAnswered {
    /// The interruption, with the answer.
    pub interruption: Interruption,
    /// How many more people must let it go on; 0 if it is decided.
    pub missing: u32,
}

/// A team, with its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Team {
    /// Its name.
    pub name: String,
    /// The keys in it.
    pub members: Vec<TeamMember>,
}

/// A key in a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TeamMember {
    /// The key's name.
    pub key: String,
    /// It was made with this team, which says what it may do.
    pub own: bool,
    /// Since when.
    pub since: Timestamp,
    /// Who put it there.
    pub added_by: String,
}

/// Puts a key into a team.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamAdd {
    /// The key's name.
    pub key: String,
}

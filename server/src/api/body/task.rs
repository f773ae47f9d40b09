//! Tasks: how they stand, what happens in them, what they print.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mantle_shared::ids::TaskId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Anything queued.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: TaskId,
    /// Its number for people, such as `T-1042`.
    pub number: String,
    /// `deployment`, `health-check`, ...
    pub kind: String,
    /// What it does, in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The project's slug.
    pub project: String,
    /// The release's version.
    pub version: String,
    /// The environment.
    pub environment: String,
    /// How it stands.
    pub state: TaskState,
    /// It went on, but something in it is worth a look.
    #[serde(default)]
    pub warnings: bool,
    /// Why it ended as it did, in a sentence; may be empty.
    #[serde(default)]
    pub message: String,
    /// While it is queued: the number of the task that deploys the same project into the same
    /// environment and that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<String>,
    /// How urgent it is.
    #[serde(default, skip_serializing_if = "TaskPriority::is_normal")]
    pub priority: TaskPriority,
    /// While it is queued: its place in the queue, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// While it is queued, or runs and nothing but a person or room on the server's disk is awaited: what
    /// it waits for, in a sentence that follows its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// It waits for room on the server's disk; `waiting` says where.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_room: bool,
    /// It does not begin before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// If it has not begun by then it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was queued.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When its log was removed, as the server's rules have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_removed_at: Option<Timestamp>,
}

impl Task {
    /// What it deploys, or does.
    pub fn what(&self) -> String {
        match self.project.as_str() {
            "" => self.title.clone(),
            project => format!("{project} {}", self.version),
        }
    }

    /// The same, and where.
    pub fn what_and_where(&self) -> String {
        match self.environment.as_str() {
            "" => self.what(),
            environment => format!("{} -> {environment}", self.what()),
        }
    }
}

/// How urgent a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TaskPriority {
    /// As any other.
    #[default]
    Normal,
    /// Before those that are not.
    High,
}

impl TaskPriority {
    /// Nothing was asked.
    pub fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    /// It waits for its turn.
    Queued,
    /// It is under way.
    Running,
    /// It was asked to stop and has not yet.
    Cancelling,
    /// It did what it should.
    Succeeded,
    /// It did not.
    Failed,
    /// It was stopped because somebody asked for it.
    Cancelled,
    /// Its time was up, before it began or while it ran.
    TimedOut,
}

impl TaskState {
    /// Nothing more will happen.
    pub fn is_over(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Cancelling => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut => true,
        }
    }

    /// The word in JSON and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed-out",
        }
    }
}

/// A task with the matrix of its steps and targets.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TaskDetail {
    /// The task.
    #[serde(flatten)]
    pub task: Task,
    /// The steps; empty until it has begun.
    pub steps: Vec<StepView>,
    /// The packages that have to be on a target before the first step begins, one entry a target
    /// whose agent fetches any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackagesView>,
    /// The last event that this picture contains: follow the events after it.
    pub last_event: u64,
    /// What is worth a look, if `warnings` is set: the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warned: Vec<TaskWarning>,
    /// What its steps found worth highlighting: the first of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub highlights: Vec<TaskWarning>,
    /// The targets that take no part although a step would be about them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<super::LeftOutTarget>,
    /// The digest of the manifest of what it used, once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// What whoever asked for it said about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Its own fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// What nobody knows the end of, and a person may resolve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unresolved: Vec<super::UnresolvedAttempt>,
    /// What it asked people, and what became of that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interruptions: Vec<super::Interruption>,
}

/// Something in a task that is worth a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskWarning {
    /// The target that it is about; empty for one of the plan's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// The action; empty for one of the plan's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// What it is.
    pub text: String,
}

/// What a target's agent fetches before the first step begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PackagesView {
    /// The target's name.
    pub target: String,
    /// How it stands.
    pub state: WorkState,
    /// Bytes that are there, while they are on their way and the agent says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_bytes: Option<u64>,
    /// Bytes in all, while they are on their way and the agent says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// Why it waits or failed, or what it came to; may be empty.
    #[serde(default)]
    pub message: String,
}

/// One step of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// From 1.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: WorkState,
    /// Why it does not apply; may be empty.
    #[serde(default)]
    pub message: String,
    /// The targets that it is about, in order.
    pub targets: Vec<SubjectView>,
}

/// A target's way through a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubjectView {
    /// The target's name.
    pub target: String,
    /// How it stands.
    pub state: WorkState,
    /// When it entered the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The actions about it, one entry for each executor.
    pub actions: Vec<ActionView>,
}

/// One action about one target on one executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionView {
    /// Its name.
    pub name: String,
    /// Its type.
    pub uses: String,
    /// The target whose agent runs it.
    pub executor: String,
    /// How it stands.
    pub state: WorkState,
    /// How often it was started.
    pub attempts: u32,
    /// The last attempt's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it failed, waits or was skipped; may be empty.
    #[serde(default)]
    pub message: String,
    /// When it was first started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// It waits for a person: the number of what is asked, within the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interruption: Option<u32>,
    /// What a person said of the last attempt, whose end was not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<super::ActionResolution>,
    /// What its agent said of the last attempt after that had been given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_late: Option<WorkState>,
}

/// How a step, a target's way through it, or an action stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WorkState {
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

impl WorkState {
    /// The word in JSON and lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::NotStarted => "not-started",
            Self::Interrupted => "interrupted",
            Self::Unknown => "unknown",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Something that happened in a task. Only the fields that belong to its kind are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskEvent {
    /// Grows from event to event, not always by 1.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What it is about.
    pub kind: TaskEventKind,
    /// The task's new state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_state: Option<TaskState>,
    /// The step's number, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// The target that the work is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The action's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The target whose agent runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// The new state of the step, the target or the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<WorkState>,
    /// Which attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What is asked, by its number within the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interruption: Option<u32>,
    /// Why, in a sentence; may be empty.
    #[serde(default)]
    pub message: String,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TaskEventKind {
    /// The task as a whole.
    Task,
    /// The packages that a target fetches.
    Packages,
    /// A step.
    Step,
    /// A target's way through a step.
    Target,
    /// One action about one target.
    Action,
    /// Nothing that changes a state.
    Note,
}

/// One line that a task printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Grows from line to line, not always by 1.
    pub seq: u64,
    /// When, by the agent's clock.
    pub at: Timestamp,
    /// The step's number, from 1; 0 for a line of the server's.
    pub step: u32,
    /// The action's name; empty for a line of the server's.
    pub action: String,
    /// The target that the work is about; empty for a line of the server's.
    pub target: String,
    /// The target whose agent runs it; empty for a line of the server's.
    pub executor: String,
    /// Which attempt, from 1; 0 for a line of the server's.
    pub attempt: u32,
    /// Where it came from.
    pub kind: LogKind,
    /// `verbose`, `info`, `highlight`, `warning` or `error`.
    pub level: String,
    /// The text.
    pub text: String,
    /// The line is longer than is kept in one piece, and goes on in the next of its kind.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    /// Of a report of progress, how far the action is, 0 to 100; other lines have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogKind {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The agent or the action itself.
    Agent,
    /// The server.
    Server,
    /// Output that could not be kept.
    Gap,
}

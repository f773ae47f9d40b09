//! Tasks: how they stand, what happens in them, what they print.

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
    /// `deployment`, ...
    pub kind: String,
    /// The project's slug.
    pub project: String,
    /// The release's version.
    pub version: String,
    /// The environment.
    pub environment: String,
    /// How it stands.
    pub state: TaskState,
    /// It ended, with something to look at.
    #[serde(default)]
    pub warnings: bool,
    /// Why it stands so, in a sentence; may be empty.
    #[serde(default)]
    pub message: String,
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
}

impl TaskState {
    /// Nothing more will happen.
    pub fn is_over(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Cancelling => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
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
    /// The last event that this picture contains: follow the events after it.
    pub last_event: u64,
}

/// One step of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// From 1.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Why it does not apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// The targets that it is about, in order.
    pub targets: Vec<String>,
    /// Its actions, in order.
    pub actions: Vec<ActionView>,
}

/// One action of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionView {
    /// Its name.
    pub name: String,
    /// Its type.
    pub uses: String,
    /// About whom and by whom.
    pub nodes: Vec<NodeView>,
}

/// One action about one target on one executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// The target that the work is about.
    pub target: String,
    /// The target whose agent runs it.
    pub executor: String,
    /// How it stands.
    pub state: NodeState,
    /// Which attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// When it left the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why, or what it is doing; may be empty.
    #[serde(default)]
    pub message: String,
}

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Its turn has not come.
    Pending,
    /// Its packages are on the way.
    Acquiring,
    /// It waits for a lock, a retry or its agent.
    Waiting,
    /// It runs.
    Running,
    /// It did what it should.
    Succeeded,
    /// It did not.
    Failed,
    /// It was stopped at its time limit.
    TimedOut,
    /// It was stopped because somebody asked for it.
    Cancelled,
    /// What became of it cannot be known.
    Unknown,
    /// It did not apply, or something before it failed.
    Skipped,
}

impl NodeState {
    /// The word in JSON and lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Acquiring => "acquiring",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
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
    /// What.
    pub kind: TaskEventKind,
    /// The task's new state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_state: Option<TaskState>,
    /// The step's number, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// The action's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The target that the work is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The target whose agent runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// The node's new state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_state: Option<NodeState>,
    /// Which attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
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
    /// A step.
    Step,
    /// One action about one target.
    Node,
    /// Nothing that changes a state: a note.
    Note,
}

/// One line that a task printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Grows from line to line, not always by 1.
    pub seq: u64,
    /// When, by the agent's clock.
    pub at: Timestamp,
    /// The step's number, from 1.
    pub step: u32,
    /// The action's name.
    pub action: String,
    /// The target that the work is about.
    pub target: String,
    /// The target whose agent runs it.
    pub executor: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Where it came from.
    pub kind: LogKind,
    /// `verbose`, `info`, `highlight`, `warning` or `error`.
    pub level: String,
    /// The text.
    pub text: String,
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
    /// Output that could not be kept.
    Gap,
}

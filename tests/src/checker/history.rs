//! What the processes of a run left behind, in a form that is kept and can be read again.
//!
//! Times of steps are seconds since the machine started: one clock for all processes of the run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tentacle::journal::Record;

/// Everything that the checker looks at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    /// Starts of steps, as the steps themselves noted them.
    pub starts: Vec<StepStart>,
    /// Ends of steps, likewise; a step that was killed has none.
    pub ends: Vec<StepEnd>,
    /// What each agent's journal held, by target.
    pub agents: BTreeMap<String, AgentHistory>,
    /// The server's tasks.
    pub tasks: Vec<TaskHistory>,
    /// What each look at the audit trail's chain found.
    pub audits: Vec<AuditCheck>,
    /// The audit trail's rows about tasks.
    pub audit: Vec<AuditRow>,
    /// Processes of steps that were alive when their task was over.
    pub survivors: Vec<Survivor>,
    /// What was seen of installed packages.
    pub packages: Vec<PackageSighting>,
    /// How often an installed package was looked at and found whole.
    pub packages_whole: u64,
    /// Places in which a secret stood in clear.
    pub canaries: Vec<String>,
    /// How much of each resource a process held before and after.
    pub resources: Vec<Resource>,
    /// Processes that ended though nobody killed them.
    pub deaths: Vec<String>,
}

/// A step's script began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepStart {
    /// Its attempt, by the folder that it ran in.
    pub attempt: String,
    /// Its task.
    pub task: String,
    /// Its action.
    pub action: String,
    /// The target that it was about, whose agent ran it.
    pub target: String,
    /// The locks that it holds on its target meanwhile.
    pub locks: Vec<NotedLock>,
    /// Its process.
    pub pid: i32,
    /// When.
    pub at: f64,
}

/// A lock as the script that holds it notes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotedLock {
    /// Its name.
    pub name: String,
    /// Whether others may hold it too, if they share it.
    pub shared: bool,
}

impl NotedLock {
    /// The locks of a note such as `target:x,disk:s` (`x` alone, `s` shared), or of `-` for none.
    /// `None` if it is no such note.
    pub fn all(note: &str) -> Option<Vec<Self>> {
        if note == "-" {
            return Some(Vec::new());
        }
        note.split(',')
            .map(|one| {
                let (name, mode) = one.rsplit_once(':')?;
                let shared = match mode {
                    "s" => true,
                    "x" => false,
                    _ => return None,
                };
                Some(Self {
                    name: name.to_owned(),
                    shared,
                })
            })
            .collect()
    }
}

/// A step's script came to its end, or was asked to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepEnd {
    /// Its attempt.
    pub attempt: String,
    /// The code that it exits with.
    pub code: i32,
    /// So many lines it printed for certain.
    pub lines: u64,
    /// When.
    pub at: f64,
}

/// An agent's journal over all of its lives.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AgentHistory {
    /// The file as it was read, and as it went on. A file that was written anew begins another.
    pub segments: Vec<Segment>,
}

impl AgentHistory {
    /// All records, in order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.segments.iter().flat_map(|segment| &segment.records)
    }
}

/// The records of one file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Segment {
    /// So many of them at the front may be a summary, whose order says nothing.
    pub summary: usize,
    /// The records.
    pub records: Vec<Record>,
}

/// A task as the server tells it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TaskHistory {
    /// Its number.
    pub number: String,
    /// Its project.
    pub project: String,
    /// Its state at the end of the run.
    pub state: String,
    /// Why it ended so.
    pub message: String,
    /// How it ends if nothing but kills, stops and cuts comes in between.
    pub expected: Expected,
    /// Its state when it was first seen to be over.
    #[serde(default)]
    pub first_verdict: Option<String>,
    /// Why it may end otherwise.
    pub excuses: Vec<Excuse>,
    /// A cancel of it was taken in.
    pub cancelled: bool,
    /// The last word on each action about each target.
    pub actions: Vec<ActionEnd>,
    /// What the server says happened, in order.
    pub events: Vec<TaskEvent>,
    /// Its log.
    pub log: Vec<Line>,
}

/// How a task ends by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expected {
    /// It succeeds.
    #[default]
    Succeeds,
    /// One of its steps fails on purpose.
    Fails,
}

/// Why a task may end otherwise than expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Excuse {
    /// It was cancelled.
    Cancelled,
    /// A disk was full meanwhile: nothing is started on a full disk.
    FullDisk,
    /// A supervisor was killed: nobody knows what its step did.
    SupervisorKilled,
    /// A person said how work of it ended, before or after it was over.
    Resolved,
}

/// How an action about a target stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionEnd {
    /// The action.
    pub action: String,
    /// The target.
    pub target: String,
    /// Its state, in the words of the API.
    pub state: String,
    /// How often it was started.
    pub attempts: u32,
    /// The last attempt's exit code.
    pub exit_code: Option<i32>,
    /// Why.
    pub message: String,
    /// How the last attempt ended, by the word of a person.
    #[serde(default)]
    pub resolved: Option<String>,
}

/// An action's change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEvent {
    /// Its number.
    pub seq: u64,
    /// The action.
    pub action: String,
    /// The target.
    pub target: String,
    /// The new state.
    pub state: String,
    /// Which attempt.
    pub attempt: Option<u32>,
}

/// A stored line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number in the task.
    pub seq: u64,
    /// The action.
    pub action: String,
    /// The target.
    pub target: String,
    /// Which attempt.
    pub attempt: u32,
    /// It says that output could not be kept.
    pub gap: bool,
    /// The text.
    pub text: String,
}

/// A look at the audit trail's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCheck {
    /// After what.
    pub after: String,
    /// What is wrong; nothing if it holds.
    pub fault: Option<String>,
    /// How many rows there were.
    pub rows: u64,
}

/// A row of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// What was done.
    pub action: String,
    /// About which task.
    pub task: String,
}

/// A process that should not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survivor {
    /// Its task, which was over.
    pub task: String,
    /// Its attempt.
    pub attempt: String,
    /// The process.
    pub pid: i32,
}

/// An installed package that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSighting {
    /// Where.
    pub path: String,
    /// What is wrong with it.
    pub fault: String,
}

/// How much of something a process held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Which process.
    pub process: String,
    /// Of what.
    pub what: String,
    /// How much before.
    pub before: u64,
    /// How much after.
    pub after: u64,
    /// How much more is allowed.
    pub slack: u64,
}

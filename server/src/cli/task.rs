//! `mantle task`.

use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use mantle_domain::process::WORKER_TAG;

use super::deploy::{WaitArgs, highlights, summary, wait, warned};
use super::exit::{CliResult, Exit, Failure};
use super::live::{harmless, line_text, print_log};
use super::output::{Output, ago, clock, json_line, line_out, or_dash, size};
use crate::api::body::{
    ActionView, LogKind, LogLine, PackagesView, Task, TaskDetail, TaskPriority, TaskResolve,
    TaskState, UnresolvedAttempt, WorkState,
};
use crate::client::Client;

/// What to do with tasks.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the latest tasks
    List {
        /// Only of this project
        #[arg(long)]
        project: Option<String>,
        /// How many
        #[arg(short = 'n', long, default_value_t = 20)]
        limit: u32,
        /// Only those that wait, in the order in which they start
        #[arg(long)]
        queued: bool,
        /// Only those of this kind; by default all but health checks, which come by themselves
        #[arg(long, value_enum, conflicts_with = "queued")]
        kind: Option<Kind>,
    },
    /// Show what waits, in the order in which it starts, and why
    Queue,
    /// Let a task that waits start before all others
    MoveToTop {
        /// The task's number, such as T-12
        task: String,
    },
    /// Show how a task stands, target by target
    Show {
        /// The task's number, such as T-12
        task: String,
    },
    /// Print what a task printed
    Logs {
        /// The task's number, such as T-12
        task: String,
        /// Go on until the task is over
        #[arg(short, long)]
        follow: bool,
        /// Only what comes after this sequence, as JSON shows it
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: u64,
        /// Only about this target
        #[arg(long)]
        target: Option<String>,
    },
    /// Ask a task to stop
    Cancel {
        /// The task's number, such as T-12
        task: String,
    },
    /// Say how work ended of which the server does not know it: its agent is gone for good, lost its
    /// journal, or could not stop it. Look at the machine first
    Resolve {
        /// The task's number, such as T-12
        task: String,
        /// How it ended
        #[arg(long = "as", value_enum, value_name = "END")]
        ended: ResolvedAs,
        /// What you saw; the task and the audit trail keep it
        #[arg(long)]
        reason: String,
        /// Only what is about this target; otherwise all of the task whose end is unknown
        #[arg(long)]
        target: Option<String>,
    },
    /// Watch a task to its end; the exit code is its outcome
    Wait {
        /// The task's number, such as T-12
        task: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// What a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// A release into an environment
    Deployment,
    /// A health check
    HealthCheck,
    /// Whatever there is
    All,
}

/// How work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ResolvedAs {
    /// It did what it was to do: the deployment goes on
    Succeeded,
    /// It did not: the deployment goes on as after any failure
    Failed,
}

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::List {
            project,
            limit,
            queued: true,
            kind: _,
        } => {
            let mut page = client.task_queue().await?;
            let wanted = |task: &Task| project.as_ref().is_none_or(|name| task.project == *name);
            page.items.retain(wanted);
            page.items
                .truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            out.list(&page.items, &QUEUE, queue_row)
        }
        Command::Queue => {
            let page = client.task_queue().await?;
            out.list(&page.items, &QUEUE, queue_row)
        }
        Command::MoveToTop { task } => {
            let task = client.task_move_to_top(&task).await?;
            out.object(&task, |task| {
                let waiting = task.waiting.as_deref().unwrap_or("is at the top");
                vec![format!("{} {waiting}", task.number)]
            })
        }
        Command::List {
            project,
            limit,
            queued: false,
            kind,
        } => {
            let kind = kind.map(|kind| match kind {
                Kind::Deployment => "deployment",
                Kind::HealthCheck => "health-check",
                Kind::All => "all",
            });
            let page = client
                .tasks_of_kind(project.as_deref(), kind, limit)
                .await?;
            let headers = ["task", "what", "environment", "state", "when", "took", "by"];
            out.list(&page.items, &headers, row)
        }
        Command::Show { task } => {
            let detail = client.task(&task).await?;
            out.object(&detail, lines)
        }
        Command::Logs {
            task,
            follow,
            after,
            target,
        } => {
            if let Some(target) = &target {
                known_target(client, &task, target).await?;
            }
            let mut is_empty = true;
            let exit = print_log(client, &task, after, follow, |line| {
                is_empty = false;
                let wanted = target.as_ref().is_none_or(|target| line.target == *target);
                if wanted { print(&line, out) } else { Ok(()) }
            })
            .await?;
            if is_empty && let Some(note) = log_removed(&client.task(&task).await?.task) {
                out.note(&note);
            }
            Ok(exit)
        }
        Command::Cancel { task } => {
            let task = client.task_cancel(&task).await?;
            if task.state == TaskState::Cancelling {
                out.note(
                    "what has not begun does not run, not even what runs always or after a failure",
                );
            }
            out.object(&task, |task| {
                vec![format!("{} {}", task.number, task.state.as_str())]
            })
        }
        Command::Resolve {
            task,
            ended,
            reason,
            target,
        } => {
            let ended = match ended {
                ResolvedAs::Succeeded => "succeeded",
                ResolvedAs::Failed => "failed",
            };
            let request = TaskResolve {
                ended: ended.to_owned(),
                reason,
                target,
            };
            let said = client.task_resolve(&task, &request).await?;
            out.object(&said, |said| {
                let about = said.resolved.iter();
                about
                    .map(|one| format!("{} {} counts as {}", said.task, one.about, one.ended))
                    .collect()
            })
        }
        Command::Wait { task, wait: args } => {
            let detail = client.task(&task).await?;
            wait(&detail.task, &args, client, out).await
        }
    }
}

/// A target that the task is not about would print nothing, which looks like silence.
async fn known_target(client: &Client, task: &str, target: &str) -> Result<(), Failure> {
    let detail = client.task(task).await?;
    let subjects = detail.steps.iter().flat_map(|step| &step.targets);
    let mut names: Vec<&str> = subjects.map(|subject| subject.target.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    // Of a task that has not begun nothing is known.
    if names.is_empty() || names.contains(&target) {
        return Ok(());
    }
    let number = &detail.task.number;
    Err(Failure::new(
        Exit::NotFound,
        format!("{number} is not about a target '{target}'"),
    )
    .with_help(format!("its targets are {}", names.join(", "))))
}

fn print(line: &LogLine, out: Output) -> Result<(), Failure> {
    if out.is_json() {
        // One object a line, so that a program can read while it grows.
        return json_line(&super::output::with_schema(line)?);
    }
    let time = line.at.strftime("%H:%M:%S");
    let style = match (line.kind, line.level.as_str()) {
        (_, "error") => super::output::BAD,
        (LogKind::Gap, _) | (_, "warning") => super::output::WARN,
        (_, "verbose") => super::output::DIM,
        (_, "highlight") => super::output::GOOD,
        _ => anstyle::Style::new(),
    };
    line_out(&format!("{time} {style}{}{style:#}", line_text(line)))
}

/// The columns of the queue.
const QUEUE: [&str; 6] = ["place", "task", "what", "environment", "priority", "it"];

fn queue_row(task: &Task) -> Vec<String> {
    vec![
        task.position.map_or("-".to_owned(), |at| at.to_string()),
        task.number.clone(),
        task.what(),
        task.environment.clone(),
        match task.priority {
            TaskPriority::Normal => "normal".to_owned(),
            TaskPriority::High => "high".to_owned(),
        },
        starts(task).unwrap_or_else(|| task.waiting.clone().unwrap_or_default()),
    ]
}

/// When a scheduled task starts, as tables show times.
fn starts(task: &Task) -> Option<String> {
    let at = task.at.filter(|at| *at > Timestamp::now())?;
    (task.state == TaskState::Queued).then(|| format!("starts {}", ago(at)))
}

fn row(task: &Task) -> Vec<String> {
    let took = match (task.started_at, task.ended_at) {
        (Some(began), Some(ended)) => clock(ended.as_second() - began.as_second()),
        _ => "-".to_owned(),
    };
    vec![
        task.number.clone(),
        task.what(),
        or_dash(Some(task.environment.clone()).filter(|name| !name.is_empty())),
        match (task.state, starts(task)) {
            (_, Some(starts)) => starts,
            (state, None) if task.awaits_room => {
                format!("{}, the server's disk is full", state.as_str())
            }
            (TaskState::Running, None) if task.waiting.is_some() => "waits for a person".to_owned(),
            (state, None) => state.as_str().to_owned(),
        },
        ago(task.created_at),
        took,
        task.created_by.clone(),
    ]
}

/// That a task's log is not there any more, and since when.
fn log_removed(task: &Task) -> Option<String> {
    let at = task.log_removed_at?.strftime("%Y-%m-%d");
    Some(format!(
        "the log of {} was removed on {at}, as the server keeps no more",
        task.number
    ))
}

fn lines(detail: &TaskDetail) -> Vec<String> {
    let mut lines = vec![summary(detail)];
    lines.extend(warned(detail));
    lines.extend(highlights(detail));
    lines.extend(super::interruption::of_task(&detail.interruptions));
    lines.extend(unresolved(&detail.task.number, &detail.unresolved));
    if !detail.left_out.is_empty() {
        let left_out = super::plan::left_out(&detail.left_out);
        lines.push(format!("  left out: {left_out}"));
    }
    if !detail.comment.is_empty() {
        lines.push(format!("comment: {}", harmless(&detail.comment)));
    }
    for (name, value) in &detail.fields {
        lines.push(format!("field {}: {}", harmless(name), harmless(value)));
    }
    lines.extend(log_removed(&detail.task));
    if let Some(digest) = &detail.manifest {
        let number = &detail.task.number;
        lines.push(format!(
            "manifest {}: 'mantle deployment show {number}' prints it",
            digest.get(..12).unwrap_or(digest)
        ));
    }
    lines.extend(packages(detail));
    for step in &detail.steps {
        let why = match step.message.as_str() {
            "" => String::new(),
            message => format!(": {message}"),
        };
        lines.push(format!(
            "  {}. {}  {}{why}",
            step.number,
            step.name,
            step.state.as_str()
        ));
        for subject in &step.targets {
            lines.push(format!(
                "     {}  {}",
                subject.target,
                subject.state.as_str()
            ));
            for action in &subject.actions {
                let on = if action.executor == subject.target {
                    String::new()
                } else {
                    format!(" (on {})", action.executor)
                };
                let why = match action.message.as_str() {
                    "" => String::new(),
                    // The agent has no more to say than the state does.
                    message if message == action.state.as_str() => String::new(),
                    message => format!(": {message}"),
                };
                let took = match (action.started_at, action.ended_at) {
                    (Some(began), Some(ended)) => {
                        format!("  {}", clock(ended.as_second() - began.as_second()))
                    }
                    _ => String::new(),
                };
                lines.push(format!(
                    "       {}{on}  {}{took}{why}",
                    action.name,
                    action.state.as_str()
                ));
                lines.extend(resolution(action));
            }
        }
    }
    lines
}

/// The packages that have to be there before the first step begins, until they are.
fn packages(detail: &TaskDetail) -> Vec<String> {
    let is_there = |one: &PackagesView| one.state == WorkState::Succeeded;
    if detail.packages.iter().all(is_there) {
        return Vec::new();
    }
    let head = "  packages, before the first step:".to_owned();
    let each = detail
        .packages
        .iter()
        .map(|one| format!("     {}", on_the_way(one)));
    std::iter::once(head).chain(each).collect()
}

/// How far a target's packages are.
pub(super) fn on_the_way(one: &PackagesView) -> String {
    let far = match (one.done_bytes, one.total_bytes) {
        (Some(done), Some(total)) => format!("  {} of {}", size(done), size(total)),
        _ => String::new(),
    };
    let why = match one.message.as_str() {
        "" => String::new(),
        message => format!(": {}", harmless(message)),
    };
    format!("{}  {}{far}{why}", one.target, one.state.as_str())
}

/// What was said of an action's end beside what the server decided.
fn resolution(action: &ActionView) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(said) = &action.resolution {
        lines.push(format!(
            "         resolved as {} by {}: {}",
            said.ended,
            said.by,
            harmless(&said.reason)
        ));
    }
    if let Some(late) = action.said_late {
        let is_against = action
            .resolution
            .as_ref()
            .is_some_and(|said| said.contradicted);
        let against = if is_against {
            ", which contradicts that"
        } else {
            ""
        };
        lines.push(format!(
            "         its agent said later: {}{against}",
            late.as_str()
        ));
    }
    lines
}

/// What nobody knows the end of, and what to type if you do.
fn unresolved(task: &str, open: &[UnresolvedAttempt]) -> Vec<String> {
    let mut lines: Vec<String> = open
        .iter()
        .map(|one| {
            let how = match one.state {
                WorkState::Abandoned => "could not be stopped",
                WorkState::Running => "may run, but its agent is not connected",
                _ => "ended in a way that is not known",
            };
            format!("  '{}' on {} {how}", one.action, one.executor)
        })
        .collect();
    let own =
        |one: &UnresolvedAttempt| one.state == WorkState::Running && one.executor == WORKER_TAG;
    if open.iter().any(own) {
        lines.push(format!(
            "  '{WORKER_TAG}' is the server's own worker: started with 'mantle server run --worker' it says what became of that"
        ));
    }
    if let Some(first) = open.first() {
        let target = match open {
            [_] => String::new(),
            _ => format!(" [--target {}]", first.target),
        };
        lines.push(format!(
            "  if you looked at the machine: mantle task resolve {task} --as failed|succeeded --reason WHY{target}"
        ));
    }
    lines
}

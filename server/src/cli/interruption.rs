//! `mantle interruption`.

use clap::{Subcommand, ValueEnum};

use super::exit::CliResult;
use super::live::harmless;
use super::output::{Output, ago, or_dash};
use crate::api::body::{Interruption, InterruptionAnswer, InterruptionState};
use crate::client::Client;

/// What to do with what deployments ask.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what waits for a person, the oldest first
    List {
        /// All that this task ever asked
        #[arg(long)]
        task: Option<String>,
    },
    /// Show what is asked, who may answer, and what was answered
    Show {
        /// Its name, such as T-12.1; the task's number will do if it asks one thing
        interruption: String,
    },
    /// Take care of it: nobody else answers it, unless they take it over
    Take {
        /// Its name, such as T-12.1; the task's number will do if it asks one thing
        interruption: String,
    },
    /// Answer it
    Answer {
        /// Its name, such as T-12.1; the task's number will do if it asks one thing
        interruption: String,
        /// What is answered; 'show' says which of these it takes
        #[arg(value_enum)]
        answer: Answer,
        /// What is to be said about it; later steps can read it
        #[arg(long, default_value = "")]
        notes: String,
    },
}

/// What may be answered.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Answer {
    /// Of a failure: try it again
    Retry,
    /// Of a failure: go on as if it had gone well
    Ignore,
    /// Of a failure: go on without the target
    Exclude,
    /// Of a failure: it has failed
    Fail,
    /// Go on
    Proceed,
    /// Do not go on
    Abort,
}

/// The columns of a list.
const COLUMNS: [&str; 6] = [
    "interruption",
    "what",
    "environment",
    "about",
    "since",
    "it",
];

/// Does it.
pub(super) async fn run(command: Command, client: &Client, out: Output) -> CliResult {
    match command {
        Command::List { task } => {
            let page = client.interruptions(task.as_deref()).await?;
            out.list(&page.items, &COLUMNS, row)
        }
        Command::Show { interruption } => {
            let one = client.interruption(&interruption).await?;
            out.object(&one, lines)
        }
        Command::Take { interruption } => {
            let one = client.interruption_take(&interruption).await?;
            out.object(&one, |one| {
                let by = one.taken_by.clone().unwrap_or_default();
                vec![format!("{} is taken care of by {by}", one.id)]
            })
        }
        Command::Answer {
            interruption,
            answer,
            notes,
        } => {
            let word = answer.to_possible_value();
            let request = InterruptionAnswer {
                answer: word.map_or_else(String::new, |word| word.get_name().to_owned()),
                notes,
            };
            let answered = client.interruption_answer(&interruption, &request).await?;
            out.object(&answered, |answered| {
                let one = &answered.interruption;
                let more = match answered.missing {
                    0 => format!("'mantle task wait {}' watches how it goes on", one.task),
                    1 => "1 more person must let it go on".to_owned(),
                    more => format!("{more} more people must let it go on"),
                };
                vec![format!("{} answered '{}': {more}", one.id, request.answer)]
            })
        }
    }
}

fn about(one: &Interruption) -> String {
    let what = if one.action.is_empty() {
        &one.step
    } else {
        &one.action
    };
    if one.target.is_empty() {
        what.clone()
    } else {
        format!("{} › {what}", one.target)
    }
}

fn row(one: &Interruption) -> Vec<String> {
    let it = match (one.state, &one.taken_by) {
        (InterruptionState::Open, Some(by)) => format!("{} ({by} takes care)", one.question),
        (InterruptionState::Open, None) => one.question.clone(),
        (state, _) => format!("{}: {}", state.as_str(), one.outcome),
    };
    vec![
        one.id.clone(),
        format!("{} {}", one.project, one.version),
        one.environment.clone(),
        about(one),
        ago(one.raised_at),
        harmless(&it),
    ]
}

fn lines(one: &Interruption) -> Vec<String> {
    let mut lines = vec![format!(
        "{}  {} {} -> {}  {}",
        one.id,
        one.project,
        one.version,
        one.environment,
        one.state.as_str()
    )];
    let mut line = |name: &str, text: &str| lines.push(format!("  {name:<13} {}", harmless(text)));
    line("about", &about(one));
    if !one.executor.is_empty() && one.executor != one.target {
        line("run on", &one.executor);
    }
    line("it", &one.question);
    for text in one.instructions.lines() {
        line("look at", text);
    }
    line("since", &ago(one.raised_at));
    if one.state == InterruptionState::Open {
        line("until", &ago(one.deadline));
        let who = match one.teams.as_slice() {
            [] => "whoever may answer".to_owned(),
            teams => format!("members of {}", teams.join(", ")),
        };
        let but = one.not_by.as_ref();
        let but = but.map_or_else(String::new, |by| format!(", but not {by}, who deployed"));
        line("who answers", &format!("{who}{but}"));
        line("taken by", &or_dash(one.taken_by.clone()));
    } else {
        line("became of it", &one.outcome);
    }
    if one.approvals > 1 {
        let by = match one.approved_by.as_slice() {
            [] => String::new(),
            names => format!(": {}", names.join(", ")),
        };
        let count = one.approved_by.len();
        line("approved", &format!("{count} of {}{by}", one.approvals));
    }
    for given in &one.answers {
        let notes = match given.notes.as_str() {
            "" => String::new(),
            notes => format!(": {notes}"),
        };
        line(
            "answered",
            &format!("{} '{}'{notes}", given.by, given.answer),
        );
    }
    if one.state == InterruptionState::Open {
        lines.push(next(one));
    }
    lines
}

/// What to type to answer.
pub(super) fn next(one: &Interruption) -> String {
    format!(
        "  answer it: mantle interruption answer {} {}",
        one.id,
        one.choices.join("|")
    )
}

/// A task's questions in its picture: those that are open with what to type, the others with what
/// became of them.
pub(super) fn of_task(all: &[Interruption]) -> Vec<String> {
    let mut lines = Vec::new();
    for one in all {
        if one.state == InterruptionState::Open {
            let (id, question) = (&one.id, harmless(&one.question));
            lines.push(format!("  ? {id} {}: {question}", about(one)));
            lines.push(next(one));
        } else {
            let (id, outcome) = (&one.id, harmless(&one.outcome));
            lines.push(format!("  ? {id} {}: {outcome}", about(one)));
        }
    }
    lines
}

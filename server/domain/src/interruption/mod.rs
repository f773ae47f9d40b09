//! Interruptions: what a deployment asks a person, who may answer, and what the answers come to.
//!
//! An action that failed may ask what becomes of it, a manual action asks whether it may go on, a
//! rolling step may ask after its first target. The rules here are about one question; what an
//! answer does to a deployment is the state machine's.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use mantle_shared::ids::TargetId;
use mantle_shared::protocol::Outcome;
use serde::{Deserialize, Serialize};

use crate::plan::NodeRef;

mod refusal;
#[cfg(test)]
mod tests;

pub use refusal::CannotAnswer;

/// The longest note on an answer, in characters: it becomes the value of a variable.
pub const LONGEST_NOTES: usize = 2000;

/// What somebody may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Try it again.
    Retry,
    /// Go on as if it had gone well.
    Ignore,
    /// Go on without the target.
    Exclude,
    /// It has failed.
    Fail,
    /// Go on.
    Proceed,
    /// Do not go on.
    Abort,
    /// What was answered before counts no more: its key was revoked. Nobody types it.
    Withdrawn,
}

impl Answer {
    /// Every answer that there is.
    pub const ALL: [Self; 7] = [
        Self::Retry,
        Self::Ignore,
        Self::Exclude,
        Self::Fail,
        Self::Proceed,
        Self::Abort,
        Self::Withdrawn,
    ];

    /// Those that somebody may type, whatever is asked.
    pub fn typed() -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(|answer| *answer != Self::Withdrawn)
    }

    /// The word by which it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Ignore => "ignore",
            Self::Exclude => "exclude",
            Self::Fail => "fail",
            Self::Proceed => "proceed",
            Self::Abort => "abort",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no answer")]
pub struct NoAnswer(String);

impl FromStr for Answer {
    type Err = NoAnswer;
    fn from_str(word: &str) -> Result<Self, NoAnswer> {
        let known = Self::ALL.into_iter().find(|answer| answer.word() == word);
        known.ok_or_else(|| NoAnswer(word.to_owned()))
    }
}

/// What a person is asked. It is kept with the event that raised it, so fields are only ever
/// added, with a default that means what their absence meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Question {
    /// An action did not go well: what becomes of it?
    Failure {
        /// The action, about whom and by whom.
        node: NodeRef,
        /// How it ended.
        outcome: Outcome,
        /// Why, in a sentence.
        message: String,
        /// Its step is required: nobody may go on as if it had not failed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        required: bool,
    },
    /// A manual action: may it go on?
    Manual {
        /// The action.
        node: NodeRef,
        /// What to look at before.
        instructions: String,
        /// The teams whose members may answer; empty for whoever may deploy.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        teams: Vec<String>,
        /// So many people must let it go on.
        approvals: u32,
        /// This one does not count: it is who deployed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_by: Option<String>,
    },
    /// A rolling step went through its first target: does it go on with the others?
    Pause {
        /// The step.
        step: u32,
        /// The target that it went through.
        subject: TargetId,
    },
}

impl Question {
    /// The step that it is about.
    pub fn step(&self) -> u32 {
        match self {
            Self::Failure { node, .. } | Self::Manual { node, .. } => node.step,
            Self::Pause { step, .. } => *step,
        }
    }

    /// The node that waits for it, if it is one.
    pub fn node(&self) -> Option<NodeRef> {
        match self {
            Self::Failure { node, .. } | Self::Manual { node, .. } => Some(*node),
            Self::Pause { .. } => None,
        }
    }

    /// What may be answered.
    pub fn choices(&self) -> &'static [Answer] {
        match self {
            Self::Failure { required: true, .. } => &[Answer::Retry, Answer::Fail],
            Self::Failure { .. } => &[Answer::Retry, Answer::Ignore, Answer::Exclude, Answer::Fail],
            Self::Manual { .. } | Self::Pause { .. } => &[Answer::Proceed, Answer::Abort],
        }
    }

    /// How many people must let it go on.
    pub fn approvals(&self) -> u32 {
        match self {
            Self::Manual { approvals, .. } => (*approvals).max(1),
            Self::Failure { .. } | Self::Pause { .. } => 1,
        }
    }

    /// The teams whose members may answer; empty for whoever may answer anything.
    pub fn teams(&self) -> &[String] {
        match self {
            Self::Manual { teams, .. } => teams,
            Self::Failure { .. } | Self::Pause { .. } => &[],
        }
    }

    /// Who may not let it go on.
    pub fn not_by(&self) -> Option<&str> {
        match self {
            Self::Manual { not_by, .. } => not_by.as_deref(),
            Self::Failure { .. } | Self::Pause { .. } => None,
        }
    }
}

/// An answer that somebody gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Who.
    pub by: String,
    /// What.
    pub answer: Answer,
    /// What they said about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// When.
    pub at: Timestamp,
}

/// The people who have let it go on, each once, without the one who does not count and those whose word was
/// withdrawn.
pub fn approved_by<'g>(question: &Question, given: &'g [Given]) -> Vec<&'g Given> {
    let mut counted: Vec<&Given> = Vec::new();
    let is_withdrawn = |by: &str| {
        let mut withdrawn = given.iter().filter(|one| one.answer == Answer::Withdrawn);
        withdrawn.any(|one| one.by == by)
    };
    for one in given {
        let counts = one.answer == Answer::Proceed
            && !is_withdrawn(&one.by)
            && question.not_by() != Some(one.by.as_str())
            && !counted.iter().any(|other| other.by == one.by);
        if counts {
            counted.push(one);
        }
    }
    counted
}

/// What the answers come to, and which of them decided; `None` while it is open. The same answers
/// in the same order always come to the same.
pub fn decided<'g>(question: &Question, given: &'g [Given]) -> Option<(Answer, &'g Given)> {
    let offered = |one: &&Given| question.choices().contains(&one.answer);
    match question {
        Question::Failure { .. } | Question::Pause { .. } => {
            let first = given.iter().find(offered)?;
            Some((first.answer, first))
        }
        Question::Manual { .. } => {
            if let Some(stop) = given.iter().find(|one| one.answer == Answer::Abort) {
                return Some((Answer::Abort, stop));
            }
            let counted = approved_by(question, given);
            let enough = usize::try_from(question.approvals()).unwrap_or(usize::MAX);
            let last = counted.get(enough.checked_sub(1)?)?;
            Some((Answer::Proceed, last))
        }
    }
}

/// A person who answers.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    /// The name by which the audit trail knows them.
    pub name: &'a str,
    /// The teams that they are in.
    pub teams: &'a [String],
}

/// An open interruption, as far as the rules need it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its name, such as `T-12.1`.
    pub name: &'a str,
    /// What is asked.
    pub question: &'a Question,
    /// What was answered so far.
    pub given: &'a [Given],
    /// Who takes care of it.
    pub taken_by: Option<&'a str>,
}

/// Whether somebody may answer at all. Whoever may answer what names no team is not asked here:
/// that is a permission.
pub fn check_person(asked: &Asked<'_>, person: Person<'_>) -> Result<(), CannotAnswer> {
    let teams = asked.question.teams();
    if teams.is_empty() || teams.iter().any(|team| person.teams.contains(team)) {
        return Ok(());
    }
    Err(CannotAnswer::NotInTeam {
        interruption: asked.name.to_owned(),
        actor: person.name.to_owned(),
        teams: teams.to_vec(),
    })
}

/// Whether somebody may give this answer now. Only one takes care of what one person decides; what
/// takes several is nobody's alone.
pub fn check_answer(
    asked: &Asked<'_>,
    person: Person<'_>,
    answer: Answer,
    notes: &str,
) -> Result<(), CannotAnswer> {
    check_person(asked, person)?;
    let interruption = asked.name.to_owned();
    let choices = asked.question.choices();
    if !choices.contains(&answer) {
        return Err(CannotAnswer::AnswerNotOffered {
            interruption,
            answer: answer.word().to_owned(),
            offered: choices.iter().map(|one| one.word().to_owned()).collect(),
        });
    }
    if notes.chars().count() > LONGEST_NOTES {
        return Err(CannotAnswer::NotesTooLong {
            most: LONGEST_NOTES,
        });
    }
    if answer == Answer::Proceed && asked.question.not_by() == Some(person.name) {
        return Err(CannotAnswer::FourEyes {
            interruption,
            actor: person.name.to_owned(),
        });
    }
    let again = |one: &Given| one.by == person.name && one.answer == answer;
    if asked.given.iter().any(again) {
        return Err(CannotAnswer::AnsweredBefore {
            interruption,
            actor: person.name.to_owned(),
            missing: missing(asked),
        });
    }
    match asked.taken_by {
        Some(by) if by != person.name && asked.question.approvals() == 1 => {
            Err(CannotAnswer::TakenByAnother {
                interruption,
                by: by.to_owned(),
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// How many more people must let it go on.
pub fn missing(asked: &Asked<'_>) -> u32 {
    let counted = approved_by(asked.question, asked.given).len();
    let counted = u32::try_from(counted).unwrap_or(u32::MAX);
    asked.question.approvals().saturating_sub(counted)
}

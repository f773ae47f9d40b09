//! Why somebody cannot answer, in sentences for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::explain::listed;

/// Why an answer is not taken. Nothing has been changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum CannotAnswer {
    /// Only the members of some teams may answer, and this one is in none of them.
    NotInTeam {
        /// The interruption.
        interruption: String,
        /// Who.
        actor: String,
        /// The teams.
        teams: Vec<String>,
    },
    /// Another answer is asked for.
    AnswerNotOffered {
        /// The interruption.
        interruption: String,
        /// What was answered.
        answer: String,
        /// What may be.
        offered: Vec<String>,
    },
    /// What is said about it is too long.
    NotesTooLong {
        /// The longest, in characters.
        most: usize,
    },
    /// Whoever deployed may not let it go on.
    FourEyes {
        /// The interruption.
        interruption: String,
        /// Who.
        actor: String,
    },
    /// The same person gave the same answer before.
    AnsweredBefore {
        /// The interruption.
        interruption: String,
        /// Who.
        actor: String,
        /// How many more people it takes.
        missing: u32,
    },
    /// Somebody else takes care of it.
    TakenByAnother {
        /// The interruption.
        interruption: String,
        /// Who.
        by: String,
    },
    /// It is over.
    Closed {
        /// The interruption.
        interruption: String,
        /// What became of it, as in "answered by ann: retry".
        how: String,
        /// Its task.
        task: String,
    },
}

impl CannotAnswer {
    /// What, where and why.
    pub fn message(&self) -> String {
        match self {
            Self::NotInTeam {
                interruption,
                actor,
                teams,
            } => {
                let quoted: Vec<String> = teams.iter().map(|team| format!("'{team}'")).collect();
                format!(
                    "only members of {} may answer {interruption}, and '{actor}' is none",
                    listed(&quoted)
                )
            }
            Self::AnswerNotOffered {
                interruption,
                answer,
                offered,
            } => format!(
                "interruption {interruption} is not answered with '{answer}' but with {}",
                either(offered)
            ),
            Self::NotesTooLong { most } => format!("the notes are longer than {most} characters"),
            Self::FourEyes {
                interruption,
                actor,
            } => {
                format!("'{actor}' deployed this, so another person must let {interruption} go on")
            }
            Self::AnsweredBefore {
                interruption,
                actor,
                missing,
            } => format!(
                "'{actor}' has answered {interruption} so before; it takes {missing} more {}",
                if *missing == 1 { "person" } else { "people" }
            ),
            Self::TakenByAnother { interruption, by } => {
                format!("interruption {interruption} is not yours to answer: {by} takes care of it")
            }
            Self::Closed {
                interruption, how, ..
            } => format!("interruption {interruption} is over: {how}"),
        }
    }

    /// What to type next.
    pub fn next(&self) -> String {
        match self {
            Self::NotInTeam { actor, teams, .. } => {
                let team = teams.first().map_or("TEAM", String::as_str);
                format!("let a member answer, or add one: mantle team add {team} {actor}")
            }
            Self::AnswerNotOffered {
                interruption,
                offered,
                ..
            } => {
                let first = offered.first().map_or("", String::as_str);
                format!("for one: mantle interruption answer {interruption} {first}")
            }
            Self::NotesTooLong { .. } => "say it in fewer words".to_owned(),
            Self::FourEyes { interruption, .. } => format!(
                "'mantle interruption show {interruption}' says who may; 'abort' is open to you too"
            ),
            Self::AnsweredBefore { interruption, .. } => {
                format!("'mantle interruption show {interruption}' says who else may answer")
            }
            Self::TakenByAnother { interruption, .. } => {
                format!("ask them, or take it over: mantle interruption take {interruption}")
            }
            Self::Closed { task, .. } => format!("'mantle task show {task}' shows how it went on"),
        }
    }
}

impl fmt::Display for CannotAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message(), self.next())
    }
}

impl std::error::Error for CannotAnswer {}

/// `a`, `a or b`, `a, b or c`.
fn either(words: &[String]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

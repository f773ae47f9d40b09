//! What can go wrong with a template, said so that a person knows where and what to do about it.

use std::collections::HashSet;
use std::fmt;

/// Problems kept of one rendering; the rest is only counted, so that a million missing tokens cost little.
const MAX_PROBLEMS: usize = 500;
/// The longest text of a token that a problem carries.
const MAX_TOKEN: usize = 1024;

/// A place in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Position {
    /// Bytes before it.
    pub offset: usize,
    /// Its line, the first being 1.
    pub line: usize,
    /// Its character in the line, the first being 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a token was left as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// It is not a well-formed tag, or a block without its end.
    Syntax {
        /// What the parser expected.
        reason: String,
    },
    /// No variable has that name.
    Missing,
    /// No filter has that name.
    UnknownFilter {
        /// The name as written.
        filter: String,
    },
    /// A filter could not do anything with its input or its arguments.
    FilterFailed {
        /// The name as written.
        filter: String,
        /// Why.
        reason: String,
    },
    /// A calculation meets something that is not a number, or has no answer.
    NoAnswer,
    /// A variable refers to itself, directly or through others.
    Recursion {
        /// The names from the first to its repetition.
        chain: Vec<String>,
    },
    /// Variables refer to variables through too many levels.
    TooDeep {
        /// The names on the way.
        chain: Vec<String>,
    },
}

/// A token that was left as it was, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Why.
    pub kind: ProblemKind,
    /// The token's text; of one inside a variable's value, that one's.
    pub token: String,
    /// Where it stands in the template; of one inside a variable's value, where the token stands that led to it.
    pub position: Position,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            token,
            position,
        } = self;
        write!(f, "{position}: ")?;
        match kind {
            ProblemKind::Syntax { reason } => {
                write!(
                    f,
                    "'{token}' is not a tag that can be read: {reason}; write '##{{' for a literal '#{{'"
                )
            }
            ProblemKind::Missing => {
                write!(
                    f,
                    "'{token}' has no value; define the variable, or write '##{{' for a literal '#{{'"
                )
            }
            ProblemKind::UnknownFilter { filter } => write!(
                f,
                "'{token}' names the filter '{filter}', which does not exist"
            ),
            ProblemKind::FilterFailed { filter, reason } => {
                write!(f, "'{token}' has no value: the filter '{filter}' {reason}")
            }
            ProblemKind::NoAnswer => {
                write!(
                    f,
                    "'{token}' has no answer: a variable in it is missing or is not a number, or it divides by zero"
                )
            }
            ProblemKind::Recursion { chain } => {
                write!(
                    f,
                    "'{token}' refers to itself ({}); break the loop in these variables",
                    chain.join(" -> ")
                )
            }
            ProblemKind::TooDeep { chain } => {
                let first: Vec<&str> = chain.iter().take(8).map(String::as_str).collect();
                write!(
                    f,
                    "'{token}' leads through too many variables ({} ...)",
                    first.join(" -> ")
                )
            }
        }
    }
}

/// Why there is no result. Without `strict` only a limit leads to one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The template itself cannot be read (only with `strict`).
    #[error("{0}")]
    Syntax(Box<Problem>),
    /// A token could not be evaluated (only with `strict`).
    #[error("{0}")]
    Unresolved(Box<Problem>),
    /// A variable refers to itself (only with `strict`).
    #[error("{0}")]
    Recursion(Box<Problem>),
    /// The result is larger than allowed.
    #[error(
        "the rendered text would be larger than {limit} bytes; a variable may be expanding without end"
    )]
    TooLarge {
        /// The bytes allowed.
        limit: usize,
    },
    /// Rendering takes more work than allowed.
    #[error(
        "rendering takes more than {limit} steps; a loop or a chain of variables may be too large"
    )]
    TooMuchWork {
        /// The steps allowed.
        limit: u64,
    },
}

impl Error {
    /// The token and place at fault, unless it is a limit that was hit.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Syntax(problem) | Self::Unresolved(problem) | Self::Recursion(problem) => {
                Some(problem)
            }
            Self::TooLarge { .. } | Self::TooMuchWork { .. } => None,
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        let problem = Box::new(problem);
        match problem.kind {
            ProblemKind::Syntax { .. } => Self::Syntax(problem),
            ProblemKind::Recursion { .. } | ProblemKind::TooDeep { .. } => Self::Recursion(problem),
            ProblemKind::Missing
            | ProblemKind::UnknownFilter { .. }
            | ProblemKind::FilterFailed { .. }
            | ProblemKind::NoAnswer => Self::Unresolved(problem),
        }
    }
}

/// Collects the problems of one rendering: each token once, in the order met.
#[derive(Debug, Default)]
pub(crate) struct Log {
    problems: Vec<Problem>,
    /// Tokens noted, apart by whether they lead to themselves.
    seen: HashSet<(bool, String)>,
    pub(crate) more: usize,
}

impl Log {
    pub(crate) fn add(&mut self, kind: ProblemKind, token: &str, offset: usize) {
        if self.problems.len() >= MAX_PROBLEMS {
            self.more += 1;
            return;
        }
        let token = shorten(token);
        let syntax = matches!(kind, ProblemKind::Syntax { .. });
        let endless = matches!(
            kind,
            ProblemKind::Recursion { .. } | ProblemKind::TooDeep { .. }
        );
        // Two malformed places are two problems even if they look alike; a missing name is one.
        if !syntax && !self.seen.insert((endless, token.clone())) {
            return;
        }
        self.problems.push(Problem {
            kind,
            token,
            position: Position {
                offset,
                line: 0,
                column: 0,
            },
        });
    }

    /// The problems in the order of their places, each with its line and column in `source`.
    pub(crate) fn finish(mut self, source: &str) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.position.offset);
        let mut line = 1;
        let mut line_start = 0;
        let mut scanned = 0;
        for problem in &mut self.problems {
            let offset = problem.position.offset;
            let piece = source.get(scanned..offset).unwrap_or_default();
            line += piece.bytes().filter(|byte| *byte == b'\n').count();
            if let Some(newline) = piece.rfind('\n') {
                line_start = scanned + newline + 1;
            }
            scanned = scanned.max(offset);
            let column = source
                .get(line_start..offset)
                .unwrap_or_default()
                .chars()
                .count()
                + 1;
            problem.position = Position {
                offset,
                line,
                column,
            };
        }
        self.problems
    }
}

fn shorten(token: &str) -> String {
    if token.len() <= MAX_TOKEN {
        return token.to_owned();
    }
    let end = (0..=MAX_TOKEN)
        .rev()
        .find(|end| token.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{}...", token.get(..end).unwrap_or_default())
}

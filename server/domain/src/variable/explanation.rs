//! Says why a variable has its value: every candidate and its rank, the winner, and where each token
//! in it comes from, as far down as it goes. Secrets appear by path and mark only.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mantle_template::{Budget, Options, ProblemKind, Variables, fold, references, same_name};

use super::effective::{Effective, EffectiveSet, EffectiveValue};
use super::overview::sound;
use super::resolve::{
    Candidate, Situation, Tie, candidates, describe_scope, describe_situation, find, resolve,
};
use super::{StandIn, Variable, VariableValue, is_of_server, made};
use crate::explain::{Refusal, nearest};
use crate::planner::values::is_known_later;
use crate::process::Process;
use crate::work;

/// The origins of more tokens than this help nobody.
const MOST_TOKENS: usize = 300;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The project, for messages.
    pub project: &'a str,
    /// Its variables with those of its sets, or those of a release.
    pub variables: &'a [Variable],
    /// Where and for what.
    pub situation: Situation<'a>,
    /// What the server defines there, by name.
    pub system: &'a [(String, String)],
    /// The marks of secrets that are not pinned, by path.
    pub marks: &'a BTreeMap<String, String>,
    /// What `NowDate` prints.
    pub now: Timestamp,
}

/// Why a variable has its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Its name as it is spelt where it is defined.
    pub variable: String,
    /// Where and for what, for people.
    pub situation: String,
    /// Every value, the most specific first.
    pub candidates: Vec<Explained>,
    /// Where the value comes from; `None` if no candidate holds here.
    pub winner: Option<Origin>,
    /// Two values are equally specific, so there is none.
    pub tie: Option<Tie>,
}

/// One value of the variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Where it holds, for people.
    pub scope: String,
    /// The variable set that it stands in.
    pub from: Option<String>,
    /// The value.
    pub value: Shown,
    /// Its rank for people, or why it does not count here.
    pub rank: Result<String, String>,
    /// It is the one.
    pub wins: bool,
}

/// A value that may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// Text, with its templates.
    Text(String),
    /// A secret.
    Secret {
        /// Its path.
        path: String,
        /// Its mark: equal for equal values. `None` if it has no value.
        mark: Option<String>,
    },
    /// What a deployment asks for, and what holds without an answer.
    Prompt {
        /// What people see.
        label: String,
        /// What holds without an answer.
        default: Option<String>,
    },
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The variable, or the token if there is no such variable.
    pub name: String,
    /// From where.
    pub source: Source,
    /// The value, with its templates.
    pub value: Option<Shown>,
    /// The value with its templates evaluated, if it has any; secrets as `(secret PATH)`,
    /// and what is made from them as `(made from secret PATH on the target)`.
    pub evaluated: Option<String>,
    /// Where the tokens in it come from.
    pub tokens: Vec<Origin>,
}

/// Who defines a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The project or, by name, a variable set; and the scope for people.
    Variable {
        /// The set.
        set: Option<String>,
        /// The scope.
        scope: String,
    },
    /// The server.
    System,
    /// It is only known when earlier actions have run.
    Later,
    /// Two of its values are equally specific, so it has none.
    Tied(Tie),
    /// Nobody.
    Nowhere,
    /// It is one of those that lead here, so it has no value.
    Circle,
}

/// Explains a variable.
pub fn explain(question: &Question<'_>, name: &str) -> Result<Explanation, Refusal> {
    let asker = Asker::new(question);
    let variable = find(question.variables, name);
    if variable.is_none() && asker.set.get(name).is_none() {
        let names = asker.set.iter().map(|one| one.name.as_str());
        let all = question.variables.iter().map(|one| one.name.as_str());
        return Err(Refusal::UnknownVariable {
            project: question.project.to_owned(),
            variable: name.to_owned(),
            suggestion: nearest(name, all.chain(names)),
        });
    }
    let here = &question.situation;
    let of_server = is_of_server(name);
    // What the server defines holds, whatever the project says.
    let own = variable.filter(|_| !of_server);
    let resolved = own.map(|variable| resolve(variable, here));
    let (winner, tie) = match resolved {
        None => (None, None),
        Some(Ok(winner)) => (winner, None),
        Some(Err(tie)) => (None, Some(tie)),
    };
    let all = variable.map(|variable| candidates(variable, here));
    let wins = |one: &Candidate<'_>| winner.is_some_and(|winner| std::ptr::eq(winner, one.value));
    let mut budget = Left {
        tokens: MOST_TOKENS,
        work: work::budget(0),
    };
    Ok(Explanation {
        variable: variable.map_or(name, |variable| &variable.name).to_owned(),
        situation: describe_situation(here),
        candidates: all
            .into_iter()
            .flatten()
            .map(|one| Explained {
                scope: describe_scope(&one.value.scope),
                from: one.value.from.clone(),
                value: asker.shown(&one.value.value),
                rank: match one.rank {
                    Ok(_) if of_server => Err("the server defines this variable itself".to_owned()),
                    rank => rank.map(super::Rank::describe).map_err(str::to_owned),
                },
                wins: wins(&one),
            })
            .collect(),
        winner: asker
            .set
            .get(name)
            .filter(|_| tie.is_none())
            .map(|effective| asker.origin(effective, &mut Vec::new(), &mut budget))
            .or_else(|| of_server.then(|| of_the_server(name))),
        tie,
    })
}

/// A variable of the server whose value is only known in a deployment.
fn of_the_server(name: &str) -> Origin {
    Origin {
        name: name.to_owned(),
        source: Source::System,
        value: None,
        evaluated: None,
        tokens: Vec::new(),
    }
}

/// Where a step or action is in a process: its step, its action and the step's tag. A step that is
/// its own single action is both.
pub fn place<'a>(
    process: &'a Process,
    name: &str,
) -> Option<(&'a str, Option<&'a str>, Option<&'a str>)> {
    process.steps.iter().find_map(|step| {
        let action = step.actions.iter().find(|action| action.name == name);
        let tag = step.targets.as_ref().map(|selector| selector.tag.as_str());
        let found = step.name == name || action.is_some();
        found.then(|| {
            let action = action.map(|action| action.name.as_str());
            (step.name.as_str(), action, tag)
        })
    })
}

/// A value that may be shown; `marks` are those of secrets that are not pinned.
pub fn shown(value: &VariableValue, marks: &BTreeMap<String, String>) -> Shown {
    match value {
        VariableValue::Text(text) => Shown::Text(text.clone()),
        VariableValue::Secret(path) => Shown::Secret {
            path: path.clone(),
            mark: marks.get(path).cloned(),
        },
        VariableValue::PinnedSecret(secret) => Shown::Secret {
            path: secret.path.clone(),
            mark: Some(secret.mark.clone()),
        },
        VariableValue::Prompt(prompt) => Shown::Prompt {
            label: prompt.label.clone().unwrap_or_default(),
            default: prompt.default.clone(),
        },
    }
}

/// What an explanation may still cost.
struct Left {
    tokens: usize,
    work: Budget,
}

struct Asker<'a> {
    question: &'a Question<'a>,
    set: EffectiveSet,
    /// For rendering: secrets as what stands for them.
    rendered: Variables,
}

impl<'a> Asker<'a> {
    fn new(question: &'a Question<'a>) -> Self {
        let set = sound(question);
        let rendered = set.shown_variables(StandIn::of, made);
        Self {
            question,
            set,
            rendered,
        }
    }

    fn shown(&self, value: &VariableValue) -> Shown {
        shown(value, self.question.marks)
    }

    fn origin(&self, effective: &Effective, above: &mut Vec<String>, budget: &mut Left) -> Origin {
        let (source, value) = self.source(effective);
        let mut origin = Origin {
            name: effective.name.clone(),
            source,
            value: Some(value),
            evaluated: None,
            tokens: Vec::new(),
        };
        let EffectiveValue::Text(text) = &effective.value else {
            return origin;
        };
        if !text.contains("#{") {
            return origin;
        }
        let options = Options::new(self.question.now);
        let rendered = budget.work.render(text, &self.rendered, &options);
        let reached = references(text);
        let tied: Vec<(&str, Tie)> = self
            .tied()
            .filter(|(name, _)| reached.reaches(name))
            .collect();
        if let Ok(rendered) = rendered {
            // A token inside another variable's value is that one's.
            let missing = rendered.problems.iter().filter(|problem| {
                problem.kind == ProblemKind::Missing && text.contains(&problem.token)
            });
            // Of one that ties the tie is told.
            let missing = missing.filter(|problem| {
                let of_token = references(&problem.token);
                !tied.iter().any(|(name, _)| of_token.reaches(name))
            });
            origin.tokens.extend(missing.map(|problem| Origin {
                name: problem.token.clone(),
                source: if is_known_later(&problem.token) {
                    Source::Later
                } else {
                    Source::Nowhere
                },
                value: None,
                evaluated: None,
                tokens: Vec::new(),
            }));
            origin.evaluated = Some(rendered.text.into_owned());
        }
        origin
            .tokens
            .extend(tied.into_iter().map(|(name, tie)| Origin {
                name: name.to_owned(),
                source: Source::Tied(tie),
                value: None,
                evaluated: None,
                tokens: Vec::new(),
            }));
        above.push(fold(&effective.name));
        for inner in self.set.iter().filter(|one| reached.reaches(&one.name)) {
            let Some(left) = budget.tokens.checked_sub(1) else {
                break;
            };
            budget.tokens = left;
            if above.contains(&fold(&inner.name)) {
                origin.tokens.push(Origin {
                    name: inner.name.clone(),
                    source: Source::Circle,
                    value: None,
                    evaluated: None,
                    tokens: Vec::new(),
                });
            } else {
                origin.tokens.push(self.origin(inner, above, budget));
            }
        }
        above.pop();
        origin.tokens.sort_by(|a, b| a.name.cmp(&b.name));
        origin
    }

    /// The variables that have no value here because two are equally specific.
    fn tied(&self) -> impl Iterator<Item = (&'a str, Tie)> {
        let question = self.question;
        let own = question.variables.iter();
        let own = own.filter(|variable| !is_of_server(&variable.name));
        own.filter_map(|variable| {
            let tie = resolve(variable, &question.situation).err()?;
            Some((variable.name.as_str(), tie))
        })
    }

    fn source(&self, effective: &Effective) -> (Source, Shown) {
        let system = self.question.system.iter();
        let mut system = system.filter(|(name, _)| same_name(name, &effective.name));
        if let Some((_, value)) = system.next() {
            return (Source::System, Shown::Text(value.clone()));
        }
        let winner = find(self.question.variables, &effective.name)
            .and_then(|variable| resolve(variable, &self.question.situation).ok().flatten());
        match winner {
            Some(value) => (
                Source::Variable {
                    set: value.from.clone(),
                    scope: describe_scope(&value.scope),
                },
                self.shown(&value.value),
            ),
            None => (Source::Nowhere, Shown::Text(String::new())),
        }
    }
}

#[cfg(test)]
#[path = "explanation_tests.rs"]
mod tests;

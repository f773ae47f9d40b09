//! What variables are in one situation, with their templates evaluated, and on which targets they
//! are something else.
//!
//! Secrets stand in what is evaluated as their marks: equal values are equal texts, and nothing can
//! be read. So does what is made from them.

use std::collections::BTreeSet;

use mantle_template::{Budget, Options, Variables, fold, references, same_name};

use super::effective::{Effective, EffectiveSet, EffectiveValue};
use super::explanation::Question;
use super::resolve::{SituationTarget, Tie, find, resolve};
use super::{ScopedValue, StandIn, Variable, VariableValue, is_of_server, made_comparably};
use crate::work;

/// So much of a mark tells two values apart.
const MARK_SHOWN: usize = 12;
/// What the server says of a target begins so, in lower case.
const OF_TARGET: &str = "octopus.machine.";

/// A variable in one situation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<'a> {
    /// Its name.
    pub name: &'a str,
    /// What holds.
    pub winner: Winner<'a>,
    /// The value with its templates evaluated, if that is another text.
    pub evaluated: Option<String>,
}

/// What holds of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Winner<'a> {
    /// This value of it.
    Value(&'a ScopedValue),
    /// What the server defines, whatever the project says; `None` where only a deployment knows it.
    Server(Option<String>),
    /// No value matches.
    Nothing,
    /// Two values are equally specific.
    Tie(Tie),
}

/// A target that a variable may be looked up for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetHere {
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// What the server says of it, by name.
    pub system: Vec<(String, String)>,
}

/// Targets on which a variable is something else than without a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnTargets<'a> {
    /// Their names.
    pub targets: Vec<String>,
    /// What it is there.
    pub held: Held<'a>,
}

/// Every variable of a question, in order.
pub fn overview<'a>(question: &Question<'a>) -> Vec<Held<'a>> {
    let mut budget = work::budget(0);
    let here = Here::new(question);
    let variables = question.variables.iter();
    variables
        .map(|variable| here.held(variable, &mut budget))
        .collect()
}

/// The targets on which a variable has another value than in the question's situation, which names
/// none; those that agree are together.
pub fn on_targets<'a>(
    question: &Question<'a>,
    name: &str,
    targets: &[TargetHere],
) -> Vec<OnTargets<'a>> {
    let Some(variable) = find(question.variables, name).filter(|_| !is_of_server(name)) else {
        return Vec::new();
    };
    let reached = reached(question.variables, variable);
    if !reached.iter().any(depends_on_target) {
        return Vec::new();
    }
    let mut budget = work::budget(targets.len());
    let question = Question {
        variables: &reached,
        ..*question
    };
    let without = Here::new(&question).held(variable, &mut budget);
    let mut found: Vec<OnTargets<'a>> = Vec::new();
    for target in targets {
        let mut system = question.system.to_vec();
        system.extend(target.system.iter().cloned());
        let mut there = Question {
            system: &system,
            ..question
        };
        there.situation.target = Some(SituationTarget {
            name: &target.name,
            tags: &target.tags,
        });
        let held = Here::new(&there).held(variable, &mut budget);
        if alike(&held, &without) {
            continue;
        }
        match found.iter_mut().find(|one| alike(&one.held, &held)) {
            Some(one) => one.targets.push(target.name.clone()),
            None => found.push(OnTargets {
                targets: vec![target.name.clone()],
                held,
            }),
        }
    }
    found
}

/// The same to people: a tie names its situation, which is another one on each target.
fn alike(a: &Held<'_>, b: &Held<'_>) -> bool {
    let same = match (&a.winner, &b.winner) {
        (Winner::Tie(a), Winner::Tie(b)) => (&a.first, &a.second) == (&b.first, &b.second),
        (a, b) => a == b,
    };
    same && a.evaluated == b.evaluated
}

/// A variable and those that its values lead to, through any number of others.
fn reached(variables: &[Variable], variable: &Variable) -> Vec<Variable> {
    let mut names = BTreeSet::from([fold(&variable.name)]);
    let mut open = vec![variable];
    while let Some(one) = open.pop() {
        let texts = one.values.iter().filter_map(|value| text(&value.value));
        for text in texts.filter(|text| text.contains("#{")) {
            let references = references(&text);
            for other in variables.iter().filter(|one| references.reaches(&one.name)) {
                if names.insert(fold(&other.name)) {
                    open.push(other);
                }
            }
        }
    }
    let all = variables.iter();
    all.filter(|one| names.contains(&fold(&one.name)))
        .cloned()
        .collect()
}

/// It may be something else on one target than on another.
fn depends_on_target(variable: &Variable) -> bool {
    variable.values.iter().any(|value| {
        let scoped = !(value.scope.targets.is_empty() && value.scope.tags.is_empty());
        scoped || text(&value.value).is_some_and(|text| text.to_lowercase().contains(OF_TARGET))
    })
}

/// What is evaluated of a value.
fn text(value: &VariableValue) -> Option<String> {
    match value {
        VariableValue::Text(text) => Some(text.clone()),
        VariableValue::Prompt(prompt) => Some(prompt.unanswered()),
        VariableValue::Secret(_) | VariableValue::PinnedSecret(_) => None,
    }
}

/// The variables of a question, ready to be evaluated.
struct Here<'q, 'a> {
    question: &'q Question<'a>,
    rendered: Variables,
}

impl<'q, 'a> Here<'q, 'a> {
    fn new(question: &'q Question<'a>) -> Self {
        let set = sound(question);
        let rendered = set.shown_variables(|secret| marked(question, secret), made_comparably);
        Self { question, rendered }
    }

    fn held<'v>(&self, variable: &'v Variable, budget: &mut Budget) -> Held<'v> {
        let name = variable.name.as_str();
        let (winner, evaluated) = if is_of_server(name) {
            let mut known = self.question.system.iter();
            let known = known.find(|(known, _)| same_name(known, name));
            (Winner::Server(known.map(|(_, value)| value.clone())), None)
        } else {
            match resolve(variable, &self.question.situation) {
                Ok(Some(value)) => (Winner::Value(value), self.evaluated(&value.value, budget)),
                Ok(None) => (Winner::Nothing, None),
                Err(tie) => (Winner::Tie(tie), None),
            }
        };
        Held {
            name,
            winner,
            evaluated,
        }
    }

    fn evaluated(&self, value: &VariableValue, budget: &mut Budget) -> Option<String> {
        let text = text(value).filter(|text| text.contains("#{"))?;
        let options = Options::new(self.question.now);
        let rendered = budget.render(&text, &self.rendered, &options).ok()?;
        Some(rendered.text.into_owned()).filter(|evaluated| *evaluated != text)
    }
}

/// The variables in effect, but for those that tie, which must not hide the others, and those that
/// only the server defines.
pub(super) fn sound(question: &Question<'_>) -> EffectiveSet {
    let sound: Vec<Variable> = question
        .variables
        .iter()
        .filter(|variable| {
            !is_of_server(&variable.name) && resolve(variable, &question.situation).is_ok()
        })
        .cloned()
        .collect();
    let mut set = EffectiveSet::new(&sound, &question.situation, &[], None).unwrap_or_default();
    for (name, value) in question.system {
        set.put(name.clone(), EffectiveValue::Text(value.as_str().into()));
    }
    set
}

fn marked(question: &Question<'_>, secret: &Effective) -> StandIn {
    let shown = |mark: &str| {
        let mark: String = mark.chars().take(MARK_SHOWN).collect();
        StandIn::named(&format!("#{mark}"))
    };
    match &secret.value {
        EffectiveValue::Secret(pinned) => shown(&pinned.mark),
        EffectiveValue::Unpinned(path) => match question.marks.get(path) {
            Some(mark) => shown(mark),
            None => StandIn::named(&format!("{path}, not set")),
        },
        EffectiveValue::Text(_) | EffectiveValue::Sealed { .. } => StandIn::of(secret),
    }
}

#[cfg(test)]
#[path = "overview_tests.rs"]
mod tests;

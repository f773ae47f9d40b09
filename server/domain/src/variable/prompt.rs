//! Prompted variables: values that are asked for when a deployment is created.
//!
//! A prompt is a value without text. The answers are put in its place in a copy of the release's
//! variables, which the deployment then uses: the release itself never changes, and an order that
//! is made again finds the same values. What people answer is data: a `#{` in it is no template.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mantle_template::same_name;
use serde::{Deserialize, Serialize};

use super::resolve::{Situation, find, resolve};
use super::{DEPLOYMENT_PROCESS, Variable, VariableValue, literal};
use crate::explain::{Refusal, nearest};

/// The longest answer: certificates with their chains fit.
const MOST_BYTES: usize = 64 * 1024;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Prompt {
    /// What people see in place of the variable's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What the answer is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// There is no deployment without an answer or a default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// What holds without an answer; may be a template, for the project's author wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What may be answered.
    #[serde(default)]
    pub control: Control,
}

/// What may be answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// One line.
    #[default]
    Text,
    /// Lines.
    MultiLine,
    /// Yes or no: `True` or `False`.
    Checkbox,
    /// One of these.
    Select(Vec<String>),
    /// A text that is kept as a secret.
    Sensitive,
}

impl Prompt {
    /// What holds where nobody was asked.
    pub fn unanswered(&self) -> String {
        match (&self.default, &self.control) {
            (Some(default), _) => default.clone(),
            (None, Control::Checkbox) => "False".to_owned(),
            (
                None,
                Control::Text | Control::MultiLine | Control::Select(_) | Control::Sensitive,
            ) => String::new(),
        }
    }

    /// An answer as it is kept, or what is wrong with it.
    pub fn accept(&self, answer: &str) -> Result<String, String> {
        if answer.len() > MOST_BYTES {
            return Err("it is longer than 64 KiB".to_owned());
        }
        match &self.control {
            Control::Text if answer.chars().any(char::is_control) => {
                Err("it has more than one line".to_owned())
            }
            Control::Text | Control::MultiLine | Control::Sensitive => {
                if self.required && answer.trim().is_empty() {
                    return Err("it is empty".to_owned());
                }
                Ok(answer.to_owned())
            }
            Control::Checkbox => match answer.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => Ok("True".to_owned()),
                "false" | "no" | "0" => Ok("False".to_owned()),
                _ => Err("write true or false".to_owned()),
            },
            Control::Select(options) if options.iter().any(|option| option == answer) => {
                Ok(answer.to_owned())
            }
            Control::Select(options) => {
                let known = options.join(", ");
                match nearest(answer, options.iter().map(String::as_str)) {
                    Some(meant) => Err(format!("it is none of {known}; did you mean '{meant}'?")),
                    None => Err(format!("it is none of {known}")),
                }
            }
        }
    }
}

/// A prompt that a deployment asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The variable.
    pub variable: &'a str,
    /// What is asked.
    pub prompt: &'a Prompt,
    /// The index of the variable.
    at: usize,
    /// The index of the value that the answer replaces.
    value: usize,
}

impl Asked<'_> {
    /// It goes by this name: its variable's or its label, whatever the case.
    pub fn is_named(&self, name: &str) -> bool {
        let label = self.prompt.label.as_deref();
        same_name(self.variable, name) || label.is_some_and(|label| same_name(label, name))
    }

    /// The variable as people know it: `Ticket`, or `Ticket (Change ticket)`.
    pub fn name(&self) -> String {
        match &self.prompt.label {
            Some(label) => format!("{} ({label})", self.variable),
            None => self.variable.to_owned(),
        }
    }
}

/// What a deployment asks, by label; `situation` has no target and no step.
///
/// A prompt is only scoped to what is known for the whole deployment, so one that is outranked here
/// is outranked everywhere.
pub fn asked<'a>(
    variables: &'a [Variable],
    situation: &Situation<'_>,
) -> Result<Vec<Asked<'a>>, Vec<Refusal>> {
    let mut all = Vec::new();
    let mut refusals = Vec::new();
    for (at, variable) in variables.iter().enumerate() {
        let prompts = |value: &super::ScopedValue| matches!(value.value, VariableValue::Prompt(_));
        if !variable.values.iter().any(prompts) {
            continue;
        }
        match resolve(variable, situation) {
            Ok(Some(winner)) => {
                let index = variable
                    .values
                    .iter()
                    .position(|value| std::ptr::eq(value, winner));
                if let (VariableValue::Prompt(prompt), Some(value)) = (&winner.value, index) {
                    all.push(Asked {
                        variable: &variable.name,
                        prompt,
                        at,
                        value,
                    });
                }
            }
            Ok(None) => {}
            Err(tie) => refusals.push(Refusal::Tie(tie)),
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    all.sort_by_key(|asked| asked.prompt.label.as_deref().unwrap_or(asked.variable));
    Ok(all)
}

/// An answer, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// What it answers.
    pub asked: Asked<'a>,
    /// The text, as a template that means itself.
    pub text: String,
    /// Nobody gave it: it is the prompt's default, or nothing.
    pub by_default: bool,
}

impl Answer<'_> {
    /// It is kept as a secret. A secret that nobody gave is none.
    pub fn is_secret(&self) -> bool {
        self.asked.prompt.control == Control::Sensitive && !self.text.is_empty()
    }
}

/// An answer may be a secret, so none is shown.
impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

impl<'a> Asked<'a> {
    /// What an answer may call it.
    fn names(&self) -> impl Iterator<Item = &'a str> {
        let label = self.prompt.label.as_deref();
        [self.variable].into_iter().chain(label)
    }
}

/// Checks what was given, by variable or label, against what is asked; says all that is missing and
/// all that was not asked for.
pub fn answer<'a>(
    variables: &'a [Variable],
    situation: &Situation<'_>,
    given: &BTreeMap<String, String>,
) -> Result<Vec<Answer<'a>>, Vec<Refusal>> {
    let asked = asked(variables, situation)?;
    let mut refusals = Vec::new();
    let mut taken: BTreeMap<usize, &String> = BTreeMap::new();
    for (name, value) in given {
        let known = match meant(&asked, name) {
            Ok(known) => known,
            Err(why) => {
                refusals.push(Refusal::BadAnswer {
                    variable: name.clone(),
                    why,
                });
                continue;
            }
        };
        match known {
            Some(index) if taken.contains_key(&index) => refusals.push(Refusal::BadAnswer {
                variable: name.clone(),
                why: "it is given twice".to_owned(),
            }),
            Some(index) => {
                taken.insert(index, value);
            }
            None => refusals.push(Refusal::NotPrompted {
                variable: name.clone(),
                fixed: find(variables, name).is_some(),
                suggestion: nearest(name, asked.iter().flat_map(Asked::names)),
            }),
        }
    }
    let mut answers = Vec::new();
    let mut missing = Vec::new();
    for (index, one) in asked.into_iter().enumerate() {
        match taken.get(&index) {
            Some(value) => match one.prompt.accept(value) {
                Ok(text) => answers.push(Answer {
                    text: literal(&text),
                    asked: one,
                    by_default: false,
                }),
                Err(why) => refusals.push(Refusal::BadAnswer {
                    variable: one.name(),
                    why,
                }),
            },
            None if one.prompt.required && one.prompt.default.is_none() => missing.push(one),
            None => answers.push(Answer {
                text: one.prompt.unanswered(),
                asked: one,
                by_default: true,
            }),
        }
    }
    if let Some(first) = missing.first() {
        refusals.push(Refusal::PromptsUnanswered {
            first: first.variable.to_owned(),
            variables: missing.iter().map(Asked::name).collect(),
        });
    }
    if refusals.is_empty() {
        Ok(answers)
    } else {
        Err(refusals)
    }
}

/// Which prompt a name means.
fn meant(asked: &[Asked<'_>], name: &str) -> Result<Option<usize>, String> {
    let all: Vec<(&str, Option<&str>)> = asked
        .iter()
        .map(|one| (one.variable, one.prompt.label.as_deref()))
        .collect();
    named(&all, name)
}

/// Which of these prompts, each by its variable and label, a name means: the one of the variable of
/// that name, or else the only one with that label. Why none is meant, if several have it.
pub fn named(prompts: &[(&str, Option<&str>)], name: &str) -> Result<Option<usize>, String> {
    let exact = |(variable, _): &(&str, Option<&str>)| same_name(variable, name);
    if let Some(index) = prompts.iter().position(exact) {
        return Ok(Some(index));
    }
    let mut labelled = prompts
        .iter()
        .enumerate()
        .filter(|(_, (_, label))| label.is_some_and(|label| same_name(label, name)));
    match (labelled.next(), labelled.next()) {
        (Some((_, (first, _))), Some((_, (second, _)))) => Err(format!(
            "it is the label of both '{first}' and '{second}': give each by the variable's name"
        )),
        (Some((index, _)), None) => Ok(Some(index)),
        (None, _) => Ok(None),
    }
}

/// Prompts that one deployment asks and that go by the same label, or of which one has the name of the
/// other's variable for its label: whose answer is meant could not be told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SharedLabel {
    /// The label.
    pub label: String,
    /// The variable of one.
    pub first: String,
    /// The variable of the other.
    pub second: String,
}

/// The labels that could be meant for several prompts in some environment and channel.
pub fn shared_labels(variables: &[Variable]) -> Vec<SharedLabel> {
    let prompts = |value: &super::ScopedValue| matches!(value.value, VariableValue::Prompt(_));
    let asking: Vec<Variable> = variables
        .iter()
        .filter(|variable| variable.values.iter().any(prompts))
        .cloned()
        .collect();
    let scopes = || {
        asking
            .iter()
            .flat_map(|one| &one.values)
            .map(|value| &value.scope)
    };
    let environments: BTreeSet<&String> = scopes().flat_map(|scope| &scope.environments).collect();
    let channels: BTreeSet<&String> = scopes().flat_map(|scope| &scope.channels).collect();
    // Besides those that are named there are always others.
    let any = |names: BTreeSet<&String>| -> Vec<Option<String>> {
        names.into_iter().cloned().map(Some).chain([None]).collect()
    };
    let (environments, channels) = (any(environments), any(channels));
    let mut found = BTreeSet::new();
    for environment in &environments {
        for channel in &channels {
            let situation = Situation {
                environment: environment.as_deref(),
                channel: channel.as_deref(),
                process: Some(DEPLOYMENT_PROCESS),
                ..Situation::default()
            };
            // A tie is refused elsewhere.
            let mut all = asked(&asking, &situation).unwrap_or_default();
            all.sort_by_key(|one| one.at);
            for (index, first) in all.iter().enumerate() {
                for second in all.iter().skip(index + 1) {
                    let label = |one: &Asked<'_>, other: &Asked<'_>| {
                        let label = one.prompt.label.clone();
                        label.filter(|label| other.is_named(label))
                    };
                    let label = label(second, first).or_else(|| label(first, second));
                    found.extend(label.map(|label| SharedLabel {
                        label,
                        first: first.variable.to_owned(),
                        second: second.variable.to_owned(),
                    }));
                }
            }
        }
    }
    found.into_iter().collect()
}

/// The variables with the answers in place of the prompts.
pub fn fill(variables: &[Variable], answers: Vec<(Asked<'_>, VariableValue)>) -> Vec<Variable> {
    let mut filled = variables.to_vec();
    for (asked, value) in answers {
        let slot = filled
            .get_mut(asked.at)
            .and_then(|variable| variable.values.get_mut(asked.value));
        if let Some(slot) = slot {
            slot.value = value;
        }
    }
    filled
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;

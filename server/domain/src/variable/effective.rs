//! All variables as one place of a deployment sees them: the project's winners, output variables
//! and system variables, one value a name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mantle_shared::ids::AttemptId;
use mantle_template::{Variables, fold};

use super::resolve::{Situation, Tie, resolve};
use super::system::{Surroundings, system_variables};
use super::{PinnedSecret, Variable, VariableValue};
use crate::state::OutputVariable;

/// A value in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EffectiveValue {
    /// Text, which may be a template over the others.
    Text(Arc<str>),
    /// A secret, pinned by the release.
    Secret(PinnedSecret),
    /// A secret that no release pins yet.
    Unpinned(String),
    /// A sensitive output variable, sealed under the key of the attempt that set it.
    Sealed {
        /// The sealed value.
        value: String,
        /// The attempt.
        by: AttemptId,
    },
}

impl EffectiveValue {
    /// It may not be shown, and only who uses it may have it.
    pub fn is_secret(&self) -> bool {
        !matches!(self, Self::Text(_))
    }
}

/// A variable in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: EffectiveValue,
}

/// The variables in effect at one place, in order: the project's, outputs, the system's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EffectiveSet {
    variables: Vec<Effective>,
    /// Index by name in lower case.
    index: BTreeMap<String, usize>,
}

impl EffectiveSet {
    /// Works out every winner. A later kind replaces an earlier one of the same name, so nobody
    /// can pretend to be another release.
    pub fn new(
        variables: &[Variable],
        situation: &Situation<'_>,
        outputs: &[OutputVariable],
        around: Option<&Surroundings<'_>>,
    ) -> Result<Self, Tie> {
        let mut set = Self::default();
        for variable in variables {
            if let Some(winner) = resolve(variable, situation)? {
                let value = match &winner.value {
                    VariableValue::Text(text) => EffectiveValue::Text(text.as_str().into()),
                    VariableValue::PinnedSecret(secret) => EffectiveValue::Secret(secret.clone()),
                    VariableValue::Secret(path) => EffectiveValue::Unpinned(path.clone()),
                    // A deployment has answers in the place of prompts; where nobody was asked, as
                    // when a lifecycle deploys by itself, what holds without an answer.
                    VariableValue::Prompt(prompt) => {
                        EffectiveValue::Text(prompt.unanswered().into())
                    }
                };
                set.put(variable.name.clone(), value);
            }
        }
        set.put_outputs(outputs, situation.target.map(|target| target.name));
        if let Some(around) = around {
            for (name, value) in system_variables(around) {
                set.put(name, EffectiveValue::Text(value));
            }
        }
        Ok(set)
    }

    pub(super) fn put(&mut self, name: String, value: EffectiveValue) {
        let key = fold(&name);
        if let Some(slot) = self
            .index
            .get(&key)
            .and_then(|at| self.variables.get_mut(*at))
        {
            *slot = Effective { name, value };
            return;
        }
        self.index.insert(key, self.variables.len());
        self.variables.push(Effective { name, value });
    }

    /// Each output under the target that set it, and without target: the subject's own if it set
    /// one, otherwise that of the last target by name, so that the answer does not depend on time.
    fn put_outputs(&mut self, outputs: &[OutputVariable], subject: Option<&str>) {
        let mut plain: BTreeMap<(&str, &str), &OutputVariable> = BTreeMap::new();
        for output in outputs {
            // What was done for no target has no name to stand there.
            if !output.subject.is_empty() {
                self.put(
                    format!(
                        "Octopus.Action[{}].Output[{}].{}",
                        output.action, output.subject, output.name
                    ),
                    output_value(output),
                );
            }
            let slot = plain
                .entry((&output.action, &output.name))
                .or_insert(output);
            let own = |candidate: &OutputVariable| subject == Some(candidate.subject.as_str());
            // Of the same target the later one holds.
            if own(output) || (!own(slot) && output.subject >= slot.subject) {
                *slot = output;
            }
        }
        for ((action, name), output) in plain {
            self.put(
                format!("Octopus.Action[{action}].Output.{name}"),
                output_value(output),
            );
        }
    }

    /// The variables, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Effective> {
        self.variables.iter()
    }

    /// The variable of this name, whatever its case.
    pub fn get(&self, name: &str) -> Option<&Effective> {
        self.index
            .get(&fold(name))
            .and_then(|at| self.variables.get(*at))
    }

    /// For rendering: secrets as what `secret` makes of them, or without a value.
    pub fn to_template_variables(
        &self,
        secret: impl Fn(&Effective) -> Option<String>,
    ) -> Variables {
        let mut variables = Variables::new();
        for variable in &self.variables {
            let name = variable.name.clone();
            match &variable.value {
                EffectiveValue::Text(text) => variables.share(name, Arc::clone(text)),
                _ => variables.insert(name, secret(variable)),
            }
        }
        variables
    }

    /// The names of all variables that `texts` can reach, through any number of others.
    pub fn closure<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> BTreeSet<String> {
        mantle_template::closure(texts, &self.to_template_variables(|_| None))
    }
}

fn output_value(output: &OutputVariable) -> EffectiveValue {
    match output.sealed_by {
        Some(by) => EffectiveValue::Sealed {
            value: output.value.clone(),
            by,
        },
        None => EffectiveValue::Text(output.value.as_str().into()),
    }
}

#[cfg(test)]
#[path = "effective_tests.rs"]
mod tests;

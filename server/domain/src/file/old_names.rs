//! Names from before the rule of names ([`crate::name`]), of things that there are.
//!
//! What was called so stays called so: a file that `export` wrote must apply. Only what is new
//! obeys the rule.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::{IN_ENVIRONMENTS, IN_TAGS, IN_TARGETS, is_sound};
use crate::process::Process;
use crate::project::ProjectDefinition;
use crate::variable::Variable;
use crate::variable_set::VariableSetDefinition;

/// The unsound names that are in use, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OldNames(BTreeMap<&'static str, BTreeSet<String>>);

impl OldNames {
    /// An environment has this name.
    pub fn environment(&mut self, name: &str) {
        self.keep("environment", name, IN_ENVIRONMENTS);
    }

    /// A target has this name, or stands in a scope.
    pub fn target(&mut self, name: &str) {
        self.keep("target", name, IN_TARGETS);
    }

    /// A target has this tag, or something asks for it.
    pub fn tag(&mut self, name: &str) {
        self.keep("tag", name, IN_TAGS);
    }

    /// What a project says of targets and tags.
    pub fn project(&mut self, project: &ProjectDefinition) {
        self.process(&project.process);
        self.variables(&project.variables);
    }

    /// What a variable set says of targets and tags.
    pub fn variable_set(&mut self, set: &VariableSetDefinition) {
        self.variables(&set.variables);
    }

    fn process(&mut self, process: &Process) {
        for step in &process.steps {
            let executors = step.actions.iter().map(|action| action.run_on.as_ref());
            for selector in executors.chain([step.targets.as_ref()]).flatten() {
                self.tag(&selector.tag);
            }
        }
    }

    fn variables(&mut self, variables: &[Variable]) {
        for value in variables.iter().flat_map(|variable| &variable.values) {
            value
                .scope
                .targets
                .iter()
                .for_each(|name| self.target(name));
            value.scope.tags.iter().for_each(|name| self.tag(name));
        }
    }

    /// Something of this kind is called so.
    pub(super) fn contains(&self, kind: &str, name: &str) -> bool {
        self.0.get(kind).is_some_and(|names| names.contains(name))
    }

    fn keep(&mut self, kind: &'static str, name: &str, extra: &[char]) {
        if !is_sound(name, extra) {
            self.0.entry(kind).or_default().insert(name.to_owned());
        }
    }
}

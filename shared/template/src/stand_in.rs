//! Values that only stand in for ones that are not known here: which were read, and what is written in the
//! place of what hangs on them in another way than by being written as they are.
//!
//! What must hold: nothing that a stand-in decides (a branch, a filter, a part of a path) is written as if it
//! were what the value itself leads to, and nothing of the value can be told, for it is not there.

use std::collections::{BTreeSet, HashMap};

use crate::evaluate::{Eval, Evaluator};
use crate::references::closure;
use crate::variables::Variables;

/// What a rendering read of stand-ins so far.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    /// Of each the number of its last reading, by entry.
    last_read: HashMap<usize, u64>,
    reads: u64,
    /// How many parts of paths one decided.
    bends: u64,
    /// The template, if there are any.
    pub(crate) template: String,
    /// All that the result follows from, once it was needed.
    recipe: Option<String>,
}

/// A moment of a rendering.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    reads: u64,
    bends: u64,
}

impl Hidden {
    pub(crate) fn now(&self) -> Mark {
        Mark {
            reads: self.reads,
            bends: self.bends,
        }
    }

    /// One was read.
    pub(crate) fn read_since(&self, mark: Mark) -> bool {
        self.reads > mark.reads
    }

    /// One decided what a path leads to.
    pub(crate) fn bent_since(&self, mark: Mark) -> bool {
        self.bends > mark.bends
    }

    /// The variables that were read, in order.
    pub(crate) fn names(&self, variables: &Variables) -> Vec<String> {
        let mut read: Vec<usize> = self.last_read.keys().copied().collect();
        read.sort_unstable();
        let names = read.into_iter().map(|index| variables.name_at(index));
        names.map(str::to_owned).collect()
    }

    /// What stands in the place of what `token` comes to.
    pub(crate) fn made(&mut self, variables: &Variables, since: Mark, token: &str) -> String {
        // It has been dealt with: a value with this in it may be written as it is.
        self.bends = since.bends;
        // Those of the branches that were not gone into count as well.
        let reached = closure([token], variables);
        let reached = reached.iter().filter_map(|name| variables.stands_for(name));
        let read = self.last_read.iter().filter(|(_, at)| **at > since.reads);
        let read = read.filter_map(|(index, _)| variables.stands_for(variables.name_at(*index)));
        let labels: BTreeSet<&str> = reached.chain(read).collect();
        let labels: Vec<&str> = labels.into_iter().collect();
        let template = &self.template;
        let recipe = self
            .recipe
            .get_or_insert_with(|| recipe(template, variables));
        (variables.made())(&labels, recipe)
    }

    pub(crate) fn recipe_bytes(&self) -> usize {
        self.recipe.as_ref().map_or(0, String::len)
    }
}

/// A template and every variable that it can reach. Lengths stand between, so that no two are the same text.
fn recipe(template: &str, variables: &Variables) -> String {
    let mut recipe = format!("{} {template}", template.len());
    for name in closure([template], variables) {
        let value = variables.get(&name).unwrap_or_default();
        for part in [name.as_str(), value] {
            let length = part.len().to_string();
            recipe.extend(["\n", length.as_str(), " ", part]);
        }
    }
    recipe
}

impl Evaluator<'_> {
    /// Notes that the value of a node is read.
    pub(crate) fn note_read(&mut self, node: u32) {
        if let Some(index) = self.variables.stand_in_at(node) {
            self.hidden.reads += 1;
            self.hidden.last_read.insert(index, self.hidden.reads);
        }
    }

    /// Does what decides where a path leads: with a stand-in in it, that is not known.
    pub(crate) fn bending<T>(&mut self, work: impl FnOnce(&mut Self) -> Eval<T>) -> Eval<T> {
        let before = self.hidden.now();
        let result = work(self);
        if self.hidden.read_since(before) {
            self.hidden.bends += 1;
        }
        result
    }
}

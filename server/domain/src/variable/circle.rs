//! Variables that lead back to themselves, as far as their texts and scopes tell.
//!
//! Only names that are written out count, so what is told is so; an index that a variable gives may lead
//! round as well, which rendering finds.

use std::collections::{BTreeMap, BTreeSet};

use mantle_template::{fold, references};

use super::{Scope, Variable, VariableValue};

/// A chain that is longer has no value for its length alone.
const LONGEST: usize = 96;
/// So many steps are looked at of one project's variables.
const MOST_STEPS: usize = 20_000;
/// More circles than this help nobody.
const MOST: usize = 20;

/// Variables of which each needs the next, and the last the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle {
    /// Their names, beginning with the first in the order of the variables.
    pub names: Vec<String>,
    /// Which value of the first one it is, by variable and value.
    pub at: (usize, usize),
}

impl Circle {
    /// `A -> B -> A`.
    pub fn shown(&self) -> String {
        let first = self.names.first();
        let names: Vec<&str> = self.names.iter().chain(first).map(String::as_str).collect();
        names.join(" -> ")
    }
}

/// The circles among these variables that can come up in one place; of the same variables one.
pub fn circles(variables: &[Variable]) -> Vec<Circle> {
    let mut search = Search {
        variables,
        needs: needs(variables),
        steps: 0,
        path: Vec::new(),
        seen: BTreeSet::new(),
        found: Vec::new(),
    };
    for start in 0..variables.len() {
        search.follow(start, start, &Scope::default());
    }
    search.found
}

/// Of each value the variables that its text needs, where that may lead round.
fn needs(variables: &[Variable]) -> BTreeMap<usize, Vec<(usize, Vec<usize>)>> {
    let by_name: BTreeMap<String, usize> = (0..)
        .zip(variables)
        .map(|(index, variable)| (fold(&variable.name), index))
        .collect();
    let needed = |value: &VariableValue| -> Vec<usize> {
        let text = match value {
            VariableValue::Text(text) if text.contains("#{") => text,
            VariableValue::Text(_)
            | VariableValue::Secret(_)
            | VariableValue::PinnedSecret(_)
            | VariableValue::Prompt(_) => return Vec::new(),
        };
        let names = references(text).names;
        names
            .iter()
            .filter_map(|name| by_name.get(name))
            .copied()
            .collect()
    };
    let mut needs: BTreeMap<usize, Vec<(usize, Vec<usize>)>> = BTreeMap::new();
    for (index, variable) in variables.iter().enumerate() {
        let values = variable.values.iter().enumerate();
        let values = values.map(|(at, value)| (at, needed(&value.value)));
        let values: Vec<_> = values.filter(|(_, needed)| !needed.is_empty()).collect();
        if !values.is_empty() {
            needs.insert(index, values);
        }
    }
    // What needs nothing that needs anything ends there; mostly nothing is left.
    loop {
        let left: BTreeSet<usize> = needs.keys().copied().collect();
        for values in needs.values_mut() {
            for (_, needed) in values.iter_mut() {
                needed.retain(|index| left.contains(index));
            }
            values.retain(|(_, needed)| !needed.is_empty());
        }
        needs.retain(|_, values| !values.is_empty());
        if needs.len() == left.len() {
            return needs;
        }
    }
}

struct Search<'a> {
    variables: &'a [Variable],
    needs: BTreeMap<usize, Vec<(usize, Vec<usize>)>>,
    steps: usize,
    /// By variable and value.
    path: Vec<(usize, usize)>,
    /// The variables of what was found.
    seen: BTreeSet<Vec<usize>>,
    found: Vec<Circle>,
}

impl Search<'_> {
    /// Follows a variable where all values so far hold together. A circle is found from its first variable.
    fn follow(&mut self, start: usize, variable: usize, scope: &Scope) {
        let values = self.needs.get(&variable).cloned().unwrap_or_default();
        for (at, needed) in values {
            let of = self.variables.get(variable);
            let of = of.and_then(|variable| variable.values.get(at));
            let Some(scope) = of.and_then(|value| together(scope, &value.scope)) else {
                continue;
            };
            self.path.push((variable, at));
            for next in needed {
                self.steps += 1;
                if self.steps > MOST_STEPS || self.found.len() == MOST {
                    break;
                }
                if next == start {
                    self.note();
                } else if next > start
                    && self.path.len() < LONGEST
                    && !self.path.iter().any(|(other, _)| *other == next)
                {
                    self.follow(start, next, &scope);
                }
            }
            self.path.pop();
        }
    }

    fn note(&mut self) {
        let mut of: Vec<usize> = self.path.iter().map(|(variable, _)| *variable).collect();
        let names = of.iter().filter_map(|index| self.variables.get(*index));
        let names = names.map(|variable| variable.name.clone()).collect();
        of.sort_unstable();
        if let Some(at) = self.path.first().copied()
            && self.seen.insert(of)
        {
            self.found.push(Circle { names, at });
        }
    }
}

/// Where two values can hold at once; `None` if nowhere. A target can have a tag of each.
fn together(a: &Scope, b: &Scope) -> Option<Scope> {
    let both = |of: fn(&Scope) -> &BTreeSet<String>| {
        let (a, b) = (of(a), of(b));
        if a.is_empty() || b.is_empty() {
            return Some(a.union(b).cloned().collect());
        }
        let both: BTreeSet<String> = a.intersection(b).cloned().collect();
        (!both.is_empty()).then_some(both)
    };
    Some(Scope {
        environments: both(|scope| &scope.environments)?,
        targets: both(|scope| &scope.targets)?,
        channels: both(|scope| &scope.channels)?,
        processes: both(|scope| &scope.processes)?,
        // A name may be that of a step, and another that of an action in it.
        ..Scope::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::a_project;

    fn found(rest: &str) -> Vec<String> {
        let project = a_project(&format!("variables:\n{rest}"));
        let circles = circles(&project.variables);
        circles.iter().map(Circle::shown).collect()
    }

    #[test]
    fn variables_that_lead_back_to_themselves_are_found() {
        for (rest, expected) in [
            ("  A: '#{A}'\n", &["A -> A"][..]),
            (
                "  A: 'x#{b | ToUpper}'\n  B: '#{if C}#{a}#{/if}'\n  C: y\n",
                &["A -> B -> A"],
            ),
            (
                "  A: '#{B}'\n  B: '#{C}'\n  C: '#{A}#{B}'\n",
                &["A -> B -> C -> A", "B -> C -> B"],
            ),
            ("  A: '#{B}'\n  B: '#{C}'\n  C: x\n", &[]),
            ("  A: '##{A}'\n  B: '#{Nope}'\n", &[]),
            // In no place both hold.
            (
                "  A: [{ value: '#{B}', environment: test }, { value: x }]\n  B: [{ value: '#{A}', environment: live }, { value: y }]\n",
                &[],
            ),
            (
                "  A: [{ value: '#{B}', environment: test }]\n  B: [{ value: '#{A}', environment: [live, test] }]\n",
                &["A -> B -> A"],
            ),
            (
                "  A: [{ value: '#{B}', environment: [test, live] }]\n  B: [{ value: '#{C}', environment: [test, stage] }]\n  C: [{ value: '#{A}', environment: [live, stage] }]\n",
                &[],
            ),
            (
                "  A: [{ value: '#{B}', tag: web }]\n  B: [{ value: '#{A}', tag: db }]\n",
                &["A -> B -> A"],
            ),
        ] {
            assert_eq!(found(rest), expected, "{rest}");
        }
    }

    #[test]
    fn many_variables_that_all_need_each_other_take_bounded_work() {
        use std::fmt::Write;
        let all: String = (0..60).fold(String::new(), |mut all, index| {
            write!(all, "#{{V{index:02}}}").unwrap();
            all
        });
        let rest = (0..60).fold(String::new(), |mut rest, index| {
            writeln!(rest, "  V{index:02}: '{all}'").unwrap();
            rest
        });
        assert_eq!(found(&rest).len(), MOST);
    }
}

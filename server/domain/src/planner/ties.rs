//! The ties that a plan meets: each pair of values once, with all the places that it concerns.

use std::collections::{BTreeMap, BTreeSet};

use crate::explain::{Refusal, listed};
use crate::plan::Plan;
use crate::variable::Tie;

/// Two values of a variable: its name, and where the one and the other hold.
type Pair = (String, String, String);

/// What was met so far.
#[derive(Debug, Default)]
pub(super) struct Ties {
    found: BTreeMap<Pair, Places>,
}

/// Where two values tie.
#[derive(Debug, Default)]
struct Places {
    /// By step and name.
    actions: BTreeSet<(String, String)>,
    /// The steps whose condition is concerned.
    conditions: BTreeSet<String>,
    targets: BTreeSet<String>,
}

impl Ties {
    /// Ties of a step's action about a target (or about none), or of the step's own condition.
    pub(super) fn note(
        &mut self,
        ties: Vec<Tie>,
        step: &str,
        action: Option<&str>,
        target: Option<&str>,
    ) {
        for tie in ties {
            let places = self
                .found
                .entry((tie.variable, tie.first, tie.second))
                .or_default();
            match action {
                Some(action) => {
                    let place = (step.to_owned(), action.to_owned());
                    places.actions.insert(place);
                }
                None => {
                    places.conditions.insert(step.to_owned());
                }
            }
            places.targets.extend(target.map(str::to_owned));
        }
    }

    /// One refusal a pair, in the order of the variables.
    pub(super) fn refusals(self, plan: &Plan) -> impl Iterator<Item = Refusal> {
        let environment = format!("environment '{}'", plan.environment);
        let channel = format!("channel '{}'", plan.channel);
        let found = self.found.into_iter();
        found.map(move |((variable, first, second), places)| {
            let around = [environment.clone(), channel.clone()];
            let parts = places.parts().into_iter().chain(around);
            Refusal::Tie(Tie {
                variable,
                first,
                second,
                situation: parts.collect::<Vec<_>>().join(" in "),
            })
        })
    }
}

impl Places {
    /// For people: what there is one of by its name, more with their number.
    fn parts(self) -> Vec<String> {
        let mut parts = Vec::new();
        let actions: Vec<(String, String)> = self.actions.into_iter().collect();
        match &actions[..] {
            [] => {}
            [(step, action)] => parts.push(format!("action '{action}' in step '{step}'")),
            several => {
                let names: Vec<String> = several.iter().map(|(_, name)| name.clone()).collect();
                parts.push(counted("action", &names));
            }
        }
        let conditions: Vec<String> = self.conditions.into_iter().collect();
        if !conditions.is_empty() {
            let what = counted("step", &conditions);
            let of = format!("the condition of {what}");
            match parts.pop() {
                Some(actions) => parts.push(format!("{actions} and {of}")),
                None => parts.push(of),
            }
        }
        if !self.targets.is_empty() {
            let targets: Vec<String> = self.targets.into_iter().collect();
            parts.push(counted("target", &targets));
        }
        parts
    }
}

fn counted(kind: &str, names: &[String]) -> String {
    match names {
        [one] => format!("{kind} '{one}'"),
        several => format!("{} {kind}s ({})", several.len(), listed(several)),
    }
}

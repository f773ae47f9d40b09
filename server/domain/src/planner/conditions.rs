//! What can be known of run conditions beforehand: one that cannot be judged is refused, one that
//! may turn out so is a warning.
//!
//! What must hold: nothing is refused that could be judged when its turn comes. Output variables of
//! what runs before are not known yet, and neither is a branch that hangs on them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mantle_template::{Options, Problem, ProblemKind, closure, fold, references};

use super::PlanRequest;
use super::ties::Ties;
use crate::condition::{Place, Unjudgeable, judge_within};
use crate::explain::{NamedRelease, Refusal, about};
use crate::fleet::Fleet;
use crate::order::{OrderContext, effective_among, tied};
use crate::plan::{Plan, PlanAction, PlanStep};
use crate::process::RunCondition;
use crate::work;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What cannot be judged.
    pub(super) refusals: Vec<Refusal>,
    /// What may turn out so.
    pub(super) warnings: Vec<String>,
}

/// How sure it is that a condition cannot be judged when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sure {
    Perhaps,
    Certainly,
}

/// Judges the condition of every step and action that takes part, as far as it can be told now.
/// Ties in those of steps are noted.
pub(super) fn check(request: &PlanRequest<'_>, plan: &Plan, ties: &mut Ties) -> Found {
    let context = OrderContext {
        plan,
        process: request.process,
        variables: request.variables,
        task_number: "",
        outputs: &[],
        failed: None,
        lists: None,
    };
    let mut judging = Judging {
        context,
        fleet: Fleet::of_texts(plan, request.process, request.variables),
        budget: work::budget(plan.targets.len()),
        found: Found::default(),
        ties,
    };
    for (index, step) in plan.steps.iter().enumerate() {
        if step.skipped.is_some() {
            continue;
        }
        if let RunCondition::Template(template) = &step.run {
            let before = judging.outputs_of(0..index);
            judging.step(step, template, &before);
        }
        // What runs at the same time may be done by the time that an action's turn comes.
        let before = judging.outputs_of(0..plan.group(index).end);
        for action in &step.actions {
            if let RunCondition::Template(template) = &action.run {
                judging.action(step, action, template, &before);
            }
        }
    }
    judging.found
}

struct Judging<'a> {
    context: OrderContext<'a>,
    fleet: Fleet<'a>,
    budget: mantle_template::Budget,
    found: Found,
    ties: &'a mut Ties,
}

impl Judging<'_> {
    /// The actions of these steps that take part, in lower case: they may set output variables.
    fn outputs_of(&self, steps: std::ops::Range<usize>) -> Vec<String> {
        let steps = self.context.plan.steps.get(steps).unwrap_or_default();
        let actions = steps.iter().flat_map(|step| &step.actions);
        actions
            .filter(|action| !action.nodes.is_empty())
            .map(|action| fold(&action.name))
            .collect()
    }

    fn step(&mut self, step: &PlanStep, template: &str, before: &[String]) {
        let place = Place {
            step,
            action: None,
            subject: None,
        };
        let named = format!("step '{}'", step.name);
        match self.judge(&place, template, before) {
            Some(Fault::Tie) => {
                let tied = tied(&self.context, step, None, None);
                self.ties.note(tied, &step.name, None, None);
            }
            Some(Fault::Other(sure, why)) => self.tell(sure, &named, template, why, Vec::new()),
            None => {}
        }
    }

    /// Of several targets with the same fault one thing is told.
    fn action(&mut self, step: &PlanStep, action: &PlanAction, template: &str, before: &[String]) {
        let mut subjects: Vec<_> = action.nodes.iter().map(|node| node.subject).collect();
        subjects.dedup();
        let mut faults: BTreeMap<(Sure, String), Vec<String>> = BTreeMap::new();
        for subject in subjects {
            let subject = self.fleet.target(subject);
            let place = Place {
                step,
                action: Some(action),
                subject,
            };
            // Ties of what an action sees are found with its inputs.
            if let Some(Fault::Other(sure, why)) = self.judge(&place, template, before) {
                let about = faults.entry((sure, why)).or_default();
                about.extend(subject.map(|target| target.name.clone()));
            }
        }
        let named = format!("action '{}' of step '{}'", action.name, step.name);
        for ((sure, why), targets) in faults {
            self.tell(sure, &named, template, why, targets);
        }
    }

    fn tell(&mut self, sure: Sure, place: &str, template: &str, why: String, targets: Vec<String>) {
        match sure {
            Sure::Certainly => self.found.refusals.push(Refusal::Unjudgeable {
                release: Box::new(NamedRelease {
                    project: self.context.plan.project.clone(),
                    version: self.context.plan.release.clone(),
                }),
                place: place.to_owned(),
                template: template.to_owned(),
                why,
                targets,
            }),
            Sure::Perhaps => {
                let on = about(&targets);
                self.found.warnings.push(format!(
                    "{place} fails{on} if its condition, '{template}', comes to what cannot be judged: {why}"
                ));
            }
        }
    }

    fn judge(&mut self, place: &Place<'_>, template: &str, before: &[String]) -> Option<Fault> {
        // The time only matters to what is shown, and nothing is shown here.
        let options = Options::new(Timestamp::UNIX_EPOCH);
        let known = (&self.context, self.fleet.lists());
        let judged = judge_within(known, place, template, &options, &mut self.budget);
        let problems = match judged {
            Ok(_) => return None,
            Err(Unjudgeable::Tie(_)) => return Some(Fault::Tie),
            Err(why @ Unjudgeable::Limit(_)) => {
                return Some(Fault::Other(Sure::Certainly, why.to_string()));
            }
            Err(Unjudgeable::Problems(problems)) => Ok(problems),
            Err(why @ Unjudgeable::Secrets(_)) => Err(why),
        };
        let read = self.read_by(place, template);
        let hangs_on_outputs = read.iter().any(|text| reads_any_of(text, before));
        let branches = read.iter().any(|text| has_branches(text));
        let problems = match problems {
            Ok(problems) => problems,
            Err(why) => {
                let open = hangs_on_outputs && branches;
                let sure = if open { Sure::Perhaps } else { Sure::Certainly };
                return Some(Fault::Other(sure, why.to_string()));
            }
        };
        let fault = |problem: Problem| {
            let syntax = matches!(problem.kind, ProblemKind::Syntax { .. });
            if !syntax && reads_any_of(&problem.token, before) {
                return None;
            }
            // A calculation or a filter may lack nothing but an output.
            let of_a_value = matches!(
                problem.kind,
                ProblemKind::NoAnswer | ProblemKind::FilterFailed { .. }
            );
            let open = hangs_on_outputs && (branches || of_a_value) && !syntax;
            let sure = if open { Sure::Perhaps } else { Sure::Certainly };
            Some((sure, Unjudgeable::Problems(vec![problem]).to_string()))
        };
        let worst = problems.into_iter().filter_map(fault).reduce(|a, b| {
            // The first of those that are surest.
            if b.0 > a.0 { b } else { a }
        });
        worst.map(|(sure, why)| Fault::Other(sure, why))
    }

    /// The texts that a condition is made of: itself and every value that it can reach.
    fn read_by(&self, place: &Place<'_>, template: &str) -> Vec<String> {
        let mut read = vec![template.to_owned()];
        let at = (place.step, place.action);
        let lists = self.fleet.lists();
        if let Ok(set) = effective_among(&self.context, lists, at, place.subject) {
            let variables = set.to_template_variables(|_| None);
            let reached = closure([template], &variables);
            let values = reached.iter().filter_map(|name| variables.get(name));
            read.extend(values.map(str::to_owned));
        }
        read
    }
}

enum Fault {
    Tie,
    Other(Sure, String),
}

/// A text reads an output variable of one of these actions, or of one that it names by a variable.
fn reads_any_of(text: &str, actions: &[String]) -> bool {
    let read = references(text);
    let names = read.names.iter().chain(&read.prefixes);
    names
        .filter_map(|name| name.strip_prefix("octopus.action"))
        .any(|rest| match rest.strip_prefix('[') {
            None => rest.is_empty(),
            Some(rest) => {
                let is_of = |action: &String| {
                    let rest = rest.strip_prefix(action.as_str());
                    rest.is_some_and(|rest| rest == "]" || rest.starts_with("].output"))
                };
                rest.starts_with("*]") || actions.iter().any(is_of)
            }
        })
}

/// It depends on something which parts of it are evaluated.
fn has_branches(text: &str) -> bool {
    ["#{if ", "#{unless ", "#{each "]
        .iter()
        .any(|block| text.contains(block))
}

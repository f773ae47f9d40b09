//! Ties that can come up, found when files are applied.

use std::collections::BTreeSet;

use super::resolve::{Situation, SituationTarget, describe_situation, rank};
use super::{Scope, ScopedValue};
use crate::process::Process;

/// More ties of one variable than this help nobody: who puts these right finds the others then.
pub const MOST_TIES: usize = 10;

/// Two values of one variable, by index, that tie in a situation that can come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PossibleTie {
    /// The earlier value's index.
    pub first: usize,
    /// The later value's index.
    pub second: usize,
    /// The situation, for people.
    pub situation: String,
}

/// Every pair of values that tie in a situation that can come up, one situation each.
///
/// `targets` are the names and tags of the targets known so far: two values for different tags tie
/// only if some target has both. A target that comes later is judged at plan.
pub fn possible_ties<'a>(
    values: &'a [ScopedValue],
    process: &'a Process,
    targets: &'a [(String, Vec<String>)],
) -> impl Iterator<Item = PossibleTie> + 'a {
    let pairs = values.iter().enumerate().flat_map(move |(second, b)| {
        let before = values.iter().enumerate().take(second);
        before.map(move |(first, a)| ((first, a), (second, b)))
    });
    pairs.filter_map(move |((first, a), (second, b))| {
        // A value of the project outranks the same of a variable set.
        if a.from.is_none() != b.from.is_none() || is_settled(a, b, values) {
            return None;
        }
        let situation = tie_between(&a.scope, &b.scope, process, targets)?;
        Some(PossibleTie {
            first,
            second,
            situation,
        })
    })
}

/// Whether two values of variable sets never matter, since the project has one of the same kinds
/// that holds wherever both do and is as specific at least.
fn is_settled(a: &ScopedValue, b: &ScopedValue, values: &[ScopedValue]) -> bool {
    if a.from.is_none() {
        return false;
    }
    let (a, b) = (&a.scope, &b.scope);
    values.iter().any(|own| {
        let by = &own.scope;
        let shared = |of: fn(&Scope) -> &BTreeSet<String>| {
            of(a).intersection(of(b)).all(|name| of(by).contains(name))
        };
        // Of these a target, or a tenant, may have one of each.
        let either = |of: fn(&Scope) -> &BTreeSet<String>| {
            of(a).is_subset(of(by)) || of(b).is_subset(of(by))
        };
        own.from.is_none()
            && kinds(a) == kinds(by)
            && shared(|scope| &scope.steps)
            && shared(|scope| &scope.targets)
            && shared(|scope| &scope.environments)
            && shared(|scope| &scope.channels)
            && shared(|scope| &scope.processes)
            && either(|scope| &scope.tags)
            && either(|scope| &scope.tenant_tags)
    })
}

/// Which kinds of scope are absent.
fn kinds(scope: &Scope) -> [bool; 7] {
    [
        &scope.steps,
        &scope.targets,
        &scope.tags,
        &scope.tenant_tags,
        &scope.environments,
        &scope.channels,
        &scope.processes,
    ]
    .map(BTreeSet::is_empty)
}

/// A situation in which both scopes match with the same rank.
fn tie_between(
    a: &Scope,
    b: &Scope,
    process: &Process,
    targets: &[(String, Vec<String>)],
) -> Option<String> {
    // Scopes of different kinds never have the same rank.
    if kinds(a) != kinds(b) {
        return None;
    }
    let environment = common(&a.environments, &b.environments)?;
    let channel = common(&a.channels, &b.channels)?;
    let running = common(&a.processes, &b.processes)?;
    let tenant = common(&a.tenant_tags, &b.tenant_tags)?.map(str::to_owned);
    let tenant_tags: Vec<String> = tenant.into_iter().collect();
    let named = common(&a.targets, &b.targets)?;
    // Every tag set that a target is known to have, and the tags that both name.
    let shared: Vec<String> = a.tags.intersection(&b.tags).cloned().collect();
    let mut candidates: Vec<(Option<&str>, Vec<String>)> = Vec::new();
    if a.tags.is_empty() {
        candidates.push((named, Vec::new()));
    } else {
        if !shared.is_empty() {
            candidates.push((named, shared));
        }
        candidates.extend(
            targets
                .iter()
                .filter(|(name, _)| named.is_none_or(|wanted| wanted == name))
                // Only a target with a tag of each can be matched by both.
                .filter(|(_, tags)| {
                    let has = |scope: &Scope| tags.iter().any(|tag| scope.tags.contains(tag));
                    has(a) && has(b)
                })
                .map(|(name, tags)| (Some(name.as_str()), tags.clone())),
        );
    }
    for (name, tags) in &candidates {
        for (step, action, tag) in places(process, a, b) {
            let situation = Situation {
                environment,
                channel,
                target: (name.is_some() || !tags.is_empty()).then(|| SituationTarget {
                    name: name.unwrap_or("any"),
                    tags,
                }),
                step,
                step_tag: tag,
                action,
                tenant_tags: &tenant_tags,
                process: running,
            };
            if let (Ok(x), Ok(y)) = (rank(a, &situation), rank(b, &situation))
                && x == y
            {
                return Some(describe_situation(&situation));
            }
        }
    }
    None
}

/// The name that both sets hold; `Some(None)` if neither names any, `None` if they are disjoint.
#[expect(
    clippy::option_option,
    reason = "the outer one is for the question mark of the caller"
)]
fn common<'a>(a: &'a BTreeSet<String>, b: &'a BTreeSet<String>) -> Option<Option<&'a str>> {
    if a.is_empty() {
        return Some(None);
    }
    a.intersection(b).next().map(|name| Some(name.as_str()))
}

type Place<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);

/// Every step and action with the step's tag, and what both scopes name though the process does
/// not have it (a variable set knows no process); without scopes on steps, one place for each tag.
fn places<'a>(process: &'a Process, a: &'a Scope, b: &'a Scope) -> Vec<Place<'a>> {
    let by_step = !a.steps.is_empty();
    let mut places: Vec<Place<'_>> = Vec::new();
    let mut tags: BTreeSet<&str> = BTreeSet::new();
    for step in &process.steps {
        let tag = step.targets.as_ref().map(|selector| selector.tag.as_str());
        tags.extend(tag);
        if by_step {
            let name = Some(step.name.as_str());
            // A step's own condition is judged without an action.
            places.push((name, None, tag));
            let actions = step.actions.iter();
            places.extend(actions.map(|action| (name, Some(action.name.as_str()), tag)));
        }
    }
    if by_step {
        let known = |name: &str| {
            let mut steps = process.steps.iter();
            steps.any(|step| {
                step.name == name || step.actions.iter().any(|action| action.name == name)
            })
        };
        let both = a.steps.intersection(&b.steps).map(String::as_str);
        places.extend(
            both.filter(|name| !known(name))
                .map(|name| (None, Some(name), None)),
        );
    } else {
        places.push((None, None, None));
        places.extend(tags.into_iter().map(|tag| (None, None, Some(tag))));
    }
    places
}

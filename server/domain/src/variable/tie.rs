//! Ties that can come up, found when files are applied.

use std::collections::BTreeSet;

use super::resolve::{Situation, SituationTarget, describe_situation, rank, rank_of};
use super::{Scope, ScopedValue};
use crate::process::{Process, WORKER_TAG, When};

mod pairs;

use pairs::{Tags, pairs};

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

/// A target that values are read for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedTarget {
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Where it is, if that is known.
    pub environments: Option<BTreeSet<String>>,
}

/// Every pair of values that tie by what their scopes say, one situation each: whatever targets come
/// and whatever tags they get, nothing tells the two apart.
///
/// Of two scopes that share a tag this is so where a step of the process chooses its targets by none
/// of their tags, or by one of both. A process without steps, as a variable set has it, chooses by
/// any: there it is so of equal tags only.
pub fn scope_ties<'a>(
    values: &'a [ScopedValue],
    process: &'a Process,
) -> impl Iterator<Item = PossibleTie> + 'a {
    possible(values, Tags::Shared, move |a, b| {
        tie_of_scopes(&a.scope, &b.scope, process)
    })
}

/// Every pair of values that tie on one of these targets, for no other reason than that it has tags of
/// both, one situation each.
///
/// Only who reads the value counts: a step that chooses by the tag of one of the two has that one,
/// a step that does not choose the target has neither, and a more specific value is had instead.
pub fn tag_ties<'a>(
    values: &'a [ScopedValue],
    process: &'a Process,
    targets: &'a [TaggedTarget],
) -> impl Iterator<Item = PossibleTie> + 'a {
    possible(values, Tags::Any, move |a, b| {
        // Only a target with a tag of each can be matched by both.
        let has = |tags: &[String], scope: &Scope| tags.iter().any(|tag| scope.tags.contains(tag));
        let mut both = targets
            .iter()
            .filter(|target| has(&target.tags, &a.scope) && has(&target.tags, &b.scope))
            .peekable();
        both.peek()?;
        if tie_of_scopes(&a.scope, &b.scope, process).is_some() {
            return None;
        }
        both.find_map(|target| tie_on((a, b), values, process, target))
    })
}

/// The pairs of which neither outranks the other and which no third value settles, that tie.
fn possible<'a>(
    values: &'a [ScopedValue],
    tags: Tags,
    tie: impl Fn(&ScopedValue, &ScopedValue) -> Option<String> + 'a,
) -> impl Iterator<Item = PossibleTie> + 'a {
    pairs(values, tags).filter_map(move |(first, second)| {
        let (a, b) = (values.get(first)?, values.get(second)?);
        // A value of the project outranks the same of a variable set.
        if a.from.is_none() != b.from.is_none() {
            return None;
        }
        let situation = tie(a, b)?;
        (!is_settled(a, b, values)).then_some(PossibleTie {
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

/// A situation in which both scopes, of the same kinds, match with the same rank whatever tags
/// targets have.
fn tie_of_scopes(a: &Scope, b: &Scope, process: &Process) -> Option<String> {
    let environment = common(&a.environments, &b.environments)?;
    let channel = common(&a.channels, &b.channels)?;
    let running = common(&a.processes, &b.processes)?;
    let tenant = common(&a.tenant_tags, &b.tenant_tags)?.map(str::to_owned);
    let tenant_tags: Vec<String> = tenant.into_iter().collect();
    let named = common(&a.targets, &b.targets)?;
    let tag = common(&a.tags, &b.tags)?;
    if process.steps.is_empty() && a.tags != b.tags {
        return None;
    }
    readers(process, a, b).into_iter().find_map(|reader| {
        // Of tags no other than the target must have to be matched and to be chosen.
        let chosen = tag.and(reader.chooses);
        let tags: BTreeSet<String> = chosen.into_iter().chain(tag).map(str::to_owned).collect();
        let tags: Vec<String> = tags.into_iter().collect();
        let situation = Situation {
            environment,
            channel,
            target: (named.is_some() || tag.is_some()).then(|| SituationTarget {
                name: named.unwrap_or("any"),
                tags: &tags,
            }),
            step: reader.step,
            step_tag: reader.tag,
            action: reader.action,
            tenant_tags: &tenant_tags,
            process: running,
        };
        let ranks = (rank(a, &situation).ok()?, rank(b, &situation).ok()?);
        (ranks.0 == ranks.1).then(|| reader.describe(situation))
    })
}

/// The same on one target, for who reads values there and has no more specific one.
fn tie_on(
    (a, b): (&ScopedValue, &ScopedValue),
    values: &[ScopedValue],
    process: &Process,
    target: &TaggedTarget,
) -> Option<String> {
    let (name, tags) = (target.name.as_str(), target.tags.as_slice());
    let (x, y) = (&a.scope, &b.scope);
    let named = all_common(&x.targets, &y.targets);
    if !named
        .iter()
        .any(|named| named.is_none_or(|named| named == name))
    {
        return None;
    }
    let tenant = common(&x.tenant_tags, &y.tenant_tags)?.map(str::to_owned);
    let tenant_tags: Vec<String> = tenant.into_iter().collect();
    let running = common(&x.processes, &y.processes)?;
    let mut readers = readers(process, x, y);
    readers.retain(|reader| {
        let chosen = |tag: &str| tags.iter().any(|own| own == tag);
        reader.chooses.is_some_and(chosen)
    });
    let environments = all_common(&x.environments, &y.environments);
    let channels = all_common(&x.channels, &y.channels);
    let places = environments.iter().flat_map(|environment| {
        let channels = channels.iter();
        channels.map(move |channel| (*environment, *channel))
    });
    places
        .flat_map(|place| readers.iter().map(move |reader| (place, reader)))
        .filter(|((environment, channel), reader)| {
            let applies = |environment| reader.applies(environment, *channel);
            // A worker serves environments that it is not in, and one in none may come into any.
            let places = target.environments.as_ref();
            match places.filter(|own| reader.tag.is_some() && !own.is_empty()) {
                None => applies(*environment),
                Some(own) => own
                    .iter()
                    .filter(|own| environment.is_none_or(|environment| *own == environment))
                    .any(|own| applies(Some(own))),
            }
        })
        .find_map(|((environment, channel), reader)| {
            let situation = Situation {
                environment,
                channel,
                target: Some(SituationTarget { name, tags }),
                step: reader.step,
                step_tag: reader.tag,
                action: reader.action,
                tenant_tags: &tenant_tags,
                process: running,
            };
            let rank = |value| rank_of(value, &situation).ok();
            let (first, second) = (rank(a)?, rank(b)?);
            let mut others = values.iter().filter_map(rank);
            let best = first == second && !others.any(|other| other > first);
            best.then(|| reader.describe(situation))
        })
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

/// The same of every name: `[None]` if neither names any, nothing if they are disjoint.
fn all_common<'a>(a: &'a BTreeSet<String>, b: &'a BTreeSet<String>) -> Vec<Option<&'a str>> {
    if a.is_empty() {
        return vec![None];
    }
    a.intersection(b).map(|name| Some(name.as_str())).collect()
}

/// Who reads values: a step, or an action of it.
#[derive(Clone, Copy, Default)]
struct Reader<'a> {
    step: Option<&'a str>,
    action: Option<&'a str>,
    /// The step's tag.
    tag: Option<&'a str>,
    /// What every target has for which it reads: the step's tag, or the one of workers.
    chooses: Option<&'a str>,
    /// Where they apply.
    when: [Option<&'a When>; 2],
}

impl Reader<'_> {
    /// It reads in this environment (or in some) for this channel.
    fn applies(&self, environment: Option<&str>, channel: Option<&str>) -> bool {
        let only = |names: &BTreeSet<String>, name: Option<&str>| {
            name.is_none_or(|name| names.is_empty() || names.contains(name))
        };
        self.when.iter().flatten().all(|when| {
            only(&when.environments, environment)
                && environment.is_none_or(|name| !when.not_environments.contains(name))
                && only(&when.channels, channel)
        })
    }

    /// For people, to whom a step with one action of its name is one thing.
    fn describe(&self, situation: Situation<'_>) -> String {
        let other = |action: &&str| self.step != Some(*action);
        describe_situation(&Situation {
            action: self.action.filter(other),
            ..situation
        })
    }
}

/// Every step and action, if the scopes name any, and what both name though the process does not have
/// it (a variable set knows no process). If they name tags only, every action: a step's own condition
/// is about no target. Otherwise somebody.
fn readers<'a>(process: &'a Process, a: &'a Scope, b: &'a Scope) -> Vec<Reader<'a>> {
    let (by_step, by_tag) = (!a.steps.is_empty(), !a.tags.is_empty());
    if !by_step && (!by_tag || process.steps.is_empty()) {
        return vec![Reader::default()];
    }
    let mut readers: Vec<Reader<'_>> = Vec::new();
    for step in &process.steps {
        let tag = step.targets.as_ref().map(|selector| selector.tag.as_str());
        let of_step = Reader {
            step: Some(&step.name),
            tag,
            chooses: tag.or(Some(WORKER_TAG)),
            when: [Some(&step.when), None],
            ..Reader::default()
        };
        if !by_tag {
            readers.push(of_step);
        }
        readers.extend(step.actions.iter().map(|action| Reader {
            action: Some(&action.name),
            when: [Some(&step.when), Some(&action.when)],
            ..of_step
        }));
    }
    if by_step {
        let known = |name: &str| {
            let mut steps = process.steps.iter();
            steps.any(|step| {
                step.name == name || step.actions.iter().any(|action| action.name == name)
            })
        };
        let both = a.steps.intersection(&b.steps).map(String::as_str);
        readers.extend(both.filter(|name| !known(name)).map(|name| Reader {
            action: Some(name),
            ..Reader::default()
        }));
    }
    readers
}

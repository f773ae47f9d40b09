//! Which of a variable's values holds: the most specific one that matches.
//!
//! Within a kind of scope any one name matches, and every kind that a value names must match. The
//! order of specificity, most specific first:
//!
//! 1. action, 2. step, 3. target, 4. a tag of the target by which the step chose it, 5. another
//!    tag of the target, 6. environment, 7. channel, 8. no scope.
//!
//! Values are compared by their most specific kind first, then the next, so a combined scope
//! outranks each of its parts (environment + tag over tag), and one specific kind outranks any
//! number of less specific ones (target over environment + tag). What is still equal is a tie, and
//! a tie is an error: nothing here depends on the order in which values were written.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Scope, ScopedValue, Variable};
use crate::process::Process;

/// Where and for what a variable is looked up. What is `None` matches no scope of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Situation<'a> {
    /// The environment's name.
    pub environment: Option<&'a str>,
    /// The release's channel.
    pub channel: Option<&'a str>,
    /// The target that the work is about.
    pub target: Option<SituationTarget<'a>>,
    /// The step's name.
    pub step: Option<&'a str>,
    /// The tag by which the step chose its targets.
    pub step_tag: Option<&'a str>,
    /// The action's name.
    pub action: Option<&'a str>,
}

/// The target of a situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SituationTarget<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its tags.
    pub tags: &'a [String],
}

/// How specific a matching value is; a larger one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Rank(u16);

impl Rank {
    const ACTION: u16 = 1 << 10;
    const STEP: u16 = 1 << 9;
    const TARGET: u16 = 1 << 8;
    const CHOSEN_TAG: u16 = 1 << 7;
    const TAG: u16 = 1 << 6;
    // Bits 5 and 4 are kept for tenant and tenant tag, which stand between tag and environment.
    const ENVIRONMENT: u16 = 1 << 3;
    const CHANNEL: u16 = 1 << 2;

    /// The kinds that make it up, most specific first, such as `target + environment`.
    pub fn describe(self) -> String {
        let kinds: Vec<&str> = [
            (Self::ACTION, "action"),
            (Self::STEP, "step"),
            (Self::TARGET, "target"),
            (Self::CHOSEN_TAG, "tag chosen by the step"),
            (Self::TAG, "tag"),
            (Self::ENVIRONMENT, "environment"),
            (Self::CHANNEL, "channel"),
        ]
        .into_iter()
        .filter(|(bit, _)| self.0 & bit != 0)
        .map(|(_, name)| name)
        .collect();
        if kinds.is_empty() {
            "no scope".to_owned()
        } else {
            kinds.join(" + ")
        }
    }
}

/// A value as a situation sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its index among the variable's values.
    pub index: usize,
    /// The value.
    pub value: &'a ScopedValue,
    /// Its rank, or the kind of scope that does not match.
    pub rank: Result<Rank, &'static str>,
}

/// Two values that are equally specific.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tie {
    /// The variable.
    pub variable: String,
    /// Where the one value holds.
    pub first: String,
    /// Where the other holds.
    pub second: String,
    /// The situation that both match, for people.
    pub situation: String,
}

impl fmt::Display for Tie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "variable '{}' has two equally specific values for {}: the one for {} and the one for {}",
            self.variable, self.situation, self.first, self.second
        )
    }
}

/// The value that holds, `None` if none matches, or the tie between the two best.
pub fn resolve<'a>(
    variable: &'a Variable,
    situation: &Situation<'_>,
) -> Result<Option<&'a ScopedValue>, Tie> {
    let mut best: Option<(Rank, &ScopedValue)> = None;
    let mut rival: Option<&ScopedValue> = None;
    for value in &variable.values {
        let Ok(rank) = rank(&value.scope, situation) else {
            continue;
        };
        match best {
            Some((top, _)) if rank < top => {}
            Some((top, _)) if rank == top => rival = Some(value),
            _ => {
                best = Some((rank, value));
                rival = None;
            }
        }
    }
    match (best, rival) {
        (Some((_, first)), Some(second)) => {
            let mut places = [describe_scope(&first.scope), describe_scope(&second.scope)];
            places.sort();
            let [first, second] = places;
            Err(Tie {
                variable: variable.name.clone(),
                first,
                second,
                situation: describe_situation(situation),
            })
        }
        (best, _) => Ok(best.map(|(_, value)| value)),
    }
}

/// Every value of a variable and how it fares, best first.
pub fn candidates<'a>(variable: &'a Variable, situation: &Situation<'_>) -> Vec<Candidate<'a>> {
    let mut all: Vec<Candidate<'a>> = variable
        .values
        .iter()
        .enumerate()
        .map(|(index, value)| Candidate {
            index,
            value,
            rank: rank(&value.scope, situation),
        })
        .collect();
    all.sort_by(|a, b| match (a.rank, b.rank) {
        (Ok(x), Ok(y)) => y.cmp(&x).then_with(|| a.value.scope.cmp(&b.value.scope)),
        (Ok(_), Err(_)) => std::cmp::Ordering::Less,
        (Err(_), Ok(_)) => std::cmp::Ordering::Greater,
        (Err(_), Err(_)) => a.value.scope.cmp(&b.value.scope),
    });
    all
}

/// The variable of this name, whatever its case.
pub fn find<'a>(variables: &'a [Variable], name: &str) -> Option<&'a Variable> {
    variables
        .iter()
        .find(|variable| variable.name.eq_ignore_ascii_case(name))
}

fn rank(scope: &Scope, situation: &Situation<'_>) -> Result<Rank, &'static str> {
    let mut bits = 0;
    let holds = |names: &BTreeSet<String>, name: Option<&str>| {
        name.is_some_and(|name| names.contains(name))
    };
    if !scope.steps.is_empty() {
        bits |= if holds(&scope.steps, situation.action) {
            Rank::ACTION
        } else if holds(&scope.steps, situation.step) {
            Rank::STEP
        } else {
            return Err("another step");
        };
    }
    if !scope.targets.is_empty() {
        if !holds(&scope.targets, situation.target.map(|target| target.name)) {
            return Err("another target");
        }
        bits |= Rank::TARGET;
    }
    if !scope.tags.is_empty() {
        let tags = situation
            .target
            .map(|target| target.tags)
            .unwrap_or_default();
        let has = |tag: &str| tags.iter().any(|own| own == tag);
        bits |= if situation
            .step_tag
            .is_some_and(|tag| scope.tags.contains(tag) && has(tag))
        {
            Rank::CHOSEN_TAG
        } else if scope.tags.iter().any(|tag| has(tag)) {
            Rank::TAG
        } else {
            return Err("no such tag on the target");
        };
    }
    if !scope.environments.is_empty() {
        if !holds(&scope.environments, situation.environment) {
            return Err("another environment");
        }
        bits |= Rank::ENVIRONMENT;
    }
    if !scope.channels.is_empty() {
        if !holds(&scope.channels, situation.channel) {
            return Err("another channel");
        }
        bits |= Rank::CHANNEL;
    }
    Ok(Rank(bits))
}

/// A scope for people: `environment production, target web09`.
pub fn describe_scope(scope: &Scope) -> String {
    let mut parts = Vec::new();
    for (kind, names) in [
        ("step", &scope.steps),
        ("target", &scope.targets),
        ("tag", &scope.tags),
        ("environment", &scope.environments),
        ("channel", &scope.channels),
    ] {
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            parts.push(format!("{kind} {}", names.join(" or ")));
        }
    }
    if parts.is_empty() {
        "every situation".to_owned()
    } else {
        parts.join(", ")
    }
}

fn describe_situation(situation: &Situation<'_>) -> String {
    let mut parts = Vec::new();
    for (kind, name) in [
        ("action", situation.action),
        ("step", situation.step),
        ("target", situation.target.map(|target| target.name)),
        ("environment", situation.environment),
        ("channel", situation.channel),
    ] {
        if let Some(name) = name {
            parts.push(format!("{kind} '{name}'"));
        }
    }
    if parts.is_empty() {
        "any situation".to_owned()
    } else {
        parts.join(" in ")
    }
}

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

/// The first pair of values that tie in a situation that can come up.
///
/// `targets` are the names and tags of the targets known so far: two values for different tags tie
/// only if some target has both. A target that comes later is judged at plan.
pub fn possible_tie(
    values: &[ScopedValue],
    process: &Process,
    targets: &[(String, Vec<String>)],
) -> Option<PossibleTie> {
    for (second, b) in values.iter().enumerate() {
        for (first, a) in values.iter().enumerate().take(second) {
            if let Some(situation) = tie_between(&a.scope, &b.scope, process, targets) {
                return Some(PossibleTie {
                    first,
                    second,
                    situation,
                });
            }
        }
    }
    None
}

/// A situation in which both scopes match with the same rank.
fn tie_between(
    a: &Scope,
    b: &Scope,
    process: &Process,
    targets: &[(String, Vec<String>)],
) -> Option<String> {
    // Scopes of different kinds never have the same rank.
    let kinds = |scope: &Scope| {
        [
            &scope.steps,
            &scope.targets,
            &scope.tags,
            &scope.environments,
            &scope.channels,
        ]
        .map(BTreeSet::is_empty)
    };
    if kinds(a) != kinds(b) {
        return None;
    }
    let environment = common(&a.environments, &b.environments)?;
    let channel = common(&a.channels, &b.channels)?;
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
        for (step, action, tag) in places(process, !a.steps.is_empty()) {
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

/// Every step and action with the step's tag; without scopes on steps, one place for each tag.
fn places(process: &Process, by_step: bool) -> Vec<Place<'_>> {
    let mut places: Vec<Place<'_>> = Vec::new();
    let mut tags: BTreeSet<&str> = BTreeSet::new();
    for step in &process.steps {
        let tag = step.targets.as_ref().map(|selector| selector.tag.as_str());
        tags.extend(tag);
        if by_step {
            let actions = step.actions.iter();
            places.extend(
                actions.map(|action| (Some(step.name.as_str()), Some(action.name.as_str()), tag)),
            );
        }
    }
    if !by_step {
        places.push((None, None, None));
        places.extend(tags.into_iter().map(|tag| (None, None, Some(tag))));
    }
    places
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;

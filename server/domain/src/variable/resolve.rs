//! Which of a variable's values holds: the most specific one that matches.
//!
//! Within a kind of scope any one name matches, and every kind that a value names must match. The
//! order of specificity, most specific first:
//!
//! 1. action, 2. step, 3. target, 4. a tag of the target by which the step chose it, 5. another
//!    tag of the target, 6. tag of a tenant, 7. environment, 8. channel, 9. process, 10. a value of
//!    the project itself rather than of a variable set that it includes, 11. no scope.
//!
//! Values are compared by their most specific kind first, then the next, so a combined scope
//! outranks each of its parts (environment + tag over tag), and one specific kind outranks any
//! number of less specific ones (target over environment + tag). What is still equal is a tie, and
//! a tie is an error: nothing here depends on the order in which values were written.

use std::collections::BTreeSet;
use std::fmt;

use mantle_template::same_name;
use serde::{Deserialize, Serialize};

use super::{Scope, ScopedValue, Variable};

/// The process that deployments run, as values may be scoped to it.
pub const DEPLOYMENT_PROCESS: &str = "deployment";

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
    /// The tags of the tenant that is deployed for; nothing is, yet.
    pub tenant_tags: &'a [String],
    /// The process at work, such as [`DEPLOYMENT_PROCESS`].
    pub process: Option<&'a str>,
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
    // Bit 5 is kept for the tenant, which stands between tag and tenant tag.
    const TENANT_TAG: u16 = 1 << 4;
    const ENVIRONMENT: u16 = 1 << 3;
    const CHANNEL: u16 = 1 << 2;
    const PROCESS: u16 = 1 << 1;
    const PROJECT: u16 = 1;

    /// The kinds that make it up, most specific first, such as `target + environment`.
    pub fn describe(self) -> String {
        let kinds: Vec<&str> = [
            (Self::ACTION, "action"),
            (Self::STEP, "step"),
            (Self::TARGET, "target"),
            (Self::CHOSEN_TAG, "tag chosen by the step"),
            (Self::TAG, "tag"),
            (Self::TENANT_TAG, "tenant tag"),
            (Self::ENVIRONMENT, "environment"),
            (Self::CHANNEL, "channel"),
            (Self::PROCESS, "process"),
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
    /// Where the one value holds, and in which variable set it stands.
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
        let Ok(rank) = rank_of(value, situation) else {
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
            let mut places = [describe_value(first), describe_value(second)];
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
    fn place<'v>(candidate: &Candidate<'v>) -> (&'v Scope, &'v Option<String>) {
        (&candidate.value.scope, &candidate.value.from)
    }
    let mut all: Vec<Candidate<'a>> = variable
        .values
        .iter()
        .enumerate()
        .map(|(index, value)| Candidate {
            index,
            value,
            rank: rank_of(value, situation),
        })
        .collect();
    all.sort_by(|a, b| match (a.rank, b.rank) {
        (Ok(x), Ok(y)) => y.cmp(&x).then_with(|| place(a).cmp(&place(b))),
        (Ok(_), Err(_)) => std::cmp::Ordering::Less,
        (Err(_), Ok(_)) => std::cmp::Ordering::Greater,
        (Err(_), Err(_)) => place(a).cmp(&place(b)),
    });
    all
}

/// The variable of this name, whatever its case.
pub fn find<'a>(variables: &'a [Variable], name: &str) -> Option<&'a Variable> {
    variables
        .iter()
        .find(|variable| same_name(&variable.name, name))
}

/// How specific a value is here, or which kind of its scope does not match.
pub(super) fn rank_of(
    value: &ScopedValue,
    situation: &Situation<'_>,
) -> Result<Rank, &'static str> {
    let Rank(bits) = rank(&value.scope, situation)?;
    Ok(Rank(match value.from {
        None => bits | Rank::PROJECT,
        Some(_) => bits,
    }))
}

/// The rank of a scope alone, whoever says it.
pub(super) fn rank(scope: &Scope, situation: &Situation<'_>) -> Result<Rank, &'static str> {
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
    if !scope.tenant_tags.is_empty() {
        let mut own = situation.tenant_tags.iter();
        if !own.any(|tag| scope.tenant_tags.contains(tag)) {
            return Err("no tenant with such a tag");
        }
        bits |= Rank::TENANT_TAG;
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
    if !scope.processes.is_empty() {
        if !holds(&scope.processes, situation.process) {
            return Err("another process");
        }
        bits |= Rank::PROCESS;
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
        ("tenant tag", &scope.tenant_tags),
        ("environment", &scope.environments),
        ("channel", &scope.channels),
        ("process", &scope.processes),
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

/// A value's place for people: its scope, and the variable set that it stands in.
pub(crate) fn describe_value(value: &ScopedValue) -> String {
    let scope = describe_scope(&value.scope);
    match &value.from {
        None => scope,
        Some(set) => format!("{scope} in variable set '{set}'"),
    }
}

pub(super) fn describe_situation(situation: &Situation<'_>) -> String {
    let mut parts = Vec::new();
    for (kind, name) in [
        ("action", situation.action),
        ("step", situation.step),
        ("target", situation.target.map(|target| target.name)),
        (
            "tenant tag",
            situation.tenant_tags.first().map(String::as_str),
        ),
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

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;

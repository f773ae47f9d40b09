//! Which two values of a variable could tie at all: those with scopes of the same kinds that name something
//! together. Few of many values do, so that looking for ties takes no time with the square of their number.

use std::collections::{BTreeMap, BTreeSet};

use super::kinds;
use crate::variable::{Scope, ScopedValue};

type Kind = fn(&Scope) -> &BTreeSet<String>;

/// Without the tags: two values for two of them may tie on a target with both.
const KINDS: [Kind; 6] = [
    |scope| &scope.targets,
    |scope| &scope.steps,
    |scope| &scope.environments,
    |scope| &scope.channels,
    |scope| &scope.tenant_tags,
    |scope| &scope.processes,
];
const TAGS: Kind = |scope| &scope.tags;

/// How two values that are told apart by their tags alone are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tags {
    /// They could tie.
    Any,
    /// They could not.
    Shared,
}

/// Pairs by index, the earlier value first, in the order of the later one.
pub(super) fn pairs(values: &[ScopedValue], tags: Tags) -> impl Iterator<Item = (usize, usize)> {
    let index = Index::new(values, tags);
    (0..values.len()).flat_map(move |second| {
        let before = values
            .get(second)
            .map(|value| index.before(second, &value.scope));
        let before = before.unwrap_or_default().into_iter();
        before.map(move |first| (first, second))
    })
}

/// The values with scopes of the same kinds, by the names in that of their kinds which tells most apart.
struct Index<'a> {
    groups: BTreeMap<[bool; 7], Group<'a>>,
}

struct Group<'a> {
    /// `None` if they name nothing by which they could be told apart.
    by: Option<Kind>,
    all: Vec<usize>,
    named: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Index<'a> {
    fn new(values: &'a [ScopedValue], tags: Tags) -> Self {
        let mut members: BTreeMap<[bool; 7], Vec<usize>> = BTreeMap::new();
        for (index, value) in values.iter().enumerate() {
            members.entry(kinds(&value.scope)).or_default().push(index);
        }
        let groups = members.into_iter().map(|(kinds, all)| {
            let scopes = || {
                let scopes = all.iter().filter_map(|index| values.get(*index));
                scopes.map(|value| &value.scope)
            };
            let too = (tags == Tags::Shared).then_some(TAGS);
            let distinct = |of: Kind| -> BTreeSet<&String> { scopes().flat_map(of).collect() };
            let kind = KINDS.into_iter().chain(too);
            let by = kind
                .map(|of| (distinct(of).len(), of))
                .filter(|(names, _)| *names > 0)
                .max_by_key(|(names, _)| *names)
                .map(|(_, of)| of);
            let mut named: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
            for index in &all {
                let value = values.get(*index);
                for name in by
                    .iter()
                    .zip(value)
                    .flat_map(|(of, value)| of(&value.scope))
                {
                    named.entry(name).or_default().push(*index);
                }
            }
            (kinds, Group { by, all, named })
        });
        Self {
            groups: groups.collect(),
        }
    }

    /// The earlier values that could tie with one.
    fn before(&self, second: usize, scope: &Scope) -> Vec<usize> {
        let Some(group) = self.groups.get(&kinds(scope)) else {
            return Vec::new();
        };
        let earlier = |index: &&usize| **index < second;
        let Some(of) = group.by else {
            return group.all.iter().take_while(earlier).copied().collect();
        };
        let shared = of(scope).iter();
        let shared = shared.filter_map(|name| group.named.get(name.as_str()));
        let all: BTreeSet<usize> = shared
            .flat_map(|indexes| indexes.iter().take_while(earlier).copied())
            .collect();
        all.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variable::VariableValue;

    #[test]
    fn of_thousands_of_values_only_those_that_name_something_together_are_compared() {
        let value = |environment: usize, target: usize, tag: usize| {
            let one = |name: String| BTreeSet::from([name]);
            let scope = Scope {
                environments: one(format!("e{environment}")),
                targets: one(format!("t{target}")),
                tags: one(format!("g{tag}")),
                ..Scope::default()
            };
            ScopedValue::own(VariableValue::Text(String::new()), scope)
        };
        let many: Vec<ScopedValue> = (0..4_000).map(|n| value(n % 4, n / 4, n)).collect();
        // Each target has four.
        assert_eq!(pairs(&many, Tags::Any).count(), 1_000 * 6);
        assert_eq!(pairs(&many, Tags::Shared).count(), 0);
        let other = Scope::default();
        let plain = ScopedValue::own(VariableValue::Text(String::new()), other);
        let all = [plain.clone(), value(0, 0, 0), plain.clone(), plain];
        let found: Vec<(usize, usize)> = pairs(&all, Tags::Any).collect();
        assert_eq!(found, [(0, 2), (0, 3), (2, 3)]);
    }
}

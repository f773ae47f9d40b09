//! Ties that the tags of a target bring about: two values for two tags are told apart until a target
//! has both, and then by who chooses it by one of the two.

use std::collections::BTreeSet;

use super::resolve::{Tie, describe_value};
use super::tie::{MOST_TIES, PossibleTie, TaggedTarget, tag_ties};
use super::{ScopedValue, Variable};
use crate::process::Process;

/// A target with its tags.
#[derive(Debug, Clone, Copy)]
pub struct Tagged<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its tags.
    pub tags: &'a [String],
    /// The tags that it had before, if it was there: what tied then is nothing new.
    pub before: Option<&'a [String]>,
}

/// Whether tags of targets could bring about a tie at all: most variables have no two values for tags.
pub fn may_tie_by_tags(variable: &Variable) -> bool {
    let tagged = |value: &&ScopedValue| !value.scope.tags.is_empty();
    variable.values.iter().filter(tagged).take(2).count() == 2
}

/// The ties that come up on a target because of its tags, each pair of values once.
pub fn ties_by_tags(variables: &[Variable], process: &Process, target: Tagged<'_>) -> Vec<Tie> {
    let mut found = Vec::new();
    for variable in variables
        .iter()
        .filter(|variable| may_tie_by_tags(variable))
    {
        let tied = |tags: Option<&[String]>| -> Vec<PossibleTie> {
            let target = tags.map(|tags| TaggedTarget {
                name: target.name.to_owned(),
                tags: tags.to_vec(),
                environments: None,
            });
            let targets: Vec<TaggedTarget> = target.into_iter().collect();
            tag_ties(&variable.values, process, &targets).collect()
        };
        let pair = |tie: &PossibleTie| (tie.first, tie.second);
        let now = tied(Some(target.tags));
        if now.is_empty() {
            continue;
        }
        let known: BTreeSet<(usize, usize)> = tied(target.before).iter().map(pair).collect();
        let new = now.into_iter().filter(|tie| !known.contains(&pair(tie)));
        let of = |index: usize| variable.values.get(index).map(describe_value);
        found.extend(new.take(MOST_TIES).filter_map(|tie| {
            Some(Tie {
                variable: variable.name.clone(),
                first: of(tie.first)?,
                second: of(tie.second)?,
                situation: tie.situation,
            })
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::a_project;

    #[test]
    fn a_target_with_both_tags_ties_what_was_told_apart() {
        let project = a_project(concat!(
            "variables:\n",
            "  Port: [{ value: 80 }, { value: 81, tag: blue }, { value: 82, tag: green }, { value: 83, tag: red }]\n",
            "  Apart: [{ value: a, tag: blue, environment: test }, { value: b, tag: green, environment: live }]\n",
            "  More: [{ value: a, tag: blue }, { value: b, tag: green, environment: live }]\n",
            "  One: [{ value: a, tag: [blue, green] }]\n",
            "process:\n",
            "  - { step: Go, targets: { tag: farm }, uses: script, with: { run: x } }\n",
            "  - { step: Blue, targets: { tag: blue }, uses: script, with: { run: x } }\n",
        ));
        let ties = |tags: &[&str], before: Option<&[&str]>| -> Vec<String> {
            let owned = |tags: &[&str]| -> Vec<String> {
                tags.iter().map(|tag| (*tag).to_owned()).collect()
            };
            let (tags, before) = (owned(tags), before.map(owned));
            let target = Tagged {
                name: "web01",
                tags: &tags,
                before: before.as_deref(),
            };
            let found = ties_by_tags(&project.variables, &project.process, target);
            found.iter().map(ToString::to_string).collect()
        };
        let tied = "variable 'Port' has two equally specific values for step 'Go' in target 'web01': the one for tag blue and the one for tag green";
        let three = [
            tied,
            "variable 'Port' has two equally specific values for step 'Go' in target 'web01': the one for tag blue and the one for tag red",
            "variable 'Port' has two equally specific values for step 'Go' in target 'web01': the one for tag green and the one for tag red",
        ];
        for (tags, before, expected) in [
            (&["blue", "green", "farm"][..], None, &[tied][..]),
            (
                &["blue", "green", "farm"],
                Some(&["blue", "farm"][..]),
                &[tied],
            ),
            (
                &["blue", "green", "farm", "web"],
                Some(&["blue", "green", "farm"]),
                &[],
            ),
            (&["blue", "farm"], Some(&["blue", "green", "farm"]), &[]),
            (&["blue", "farm"], None, &[]),
            (&["blue", "green", "red", "farm"], None, &three),
            // What tied before hides nothing that is new.
            (
                &["blue", "green", "red", "farm"],
                Some(&["blue", "green", "farm"]),
                &three[1..],
            ),
            // The only step that chooses it has the value for blue.
            (&["blue", "green"], None, &[]),
            (&[], None, &[]),
        ] {
            assert_eq!(ties(tags, before), expected, "{tags:?} {before:?}");
        }
    }
}

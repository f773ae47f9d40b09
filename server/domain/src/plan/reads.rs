//! Which of the facts beside a plan the texts of its release read: a deployment that is bound to the plan
//! rests on these, and on none that nothing reads.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{PastRelease, PlanFacts};
use crate::snapshot::{ProcessSnapshot, VariableSnapshot};

/// A fact that changes while project and release stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanFact {
    /// The release that runs in the environment.
    Current,
    /// The one that ran there before it.
    Previous,
    /// The deployment that brought the one that runs.
    Succeeded,
    /// The release that was made before this one.
    ReleaseBefore,
    /// The environment's place in lists.
    EnvironmentOrder,
}

/// What names each, in lower case: these parts of a variable's name must be written out, for only what
/// stands in brackets can be a template itself.
const NAMED: [(PlanFact, &str); 5] = [
    (PlanFact::Current, "octopus.release.currentforenvironment"),
    (PlanFact::Previous, "octopus.release.previousforenvironment"),
    (PlanFact::Succeeded, "octopus.deployment.previoussuccessful"),
    (PlanFact::ReleaseBefore, "octopus.release.previous."),
    (PlanFact::EnvironmentOrder, "octopus.environment.sortorder"),
];

/// Those that some text of the release names. What files in packages read is not known here.
pub(crate) fn read_by(
    process: &ProcessSnapshot,
    variables: &VariableSnapshot,
) -> BTreeSet<PlanFact> {
    let texts = [
        serde_json::to_string(process),
        serde_json::to_string(variables),
    ];
    let texts = texts.map(|text| text.map(|text| text.to_lowercase()));
    // What cannot be written down may read anything.
    let reads = |name: &str| {
        let mut texts = texts.iter();
        texts.any(|text| text.as_ref().map_or(true, |text| text.contains(name)))
    };
    let named = NAMED.into_iter().filter(|(_, name)| reads(name));
    named.map(|(fact, _)| fact).collect()
}

/// The facts without those that are not read, and without who asks and when, which changes nothing of
/// what is done.
pub(super) fn only(facts: &PlanFacts, read: &BTreeSet<PlanFact>) -> PlanFacts {
    let past =
        |fact: PlanFact, past: &Option<PastRelease>| past.clone().filter(|_| read.contains(&fact));
    let order = read.contains(&PlanFact::EnvironmentOrder);
    PlanFacts {
        current: past(PlanFact::Current, &facts.current),
        previous: past(PlanFact::Previous, &facts.previous),
        release_before: past(PlanFact::ReleaseBefore, &facts.release_before),
        succeeded: facts
            .succeeded
            .clone()
            .filter(|_| read.contains(&PlanFact::Succeeded)),
        environment_order: if order { facts.environment_order } else { 0 },
        ..PlanFacts::default()
    }
}

/// What is another now of these facts, in sentences.
pub(super) fn changes(was: &PlanFacts, is: &PlanFacts, environment: &str) -> Vec<String> {
    let version = |past: &Option<PastRelease>| past.as_ref().map(|past| past.version.clone());
    let mut changes = Vec::new();
    let mut past = |was: &Option<PastRelease>, is: &Option<PastRelease>, what: &str| {
        if was == is {
            return;
        }
        let of = |past| version(past).unwrap_or_else(|| "none".to_owned());
        let (was, is) = (of(was), of(is));
        changes.push(if was == is {
            format!("{what} is {is}, which was made anew")
        } else {
            format!("{what} is {is} now, no longer {was}")
        });
    };
    let there = |what: &str| format!("the release that {what} in '{environment}'");
    past(&was.current, &is.current, &there("runs"));
    past(&was.previous, &is.previous, &there("ran before"));
    past(
        &was.release_before,
        &is.release_before,
        "the release that was made before it",
    );
    if was.current == is.current && was.succeeded != is.succeeded {
        changes.push(format!("what runs in '{environment}' was deployed anew"));
    }
    if was.environment_order != is.environment_order {
        changes.push(format!(
            "environment '{environment}' has another place in lists"
        ));
    }
    changes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use mantle_shared::Digest;

    use super::*;
    use crate::plan::basis::{PlanBasis, ReleaseDigests};
    use crate::planner::PlanOptions;
    use crate::release::ScannedFiles;
    use crate::testing::{a_project, a_release, a_target, plan};

    /// A plan of a release with this text in its process, where this ran.
    fn reading(text: &str, facts: &PlanFacts) -> PlanBasis {
        let process = format!(
            "process: [{{ step: S, targets: {{ tag: web }}, run: '{text}', uses: script, with: {{ run: x }} }}]\n"
        );
        let release = a_release(&a_project(&process), &ScannedFiles::new());
        let mut plan = plan(
            &release,
            "test",
            &[a_target("web01", &["web"], &["test"])],
            &PlanOptions::default(),
        )
        .unwrap();
        plan.facts = facts.clone();
        let digest = Digest::of(text.as_bytes());
        let digests = ReleaseDigests {
            process: digest,
            variables: digest,
            packages: digest,
        };
        PlanBasis::new(&plan, digests, &BTreeMap::new())
    }

    #[test]
    fn what_ran_there_counts_where_a_text_of_the_release_reads_it() {
        let past = |version: &str| {
            Some(PastRelease {
                id: format!("id of {version}"),
                version: version.to_owned(),
            })
        };
        let before = PlanFacts {
            project: "p".to_owned(),
            created_by: "ann".to_owned(),
            current: past("1.0.0"),
            succeeded: Some("1".to_owned()),
            environment_order: 1,
            ..PlanFacts::default()
        };
        let after = PlanFacts {
            created_by: "bob".to_owned(),
            current: past("1.1.0"),
            previous: past("1.0.0"),
            release_before: past("0.9"),
            succeeded: Some("2".to_owned()),
            environment_order: 2,
            ..before.clone()
        };
        let nothing = PlanFacts {
            project: "p".to_owned(),
            ..PlanFacts::default()
        };
        let current = "#{if octopus.Release.CurrentForEnvironment.Number != \"1.1.0\"}yes#{/if}";
        for (text, was, is, expected) in [
            (
                current,
                &before,
                &after,
                &["the release that runs in 'test' is 1.1.0 now, no longer 1.0.0"][..],
            ),
            (
                current,
                &nothing,
                &after,
                &["the release that runs in 'test' is 1.1.0 now, no longer none"],
            ),
            (current, &before, &before, &[]),
            (
                "#{Octopus.Release.PreviousForEnvironment.Id}",
                &before,
                &after,
                &["the release that ran before in 'test' is 1.0.0 now, no longer none"],
            ),
            (
                "#{Octopus.Deployment.PreviousSuccessful.Id}",
                &before,
                &after,
                &["what runs in 'test' was deployed anew"],
            ),
            (
                "#{Octopus.Release.Previous.Number}",
                &before,
                &after,
                &["the release that was made before it is 0.9 now, no longer none"],
            ),
            (
                "#{Octopus.Environment.SortOrder}",
                &before,
                &after,
                &["environment 'test' has another place in lists"],
            ),
            // Who asks changes nothing, nor what nothing reads.
            (
                "#{Octopus.Deployment.CreatedBy.Username}",
                &before,
                &after,
                &[],
            ),
            ("#{Octopus.Release.Number}", &before, &after, &[]),
        ] {
            let (was, is) = (reading(text, was), reading(text, is));
            assert_eq!(was.changes(&is), expected, "{text}");
            let same = was.identify().unwrap().1 == is.identify().unwrap().1;
            assert_eq!(same, expected.is_empty(), "{text}");
        }
        // One that an earlier version made says nothing of it and holds.
        let mut earlier = reading(current, &before);
        earlier.plan.reads.clear();
        earlier.plan.facts = PlanFacts::default();
        assert_eq!(earlier.changes(&reading(current, &after)), [""; 0]);
    }
}

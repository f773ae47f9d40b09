//! Of a plan's targets what is asked again and again, worked out once: which is which by its id, and
//! the lists of names that every place of the deployment sees. Without it whoever looks at every target
//! would, for each of them, look at every target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mantle_shared::ids::TargetId;

use crate::plan::{Plan, PlanTarget};
use crate::snapshot::{ProcessSnapshot, VariableSnapshot};

/// What names the lists by tag, in lower case: a part of a variable's name that must be written out,
/// for only what stands in brackets can be a template itself.
const BY_TAG: &str = "machinesinrole";

/// The targets of a plan.
#[derive(Debug, Clone)]
pub(crate) struct Fleet<'a> {
    by_id: BTreeMap<TargetId, &'a PlanTarget>,
    lists: Lists,
}

/// The names of a plan's targets, joined by commas: all, and those with each tag. The texts are shared
/// by whoever holds them.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    /// All.
    pub all: Arc<str>,
    /// By tag.
    pub by_tag: BTreeMap<String, Arc<str>>,
}

impl<'a> Fleet<'a> {
    pub(crate) fn of(plan: &'a Plan) -> Self {
        Self {
            by_id: plan
                .targets
                .iter()
                .map(|target| (target.id, target))
                .collect(),
            lists: Lists::of(&plan.targets),
        }
    }

    /// The same for who only evaluates templates of a release. The lists by tag, of which there can be
    /// as many as targets, are left out if none of its texts has their name, so that none reaches them.
    pub(crate) fn of_texts(
        plan: &'a Plan,
        process: &ProcessSnapshot,
        variables: &VariableSnapshot,
    ) -> Self {
        let mut fleet = Self::of(plan);
        let named = |text: Result<String, serde_json::Error>| {
            text.map_or(true, |text| text.to_lowercase().contains(BY_TAG))
        };
        let texts = [
            serde_json::to_string(process),
            serde_json::to_string(variables),
            // Notes may hold what had no value when the release was made.
            serde_json::to_string(&plan.facts),
        ];
        if !texts.into_iter().any(named) {
            fleet.lists.by_tag.clear();
        }
        fleet
    }

    pub(crate) fn target(&self, id: TargetId) -> Option<&'a PlanTarget> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn lists(&self) -> &Lists {
        &self.lists
    }
}

impl Lists {
    /// In the order of the targets.
    pub fn of(targets: &[PlanTarget]) -> Self {
        looked_at::note(targets.len());
        let mut all = String::new();
        let mut by_tag: BTreeMap<&str, String> = BTreeMap::new();
        for target in targets {
            // Once, however often it says so.
            let tags: BTreeSet<&str> = target.tags.iter().map(String::as_str).collect();
            for tag in tags {
                append(by_tag.entry(tag).or_default(), &target.name);
            }
            append(&mut all, &target.name);
        }
        let by_tag = by_tag.into_iter();
        Self {
            all: all.into(),
            by_tag: by_tag
                .map(|(tag, names)| (tag.to_owned(), names.into()))
                .collect(),
        }
    }
}

fn append(list: &mut String, name: &str) {
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(name);
}

/// How many targets were looked at, for the test that planning takes twice as much work for twice as
/// many. Who loops over targets while planning says so here.
pub(crate) mod looked_at {
    #[cfg(test)]
    thread_local! {
        static COUNT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    /// So many more.
    #[cfg(not(test))]
    pub(crate) fn note(_: usize) {}

    /// So many more.
    #[cfg(test)]
    pub(crate) fn note(targets: usize) {
        COUNT.with(|count| count.set(count.get() + targets));
    }

    /// How many they were since it was last asked.
    #[cfg(test)]
    pub(crate) fn take() -> usize {
        COUNT.with(|count| count.replace(0))
    }
}

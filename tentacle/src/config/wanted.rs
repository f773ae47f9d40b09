//! Which paths of a document variables name.

use std::collections::BTreeMap;

use super::settings::{Settings, fold, is_reserved};

/// The names that are paths, folded, each with its value.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    values: BTreeMap<String, (&'a str, Option<&'a str>)>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        let values = settings
            .iter()
            .filter(|setting| !is_reserved(&setting.name))
            .map(|setting| {
                let found = (setting.name.as_str(), setting.value.as_deref());
                (fold(&setting.name), found)
            })
            .collect();
        Self { values }
    }

    /// Also these, which come first.
    pub(super) fn with(&self, more: &'a [(String, String)]) -> Self {
        let mut values = self.values.clone();
        for (name, value) in more {
            values.insert(fold(name), (name.as_str(), Some(value.as_str())));
        }
        Self { values }
    }

    /// The variable's name as it was written, and its value.
    pub(super) fn get(&self, path: &str) -> Option<(&'a str, Option<&'a str>)> {
        self.values.get(path).copied()
    }

    /// Some name begins with this path: what lies below it may be meant. Keeps the walk through a
    /// hostile document from carrying paths that nobody asked for.
    pub(super) fn leads(&self, path: &str) -> bool {
        let from = self.values.range(path.to_owned()..);
        from.map(|(name, _)| name)
            .next()
            .is_some_and(|name| name.starts_with(path))
    }
}

/// A path and one more step of it.
pub(super) fn join(path: &str, step: &str) -> String {
    let step = fold(step);
    if path.is_empty() {
        step
    } else {
        format!("{path}:{step}")
    }
}

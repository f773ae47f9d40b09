//! What is kept and what may go: releases by the rules of their lifecycle, packages that no release
//! holds.
//!
//! What must hold, whatever the rules say: a release stays while it runs anywhere or was last tried
//! anywhere (it is on a dashboard), while it is the one that ran before (going back must be
//! possible), and while a task about it is queued or under way. Without a rule everything stays.
//! The rules are those of reference section 1.5: so many releases in each phase, counted by the
//! furthest phase that they reached; or so many days; what either keeps stays.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{PackageVersionId, ReleaseId};
use crate::lifecycle::Retention;
use crate::version::Version;

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

/// A release of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRelease {
    /// Its id.
    pub id: ReleaseId,
    /// Its version.
    pub version: String,
    /// When it was created.
    pub created_at_us: i64,
    /// The lifecycle that it follows now, and its rules; none means that nothing of it goes.
    pub lifecycle: Option<(String, Retention)>,
    /// The furthest phase in which it succeeded; `None` for one that never did.
    pub phase: Option<usize>,
}

/// What a project's releases are used for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uses {
    /// One for each environment that has seen a deployment.
    pub places: Vec<Place>,
    /// What each target runs, by the target's name.
    pub targets: Vec<(String, ReleaseId)>,
    /// Tasks that are queued or under way, by number for people.
    pub open: Vec<(String, ReleaseId)>,
}

/// What a dashboard shows of one environment, and what ran there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The environment's name.
    pub environment: String,
    /// The release of the last deployment, however it ended.
    pub last: ReleaseId,
    /// The release that runs.
    pub running: Option<ReleaseId>,
    /// The one that succeeded there before that one.
    pub before: Option<ReleaseId>,
}

/// What becomes of something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It stays.
    Stays(String),
    /// It may go.
    Goes(String),
}

impl Fate {
    /// It may go.
    pub fn goes(&self) -> bool {
        matches!(self, Self::Goes(_))
    }

    /// Why.
    pub fn why(&self) -> &str {
        match self {
            Self::Stays(why) | Self::Goes(why) => why,
        }
    }
}

/// What becomes of each release of a project, in the order in which they were given.
pub fn releases(held: &[HeldRelease], uses: &Uses, now_us: i64) -> Vec<Fate> {
    let mut groups: BTreeMap<(Option<&str>, Option<usize>), Vec<&HeldRelease>> = BTreeMap::new();
    for release in held {
        let lifecycle = release.lifecycle.as_ref().map(|(name, _)| name.as_str());
        groups
            .entry((lifecycle, release.phase))
            .or_default()
            .push(release);
    }
    for group in groups.values_mut() {
        group.sort_by_key(|release| std::cmp::Reverse((release.created_at_us, release.id)));
    }
    held.iter()
        .map(|release| {
            let lifecycle = release.lifecycle.as_ref().map(|(name, _)| name.as_str());
            let group = groups.get(&(lifecycle, release.phase));
            let rank = group.and_then(|group| group.iter().position(|r| r.id == release.id));
            fate(release, rank.unwrap_or_default(), uses, now_us)
        })
        .collect()
}

fn fate(release: &HeldRelease, rank: usize, uses: &Uses, now_us: i64) -> Fate {
    if let Some(why) = in_use(release.id, uses) {
        return Fate::Stays(why);
    }
    let Some((lifecycle, rules)) = &release.lifecycle else {
        return Fate::Stays("its project has no lifecycle with rules".to_owned());
    };
    let (count, days) = match (rules.releases, rules.days) {
        (None, None) => {
            return Fate::Stays(format!("lifecycle '{lifecycle}' keeps all releases"));
        }
        rules => rules,
    };
    let age_us = now_us.saturating_sub(release.created_at_us);
    if let Some(count) = count
        && rank < count as usize
    {
        return Fate::Stays(format!("one of the newest {count} in its phase"));
    }
    if let Some(days) = days
        && age_us < i64::from(days).saturating_mul(DAY_US)
    {
        return Fate::Stays(format!("younger than {days} days"));
    }
    let count = count.map(|count| format!("not one of the newest {count} in its phase"));
    let days = days.map(|days| format!("older than {days} days"));
    let why: Vec<String> = count.into_iter().chain(days).collect();
    Fate::Goes(format!("{} (lifecycle '{lifecycle}')", why.join(", ")))
}

/// Why a release must stay, whatever the rules say.
fn in_use(release: ReleaseId, uses: &Uses) -> Option<String> {
    if let Some((task, _)) = uses.open.iter().find(|(_, id)| *id == release) {
        return Some(format!("{task} is about it"));
    }
    for place in &uses.places {
        let environment = &place.environment;
        if place.running == Some(release) {
            return Some(format!("runs in {environment}"));
        }
        if place.last == release {
            return Some(format!("was the last one tried in {environment}"));
        }
        if place.before == Some(release) {
            return Some(format!("ran in {environment} before the one that does"));
        }
    }
    let target = uses.targets.iter().find(|(_, id)| *id == release);
    target.map(|(target, _)| format!("is on {target}"))
}

/// A version of a package in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPackage {
    /// Its row's id.
    pub id: PackageVersionId,
    /// The package's id.
    pub package: String,
    /// The version.
    pub version: String,
    /// When it was pushed.
    pub pushed_at_us: i64,
    /// A release holds it.
    pub pinned: bool,
}

/// What becomes of each version of one package, in the order in which they were given.
///
/// `rules` are those of every lifecycle that a release with this package could follow: the most
/// generous holds, and one without a rule keeps all, as does a package that no project uses.
pub fn packages(held: &[HeldPackage], rules: &[Retention]) -> Vec<Fate> {
    let counts: Option<Vec<u32>> = rules.iter().map(|rules| rules.packages).collect();
    let keep = counts.and_then(|counts| counts.into_iter().max());
    let Some(keep) = keep else {
        let why = if rules.is_empty() {
            "no project uses the package"
        } else {
            "a lifecycle of the projects that use it keeps all packages"
        };
        return held.iter().map(|_| Fate::Stays(why.to_owned())).collect();
    };
    let free: Vec<&HeldPackage> = held.iter().filter(|version| !version.pinned).collect();
    let mut by_push = free.clone();
    by_push.sort_by_key(|version| std::cmp::Reverse((version.pushed_at_us, version.id)));
    let mut by_version = free;
    by_version.sort_by(|a, b| {
        let parsed = |held: &HeldPackage| Version::parse(&held.version).ok();
        parsed(b).cmp(&parsed(a)).then_with(|| b.id.cmp(&a.id))
    });
    // The newest by either reckoning: a version that comes next is often pushed late, and one that
    // was pushed last is often looked for.
    let newest: BTreeSet<PackageVersionId> = by_push
        .iter()
        .take(keep as usize)
        .chain(by_version.iter().take(keep as usize))
        .map(|version| version.id)
        .collect();
    held.iter()
        .map(|version| {
            if version.pinned {
                Fate::Stays("a release holds it".to_owned())
            } else if newest.contains(&version.id) {
                Fate::Stays(format!("one of the newest {keep} that no release holds"))
            } else {
                Fate::Goes(format!(
                    "no release holds it, and it is not one of the newest {keep}"
                ))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;

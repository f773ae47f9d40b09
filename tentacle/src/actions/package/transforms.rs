//! Which transforms of a package go into which of its files: a choice by names alone.

use std::collections::{BTreeSet, HashMap};

use mantle_shared::transform_rule::{NamePattern, TransformRule, fold};

/// A transform and the file that it changes, both as places in the list of files.
pub(super) type Pair = (usize, usize);

/// What the rules of a step choose.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// In the order in which they are applied.
    pub(super) pairs: Vec<Pair>,
    /// Rules with a `*` that chose nothing. The automatic one may well find nothing to do.
    pub(super) idle: Vec<String>,
}

/// A rule that names files which are not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing(pub(super) String);

/// The choice for an environment. A pair that two rules choose is applied once, at its first place.
pub(super) fn choose(
    rules: &[(String, TransformRule)],
    environment: &str,
    paths: &[&str],
) -> Result<Choice, Missing> {
    let files = Files::new(paths);
    let mut choice = Choice::default();
    let mut seen = BTreeSet::new();
    for (line, rule) in rules {
        let found = match rule {
            TransformRule::Automatic => automatic(environment, &files),
            TransformRule::Pair { transform, target } => {
                let found = pairs(transform, target, &files);
                let named = transform.after.is_none() && target.after.is_none();
                if found.is_empty() && named {
                    return Err(Missing(line.clone()));
                }
                found
            }
        };
        if found.is_empty() && *rule != TransformRule::Automatic {
            choice.idle.push(line.clone());
        }
        choice
            .pairs
            .extend(found.into_iter().filter(|pair| seen.insert(*pair)));
    }
    Ok(choice)
}

struct Files<'a> {
    /// Folder and name of each.
    split: Vec<(&'a str, &'a str)>,
    /// The first of each path, folded.
    by_path: HashMap<String, usize>,
}

impl<'a> Files<'a> {
    fn new(paths: &[&'a str]) -> Self {
        let mut by_path = HashMap::new();
        for (at, path) in paths.iter().enumerate() {
            by_path.entry(fold(path)).or_insert(at);
        }
        let split = paths
            .iter()
            .map(|path| path.rsplit_once('/').unwrap_or(("", path)));
        Self {
            split: split.collect(),
            by_path,
        }
    }

    fn find(&self, folder: &str, name: &str) -> Option<usize> {
        let path = match folder {
            "" => fold(name),
            folder => fold(&format!("{folder}/{name}")),
        };
        self.by_path.get(&path).copied()
    }

    /// The files that a pattern means, with what its `*` stands for.
    fn matching<'f>(
        &'f self,
        pattern: &'f NamePattern,
    ) -> impl Iterator<Item = (usize, &'a str, &'a str)> + 'f {
        let in_folder = |folder: &str| {
            let wanted = pattern.folder.as_deref();
            wanted.is_none_or(|wanted| fold(wanted) == fold(folder))
        };
        self.split
            .iter()
            .enumerate()
            .filter(move |(_, (folder, _))| in_folder(folder))
            .filter_map(|(at, (folder, name))| Some((at, *folder, pattern.matched(name)?)))
    }
}

/// What .NET names: for each `X.config`, `X.Release.config` and then `X.ENVIRONMENT.config`.
fn automatic(environment: &str, files: &Files<'_>) -> Vec<Pair> {
    let mut found = Vec::new();
    for (target, (folder, name)) in files.split.iter().enumerate() {
        let Some(stem) = strip_config(name) else {
            continue;
        };
        for kind in ["Release", environment] {
            let transform = files.find(folder, &format!("{stem}.{kind}.config"));
            found.extend(transform.map(|transform| (transform, target)));
        }
    }
    found
}

fn strip_config(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty() && extension.eq_ignore_ascii_case("config")).then_some(stem)
}

fn pairs(transform: &NamePattern, target: &NamePattern, files: &Files<'_>) -> Vec<Pair> {
    let mut found = Vec::new();
    for (from, folder, middle) in files.matching(transform) {
        let beside = target.folder.as_deref().unwrap_or(folder);
        if transform.after.is_some() || target.after.is_none() {
            let to = files.find(beside, &target.filled(middle));
            found.extend(to.map(|to| (from, to)));
        } else {
            // One transform for every file of a name; it is not changed by itself.
            let targets = files.matching(target);
            let targets = targets.filter(|(_, folder, _)| fold(folder) == fold(beside));
            found.extend(targets.map(|(to, ..)| (from, to)));
        }
    }
    found.retain(|(from, to)| from != to);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 10] = [
        "Web.config",
        "Web.Release.config",
        "web.production.CONFIG",
        "Web.Blue.config",
        "sub/Web.config",
        "sub/Web.Blue.config",
        "sub/App.config",
        "rules/all.config",
        "readme.txt",
        ".config",
    ];

    fn chosen(lines: &[&str]) -> Result<Choice, Missing> {
        let rules: Vec<_> = lines
            .iter()
            .map(|line| ((*line).to_owned(), TransformRule::parse(line).unwrap()))
            .collect();
        choose(&rules, "Production", &PATHS)
    }

    #[test]
    fn rules_choose_by_name() {
        for (lines, pairs) in [
            (&["automatic"][..], &[(1, 0), (2, 0)][..]),
            (&["Web.Blue.config => Web.config"], &[(3, 0), (5, 4)]),
            (&["/Web.Blue.config => /Web.config"], &[(3, 0)]),
            (&["*.Blue.config => *.config"], &[(3, 0), (5, 4)]),
            (&["sub/*.Blue.config => *.config"], &[(5, 4)]),
            (
                &["rules/all.config => sub/*.config"],
                &[(7, 4), (7, 5), (7, 6)],
            ),
            (&["rules/all.config => sub/app.config"], &[(7, 6)]),
            // In the order of the rules, each once.
            (
                &[
                    "*.Blue.config => *.config",
                    "automatic",
                    "/web.blue.config => /web.config",
                ],
                &[(3, 0), (5, 4), (1, 0), (2, 0)],
            ),
        ] {
            assert_eq!(chosen(lines).unwrap().pairs, pairs, "{lines:?}");
        }
    }

    #[test]
    fn a_rule_that_names_what_is_not_there_fails_and_one_with_a_star_is_idle() {
        let line = "Web.Green.config => Web.config";
        assert_eq!(chosen(&[line]), Err(Missing(line.to_owned())));
        let line = "Web.Blue.config => App.exe.config";
        assert_eq!(chosen(&[line]), Err(Missing(line.to_owned())));
        let idle = chosen(&["*.Green.config => *.config"]).unwrap();
        assert_eq!((idle.pairs.len(), idle.idle.len()), (0, 1));
        let rules = [("automatic".to_owned(), TransformRule::Automatic)];
        assert_eq!(choose(&rules, "Test", &["a.config"]), Ok(Choice::default()));
    }
}

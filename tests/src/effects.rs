//! What steps did to the outside: the proof, independent of any log, that each was started once.
//!
//! Scripts of test projects append a line to a file (appends of short lines are atomic). What is
//! in it is checked without asking server or agent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A file to which steps append what they did.
#[derive(Clone)]
pub struct Effects {
    path: PathBuf,
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effect {
    /// What was done: `start`, `end`, or a word of the test's own.
    pub what: String,
    /// Which step or action did it.
    pub step: String,
    /// About which target.
    pub target: String,
    /// The process that did it.
    pub pid: String,
}

impl Effect {
    /// Whether the process that did it is still there.
    pub fn process_lives(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The state stands behind the name, which may hold anything: a zombie lives no more.
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
    }
}

/// How the effects differ from "each once".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// An effect that was due did not happen.
    Missing(String),
    /// It happened more often than once.
    Repeated(String, usize),
    /// It happened though nobody asked for it.
    Unexpected(String),
}

impl Effects {
    /// Effects in this file, which need not exist yet.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A line of `sh` that appends an effect. `target` is shell text, so it may be a variable.
    pub fn shell(&self, what: &str, step: &str, target: &str) -> String {
        format!(
            "printf '%s %s %s %s\\n' '{what}' '{step}' \"{target}\" \"$$\" >> '{}'",
            self.path.display()
        )
    }

    /// What happened so far, in order. A line that is being written is left out.
    ///
    /// # Panics
    /// On a line that no step can have written.
    pub fn read(&self) -> Vec<Effect> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| {
                let mut words = line.split(' ').map(str::to_owned);
                let mut word = || words.next().unwrap_or_else(|| panic!("bad effect: {line}"));
                Effect {
                    what: word(),
                    step: word(),
                    target: word(),
                    pid: word(),
                }
            })
            .collect()
    }

    /// The process that did `what` in `step`.
    ///
    /// # Panics
    /// When nobody did.
    pub fn process_of(&self, what: &str, step: &str) -> Effect {
        let mut all = self.read().into_iter();
        all.find(|e| e.what == what && e.step == step)
            .unwrap_or_else(|| panic!("nobody did {what} in {step}"))
    }

    /// How often `what` happened in `step` about `target`.
    pub fn count(&self, what: &str, step: &str, target: &str) -> usize {
        self.read()
            .iter()
            .filter(|e| e.what == what && e.step == step && e.target == target)
            .count()
    }

    /// How what happened differs from each of `expected` (step, target) starting exactly once.
    pub fn differences<'a>(
        &self,
        expected: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Vec<Difference> {
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for effect in self.read().into_iter().filter(|e| e.what == "start") {
            *found
                .entry(format!("{} on {}", effect.step, effect.target))
                .or_default() += 1;
        }
        let mut differences = Vec::new();
        for (step, target) in expected {
            let name = format!("{step} on {target}");
            match found.remove(&name) {
                None => differences.push(Difference::Missing(name)),
                Some(1) => {}
                Some(times) => differences.push(Difference::Repeated(name, times)),
            }
        }
        differences.extend(found.into_keys().map(Difference::Unexpected));
        differences
    }

    /// Asserts that each of `expected` (step, target) started exactly once, and nothing else did.
    ///
    /// # Panics
    /// Otherwise.
    pub fn assert_each_once<'a>(&self, expected: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let differences = self.differences(expected);
        let mut all = String::new();
        for effect in self.read() {
            let _ = writeln!(all, "{effect:?}");
        }
        assert!(differences.is_empty(), "{differences:?}\nall:\n{all}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effects(lines: &[&str]) -> (tempfile::TempDir, Effects) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("effects");
        std::fs::write(&path, lines.concat()).unwrap();
        (dir, Effects::at(path))
    }

    #[test]
    fn each_once_is_right() {
        let (_dir, effects) =
            effects(&["start a web01 1\n", "start a web02 2\n", "end a web01 1\n"]);
        assert_eq!(effects.differences([("a", "web01"), ("a", "web02")]), []);
    }

    #[test]
    fn a_second_start_is_found() {
        let (_dir, effects) = effects(&["start a web01 1\n", "start a web01 2\n"]);
        assert_eq!(
            effects.differences([("a", "web01")]),
            [Difference::Repeated("a on web01".to_owned(), 2)]
        );
    }

    #[test]
    fn a_start_that_did_not_happen_or_was_not_asked_for_is_found() {
        let (_dir, effects) = effects(&["start b web01 1\n", "start a web"]);
        assert_eq!(
            effects.differences([("a", "web01")]),
            [
                Difference::Missing("a on web01".to_owned()),
                Difference::Unexpected("b on web01".to_owned()),
            ]
        );
    }

    #[test]
    fn the_shell_line_writes_what_is_read() {
        let (_dir, effects) = effects(&[]);
        let script = effects.shell("start", "install", "$WHO");
        let status = std::process::Command::new("sh")
            .args(["-c", &script])
            .env("WHO", "web01")
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(effects.count("start", "install", "web01"), 1);
    }
}

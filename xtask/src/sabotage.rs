//! Sabotage: each scenario's test is shown to be able to fail.
//!
//! A sabotage is a named switch (`MANTLE_SABOTAGE`) of the product's test builds or of the fault
//! proxy. With it the matching tests must turn red, without it they must be green.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::tree;

/// The environment variable that switches one on.
const SWITCH: &str = "MANTLE_SABOTAGE";

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
struct Sabotage {
    name: String,
    /// The beginning of the names of the tests that must notice, such as `s18_`.
    tests: String,
    what: String,
}

/// Runs these sabotages (all, if none is named); true when each was noticed.
pub(crate) fn run(names: &[String], list: &Path) -> Result<bool> {
    let text =
        std::fs::read_to_string(list).with_context(|| format!("reading {}", list.display()))?;
    let all = parse(&text)?;
    for name in names {
        ensure!(
            all.iter().any(|s| s.name == *name),
            "no sabotage is called {name}; {} lists them",
            list.display()
        );
    }
    let mut noticed = true;
    for sabotage in all
        .iter()
        .filter(|s| names.is_empty() || names.contains(&s.name))
    {
        let without = tests_pass(&sabotage.tests, None)?;
        let with = tests_pass(&sabotage.tests, Some(&sabotage.name))?;
        let verdict = match (without, with) {
            (true, false) => "noticed",
            (true, true) => "NOT NOTICED",
            (false, _) => "RED WITHOUT IT",
        };
        noticed &= verdict == "noticed";
        let Sabotage { name, tests, what } = sabotage;
        println!("{name:24} {tests:8} {verdict:16} {what}");
    }
    Ok(noticed)
}

fn tests_pass(tests: &str, sabotage: Option<&str>) -> Result<bool> {
    let mut command = Command::new("cargo");
    command
        .args(["nextest", "run", "--workspace", "--no-fail-fast"])
        // Some tests let a program die at a named point.
        .args(["--features", "tentacle/faults,mantle/faults"])
        // At least one test must be there, or the sabotage would seem unnoticed.
        .args(["--no-tests", "fail"])
        .args(["-E", &format!(r"test(/(^|::){tests}/)")])
        .current_dir(tree::root()?)
        .env_remove(SWITCH);
    if let Some(name) = sabotage {
        command.env(SWITCH, name);
    }
    let output = command.output().context("running cargo nextest")?;
    match output.status.code() {
        Some(0) => Ok(true),
        // Nextest's code for a test that failed.
        Some(100) => Ok(false),
        _ => bail!("{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Lines of `name s18_ what it breaks`; `#` begins a comment.
fn parse(text: &str) -> Result<Vec<Sabotage>> {
    let mut all = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let [name, tests, what] = words.as_slice() else {
            bail!("a sabotage's line is `name s18_ what it breaks`, not: {line}");
        };
        all.push(Sabotage {
            name: (*name).to_owned(),
            tests: (*tests).to_owned(),
            what: (*what).to_owned(),
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_and_a_bad_line_is_named() {
        let all = parse("# a comment\nanswer-kept s18_ the answer is not lost\n").unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].tests, "s18_");
        assert!(parse("only two").is_err());
    }

    #[test]
    fn the_list_of_this_repository_can_be_read() {
        parse(include_str!("../../tests/sabotage.txt")).unwrap();
    }
}

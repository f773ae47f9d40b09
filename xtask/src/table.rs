//! The manual's page of scenarios: what must hold, and the tests that hold it to it.
//!
//! Written from the two lists in `tests/` and from the names of the tests in the sources, so that it
//! says what is so: a rule of tidy compares the page with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use regex::Regex;

use crate::scenarios::scenarios_of;
use crate::tree::{Tree, root};

/// The page.
pub(crate) const PAGE: &str = "docs/src/scenarios.md";
const LISTS: [&str; 2] = ["tests/scenarios.txt", "tests/scenarios_more.txt"];

/// The reason that a first test ends.
const NO_TEST: &str = "no test yet";

const HEAD: &str = "# Scenarios

What must hold when something goes wrong, and the tests that show it. The ids are those of the project's
collection of failures in the field: S for execution and the network, A for abuse. A test's name begins with the
scenario that it covers. Single faults have the tests below; whole fleets under random faults are the matter of
`tests/chaos`.

This page is written by `cargo run -p xtask -- scenario-table`.

| | What must hold | Tests |
|---|---|---|
";

/// A scenario of either list.
struct Row {
    text: String,
    /// Why there is no test yet.
    missing: Option<String>,
    /// Tests that cover it under another name.
    others: Vec<String>,
}

/// The page as it should be, and what is wrong with the lists.
pub(crate) fn page(tree: &Tree) -> Result<(String, Vec<String>)> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for list in LISTS {
        let file = tree.files().find(|file| file.path == list);
        let text = &file.with_context(|| format!("{list} is not there"))?.text;
        for line in text.lines().map(str::trim) {
            if let Some((id, row)) = row(line)? {
                rows.entry(id).or_insert(row);
            }
        }
    }
    let tests = tests(tree)?;
    let mut faults = Vec::new();
    let mut page = HEAD.to_owned();
    for (id, row) in rows {
        let mut names: BTreeSet<&str> = tests
            .iter()
            .filter(|name| scenarios_of(name).contains(&id))
            .map(String::as_str)
            .collect();
        for other in &row.others {
            match tests.get(other) {
                Some(name) => drop(names.insert(name)),
                None => faults.push(format!("{id} names the test {other}, which is not there")),
            }
        }
        let shown: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let tests = match (&row.missing, shown.is_empty()) {
            (None, true) => {
                faults.push(format!("{id} has no test, and the list gives no reason"));
                continue;
            }
            (Some(why), true) if why == NO_TEST => NO_TEST.to_owned(),
            (Some(why), true) => format!("not yet: {why}"),
            (Some(why), false) if why == NO_TEST => shown.join(", "),
            (Some(why), false) => format!("in part ({why}): {}", shown.join(", ")),
            (None, false) => shown.join(", "),
        };
        let text = row.text.replace('|', "\\|");
        writeln!(page, "| {id} | {text} | {tests} |").context("a row")?;
    }
    Ok((page, faults))
}

/// Writes the page; true if there is nothing to complain of.
pub(crate) fn write() -> Result<bool> {
    let (page, faults) = page(&Tree::read()?)?;
    for fault in &faults {
        println!("{fault}");
    }
    let path = root()?.join(PAGE);
    std::fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
    println!("written: {PAGE}");
    Ok(faults.is_empty())
}

/// A line of either list: `S18 I what it says`, perhaps with ` = other_test another_test`.
fn row(line: &str) -> Result<Option<(String, Row)>> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (line, others) = line.split_once(" = ").unwrap_or((line, ""));
    let mut words = line.splitn(3, ' ');
    let (Some(id), Some(tier), Some(text)) = (words.next(), words.next(), words.next()) else {
        bail!("a scenario's line is `S18 I what it says`, not: {line}");
    };
    let (missing, text) = match (tier, text.split_once(": ")) {
        ("-", Some((why, text))) => (Some(why.to_owned()), text),
        ("-", None) => bail!("{id} has no test, and does not say why: {line}"),
        _ => (None, text),
    };
    let row = Row {
        text: text.to_owned(),
        missing,
        others: others.split_whitespace().map(str::to_owned).collect(),
    };
    Ok(Some((id.to_owned(), row)))
}

/// The names of all tests in the sources: functions below an attribute that makes them one, and those of
/// the store, which a macro runs on both databases.
fn tests(tree: &Tree) -> Result<BTreeSet<String>> {
    let function = Regex::new(r"\bfn\s+(\w+)\s*\(")?;
    let mut names = BTreeSet::new();
    for (_, source) in tree.rust() {
        let (mut is_test, mut is_list) = (false, false);
        for (_, code) in source.code() {
            let code = code.trim();
            if code == "on_both!(" {
                is_list = true;
            } else if is_list {
                is_list = code != ");";
                names.extend(code.strip_suffix(',').map(str::to_owned));
            } else if code.starts_with("#[") {
                is_test |= code.contains("test");
            } else if let Some(name) = function.captures(code).and_then(|found| found.get(1)) {
                if is_test {
                    names.insert(name.as_str().to_owned());
                }
                is_test = false;
            } else if !code.is_empty() && !code.starts_with("#![") {
                is_test = false;
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: &str = "//! A.\n#[tokio::test]\nasync fn s01_s02_a_test() {}\nfn s03_no_test() {}\n#[test]\nfn other() {}\non_both!(\n    s07_on_both,\n);\n";

    fn page_of(first: &str, second: &str) -> (String, Vec<String>) {
        let tree = Tree::of(&[(LISTS[0], first), (LISTS[1], second), ("a.rs", TEST)]);
        page(&tree).unwrap()
    }

    #[test]
    fn a_row_names_its_tests_or_why_there_is_none() {
        let (page, faults) = page_of(
            "S01 I it holds\n# no scenario\nS07 U on both\n",
            "S02 - half of it: it may hold\nS05 - several nodes: it would hold\nS04 U by another name = other\n",
        );
        assert_eq!(faults, [""; 0]);
        for row in [
            "| S01 | it holds | `s01_s02_a_test` |",
            "| S02 | it may hold | in part (half of it): `s01_s02_a_test` |",
            "| S04 | by another name | `other` |",
            "| S07 | on both | `s07_on_both` |",
            "| S05 | it would hold | not yet: several nodes |",
        ] {
            assert!(page.contains(row), "{row}\n{page}");
        }
    }

    #[test]
    fn what_has_no_test_or_names_one_that_is_not_there_is_a_fault() {
        let (_, faults) = page_of("S03 U it holds\n", "S06 U it holds = gone\n");
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(row("S01 - no reason").is_err());
        assert!(row("S01").is_err());
    }

    #[test]
    fn the_lists_of_this_repository_name_every_scenario() {
        let mut known = BTreeSet::new();
        for text in [
            include_str!("../../tests/scenarios.txt"),
            include_str!("../../tests/scenarios_more.txt"),
        ] {
            for line in text.lines() {
                known.extend(row(line).unwrap().map(|(id, _)| id));
            }
        }
        let scenarios = (1..=92).map(|number| format!("S{number:02}"));
        let abuse = (8..=15).chain(29..=34).chain(38..=44);
        let abuse = abuse.map(|number| format!("A{number:02}"));
        for id in scenarios.chain(abuse) {
            assert!(known.contains(&id), "{id} is in no list");
        }
    }
}

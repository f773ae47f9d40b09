//! What holds for every file, and for files of tests.

use regex::Regex;

use super::Findings;
use crate::tree::Tree;
use crate::{file_format, table};

/// The most lines of code in one file.
const CODE_LINES: usize = 600;
/// The most lines of a `main.rs`: parse, start the right thing.
const MAIN_LINES: usize = 40;
/// The helper that waits, the test application whose answers are slow on purpose, and chaos, which does
/// what is due when it is due.
const MAY_SLEEP: &[&str] = &[
    "tests/src/wait.rs",
    "tests/src/bin/webserver.rs",
    "tests/src/chaos/",
];

/// A file holds one idea.
pub(super) fn length(tree: &Tree, findings: &mut Findings) {
    for (file, source) in tree.rust() {
        let lines = source.code_lines();
        if lines > CODE_LINES {
            findings.add(
                &file.path,
                1,
                format!("{lines} lines of code; none has over {CODE_LINES}: take it apart"),
            );
        }
    }
}

/// A file says what it is for.
pub(super) fn purpose(tree: &Tree, findings: &mut Findings) {
    for (file, _) in tree.rust() {
        let first = file.text.lines().find(|line| !line.trim().is_empty());
        let says = first
            .and_then(|line| line.strip_prefix("//!"))
            .is_some_and(|rest| !rest.trim().is_empty() && rest.trim() != "placeholder");
        if !says {
            findings.add(
                &file.path,
                1,
                "a file begins with `//!` and says what it is for",
            );
        }
    }
}

/// A `main.rs` of the two products only starts.
pub(super) fn short_main(tree: &Tree, findings: &mut Findings) {
    for (file, source) in tree.rust() {
        let is_main = ["server/src/main.rs", "tentacle/src/main.rs"].contains(&file.path.as_str());
        if is_main && source.code_lines() > MAIN_LINES {
            findings.add(
                &file.path,
                1,
                format!("main.rs has over {MAIN_LINES} lines of code"),
            );
        }
    }
}

/// A test runs or is deleted.
pub(super) fn no_ignored_test(tree: &Tree, findings: &mut Findings) {
    let Ok(pattern) = Regex::new(r"#\[\s*ignore\b|\bignore\s*=|cfg_attr\([^)]*\bignore\b") else {
        return;
    };
    for (file, source) in tree.rust() {
        for (line, code) in source.code() {
            if code.contains("#[") && pattern.is_match(code) {
                findings.add(&file.path, line, "a test is not ignored: fix or delete it");
            }
        }
    }
}

/// A test waits for a condition with a deadline; it never sleeps. A helper that waits (`until_..`,
/// `wait_..`) may sleep between two looks, and a sleep may be the deadline that fails the test.
pub(super) fn no_sleep_in_tests(tree: &Tree, findings: &mut Findings) {
    let (Ok(sleep), Ok(function)) = (Regex::new(r"\bsleep\s*\("), Regex::new(r"\bfn\s+(\w+)"))
    else {
        return;
    };
    for (file, source) in tree.rust() {
        let path = file.path.as_str();
        let is_test =
            path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("tests.rs");
        if !is_test || MAY_SLEEP.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        let mut waits = false;
        for (line, code) in source.code() {
            if let Some(name) = function.captures(code).and_then(|found| found.get(1)) {
                waits = name.as_str().starts_with("until") || name.as_str().starts_with("wait");
            }
            let is_deadline = code.contains("=> panic!");
            if sleep.is_match(code) && !waits && !is_deadline {
                findings.add(
                    path,
                    line,
                    "a test does not sleep: wait for a named condition with a deadline",
                );
            }
        }
    }
}

/// The manual's page of scenarios says what the lists and the tests say.
pub(super) fn scenario_table(tree: &Tree, findings: &mut Findings) {
    let stale = "the page is not that of the tests: run `cargo run -p xtask -- scenario-table`";
    written(tree, findings, (table::PAGE, table::page, stale));
}

/// The manual's page of the files' keys says what their schema says.
pub(super) fn file_format(tree: &Tree, findings: &mut Findings) {
    let stale = "the page is not that of the schema: run `cargo run -p xtask -- file-format`";
    written(
        tree,
        findings,
        (file_format::PAGE, file_format::page, stale),
    );
}

/// A page that is written by this program: where it is, how it should be, and what to say if it is
/// not.
type Written = (
    &'static str,
    fn(&Tree) -> anyhow::Result<(String, Vec<String>)>,
    &'static str,
);

fn written(tree: &Tree, findings: &mut Findings, (path, page, stale): Written) {
    let Some(found) = tree.files().find(|file| file.path == path) else {
        return;
    };
    match page(tree) {
        Ok((expected, faults)) => {
            if found.text != expected {
                findings.add(path, 1, stale);
            }
            for fault in faults {
                findings.add(path, 1, fault);
            }
        }
        Err(error) => findings.add(path, 1, format!("{error:#}")),
    }
}

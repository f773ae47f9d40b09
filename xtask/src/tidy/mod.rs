//! The rules of the house that no compiler checks. Each is a function over the tree, and each is
//! shown, in the tests, to find what it is for.

mod crates;
mod files;
mod places;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;

use anyhow::Result;

use crate::tree::Tree;

/// A line that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            line,
            rule,
            message,
        } = self;
        write!(f, "{path}:{line}: {message} [{rule}]")
    }
}

/// A rule: its name, and what it finds.
pub(crate) struct Rule {
    name: &'static str,
    check: fn(&Tree, &mut Findings),
}

/// What a rule found.
pub(crate) struct Findings {
    rule: &'static str,
    found: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, path: &str, line: usize, message: impl Into<String>) {
        self.found.push(Finding {
            path: path.to_owned(),
            line,
            rule: self.rule,
            message: message.into(),
        });
    }
}

/// All rules.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "sql-in-store",
        check: places::sql_in_store,
    },
    Rule {
        name: "quinn-in-its-places",
        check: places::quinn_in_its_places,
    },
    Rule {
        name: "bincode-in-codec",
        check: places::bincode_in_codec,
    },
    Rule {
        name: "domain-is-pure",
        check: places::domain_is_pure,
    },
    Rule {
        name: "apart",
        check: places::server_and_agent_are_apart,
    },
    Rule {
        name: "wire-types",
        check: wire::plain_types,
    },
    Rule {
        name: "file-length",
        check: files::length,
    },
    Rule {
        name: "file-purpose",
        check: files::purpose,
    },
    Rule {
        name: "short-main",
        check: files::short_main,
    },
    Rule {
        name: "no-ignored-test",
        check: files::no_ignored_test,
    },
    Rule {
        name: "no-sleep-in-tests",
        check: files::no_sleep_in_tests,
    },
    Rule {
        name: "scenario-table",
        check: files::scenario_table,
    },
    Rule {
        name: "file-format",
        check: files::file_format,
    },
    Rule {
        name: "lints-inherited",
        check: crates::lints_inherited,
    },
    Rule {
        name: "domain-dependencies",
        check: crates::domain_dependencies,
    },
    Rule {
        name: "one-tls",
        check: crates::one_tls,
    },
];

/// Everything that breaks a rule, by place.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut all = Vec::new();
    for rule in RULES {
        let mut findings = Findings {
            rule: rule.name,
            found: Vec::new(),
        };
        (rule.check)(tree, &mut findings);
        all.append(&mut findings.found);
    }
    all.sort();
    all
}

/// Checks the repository; true when it is tidy.
pub(crate) fn run() -> Result<bool> {
    let findings = check(&Tree::read()?);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} rules hold", RULES.len());
    } else {
        println!("tidy: {} lines break a rule", findings.len());
    }
    Ok(findings.is_empty())
}

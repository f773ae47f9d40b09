//! Required scenarios against a test run: each needs a test named after it that ran and passed.
//!
//! A test of scenario S18 is a function whose name begins with `s18_`. Scenarios of tier I, P and W
//! need real connections or processes, so that for them only integration tests count: those of the
//! crate `mantle-tests`, or of the agent's own `tests/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;
use serde_json::Value;

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
struct Scenario {
    /// Such as `S18`.
    id: String,
    /// Only integration tests count.
    needs_integration: bool,
    text: String,
}

/// A test of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Test {
    /// The binary, as nextest names it: `mantle-tests::e2e`; a library's own is the crate's name.
    binary: String,
    /// The path of the function.
    name: String,
    passed: bool,
}

impl Test {
    /// The function's own name.
    pub(crate) fn function(&self) -> &str {
        self.name.rsplit("::").next().unwrap_or_default()
    }

    pub(crate) fn passed(&self) -> bool {
        self.passed
    }

    /// Binary and path, for people.
    pub(crate) fn label(&self) -> String {
        format!("{} {}", self.binary, self.name)
    }

    /// A test, for tests.
    #[cfg(test)]
    pub(crate) fn new(binary: &str, name: &str, passed: bool) -> Self {
        Self {
            binary: binary.to_owned(),
            name: name.to_owned(),
            passed,
        }
    }

    fn scenarios(&self) -> Vec<String> {
        scenarios_of(self.function())
    }

    fn is_integration(&self) -> bool {
        self.binary
            .split_once("::")
            .is_some_and(|(package, binary)| {
                ["mantle-tests", "tentacle"].contains(&package) && !binary.starts_with("bin/")
            })
    }
}

/// The scenarios that a test's name says: `s25_s26_the_same` covers S25 and S26, `a08_lies` A08.
pub(crate) fn scenarios_of(function: &str) -> Vec<String> {
    let Some((words, _)) = function.rsplit_once('_') else {
        return Vec::new();
    };
    words
        .split('_')
        .map_while(|word| {
            let digits = word.strip_prefix(['s', 'a'])?;
            let is_number = digits.len() >= 2 && digits.chars().all(|c| c.is_ascii_digit());
            is_number.then(|| word.to_uppercase())
        })
        .collect()
}

/// Reads the reports and the list; true when every scenario is proved.
pub(crate) fn run(reports: &[PathBuf], list: &Path) -> Result<bool> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
    };
    let scenarios = parse_list(&read(list)?)?;
    let mut tests = Vec::new();
    for report in reports {
        tests.extend(parse_report(&read(report)?)?);
    }
    ensure!(!tests.is_empty(), "the reports hold no test");
    let mut unproved = 0;
    for scenario in &scenarios {
        let verdict = judge(scenario, &tests);
        match &verdict {
            Ok(names) => println!("{} ok   {}", scenario.id, names.join(", ")),
            Err(why) => {
                unproved += 1;
                println!("{} MISS {why}: {}", scenario.id, scenario.text);
            }
        }
    }
    let total = scenarios.len();
    println!("scenarios: {} of {total} proved", total - unproved);
    Ok(unproved == 0)
}

/// The tests that prove a scenario, or why none does.
fn judge(scenario: &Scenario, tests: &[Test]) -> Result<Vec<String>, String> {
    let named: Vec<&Test> = tests
        .iter()
        .filter(|test| test.scenarios().contains(&scenario.id))
        .collect();
    if let Some(red) = named.iter().find(|test| !test.passed) {
        return Err(format!("{} failed", red.label()));
    }
    let counting: Vec<String> = named
        .iter()
        .filter(|test| !scenario.needs_integration || test.is_integration())
        .map(|test| test.label())
        .collect();
    match (counting.is_empty(), named.is_empty()) {
        (false, _) => Ok(counting),
        (true, false) => Err("only unit tests are named after it".to_owned()),
        (true, true) => Err("no test is named after it".to_owned()),
    }
}

/// Lines of `S18 I what it says`; `#` begins a comment.
fn parse_list(text: &str) -> Result<Vec<Scenario>> {
    let mut scenarios = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.splitn(3, ' ');
        let (Some(id), Some(tier), Some(text)) = (words.next(), words.next(), words.next()) else {
            bail!("a scenario's line is `S18 I what it says`, not: {line}");
        };
        ensure!(
            ["U", "I", "P", "W"].contains(&tier),
            "{id}: the tier is U, I, P or W, not {tier}"
        );
        scenarios.push(Scenario {
            id: id.to_owned(),
            needs_integration: tier != "U",
            text: text.to_owned(),
        });
    }
    ensure!(!scenarios.is_empty(), "the list of scenarios is empty");
    Ok(scenarios)
}

pub(crate) fn parse_report(text: &str) -> Result<Vec<Test>> {
    if text.trim_start().starts_with('<') {
        parse_junit(text)
    } else {
        parse_json_lines(text)
    }
}

/// `JUnit` as nextest writes it: one `testcase` a test, with a child element if it did not pass.
fn parse_junit(text: &str) -> Result<Vec<Test>> {
    let case = Regex::new(r"(?s)<testcase\b([^>]*?)(/>|>(.*?)</testcase>)")?;
    let attribute = Regex::new(r#"(\w+)="([^"]*)""#)?;
    let mut tests = Vec::new();
    for found in case.captures_iter(text) {
        let attributes: BTreeMap<&str, String> = attribute
            .captures_iter(found.get(1).map_or("", |m| m.as_str()))
            .filter_map(|c| Some((c.get(1)?.as_str(), unescape(c.get(2)?.as_str()))))
            .collect();
        let body = found.get(3).map_or("", |m| m.as_str());
        let did_not_pass = ["<failure", "<error", "<skipped"]
            .iter()
            .any(|element| body.contains(element));
        tests.push(Test {
            binary: attributes.get("classname").cloned().unwrap_or_default(),
            name: attributes.get("name").cloned().unwrap_or_default(),
            passed: !did_not_pass,
        });
    }
    Ok(tests)
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

/// JSON lines, with names of the form `<binary>$<test>`.
fn parse_json_lines(text: &str) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let event: Value = serde_json::from_str(line).context("a line of the report")?;
        let field = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        if field("type") != "test" || !["ok", "failed"].contains(&field("event")) {
            continue;
        }
        let (binary, name) = field("name").split_once('$').unwrap_or(("", field("name")));
        tests.push(Test {
            binary: binary.to_owned(),
            name: name.to_owned(),
            passed: field("event") == "ok",
        });
    }
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUNIT: &str = r#"<?xml version="1.0"?>
<testsuites><testsuite name="mantle-tests::e2e">
<testcase name="network::s18_an_answer_lost" classname="mantle-tests::e2e" time="1"></testcase>
<testcase name="s19_late_bytes" classname="mantle-tests::e2e" time="1">
  <failure message="a &lt; b">no</failure></testcase>
</testsuite><testsuite name="tentacle">
<testcase name="brain::tests::s20_pause" classname="tentacle" time="0"/>
<testcase name="s28_found_again" classname="tentacle::supervisor" time="0"/>
</testsuite></testsuites>"#;

    fn verdict(line: &str) -> Result<usize, String> {
        let scenarios = parse_list(line).unwrap();
        judge(&scenarios[0], &parse_report(JUNIT).unwrap()).map(|names| names.len())
    }

    #[test]
    fn a_test_that_ran_and_passed_proves_its_scenario() {
        assert_eq!(verdict("S18 I lost"), Ok(1));
        assert_eq!(verdict("S20 U pause"), Ok(1));
        assert_eq!(verdict("S28 P found"), Ok(1));
    }

    #[test]
    fn a_red_test_a_missing_one_and_a_mere_unit_test_do_not() {
        assert!(verdict("S19 I late").unwrap_err().contains("failed"));
        assert!(verdict("S21 U unknown").unwrap_err().contains("no test"));
        assert!(verdict("S20 I pause").unwrap_err().contains("only unit"));
    }

    #[test]
    fn json_lines_are_read_too() {
        let text = r#"{"type":"suite","event":"started"}
{"type":"test","event":"started","name":"mantle-tests::e2e$s18_x"}
{"type":"test","event":"ok","name":"mantle-tests::e2e$a::s18_x","exec_time":1}"#;
        let tests = parse_report(text).unwrap();
        assert_eq!(tests.len(), 1);
        assert!(tests[0].is_integration() && tests[0].passed);
        assert_eq!(tests[0].scenarios(), ["S18"]);
    }

    #[test]
    fn names_that_only_look_like_scenarios_do_not_count() {
        let named = |name: &str| {
            let test = Test {
                binary: String::new(),
                name: name.to_owned(),
                passed: true,
            };
            test.scenarios()
        };
        for name in ["s_x", "s1_x", "sql_x", "s18", "xs18_a", "a_x", "a1_b"] {
            assert!(named(name).is_empty(), "{name}");
        }
        assert_eq!(named("a::tests::s25_s26_the_same_s27"), ["S25", "S26"]);
        assert_eq!(named("a::tests::a08_lies"), ["A08"]);
    }

    #[test]
    fn the_list_of_this_repository_can_be_read() {
        let text = include_str!("../../tests/scenarios.txt");
        let scenarios = parse_list(text).unwrap();
        assert!(scenarios.len() >= 42, "the list only grows");
        let ids: std::collections::BTreeSet<_> = scenarios.iter().map(|s| &s.id).collect();
        assert_eq!(ids.len(), scenarios.len(), "a scenario stands twice");
    }
}

//! Sabotage: each scenario's test is shown to be able to fail.
//!
//! A sabotage is a named switch (`MANTLE_SABOTAGE`) of the product's test builds, of the fault proxy
//! or of what a test feeds to the product. The matching tests are green without it; with it at least
//! one of them must turn red and no other scenario's test may. Only the tests that ask for it can
//! notice a switch of the harness; one of the product is seen by whatever is built on its crate. So
//! with those the scenarios' tests beside that code are run as well, which takes seconds, and with
//! `--exact` everything.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;

use crate::scenarios::{Test, parse_report};
use crate::tree::{self, Tree};

/// The environment variable that switches one on.
const SWITCH: &str = "MANTLE_SABOTAGE";
/// The tests that name a scenario.
const SCENARIO_TESTS: &str = r"test(/(^|::)s\d\d_/)";
/// Some tests let a program die at a named point, and the product's switches need the same feature.
const FEATURES: [&str; 2] = ["--features", "tentacle/faults,mantle/faults"];
/// Nextest's code for a test that failed.
const TESTS_FAILED: i32 = 100;

/// What to run and where to write it.
pub(crate) struct Options {
    /// Only these; all if empty.
    pub(crate) names: Vec<String>,
    /// The list of sabotages.
    pub(crate) list: PathBuf,
    /// Run every scenario's test with each, also those of the integration binary.
    pub(crate) exact: bool,
    /// Write the table here, too.
    pub(crate) markdown: Option<PathBuf>,
}

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
struct Sabotage {
    name: String,
    /// The beginning of the names of the tests that must notice, such as `s18_`.
    tests: String,
    what: String,
}

impl Sabotage {
    fn concerns(&self, test: &Test) -> bool {
        test.function().starts_with(&self.tests)
    }
}

/// What a sabotage did.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Exactly the tests that must notice did, at least one of them.
    Noticed,
    /// None of them did.
    NotNoticed,
    /// They are red without it, so that it proves nothing.
    RedWithout,
    /// Others did as well.
    NotExact,
}

impl Verdict {
    fn of(sabotage: &Sabotage, red_without: &BTreeSet<String>, with: &[Test]) -> Self {
        let red: Vec<&Test> = with.iter().filter(|test| !test.passed()).collect();
        let (own, others): (Vec<&Test>, Vec<&Test>) =
            red.into_iter().partition(|test| sabotage.concerns(test));
        if own.iter().any(|test| red_without.contains(&test.label())) {
            Self::RedWithout
        } else if own.is_empty() {
            Self::NotNoticed
        } else if others.is_empty() {
            Self::Noticed
        } else {
            Self::NotExact
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Noticed => "noticed",
            Self::NotNoticed => "NOT NOTICED",
            Self::RedWithout => "RED WITHOUT IT",
            Self::NotExact => "NOT EXACT",
        }
    }
}

/// Runs these sabotages; true when each was noticed by exactly its tests.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let list = &options.list;
    let text =
        std::fs::read_to_string(list).with_context(|| format!("reading {}", list.display()))?;
    let all = parse(&text)?;
    for name in &options.names {
        ensure!(
            all.iter().any(|s| s.name == *name),
            "no sabotage is called {name}; {} lists them",
            list.display()
        );
    }
    let chosen: Vec<&Sabotage> = all
        .iter()
        .filter(|s| options.names.is_empty() || options.names.contains(&s.name))
        .collect();
    let tree = Tree::read()?;
    let built = Built::build()?;
    let own: BTreeSet<String> = chosen.iter().map(|s| filter(&s.tests)).collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let without = built.run(&own.join(" or "), None)?;
    let red_without: BTreeSet<String> = without
        .iter()
        .filter(|test| !test.passed())
        .map(Test::label)
        .collect();
    for test in &red_without {
        println!("red without any: {test}");
    }
    let mut noticed = true;
    let mut table = Table::begin(options.markdown.as_deref())?;
    for sabotage in chosen {
        let own = filter(&sabotage.tests);
        let expression = match product_switch(&tree, &sabotage.name) {
            _ if options.exact => SCENARIO_TESTS.to_owned(),
            Some(package) => format!(
                "{own} or ({SCENARIO_TESTS} and rdeps(={package}) and not package(mantle-tests))"
            ),
            None => own,
        };
        let with = built.run(&expression, Some(&sabotage.name))?;
        let verdict = Verdict::of(sabotage, &red_without, &with);
        noticed &= verdict == Verdict::Noticed;
        table.row(sabotage, &verdict, &with)?;
    }
    Ok(noticed)
}

/// The tests whose names begin so.
fn filter(tests: &str) -> String {
    format!("test(/(^|::){tests}/)")
}

/// The package in which a rule can be broken by this name, if it is one of the product.
fn product_switch(tree: &Tree, name: &str) -> Option<String> {
    let switch = format!("sabotaged(\"{name}\")");
    let file = asking(tree, &switch)?;
    // The manifest of the innermost folder that has one.
    let manifest = tree
        .manifests()
        .filter(|manifest| {
            file.path
                .starts_with(manifest.path.trim_end_matches("Cargo.toml"))
        })
        .max_by_key(|manifest| manifest.path.len())?;
    let named = manifest.text.lines().find_map(|line| {
        let quoted = line.strip_prefix("name = \"")?;
        quoted.strip_suffix('"')
    });
    named.map(str::to_owned)
}

/// The first Rust file with this text.
fn asking<'a>(tree: &'a Tree, switch: &str) -> Option<&'a tree::File> {
    tree.files().find(|file| {
        let extension = Path::new(&file.path).extension();
        extension.is_some_and(|e| e == "rs") && file.text.contains(switch)
    })
}

/// The tests, built once: later runs do not ask cargo.
struct Built {
    folder: PathBuf,
    root: PathBuf,
}

impl Built {
    fn build() -> Result<Self> {
        let root = tree::root()?;
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let folder = target.map_or_else(|| root.join("target"), PathBuf::from);
        let folder = folder.join("sabotage");
        std::fs::create_dir_all(&folder)?;
        let built = Self { folder, root };
        // The programs that the integration tests start.
        built.cargo(
            &[&["build", "--workspace", "--bins"][..], &FEATURES].concat(),
            None,
        )?;
        let list = [
            "nextest",
            "list",
            "--workspace",
            "--list-type",
            "binaries-only",
        ];
        let json = ["--message-format", "json"];
        built.cargo(
            &[&list[..], &json, &FEATURES].concat(),
            Some("binaries.json"),
        )?;
        // For this platform alone: cargo would fetch what the others need.
        let metadata = ["metadata", "--format-version", "1", "--filter-platform"];
        built.cargo(
            &[&metadata[..], &[host()?.as_str()]].concat(),
            Some("metadata.json"),
        )?;
        Ok(built)
    }

    /// Runs cargo with its output in this file.
    fn cargo(&self, arguments: &[&str], output: Option<&str>) -> Result<()> {
        let mut command = Command::new("cargo");
        command.args(arguments).current_dir(&self.root);
        if let Some(name) = output {
            let path = self.folder.join(name);
            let file = std::fs::File::create(&path)
                .with_context(|| format!("creating {}", path.display()))?;
            command.stdout(Stdio::from(file));
        }
        let status = command.status().context("running cargo")?;
        ensure!(status.success(), "cargo {} failed", arguments.join(" "));
        Ok(())
    }

    /// Runs these tests, with this switch on, and gives what nextest reported.
    fn run(&self, expression: &str, sabotage: Option<&str>) -> Result<Vec<Test>> {
        let report = self.root.join("target/nextest/ci/junit.xml");
        // What an earlier run said must not be taken for this one's.
        if report.exists() {
            std::fs::remove_file(&report)?;
        }
        let mut command = Command::new("cargo");
        command
            .args(["nextest", "run", "--profile", "ci", "--no-fail-fast"])
            .arg("--binaries-metadata")
            .arg(self.folder.join("binaries.json"))
            .arg("--cargo-metadata")
            .arg(self.folder.join("metadata.json"))
            // At least one test must be there, or the sabotage would seem unnoticed.
            .args(["--no-tests", "fail"])
            .args(["-E", expression])
            .current_dir(&self.root)
            .env_remove(SWITCH);
        if let Some(name) = sabotage {
            command.env(SWITCH, name);
        }
        let output = command.output().context("running cargo nextest")?;
        match output.status.code() {
            Some(0 | TESTS_FAILED) => {}
            _ => bail!("{}", String::from_utf8_lossy(&output.stderr)),
        }
        let text = std::fs::read_to_string(&report)
            .with_context(|| format!("reading {}", report.display()))?;
        parse_report(&text)
    }
}

/// The platform on which this runs, as the compiler names it.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.context("running rustc")?;
    let text = String::from_utf8(output.stdout).context("what rustc says")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .context("rustc does not name its host")
}

/// The table, printed as it grows, and in a file for those who want it there.
struct Table {
    markdown: Option<std::fs::File>,
}

impl Table {
    fn begin(markdown: Option<&Path>) -> Result<Self> {
        let mut table = Self { markdown: None };
        if let Some(path) = markdown {
            let file = std::fs::File::create(path)
                .with_context(|| format!("creating {}", path.display()))?;
            table.markdown = Some(file);
            table.write("| sabotage | must turn red | verdict | red | what it breaks |")?;
            table.write("|---|---|---|---|---|")?;
        }
        Ok(table)
    }

    fn row(&mut self, sabotage: &Sabotage, verdict: &Verdict, with: &[Test]) -> Result<()> {
        let Sabotage { name, tests, what } = sabotage;
        let red: Vec<String> = with
            .iter()
            .filter(|test| !test.passed())
            .map(Test::label)
            .collect();
        let (verdict, count) = (verdict.word(), with.len());
        println!("{name:30} {tests:8} {verdict:16} {what}");
        for test in &red {
            println!("    {test}");
        }
        let red = red.join("<br>");
        self.write(&format!(
            "| `{name}` | `{tests}` | {verdict} | {red} (of {count} run) | {what} |"
        ))
    }

    fn write(&mut self, line: &str) -> Result<()> {
        if let Some(file) = &mut self.markdown {
            writeln!(file, "{line}").context("writing the table")?;
        }
        Ok(())
    }
}

/// Lines of `name s18_ what it breaks`; `#` begins a comment.
fn parse(text: &str) -> Result<Vec<Sabotage>> {
    let tests_like = Regex::new("^([as][0-9]{2}_)+$|^a_[a-z_]+_$")?;
    let mut all = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let [name, tests, what] = words.as_slice() else {
            bail!("a sabotage's line is `name s18_ what it breaks`, not: {line}");
        };
        ensure!(
            tests_like.is_match(tests),
            "{name}: the tests are told by the beginning of their names, such as s18_, not {tests}"
        );
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

    const LIST: &str = include_str!("../../tests/sabotage.txt");

    fn a_test(name: &str, passed: bool) -> Test {
        Test::new("mantle-tests::integration", name, passed)
    }

    fn a_sabotage() -> Sabotage {
        parse("answer-kept s18_ the answer is not lost\n")
            .unwrap()
            .remove(0)
    }

    #[test]
    fn the_list_is_read_and_a_bad_line_is_named() {
        let all = parse("# a comment\nanswer-kept s18_ the answer is not lost\n").unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].tests, "s18_");
        assert!(parse("only two").is_err());
        assert!(parse("answer-kept .* would match everything").is_err());
    }

    #[test]
    fn only_red_tests_of_its_own_count_as_noticed() {
        let sabotage = a_sabotage();
        let verdict = |tests: &[Test]| Verdict::of(&sabotage, &BTreeSet::new(), tests);
        let (own, other) = ("delivery::s18_an_answer", "trust::s01_a_server");
        assert_eq!(
            verdict(&[a_test(own, false), a_test(other, true)]),
            Verdict::Noticed
        );
        assert_eq!(
            verdict(&[a_test(own, true), a_test(other, true)]),
            Verdict::NotNoticed
        );
        assert_eq!(
            verdict(&[a_test(own, true), a_test(other, false)]),
            Verdict::NotNoticed
        );
        assert_eq!(
            verdict(&[a_test(own, false), a_test(other, false)]),
            Verdict::NotExact
        );
        let red = [a_test(own, false)];
        let before = BTreeSet::from([red[0].label()]);
        assert_eq!(Verdict::of(&sabotage, &before, &red), Verdict::RedWithout);
    }

    #[test]
    fn every_scenario_has_a_sabotage() {
        let all = parse(LIST).unwrap();
        for line in include_str!("../../tests/scenarios.txt").lines() {
            let Some(id) = line.split(' ').next().filter(|word| word.starts_with('S')) else {
                continue;
            };
            let word = format!("{}_", id.to_lowercase());
            assert!(
                all.iter().any(|sabotage| sabotage.tests.contains(&word)),
                "{id} has no sabotage"
            );
        }
    }

    #[test]
    fn a_switch_of_the_product_is_found_with_its_package() {
        let tree = Tree::of(&[
            ("server/Cargo.toml", "[package]\nname = \"outer\"\n"),
            ("server/domain/Cargo.toml", "[package]\nname = \"inner\"\n"),
            ("server/domain/src/a.rs", "if sabotaged(\"one\") {}"),
            ("server/src/b.rs", "if fault::sabotaged(\"two\") {}"),
        ]);
        let package = |name| product_switch(&tree, name);
        assert_eq!(package("one").as_deref(), Some("inner"));
        assert_eq!(package("two").as_deref(), Some("outer"));
        assert_eq!(package("three"), None);
    }

    #[test]
    fn every_sabotage_has_its_switch() {
        let tree = Tree::read().unwrap();
        for Sabotage { name, .. } in parse(LIST).unwrap() {
            let switch = format!("is_on(\"{name}\")");
            let harness_asks = asking(&tree, &switch).is_some();
            assert!(
                harness_asks || product_switch(&tree, &name).is_some(),
                "nothing asks for {name}"
            );
        }
    }
}

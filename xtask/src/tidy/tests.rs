//! Each rule finds what it is for, and leaves its neighbour alone.

use super::*;

/// A rule's name, a file that breaks it, and one that nearly does.
type Sample = (
    &'static str,
    (&'static str, &'static str),
    (&'static str, &'static str),
);

const SAMPLES: &[Sample] = &[
    (
        "sql-in-store",
        (
            "server/src/api/a.rs",
            "//! A.\nlet q = \"SELECT a FROM b \";",
        ),
        (
            "server/src/store/a.rs",
            "//! A.\nlet q = \"SELECT a FROM b \";",
        ),
    ),
    (
        "sql-in-store",
        ("server/src/services/a.rs", "//! A.\nuse sqlx::query;"),
        (
            "server/src/services/a.rs",
            "//! A.\n// not sqlx: SELECT a FROM b \n",
        ),
    ),
    (
        "quinn-in-its-places",
        (
            "server/src/orchestrator/a.rs",
            "//! A.\nuse quinn::Connection;",
        ),
        ("server/src/gateway/a.rs", "//! A.\nuse quinn::Connection;"),
    ),
    (
        "bincode-in-codec",
        (
            "tentacle/src/journal/a.rs",
            "//! A.\nbincode::serde::encode_to_vec(x);",
        ),
        (
            "shared/src/protocol/codec.rs",
            "//! A.\nbincode::serde::encode_to_vec(x);",
        ),
    ),
    (
        "bincode-in-codec",
        ("tentacle/Cargo.toml", "bincode.workspace = true"),
        ("shared/Cargo.toml", "bincode.workspace = true"),
    ),
    (
        "domain-is-pure",
        (
            "server/domain/src/state.rs",
            "//! A.\nlet now = Timestamp::now();",
        ),
        (
            "server/domain/src/state.rs",
            "//! A.\nfn a(now: Timestamp) {}",
        ),
    ),
    (
        "domain-is-pure",
        (
            "server/domain/src/plan.rs",
            "//! A.\nlet t = std::fs::read(p);",
        ),
        (
            "server/domain/src/plan/tests.rs",
            "//! A.\nlet t = std::fs::read(p);",
        ),
    ),
    (
        "apart",
        (
            "server/Cargo.toml",
            "[dependencies]\ntentacle.workspace = true",
        ),
        (
            "tests/Cargo.toml",
            "[dependencies]\ntentacle.workspace = true",
        ),
    ),
    (
        "apart",
        (
            "tentacle/Cargo.toml",
            "[dependencies]\nmantle.workspace = true",
        ),
        (
            "tentacle/Cargo.toml",
            "[dependencies]\nmantle-shared.workspace = true",
        ),
    ),
    (
        "wire-types",
        (
            "shared/src/protocol/messages/a.rs",
            "//! A.\n#[serde(flatten)]",
        ),
        ("shared/src/order.rs", "//! A.\n#[serde(flatten)]"),
    ),
    (
        "wire-types",
        (
            "shared/src/protocol/messages/a.rs",
            "//! A.\n#[serde(default, skip_serializing_if = \"x\")]",
        ),
        (
            "shared/src/protocol/messages/a.rs",
            "//! A.\n#[serde(transparent)]",
        ),
    ),
    (
        "wire-types",
        (
            "shared/src/protocol/messages/a.rs",
            "//! A.\nNested(Box<Self>),",
        ),
        (
            "shared/src/protocol/messages/a.rs",
            "//! A.\nfn new() -> Self {}",
        ),
    ),
    (
        "file-purpose",
        ("server/src/a.rs", "use std::fmt;\n//! Too late."),
        ("server/src/a.rs", "//! What it is for.\nuse std::fmt;"),
    ),
    (
        "file-purpose",
        ("server/src/a.rs", "//! placeholder\n"),
        ("server/src/a.rs", "\n//! What it is for."),
    ),
    (
        "no-ignored-test",
        ("server/src/a.rs", "//! A.\n#[test]\n#[ignore]\nfn a() {}"),
        (
            "server/src/a.rs",
            "//! A.\n// an #[ignore] in a comment\nfn ignore() {}",
        ),
    ),
    (
        "no-ignored-test",
        ("server/src/a.rs", "//! A.\n#[ignore = \"slow\"]\nfn a() {}"),
        ("server/src/a.rs", "//! A.\nlet ignore = 1;"),
    ),
    (
        "no-ignored-test",
        ("server/src/a.rs", "//! A.\n#[cfg_attr(windows, ignore)]"),
        (
            "server/src/a.rs",
            "//! A.\n#[cfg_attr(windows, expect(unused))]",
        ),
    ),
    (
        "no-sleep-in-tests",
        (
            "tests/tests/e2e/a.rs",
            "//! A.\ntokio::time::sleep(second).await;",
        ),
        (
            "tests/src/wait.rs",
            "//! A.\ntokio::time::sleep(second).await;",
        ),
    ),
    (
        "no-sleep-in-tests",
        (
            "tentacle/src/journal/tests.rs",
            "//! A.\nthread::sleep (second);",
        ),
        (
            "tentacle/src/connection/backoff.rs",
            "//! A.\nsleep(second).await;",
        ),
    ),
    (
        "no-sleep-in-tests",
        (
            "tests/tests/e2e/a.rs",
            "//! A.\nfn until(so: X) { while !so() { sleep(a) } }\nfn b() {\nsleep(a) }",
        ),
        (
            "tests/tests/e2e/a.rs",
            "//! A.\nfn until(so: X) { while !so() {\nsleep(a) } }\nfn b() {\n() = sleep(a) => panic!() }",
        ),
    ),
    (
        "lints-inherited",
        (
            "server/Cargo.toml",
            "[package]\nname = \"mantle\"\n\n[lints.clippy]\nall = \"allow\"",
        ),
        (
            "server/Cargo.toml",
            "[package]\nname = \"mantle\"\n\n[lints]\nworkspace = true\n",
        ),
    ),
    (
        "domain-dependencies",
        (
            "server/domain/Cargo.toml",
            "[dependencies]\ntokio.workspace = true",
        ),
        (
            "server/domain/Cargo.toml",
            "[dependencies]\nserde.workspace = true\n\n[dev-dependencies]\ntokio.workspace = true",
        ),
    ),
    (
        "one-tls",
        ("Cargo.lock", "[[package]]\nname = \"aws-lc-rs\"\n"),
        ("Cargo.lock", "[[package]]\nname = \"rustls\"\n"),
    ),
];

fn rules_broken(path: &str, text: &str) -> Vec<&'static str> {
    let findings = check(&Tree::of(&[(path, text)]));
    findings.into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn each_sample_breaks_its_rule_and_its_neighbour_does_not() {
    for (rule, (bad_path, bad), (good_path, good)) in SAMPLES {
        assert!(rules_broken(bad_path, bad).contains(rule), "{rule}: {bad}");
        assert!(
            !rules_broken(good_path, good).contains(rule),
            "{rule}: {good}"
        );
    }
}

#[test]
fn a_file_may_have_600_lines_of_code_and_no_more() {
    let lines = |count| format!("//! A.\n// why\n\n{}", "let a = 1;\n".repeat(count));
    assert_eq!(rules_broken("server/src/a.rs", &lines(600)), [""; 0]);
    assert_eq!(
        rules_broken("server/src/a.rs", &lines(601)),
        ["file-length"]
    );
}

#[test]
fn a_main_is_short() {
    let lines = |count| format!("//! A.\n{}", "let a = 1;\n".repeat(count));
    assert_eq!(rules_broken("server/src/main.rs", &lines(40)), [""; 0]);
    assert_eq!(
        rules_broken("server/src/main.rs", &lines(41)),
        ["short-main"]
    );
}

#[test]
fn the_page_of_scenarios_is_that_of_the_tests() {
    let lists = [
        ("tests/scenarios.txt", "S01 U it holds\n"),
        ("tests/scenarios_more.txt", "S02 - nobody: it would hold\n"),
        ("server/src/a.rs", "//! A.\n#[test]\nfn s01_it_holds() {}\n"),
    ];
    let (page, faults) = crate::table::page(&Tree::of(&lists)).unwrap();
    assert_eq!(faults, [""; 0]);
    let broken = |text: &str| {
        let mut files = lists.to_vec();
        files.push((crate::table::PAGE, text));
        let findings = check(&Tree::of(&files));
        findings
            .iter()
            .any(|finding| finding.rule == "scenario-table")
    };
    assert!(!broken(&page));
    assert!(broken(&format!("{page}| S03 |")));
}

#[test]
fn a_page_of_keys_that_is_not_that_of_the_schema_is_found() {
    let schema = include_str!("../../../docs/mantle.schema.json");
    let broken = |text: &str| {
        let files = [
            (crate::file_format::SCHEMA, schema),
            (crate::file_format::PAGE, text),
        ];
        let findings = check(&Tree::of(&files));
        findings.iter().any(|finding| finding.rule == "file-format")
    };
    let (page, _) =
        crate::file_format::page(&Tree::of(&[(crate::file_format::SCHEMA, schema)])).unwrap();
    assert!(!broken(&page));
    assert!(broken(&page.replace("| `retention` |", "| `retentoin` |")));
}

#[test]
fn every_rule_has_a_sample() {
    // These have tests of their own.
    let apart = ["file-length", "short-main", "scenario-table", "file-format"];
    for rule in RULES {
        let shown = SAMPLES.iter().any(|(name, _, _)| *name == rule.name);
        assert!(
            shown || apart.contains(&rule.name),
            "{} has none",
            rule.name
        );
    }
}

#[test]
fn a_finding_names_its_line() {
    let tree = Tree::of(&[("server/src/a.rs", "//! A.\n\nuse sqlx::query;\n")]);
    assert_eq!(
        check(&tree).first().map(ToString::to_string).as_deref(),
        Some("server/src/a.rs:3: `sqlx` is used outside server/src/store [sql-in-store]")
    );
}

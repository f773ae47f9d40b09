//! The examples of the manual are files that are accepted.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::lifecycle::{ReleaseName, check};
use crate::release::{ReleaseOptions, select};
use crate::testing::a_package;

const CHAPTERS: [(&str, &str); 9] = [
    ("files", include_str!("../../../../docs/src/files.md")),
    (
        "variables",
        include_str!("../../../../docs/src/variables.md"),
    ),
    ("secrets", include_str!("../../../../docs/src/secrets.md")),
    ("actions", include_str!("../../../../docs/src/actions.md")),
    ("rolling", include_str!("../../../../docs/src/rolling.md")),
    ("releases", include_str!("../../../../docs/src/releases.md")),
    ("channels", CHANNELS),
    ("lifecycles", LIFECYCLES),
    (
        "first-deployment",
        include_str!("../../../../docs/src/first-deployment.md"),
    ),
];

const CHANNELS: &str = include_str!("../../../../docs/src/channels.md");
const LIFECYCLES: &str = include_str!("../../../../docs/src/lifecycles.md");

/// The blocks of a chapter that are YAML.
fn examples(chapter: &str) -> Vec<&str> {
    chapter
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

fn indented(text: &str, by: usize) -> String {
    let lines = text
        .lines()
        .map(|line| format!("{}{line}\n", " ".repeat(by)));
    lines.collect()
}

/// An example as a whole document; `None` if it shows what is refused.
fn document(example: &str) -> Option<String> {
    let project = "mantle: v1\nproject: shop\npackages: [{ id: Shop.Web }]\n";
    let secret = "variables: { Database.Password: { secret: shop/password } }\n";
    if example.contains("# refused") {
        return None;
    }
    Some(if example.starts_with("mantle:") {
        example.to_owned()
    } else if example.starts_with("- action:") {
        let step = "process:\n  - step: Step\n    targets: { tag: web }\n    actions:\n";
        format!("{project}{secret}{step}{}", indented(example, 6))
    } else if example.starts_with("- step:") {
        format!("{project}{secret}process:\n{}", indented(example, 2))
    } else {
        format!("{project}{example}")
    })
}

#[test]
fn every_example_of_the_manual_is_accepted() {
    let mut seen = 0;
    for (chapter, text) in CHAPTERS {
        for example in examples(text) {
            let Some(document) = document(example) else {
                continue;
            };
            seen += 1;
            let source = Source {
                name: chapter,
                text: &document,
            };
            if let Err(errors) = parse(&[source], &Known::default()) {
                let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
                panic!("{}\n{document}", lines.join("\n"));
            }
        }
    }
    assert!(seen >= 13, "only {seen} examples were found");
}

/// The rows of a chapter's table with this head, each as its two cells without their backticks.
fn rows<'a>(chapter: &'a str, head: &str) -> Vec<(&'a str, Vec<&'a str>)> {
    let table = chapter.split(head).nth(1).unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let rows = rows.map(|row| {
        let mut cells = row.trim_matches('|').split(" | ");
        let (first, second) = (cells.next().unwrap(), cells.next().unwrap());
        let names = second.split(", ").map(|name| name.trim().trim_matches('`'));
        (first.trim(), names.collect())
    });
    rows.collect()
}

fn only(chapter: &str) -> Definitions {
    let source = Source {
        name: "manual",
        text: examples(chapter)[0],
    };
    parse(&[source], &Known::default()).unwrap()
}

#[test]
fn the_channels_of_the_manual_take_what_it_says() {
    let project = only(CHANNELS).projects.remove(0);
    let rows = rows(CHANNELS, "| `Shop.Web` | Channel |");
    assert_eq!(rows.len(), 5);
    for (version, channel) in rows {
        let version = version.trim_matches('`');
        let available = [("Shop.Web".to_owned(), vec![a_package("Shop.Web", version)])];
        let options = ReleaseOptions {
            version: Some("1.0".to_owned()),
            packages: [("Shop.Web".to_owned(), version.to_owned())].into(),
            ..ReleaseOptions::default()
        };
        let now = jiff::Timestamp::UNIX_EPOCH;
        let chosen = select(&project, &options, &available.into(), &[], now);
        let chosen = chosen.map_or_else(|_| "refused".to_owned(), |chosen| chosen.channel);
        assert_eq!(channel, [chosen.as_str()], "{version}");
    }
}

#[test]
fn the_lifecycle_of_the_manual_lets_releases_where_it_says() {
    let lifecycle = only(LIFECYCLES).lifecycles.remove(0);
    let phases = lifecycle
        .phases
        .iter()
        .flat_map(|phase| phase.environments.clone());
    let environments: Vec<String> = phases.collect();
    let rows = rows(LIFECYCLES, "| Succeeded in | May go to |");
    assert_eq!(rows.len(), 4);
    for (succeeded, may) in rows {
        let succeeded = succeeded
            .split(", ")
            .map(|name| name.trim_matches('`').to_owned());
        let succeeded = succeeded.filter(|name| name != "nothing").collect();
        let release = ReleaseName {
            project: "shop",
            version: "1.0",
        };
        let lets = |name: &&String| {
            check(release, Some(&lifecycle), &environments, &succeeded, name).is_ok()
        };
        let found: Vec<&String> = environments.iter().filter(lets).collect();
        assert_eq!(found, may, "{succeeded:?}");
    }
}

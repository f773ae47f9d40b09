//! The examples of the manual are files that are accepted.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

const CHAPTERS: [(&str, &str); 7] = [
    ("files", include_str!("../../../../docs/src/files.md")),
    (
        "variables",
        include_str!("../../../../docs/src/variables.md"),
    ),
    ("secrets", include_str!("../../../../docs/src/secrets.md")),
    ("actions", include_str!("../../../../docs/src/actions.md")),
    ("rolling", include_str!("../../../../docs/src/rolling.md")),
    ("releases", include_str!("../../../../docs/src/releases.md")),
    (
        "first-deployment",
        include_str!("../../../../docs/src/first-deployment.md"),
    ),
];

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
    assert!(seen >= 11, "only {seen} examples were found");
}

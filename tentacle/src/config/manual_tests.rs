//! The rows of the manual's page are applied as they stand there.

use super::*;

const PAGE: &str = include_str!("../../../docs/src/configuration-files.md");

/// The rows of the table under a heading, each cell without its quotes.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let section = PAGE
        .split("\n## ")
        .find(|section| section.starts_with(heading))
        .unwrap();
    section
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(cells)
        .collect()
}

fn cells(line: &str) -> Vec<String> {
    let line = line.trim_matches('|').replace("\\|", "\u{1}");
    line.split(" | ")
        .map(|cell| {
            let cell = cell.trim();
            let code = cell
                .strip_prefix('`')
                .and_then(|cell| cell.strip_suffix('`'));
            let text = code.unwrap_or(cell).replace('\u{1}', "|");
            // A backslash is written twice where it is one.
            text.replace("\\\\", "\u{2}")
                .replace("\\n", "\n")
                .replace('\u{2}', "\\")
        })
        .collect()
}

#[test]
fn every_row_of_the_manual_is_applied() {
    for (heading, format) in [
        ("JSON", Format::Json),
        ("YAML", Format::Yaml),
        ("XML", Format::Xml),
        ("Properties", Format::Properties),
        (".NET settings", Format::DotnetConfig),
    ] {
        let rows = rows(heading);
        assert!(rows.len() >= 3, "{heading} has {} rows", rows.len());
        for row in rows {
            let [before, name, value, after] = &row[..] else {
                panic!("{heading}: {row:?}");
            };
            let settings = Settings::new([Setting {
                name: name.clone(),
                value: (value != "null").then(|| value.clone()),
            }]);
            let applied = apply(format, "", before.as_bytes(), &settings).unwrap();
            let bytes = applied.bytes.unwrap_or_default();
            assert_eq!(
                String::from_utf8(bytes).unwrap(),
                *after,
                "{heading}: {row:?}"
            );
            assert_eq!(applied.warnings, Vec::<String>::new(), "{row:?}");
            assert_eq!(applied.refused, [], "{row:?}");
        }
    }
}

#[test]
fn every_transform_of_the_manual_is_applied() {
    let rows = rows("XDT transforms");
    assert!(rows.len() >= 9, "{} rows", rows.len());
    for row in rows {
        let [before, rules, after] = &row[..] else {
            panic!("{row:?}");
        };
        let rules = format!(
            "<root xmlns:xdt=\"http://schemas.microsoft.com/XML-Document-Transform\">{rules}</root>"
        );
        let whole = |inside: &str| format!("<root>\n  {inside}\n</root>");
        let before = whole(before);
        let applied = transform(before.as_bytes(), "T", rules.as_bytes(), OnWarning::Fail).unwrap();
        let bytes = applied.bytes.unwrap_or_else(|| before.clone().into_bytes());
        assert_eq!(String::from_utf8(bytes).unwrap(), whole(after), "{row:?}");
    }
}

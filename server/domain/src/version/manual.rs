//! The manual's page on versions: every row of its tables is tried.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::cmp::Ordering;

use super::next::{NextVersion, Released, next_version};
use super::{PrereleasePattern, Range, Version};

fn v(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn holds(heading: &str, cells: &[String]) -> bool {
    match (heading, cells) {
        ("Lower", [lower, higher]) => v(lower) < v(higher),
        ("Equal", [left, right]) => v(left).cmp(&v(right)) == Ordering::Equal,
        ("Range", [range, inside, outside]) => {
            let range = Range::parse(range).unwrap();
            range.contains(&v(inside)) && !range.contains(&v(outside))
        }
        ("Expression", [pattern, matching, other]) => {
            let pattern = PrereleasePattern::parse(pattern).unwrap();
            pattern.accepts(&v(matching)).unwrap() && !pattern.accepts(&v(other)).unwrap()
        }
        ("Mask", [mask, release, next]) => {
            let releases = [Released {
                version: v(release),
                channel: "default".to_owned(),
            }];
            let given = NextVersion {
                releases: &releases,
                channels: &["default"],
                channel: "default",
                variables: &[],
                now: "2026-11-23T10:20:30Z".parse().unwrap(),
            };
            next_version(mask, &given).unwrap().as_str() == next
        }
        ("Name", _) => true,
        _ => panic!("a table that nobody tries: {heading}"),
    }
}

#[test]
fn every_row_of_the_manual_holds() {
    let text = include_str!("../../../../docs/src/versions.md");
    let (mut heading, mut tried, mut wrong) = (None, 0, Vec::new());
    for line in text.lines() {
        let row = line.replace("\\|", "\0");
        let Some(row) = row.strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            heading = None;
            continue;
        };
        let cells: Vec<String> = row
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').replace('\0', "|"))
            .collect();
        match &heading {
            None => heading = cells.first().cloned(),
            Some(_) if row.starts_with("---") => {}
            Some(heading) => {
                tried += 1;
                if !holds(heading, &cells) {
                    wrong.push(line);
                }
            }
        }
    }
    assert!(tried > 25, "{tried} rows were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

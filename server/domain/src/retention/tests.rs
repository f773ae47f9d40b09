//! Retention: a table for the rules, and the law that what is in use never goes.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn id(number: u32) -> ReleaseId {
    ReleaseId::from_uuid(Uuid::from_u128(u128::from(number)))
}

fn rules(releases: Option<u32>, days: Option<u32>) -> Retention {
    Retention {
        releases,
        days,
        ..Retention::default()
    }
}

/// Release `number`, created on day `number`.
fn held(number: u32, phase: Option<usize>, rules: Retention) -> HeldRelease {
    HeldRelease {
        id: id(number),
        version: format!("1.{number}"),
        created_at_us: i64::from(number) * DAY_US,
        lifecycle: Some(("standard".to_owned(), rules)),
        phase,
    }
}

fn gone(held: &[HeldRelease], uses: &Uses, day: i64) -> Vec<String> {
    releases(held, uses, day * DAY_US)
        .iter()
        .zip(held)
        .filter(|(fate, _)| fate.goes())
        .map(|(_, release)| release.version.clone())
        .collect()
}

#[test]
fn releases_are_counted_in_the_furthest_phase_that_they_reached() {
    // Reference section 1.5, retention on the server.
    let none = Uses::default();
    let all = |rules: Retention| -> Vec<HeldRelease> {
        let phases = [None, Some(0), Some(0), Some(1), Some(0), Some(1), None];
        (1..)
            .zip(phases)
            .map(|(n, phase)| held(n, phase, rules))
            .collect()
    };
    for (rules, expected) in [
        (rules(None, None), &[][..]),
        (rules(Some(1), None), &["1.1", "1.2", "1.3", "1.4"]),
        (rules(Some(2), None), &["1.2"]),
        (
            rules(Some(0), None),
            &["1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7"],
        ),
        // On day 8 the first five are three days old or older.
        (rules(None, Some(3)), &["1.1", "1.2", "1.3", "1.4", "1.5"]),
        // What either rule keeps stays.
        (rules(Some(1), Some(5)), &["1.1", "1.2", "1.3"]),
        (rules(Some(9), Some(1)), &[]),
    ] {
        assert_eq!(gone(&all(rules), &none, 8), expected, "{rules:?}");
    }
    let mut free = all(rules(Some(0), None));
    for release in &mut free {
        release.lifecycle = None;
    }
    assert!(gone(&free, &none, 8).is_empty(), "no lifecycle, no rule");
}

#[test]
fn what_is_on_a_dashboard_or_in_flight_stays_and_says_why() {
    let all: Vec<HeldRelease> = (1..=7)
        .map(|n| held(n, Some(0), rules(Some(0), None)))
        .collect();
    let uses = Uses {
        places: vec![Place {
            environment: "test".to_owned(),
            last: id(6),
            running: Some(id(5)),
            before: Some(id(2)),
        }],
        targets: vec![("web01".to_owned(), id(3))],
        open: vec![("T-9".to_owned(), id(1))],
    };
    let fates = releases(&all, &uses, 100 * DAY_US);
    let said: Vec<&str> = fates.iter().map(Fate::why).collect();
    let goes = "not one of the newest 0 in its phase (lifecycle 'standard')";
    assert_eq!(
        said,
        [
            "T-9 is about it",
            "ran in test before the one that does",
            "is on web01",
            goes,
            "runs in test",
            "was the last one tried in test",
            goes,
        ]
    );
    assert_eq!(gone(&all, &uses, 100), ["1.4", "1.7"]);
}

fn package(number: u32, version: &str, pinned: bool) -> HeldPackage {
    HeldPackage {
        id: PackageVersionId::from_uuid(Uuid::from_u128(u128::from(number))),
        package: "Web".to_owned(),
        version: version.to_owned(),
        pushed_at_us: i64::from(number),
        pinned,
    }
}

#[test]
fn packages_go_when_no_release_holds_them_and_newer_ones_are_there() {
    let keeping = |packages: Option<u32>| Retention {
        packages,
        ..Retention::default()
    };
    let all = [
        package(1, "1.0", true),
        package(2, "3.0", false),
        package(3, "1.1", false),
        package(4, "1.2", false),
    ];
    for (rules, expected) in [
        (&[][..], &[][..]),
        (&[keeping(None)], &[]),
        (&[keeping(Some(1)), keeping(None)], &[]),
        // The newest push and the newest version stay.
        (&[keeping(Some(1))], &["1.1"]),
        // The most generous rule holds.
        (&[keeping(Some(1)), keeping(Some(2))], &[]),
        (&[keeping(Some(0))], &["3.0", "1.1", "1.2"]),
    ] {
        let fates = packages(&all, rules);
        let gone: Vec<&str> = fates
            .iter()
            .zip(&all)
            .filter(|(fate, _)| fate.goes())
            .map(|(_, version)| version.version.as_str())
            .collect();
        assert_eq!(gone, expected, "{rules:?}");
    }
}

prop_compose! {
    fn some_release()(
        created in 0..2_000_i64,
        lifecycle in prop::option::of((0..3_u8, prop::option::of(0..4_u32), prop::option::of(0..40_u32))),
        phase in prop::option::of(0..3_usize),
    ) -> (i64, Option<(String, Retention)>, Option<usize>) {
        let lifecycle = lifecycle.map(|(name, releases, days)| (format!("l{name}"), rules(releases, days)));
        (created, lifecycle, phase)
    }
}

proptest! {
    #[test]
    fn what_is_in_use_or_kept_by_a_rule_never_goes(
        made in prop::collection::vec(some_release(), 1..25),
        places in prop::collection::vec((0..30_u32, prop::option::of(0..30_u32), prop::option::of(0..30_u32)), 0..4),
        targets in prop::collection::vec(0..30_u32, 0..4),
        open in prop::collection::vec(0..30_u32, 0..4),
        now in 0..2_500_i64,
    ) {
        let all: Vec<HeldRelease> = (0..).zip(made).map(|(n, (created, lifecycle, phase))| HeldRelease {
            id: id(n),
            version: n.to_string(),
            created_at_us: created * DAY_US / 10,
            lifecycle,
            phase,
        }).collect();
        let uses = Uses {
            places: places.into_iter().map(|(last, running, before)| Place {
                environment: "e".to_owned(),
                last: id(last),
                running: running.map(id),
                before: before.map(id),
            }).collect(),
            targets: targets.into_iter().map(|n| ("t".to_owned(), id(n))).collect(),
            open: open.into_iter().map(|n| ("T-1".to_owned(), id(n))).collect(),
        };
        let now_us = now * DAY_US / 10;
        let fates = releases(&all, &uses, now_us);
        prop_assert_eq!(fates.len(), all.len());
        for (release, fate) in all.iter().zip(&fates) {
            if !fate.goes() {
                continue;
            }
            let used = uses.open.iter().chain(&uses.targets).any(|(_, id)| *id == release.id)
                || uses.places.iter().any(|place| {
                    place.last == release.id
                        || place.running == Some(release.id)
                        || place.before == Some(release.id)
                });
            prop_assert!(!used, "{} is in use", release.version);
            let (name, rules) = release.lifecycle.clone().unwrap();
            prop_assert!(rules.releases.is_some() || rules.days.is_some());
            // So many of its kind are newer, or as new, as the rule wants to keep.
            if let Some(count) = rules.releases {
                let newer = all.iter().filter(|other| {
                    other.lifecycle.as_ref().is_some_and(|(other, _)| *other == name)
                        && other.phase == release.phase
                        && other.created_at_us >= release.created_at_us
                        && other.id != release.id
                });
                prop_assert!(newer.count() >= count as usize);
            }
            if let Some(days) = rules.days {
                prop_assert!(now_us - release.created_at_us >= i64::from(days) * DAY_US);
            }
        }
        // The order in which they are given does not matter.
        let mut turned = all.clone();
        turned.reverse();
        let mut again = releases(&turned, &uses, now_us);
        again.reverse();
        prop_assert_eq!(fates, again);
    }
}

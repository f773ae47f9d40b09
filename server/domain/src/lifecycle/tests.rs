//! Progression, reference section 1.3.
#![allow(clippy::unwrap_used)]

use super::*;

const RELEASE: ReleaseName<'static> = ReleaseName {
    project: "shop",
    version: "1.2",
};

pub(super) fn phase(name: &str, environments: &[&str], deploy: DeployMode, gate: Gate) -> Phase {
    Phase {
        name: name.to_owned(),
        environments: environments.iter().map(|name| (*name).to_owned()).collect(),
        deploy,
        automatic: Vec::new(),
        gate,
        priority: Priority::Normal,
    }
}

pub(super) fn lifecycle(phases: Vec<Phase>) -> LifecycleDefinition {
    LifecycleDefinition {
        name: "standard".to_owned(),
        description: None,
        phases,
        retention: Retention::default(),
    }
}

pub(super) fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(super) fn all() -> Vec<String> {
    ["dev", "test-a", "test-b", "live"]
        .map(str::to_owned)
        .to_vec()
}

fn three(gate: Gate) -> LifecycleDefinition {
    lifecycle(vec![
        phase("Dev", &["dev"], DeployMode::Automatic, Gate::All),
        phase("Test", &["test-a", "test-b"], DeployMode::Automatic, gate),
        phase("Live", &["live"], DeployMode::Manual, Gate::All),
    ])
}

/// Each environment of a phase is deployed to by hand or by itself.
#[test]
fn of_a_phase_only_the_environments_that_are_named_may_be_deployed_to_by_themselves() {
    let mut test = phase("Test", &["test-a", "test-b"], DeployMode::Manual, Gate::All);
    test.automatic = vec!["test-b".to_owned(), "gone".to_owned()];
    let dev = phase("Dev", &["dev"], DeployMode::Automatic, Gate::All);
    let mut optional = test.clone();
    optional.gate = Gate::Optional;
    for (phases, expected) in [
        (vec![dev.clone(), test], &["test-b"][..]),
        (vec![dev, optional], &[]),
    ] {
        let occasion = Occasion::Succeeded("dev");
        let sent = set(&["dev"]);
        let found = automatic(&lifecycle(phases), &all(), &set(&["dev"]), &sent, occasion);
        assert_eq!(found, expected);
    }
}

#[test]
fn a_phase_opens_when_the_one_before_is_passed() {
    for (gate, succeeded, environment, allowed) in [
        (Gate::All, &[][..], "dev", true),
        (Gate::All, &[], "test-a", false),
        (Gate::All, &["dev"], "test-b", true),
        (Gate::All, &["dev", "test-a"], "live", false),
        (Gate::All, &["dev", "test-a", "test-b"], "live", true),
        (Gate::Minimum(1), &["dev", "test-b"], "live", true),
        (Gate::Minimum(1), &["dev"], "live", false),
        (Gate::Minimum(9), &["dev", "test-a"], "live", false),
        (Gate::Optional, &["dev"], "live", true),
        (Gate::Optional, &["dev"], "test-a", true),
        (Gate::Optional, &[], "live", false),
        // Redeploying to a phase already reached is always allowed.
        (Gate::All, &["live"], "live", true),
        (Gate::All, &["live"], "test-a", true),
    ] {
        let outcome = check(
            RELEASE,
            Some(&three(gate)),
            &all(),
            &set(succeeded),
            environment,
        );
        assert_eq!(
            outcome.is_ok(),
            allowed,
            "{gate:?} {succeeded:?} {environment}: {outcome:?}"
        );
    }
}

#[test]
fn a_refusal_names_the_phase_and_what_is_missing() {
    let refusal = check(
        RELEASE,
        Some(&three(Gate::All)),
        &all(),
        &set(&["dev", "test-a"]),
        "live",
    )
    .unwrap_err();
    assert_eq!(
        refusal,
        Refusal::PhaseNotReached {
            release: Box::new(NamedRelease {
                project: "shop".to_owned(),
                version: "1.2".to_owned(),
            }),
            environment: "live".to_owned(),
            lifecycle: "standard".to_owned(),
            phase: "Test".to_owned(),
            missing: vec!["test-b".to_owned()],
            needed: 1,
        }
    );
}

#[test]
fn an_environment_outside_the_lifecycle_is_refused() {
    let refusal = check(
        RELEASE,
        Some(&three(Gate::All)),
        &all(),
        &set(&["dev"]),
        "lab",
    )
    .unwrap_err();
    assert!(matches!(refusal, Refusal::NotInLifecycle { .. }));
}

#[test]
fn without_a_lifecycle_or_phases_the_conventions_hold() {
    assert!(check(RELEASE, None, &all(), &set(&[]), "live").is_ok());
    let empty = lifecycle(Vec::new());
    assert!(check(RELEASE, Some(&empty), &all(), &set(&[]), "dev").is_ok());
    assert!(check(RELEASE, Some(&empty), &all(), &set(&[]), "test-a").is_err());
    let rest = lifecycle(vec![
        phase("Dev", &["dev"], DeployMode::Manual, Gate::All),
        phase("Rest", &[], DeployMode::Manual, Gate::All),
    ]);
    assert_eq!(
        phases(&rest, &all())[1].environments,
        ["test-a", "test-b", "live"]
    );
}

#[test]
fn automatic_deployments_follow_each_phase_once() {
    let lifecycle = three(Gate::All);
    let dev = set(&["dev"]);
    let created = Occasion::Created;
    let none = automatic(&lifecycle, &all(), &set(&[]), &set(&[]), created);
    assert_eq!(none, ["dev"]);
    assert!(automatic(&lifecycle, &all(), &set(&[]), &dev, created).is_empty());
    let succeeded = Occasion::Succeeded("dev");
    let next = automatic(&lifecycle, &all(), &dev, &dev, succeeded);
    assert_eq!(next, ["test-a", "test-b"]);
    // An optional phase never fires.
    let optional = three(Gate::Optional);
    assert!(automatic(&optional, &all(), &dev, &dev, succeeded).is_empty());
}

#[test]
fn nothing_goes_by_itself_to_a_phase_that_lies_behind() {
    // The release is from before the phase of the tests: it was in dev and live.
    let lifecycle = three(Gate::All);
    let been = set(&["dev", "live"]);
    let goes = |occasion| automatic(&lifecycle, &all(), &been, &been, occasion);
    assert!(goes(Occasion::Succeeded("live")).is_empty());
    assert!(goes(Occasion::Unblocked).is_empty());
    assert!(goes(Occasion::Succeeded("elsewhere")).is_empty());
    assert_eq!(goes(Occasion::Succeeded("dev")), ["test-a", "test-b"]);
}

#[test]
fn a_phase_says_how_urgent_its_environments_are() {
    let mut live = phase("Live", &["live"], DeployMode::Manual, Gate::All);
    live.priority = Priority::High;
    let followed = lifecycle(vec![
        phase("Test", &["test"], DeployMode::Manual, Gate::All),
        live,
    ]);
    let all = ["test".to_owned(), "live".to_owned(), "other".to_owned()];
    for (environment, expected) in [
        ("test", Priority::Normal),
        ("live", Priority::High),
        ("other", Priority::Normal),
    ] {
        let found = priority(Some(&followed), &all, environment);
        assert_eq!(found, expected, "{environment}");
    }
    assert_eq!(priority(None, &all, "live"), Priority::Normal);
}

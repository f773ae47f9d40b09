//! The system variables, reference section 1.4.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::*;
use crate::plan::PastRelease;
use crate::planner::PlanOptions;
use crate::release::ScannedFiles;
use crate::testing::{a_project, a_release, a_target, plan};

const PROCESS: &str = concat!(
    "packages: [{ id: Web }]\n",
    "process:\n",
    "  - step: Farm\n",
    "    targets: { tag: web }\n",
    "    actions:\n",
    "      - { action: Install, uses: package, with: { package: Web } }\n",
    "      - { action: Check, uses: script, with: { run: x } }\n",
);

fn a_plan(facts: PlanFacts) -> Plan {
    let release = a_release(&a_project(PROCESS), &ScannedFiles::new());
    let targets = [
        a_target("web01", &["linux", "web"], &["test"]),
        a_target("web02", &["web"], &["test"]),
    ];
    let plan = plan(&release, "test", &targets, &PlanOptions::default()).unwrap();
    Plan { facts, ..plan }
}

fn some_facts() -> PlanFacts {
    let past = |version: &str| {
        Some(PastRelease {
            id: format!("release {version}"),
            version: version.to_owned(),
        })
    };
    PlanFacts {
        project: "p-1".to_owned(),
        environment: "e-1".to_owned(),
        environment_order: 2,
        release: "r-1".to_owned(),
        release_notes: "All new".to_owned(),
        release_fields: [("ticket".to_owned(), "OPS-12".to_owned())].into(),
        release_created: "2026-11-23T10:00:00Z".to_owned(),
        created: "2026-11-24T10:00:00Z".to_owned(),
        created_by: "ci".to_owned(),
        comment: "at last".to_owned(),
        fields: [("change".to_owned(), "CR-7 #{Password}".to_owned())].into(),
        release_before: past("0.9.5"),
        current: past("0.9.0"),
        previous: past("0.8.0"),
        succeeded: Some("t-1".to_owned()),
        expires: Some("2026-11-24T12:00:00Z".to_owned()),
        chosen: vec!["web01".to_owned(), "web02".to_owned()],
        excluded: vec!["web03".to_owned()],
        changes: [("0.0.1", "All new"), ("0.9.7", "Says #{Password}")]
            .map(|(version, notes)| PlanChange {
                version: version.to_owned(),
                notes: notes.to_owned(),
            })
            .to_vec(),
    }
}

fn variables(plan: &Plan, failed: bool) -> BTreeMap<String, String> {
    let step = &plan.steps[0];
    let failure = Failure {
        error: "'Install' failed on web01: no #{Password}".to_owned(),
        detail: "'Install' failed on web01: no #{Password}\n'Tell' failed".to_owned(),
    };
    let around = Surroundings {
        plan,
        lists: &Lists::of(&plan.targets),
        task_number: "T-12",
        step: Some(step),
        action: step.actions.first(),
        subject: plan.targets.first(),
        step_tag: Some("web"),
        failed: failed.then_some(&failure),
    };
    system_variables(&around)
        .into_iter()
        .map(|(name, value)| (name, value.to_string()))
        .collect()
}

#[test]
fn every_name_of_the_server_is_known_as_one_and_no_other_is() {
    for name in variables(&a_plan(some_facts()), true).keys() {
        assert!(is_of_server(name), "{name}");
        assert!(is_of_server(&name.to_uppercase()), "{name}");
    }
    for name in [
        "Port",
        "Octopus.Own",
        "Octopus.Action[A].Output.X",
        "Octopus.Secret[a/b]",
    ] {
        assert!(!is_of_server(name), "{name}");
    }
}

#[test]
fn what_is_known_has_its_name_in_the_reference() {
    let plan = a_plan(some_facts());
    let found = variables(&plan, true);
    for (name, value) in [
        ("Octopus.Release.Id", "r-1"),
        ("Octopus.Release.Number", "0.0.1"),
        ("Octopus.Release.Notes", "All new"),
        ("Octopus.Release.Created", "2026-11-23T10:00:00Z"),
        ("Octopus.Release.Channel.Name", "default"),
        ("Octopus.Release.CustomFields[ticket]", "OPS-12"),
        ("Octopus.Deployment.Comments", "at last"),
        // Whoever deploys writes it: it reads no variable.
        (
            "Octopus.Deployment.CustomFields[change]",
            "CR-7 ##{Password}",
        ),
        ("Octopus.Release.Previous.Id", "release 0.9.5"),
        ("Octopus.Release.Previous.Number", "0.9.5"),
        ("Octopus.Release.CurrentForEnvironment.Id", "release 0.9.0"),
        ("Octopus.Release.CurrentForEnvironment.Number", "0.9.0"),
        ("Octopus.Release.PreviousForEnvironment.Number", "0.8.0"),
        ("Octopus.Deployment.Name", "Deploy shop 0.0.1 to test"),
        ("Octopus.Deployment.Created", "2026-11-24T10:00:00Z"),
        ("Octopus.Deployment.CreatedBy.Username", "ci"),
        ("Octopus.Deployment.CreatedBy.DisplayName", "ci"),
        ("Octopus.Deployment.Machines", "web01,web02"),
        ("Octopus.Deployment.PreviousSuccessful.Id", "t-1"),
        ("Octopus.Deployment.Status", "Failed"),
        // What an agent said is data.
        (
            "Octopus.Deployment.Error",
            "'Install' failed on web01: no ##{Password}",
        ),
        (
            "Octopus.Deployment.ErrorDetail",
            "'Install' failed on web01: no ##{Password}\n'Tell' failed",
        ),
        ("Octopus.Deployment.SpecificMachines", "web01,web02"),
        ("Octopus.Deployment.ExcludedMachines", "web03"),
        // What was written about a release is data.
        (
            "Octopus.Deployment.Changes",
            r#"[{"Version":"0.0.1","ReleaseNotes":"All new"},{"Version":"0.9.7","ReleaseNotes":"Says ##{Password}"}]"#,
        ),
        (
            "Octopus.Deployment.ChangesMarkdown",
            "## 0.0.1\n\nAll new\n\n## 0.9.7\n\nSays ##{Password}\n",
        ),
        ("Octopus.Task.QueueTimeExpiry", "2026-11-24T12:00:00Z"),
        ("Octopus.Action.IsSkipped", "False"),
        ("Octopus.Action[Install].IsSkipped", "False"),
        ("Octopus.Task.Id", "T-12"),
        ("Octopus.Task.QueueTime", "2026-11-24T10:00:00Z"),
        ("Octopus.Project.Id", "p-1"),
        ("Octopus.Project.Slug", "shop"),
        ("Octopus.Environment.Id", "e-1"),
        ("Octopus.Environment.Name", "test"),
        ("Octopus.Environment.SortOrder", "2"),
        ("Octopus.Environment.MachinesInRole[web]", "web01,web02"),
        ("Octopus.Environment.MachinesInRole[linux]", "web01"),
        ("Octopus.Machine.Name", "web01"),
        ("Octopus.Machine.Roles", "linux,web"),
        ("Octopus.Machine.Hostname", "web01.example"),
        ("Octopus.Step.Name", "Farm"),
        ("Octopus.Step.Number", "1"),
        ("Octopus.Action.Name", "Install"),
        ("Octopus.Action.Number", "1.1"),
        ("Octopus.Action.TargetRoles", "web"),
        ("Octopus.Action.Package.PackageId", "Web"),
        ("Octopus.Action.Package[Web].PackageVersion", "1.2.3"),
        ("Octopus.Action[Install].Package.PackageVersion", "1.2.3"),
    ] {
        assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn what_there_is_not_has_no_variable() {
    let first = PlanFacts {
        release_before: None,
        current: None,
        previous: None,
        succeeded: None,
        comment: String::new(),
        ..some_facts()
    };
    let found = variables(&a_plan(first), false);
    for name in [
        "Octopus.Deployment.Comments",
        "Octopus.Deployment.Error",
        "Octopus.Deployment.PreviousSuccessful.Id",
        "Octopus.Release.Previous.Number",
        "Octopus.Release.CurrentForEnvironment.Number",
        "Octopus.Release.PreviousForEnvironment.Number",
    ] {
        assert!(!found.contains_key(name), "{name}");
    }
    assert!(found.contains_key("Octopus.Release.Id"));
    // A plan from before there were facts gives what it always gave.
    let old = variables(&a_plan(PlanFacts::default()), false);
    assert!(!old.contains_key("Octopus.Release.Id"));
    assert!(old.contains_key("Octopus.Release.Number"));
}

#[test]
fn a_plan_without_facts_is_read_and_written_as_before() {
    let plan = a_plan(PlanFacts::default());
    let text = serde_json::to_string(&plan).unwrap();
    assert!(!text.contains("facts"));
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

//! Variables, variable sets, prompts, and applying what it takes: as an operator meets them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use mantle_domain::file::Known;

use super::Error;
use super::testing::{House, INFRASTRUCTURE, PROJECT, a_house, a_reader};
use crate::api::body::{
    Answers, ApplyFile, ApplyRequest, ApplyResult, ChangeKind, DeploymentCreate, ReleaseCreate,
    SecretSet, VariableExplanation, VariablePlace, VariablePut, VariableRemove, VariableScope,
};
use crate::store::{Extent, secret_list, snapshot_fetch, task_find};

#[path = "variable_view_tests.rs"]
mod views;

const SET: &str = "\
mantle: v1
variable_set: mail
variables:
  Smtp.Host: { secret: mail/host }
  Sender: \"shop@#{Domain}\"
  Domain:
    - { value: test.example, environment: test }
    - { value: example, environment: production }
";

/// Without steps it can be deployed where there is nothing.
const ASKING: &str = "\
mantle: v1
project: asking
variables:
  Ticket: { prompt: { label: Change ticket, required: true } }
  Pin: { prompt: { control: sensitive, required: true } }
  Mode: { prompt: { control: select, options: [fast, slow], default: slow } }
";

fn files(texts: &[(&str, &str)]) -> Vec<ApplyFile> {
    texts
        .iter()
        .map(|(name, text)| ApplyFile {
            name: (*name).to_owned(),
            text: (*text).to_owned(),
        })
        .collect()
}

impl House {
    async fn secret(&self, path: &str, value: &str) {
        let body = SecretSet {
            value: value.to_owned(),
        };
        let set = self.services.secret_set(&self.admin, path, body);
        set.await.unwrap();
    }

    async fn released(&self, project: &str, version: &str) {
        let request = ReleaseCreate {
            version: Some(version.to_owned()),
            ..ReleaseCreate::default()
        };
        let made = self.services.release_create(&self.admin, project, &request);
        made.await.unwrap();
    }

    async fn explained(
        &self,
        name: &str,
        environment: &str,
        release: Option<&str>,
    ) -> VariableExplanation {
        let place = VariablePlace {
            environment: Some(environment.to_owned()),
            release: release.map(str::to_owned),
            ..VariablePlace::default()
        };
        let found = self
            .services
            .variable_explain(&self.admin, "shop", name, &place);
        found.await.unwrap()
    }

    async fn pruned(&self, texts: &[(&str, &str)], dry_run: bool) -> ApplyResult {
        let request = ApplyRequest {
            files: files(texts),
            dry_run,
            prune: true,
            ..ApplyRequest::default()
        };
        self.services.apply(&self.admin, &request).await.unwrap()
    }
}

fn with_set() -> String {
    PROJECT.replace("description: A shop\n", "include: mail\n")
}

fn deployment(project: &str, environment: &str, given: &[(&str, &str)]) -> DeploymentCreate {
    let given = given
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    DeploymentCreate {
        project: project.to_owned(),
        version: Some("1.0.0".to_owned()),
        environment: environment.to_owned(),
        variables: Answers::new(given.collect()),
        ..DeploymentCreate::default()
    }
}

#[tokio::test]
async fn a_release_keeps_the_values_of_its_sets_whatever_becomes_of_them() {
    let house = a_house().await;
    house.secret("mail/host", "smtp-1").await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(SET, false).await.unwrap();
    house.apply(&with_set(), false).await.unwrap();
    house.released("shop", "1.0.0").await;
    let before = house.explained("Sender", "test", Some("1.0.0")).await;
    let winner = before.winner.unwrap();
    assert_eq!(winner.evaluated.as_deref(), Some("shop@test.example"));
    assert_eq!(winner.set.as_deref(), Some("mail"));
    let digest = |shown: crate::api::body::ReleaseDetail| shown.variables_digest;
    let show = async || {
        let shown = house.services.release_show(&house.admin, "shop", "1.0.0");
        digest(shown.await.unwrap())
    };
    let pinned = show().await;

    let changed = SET.replace("test.example", "changed.example");
    let diff = house.apply(&changed, false).await.unwrap().changes;
    assert_eq!(diff[0].kind, "variable set");
    assert_eq!(
        diff[0].diff,
        ["~ variable Domain (environment test): test.example -> changed.example"]
    );
    house.secret("mail/host", "smtp-2").await;
    assert_eq!(show().await, pinned);
    let released = house.explained("Domain", "test", Some("1.0.0")).await;
    let now = house.explained("Domain", "test", None).await;
    let text = |found: VariableExplanation| found.winner.unwrap().value.value.unwrap();
    assert_eq!(text(released), "test.example");
    assert_eq!(text(now), "changed.example");
    // Of the secret only marks are shown, and they tell the two values apart.
    let old = house.explained("Smtp.Host", "test", Some("1.0.0")).await;
    let new = house.explained("Smtp.Host", "test", None).await;
    let shown = serde_json::to_string(&(&old, &new)).unwrap();
    assert!(!shown.contains("smtp-"), "{shown}");
    let mark = |found: VariableExplanation| found.winner.unwrap().value.mark.unwrap();
    assert_ne!(mark(old), mark(new));
}

#[tokio::test]
async fn a_set_that_would_break_a_project_is_refused_and_changes_nothing() {
    let house = a_house().await;
    house.secret("mail/host", "x").await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(SET, false).await.unwrap();
    let both = PROJECT.replace("description: A shop\n", "include: [mail, other]\n");
    let other = "mantle: v1\nvariable_set: other\nvariables: { A: b }\n";
    house.apply(other, false).await.unwrap();
    house.apply(&both, false).await.unwrap();
    let tie = other.replace("A: b", "Sender: pus");
    let error = house.apply(&tie, false).await.unwrap_err();
    let said = error.to_string();
    for part in ["a.yaml:3:22", "'Sender'", "'shop'", "variable set 'mail'"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let sets = house
        .services
        .variable_set_list(&house.admin)
        .await
        .unwrap();
    let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(names, ["mail", "other"]);
    assert_eq!(sets[0].projects, ["shop"]);
    let shown = house.services.variable_set_show(&house.admin, "mial").await;
    assert_eq!(
        shown.unwrap_err().to_string(),
        "there is no variable set 'mial'; did you mean 'mail'?"
    );
}

#[tokio::test]
async fn what_is_exported_applies_without_a_change_with_sets_and_prompts() {
    let house = a_house().await;
    house.secret("mail/host", "x").await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(SET, false).await.unwrap();
    house.apply(&with_set(), false).await.unwrap();
    house.apply(ASKING, false).await.unwrap();
    let export = house.services.export(&house.admin, None).await.unwrap();
    let names: Vec<&str> = export.files.iter().map(|file| file.name.as_str()).collect();
    let expected = [
        "infrastructure.yaml",
        "variable-sets.yaml",
        "asking.yaml",
        "shop.yaml",
    ];
    assert_eq!(names, expected);
    let request = ApplyRequest {
        files: export.files,
        prune: true,
        ..ApplyRequest::default()
    };
    let again = house.services.apply(&house.admin, &request).await.unwrap();
    assert!(again.changes.is_empty(), "{:?}", again.changes);
}

#[tokio::test]
async fn a_variable_is_set_and_unset_like_a_change_of_the_file() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(PROJECT, false).await.unwrap();
    let (services, admin) = (&house.services, &house.admin);
    let put = |value: &str, environment: &str| VariablePut {
        value: Some(value.to_owned()),
        secret: None,
        scope: VariableScope {
            environments: vec![environment.to_owned()],
            ..VariableScope::default()
        },
        dry_run: false,
    };
    let done = services
        .variable_put(admin, "shop", "port", &put("9090", "test"))
        .await
        .unwrap();
    assert_eq!(
        done.changes[0].diff,
        ["+ variable Port (environment test): 9090"]
    );
    let again = services
        .variable_put(admin, "shop", "Port", &put("9090", "test"))
        .await
        .unwrap();
    assert!(again.changes.is_empty() && !again.applied);
    let wrong = services
        .variable_put(admin, "shop", "Port", &put("1", "tset"))
        .await
        .unwrap_err();
    let said = format!("{wrong:?}");
    assert!(said.contains("'tset'") && said.contains("'test'"), "{said}");
    let reader = services
        .variable_put(&a_reader(), "shop", "Port", &put("1", "test"))
        .await;
    assert!(matches!(reader, Err(Error::Forbidden { .. })));

    let place = VariablePlace {
        environment: Some("test".to_owned()),
        ..VariablePlace::default()
    };
    let listed = services.variable_list(admin, "shop", &place).await.unwrap();
    assert_eq!(listed[0].value.value.as_deref(), Some("9090"));
    let everything = VariablePlace::default();
    let all = services.variable_list(admin, "shop", &everything).await;
    assert_eq!(all.unwrap().len(), 2);

    let scoped = VariableRemove {
        scope: put("", "production").scope,
        ..VariableRemove::default()
    };
    let missing = services
        .variable_remove(admin, "shop", "Port", &scoped)
        .await
        .unwrap_err();
    assert_eq!(
        missing.to_string(),
        "variable 'Port' has no value for environment production"
    );
    let all = VariableRemove {
        all: true,
        ..VariableRemove::default()
    };
    let gone = services.variable_remove(admin, "shop", "Port", &all).await;
    assert_eq!(
        gone.unwrap().changes[0].diff,
        [
            "- variable Port: 8080",
            "- variable Port (environment test): 9090"
        ]
    );
    let trail = services.audit_list(admin, None, 100).await.unwrap();
    let updates = trail
        .items
        .iter()
        .filter(|row| row.action == "apply.update");
    assert_eq!(updates.count(), 2);
}

#[tokio::test]
async fn a_deployment_asks_and_keeps_what_was_answered_without_the_secret() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(ASKING, false).await.unwrap();
    house.released("asking", "1.0.0").await;
    let (services, admin) = (&house.services, &house.admin);
    let missing = services
        .deploy(admin, &deployment("asking", "test", &[]))
        .await
        .unwrap_err();
    assert_eq!(
        missing.to_string(),
        "this deployment asks for Ticket (Change ticket) and Pin, which no value was given for"
    );
    let plan = services
        .deployment_plan(admin, &deployment("asking", "test", &[("Ticket", "1")]))
        .await
        .unwrap_err();
    assert!(
        matches!(
            plan,
            Error::Refused {
                code: "prompts-unanswered",
                ..
            }
        ),
        "{plan:?}"
    );

    let given = [("change ticket", "CR-1"), ("Pin", "do-not-print")];
    let request = deployment("asking", "test", &given);
    assert!(!format!("{request:?}").contains("do-not-print"));
    let planned = services.deployment_plan(admin, &request).await.unwrap();
    let asked = planned.prompts.iter();
    let asked: Vec<(&str, &str, bool)> = asked
        .map(|one| (one.variable.as_str(), one.control.as_str(), one.answered))
        .collect();
    assert_eq!(
        asked,
        [
            ("Ticket", "text", true),
            ("Mode", "select", false),
            ("Pin", "sensitive", true)
        ]
    );
    let task = services.deploy(admin, &request).await.unwrap();
    let mut tx = services.store.read().await.unwrap();
    let number = super::names::task_number(&task.number).unwrap();
    let row = task_find(&mut tx, number).await.unwrap().unwrap();
    assert!(row.body.contains("CR-1") && !row.body.contains("do-not-print"));
    let order: super::DeploymentOrder = serde_json::from_str(&row.body).unwrap();
    assert_eq!(
        order.answers,
        BTreeMap::from([
            ("Ticket".to_owned(), Some("CR-1".to_owned())),
            ("Pin".to_owned(), None)
        ])
    );
    let digest = order.variables.unwrap();
    let snapshot = snapshot_fetch(&mut tx, digest).await.unwrap();
    let snapshot = String::from_utf8(snapshot).unwrap();
    assert!(
        snapshot.contains("CR-1") && snapshot.contains("\"slow\""),
        "{snapshot}"
    );
    assert!(snapshot.contains("secret_version") && !snapshot.contains("do-not-print"));
    // The answer is in no list of secrets, and the release asks as before.
    assert!(
        secret_list(&mut tx, "", Extent::First(10))
            .await
            .unwrap()
            .is_empty()
    );
    drop(tx);
    let shown = services
        .release_show(admin, "asking", "1.0.0")
        .await
        .unwrap();
    assert_ne!(shown.variables_digest, digest.to_string());
    let trail = services.audit_list(admin, None, 100).await.unwrap();
    let text = serde_json::to_string(&trail).unwrap();
    assert!(text.contains("CR-1") && text.contains("(secret)"));
    assert!(!text.contains("do-not-print"));
}

#[tokio::test]
async fn pruning_removes_what_nothing_uses_and_says_why_the_rest_stays() {
    let house = a_house().await;
    house.secret("mail/host", "x").await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(SET, false).await.unwrap();
    house.apply(&with_set(), false).await.unwrap();
    house.released("shop", "1.0.0").await;
    let spare = "\
mantle: v1
environments: [{ name: spare }]
lifecycles: [{ name: spare, phases: [{ name: Spare, environments: [spare] }] }]
targets: [{ name: spare01, environments: [spare] }]
---
mantle: v1
variable_set: inner
---
mantle: v1
variable_set: outer
include: inner
---
mantle: v1
project: spare
lifecycle: spare
";
    house.apply(spare, false).await.unwrap();
    let kept = [("i.yaml", INFRASTRUCTURE)];
    let shown = house.pruned(&kept, true).await;
    let names = |result: &ApplyResult| -> Vec<String> {
        let changes = result.changes.iter();
        let removed = changes.inspect(|one| assert_eq!(one.change, ChangeKind::Remove));
        removed
            .map(|one| format!("{} {}", one.kind, one.name))
            .collect()
    };
    let expected = [
        "project spare",
        "variable set outer",
        "variable set inner",
        "target spare01",
        "lifecycle spare",
        "environment spare",
    ];
    assert_eq!(names(&shown), expected);
    assert_eq!(
        shown.warnings,
        [
            "project 'shop' stands in no file and is not removed: it has releases",
            "variable set 'mail' stands in no file and is not removed: project 'shop' includes it",
        ]
    );
    // A dry run removed nothing; the real one does what was shown.
    let done = house.pruned(&kept, false).await;
    assert!(done.applied);
    assert_eq!(done.digest, shown.digest);
    assert!(house.pruned(&kept, false).await.changes.is_empty());
    let projects = house.services.project_list(&house.admin).await.unwrap();
    assert_eq!(projects.len(), 1);
}

#[tokio::test]
async fn what_is_applied_is_what_was_shown() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    let shown = house.apply(PROJECT, true).await.unwrap();
    // Somebody else is faster.
    let other = PROJECT.replace("8080", "1");
    house.apply(&other, false).await.unwrap();
    let mut request = ApplyRequest {
        files: files(&[("a.yaml", PROJECT)]),
        expect: Some(shown.digest),
        ..ApplyRequest::default()
    };
    let refused = house.services.apply(&house.admin, &request).await;
    assert!(matches!(
        refused,
        Err(Error::Refused {
            code: "changed-meanwhile",
            ..
        })
    ));
    let again = house.apply(PROJECT, true).await.unwrap();
    request.expect = Some(again.digest);
    assert!(
        house
            .services
            .apply(&house.admin, &request)
            .await
            .unwrap()
            .applied
    );
}

#[tokio::test]
async fn a_renamed_step_or_action_is_shown_as_such_and_what_names_the_old_one_is_warned_of() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    let short = PROJECT.replace("8080", "#{Octopus.Action[Say hello].Output.Port}");
    let long = "\
mantle: v1
project: inside
variables: { Port: '#{Octopus.Action[Say hello].Output.Port}' }
process:
  - step: Outer
    actions: [{ action: Say hello, uses: script, with: { run: x } }]
";
    for (using, kind, project) in [(short.as_str(), "step", "shop"), (long, "action", "inside")] {
        house.apply(using, false).await.unwrap();
        let renamed = using.replace(&format!("{kind}: Say hello"), &format!("{kind}: Greet"));
        let done = house.apply(&renamed, false).await.unwrap();
        assert_eq!(
            done.changes[0].diff,
            [format!("~ {kind} 'Say hello': renamed to 'Greet'")]
        );
        assert!(
            done.warnings.contains(&format!(
                "project '{project}' still uses 'Octopus.Action[Say hello]', and that {kind} is 'Greet' now"
            )),
            "{:?}",
            done.warnings
        );
    }
}

#[tokio::test]
async fn two_applies_at_once_are_one_after_the_other() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(PROJECT, false).await.unwrap();
    let texts: Vec<String> = (1..=8)
        .map(|number| PROJECT.replace("8080", &format!("{number}000")))
        .collect();
    let applied = futures_util::future::join_all(texts.iter().map(|text| house.apply(text, false)));
    let mut lines = Vec::new();
    for result in applied.await {
        let result = result.unwrap();
        assert!(result.applied);
        lines.extend(result.changes.into_iter().flat_map(|change| change.diff));
    }
    // Each saw what another had left, so the differences are one chain from the first value.
    let mut at = "8080".to_owned();
    for _ in 0..lines.len() {
        let from = format!("~ variable Port: {at} -> ");
        let next = lines.iter().find_map(|line| line.strip_prefix(&from));
        at = next.unwrap_or_else(|| panic!("{at}: {lines:?}")).to_owned();
    }
    let now = house.explained("Port", "test", None).await;
    assert_eq!(now.winner.unwrap().value.value, Some(at));
    let verified = house.services.audit_verify(&house.admin).await.unwrap();
    assert!(verified.intact);
}

#[tokio::test]
async fn the_same_file_is_judged_the_same_with_and_without_a_server() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    let wrong = PROJECT.replace("uses: script", "uses: scrpt");
    let online = house.apply(&wrong, false).await.unwrap_err().to_string();
    let source = mantle_domain::file::Source {
        name: "a.yaml",
        text: &wrong,
    };
    let offline = mantle_domain::file::parse(&[source], &Known::default()).unwrap_err();
    assert!(offline[0].to_string().starts_with(&online), "{online}");
}

/// Many looks into a large value, each by itself: all the work that may be.
const COSTLY: &str = "#{each x in L}#{J[#{x}]}#{/each}";

#[tokio::test]
async fn a_costly_explanation_holds_up_nobody_who_reads() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    let list: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    let wide: Vec<String> = (0..600).map(|n| format!("\"{n}\": 1")).collect();
    let project = format!(
        "mantle: v1\nproject: shop\nvariables:\n  L: \"{}\"\n  J: '{{{}}}'\n  V: \"{COSTLY}\"\n",
        list.join(","),
        wide.join(",")
    );
    house.apply(&project, false).await.unwrap();
    let (services, admin) = (house.services.clone(), house.admin.clone());
    let explained = tokio::spawn(async move {
        let at = VariablePlace::default();
        services.variable_explain(&admin, "shop", "V", &at).await
    });
    // One thread serves here. It sees the explanation in the midst of its work, and serves meanwhile,
    // only if that is done elsewhere.
    let served_meanwhile = async {
        while !explained.is_finished() {
            house.services.environment_list(&house.admin).await.unwrap();
            if house.services.evaluations.looking.busy() == 1 {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    };
    let soon = std::time::Duration::from_mins(1);
    assert!(tokio::time::timeout(soon, served_meanwhile).await.unwrap());
    let explained = explained.await.unwrap().unwrap();
    let winner = explained.winner.unwrap();
    assert_eq!(winner.evaluated, None, "it takes more work than it may");
}

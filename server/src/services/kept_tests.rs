//! What is kept as it is: names from before their rule, what was said about a deployment, scopes of
//! kinds that nothing asks about yet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use mantle_domain::environment::EnvironmentDefinition;
use mantle_domain::ids::{EnvironmentId, TargetId};

use super::testing::{House, INFRASTRUCTURE, PROJECT, a_house};
use super::{Error, mint};
use crate::api::body::{
    Answers, ApplyRequest, ApplyResult, DeploymentCreate, ReleaseCreate, VariablePut,
    VariableRemove, VariableScope,
};
use crate::store::{
    EnvironmentRow, TargetRow, environment_insert, project_find, project_update, target_insert,
};

/// A server from before the rule: an environment, a target, a tag of it, and a tag that only a
/// project names, all of which the rule refuses.
async fn an_old_house() -> House {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    let project = PROJECT.replace("tag: web", "tag: later");
    house.apply(&project, false).await.unwrap();
    let mut tx = house.services.store.begin().await.unwrap();
    let definition = EnvironmentDefinition {
        name: "pre,prod".to_owned(),
        description: None,
        guided_failure: false,
        timeout_ms: None,
        priority: mantle_domain::queue::Priority::Normal,
    };
    let environment = EnvironmentRow {
        id: EnvironmentId::from_uuid(mint()),
        name: definition.name.clone(),
        position: 3,
        body: serde_json::to_string(&definition).unwrap(),
        revision: 1,
        changed_at_us: 1,
    };
    environment_insert(&mut tx, &environment).await.unwrap();
    let target = TargetRow {
        id: TargetId::from_uuid(mint()),
        name: "old/box".to_owned(),
        disabled: false,
        maintenance: None,
        created_at_us: 1,
        tags: vec!["a@b".to_owned()],
        environments: vec![environment.id],
    };
    target_insert(&mut tx, &target).await.unwrap();
    let mut row = project_find(&mut tx, "shop").await.unwrap().unwrap();
    assert!(row.body.contains("\"later\""));
    row.body = row.body.replace("\"later\"", "\"c+d\"");
    row.revision += 1;
    project_update(&mut tx, &row).await.unwrap();
    tx.commit().await.unwrap();
    house
}

async fn applied(house: &House, request: &ApplyRequest) -> super::Result<ApplyResult> {
    house.services.apply(&house.admin, request).await
}

#[tokio::test]
async fn what_was_named_before_the_rule_is_exported_and_applied_with_a_warning() {
    let house = an_old_house().await;
    let export = house.services.export(&house.admin, None).await.unwrap();
    let request = ApplyRequest {
        files: export.files,
        prune: true,
        ..ApplyRequest::default()
    };
    let done = applied(&house, &request).await.unwrap();
    assert!(done.changes.is_empty(), "{:?}", done.changes);
    for name in ["pre,prod", "old/box", "a@b", "c+d"] {
        let said = format!("'{name}' cannot be the name of");
        let warned = done.warnings.iter().find(|line| line.contains(&said));
        let warned = warned.unwrap_or_else(|| panic!("{name}: {:?}", done.warnings));
        assert!(warned.contains("any more; it is kept"), "{warned}");
    }
    // It can be changed under its name.
    let mut changed = request.clone();
    for file in &mut changed.files {
        file.text = file.text.replace("a@b", "a-b");
    }
    let done = applied(&house, &changed).await.unwrap();
    assert_eq!(done.changes.len(), 1, "{:?}", done.changes);
}

#[tokio::test]
async fn a_new_name_obeys_the_rule_also_beside_old_ones() {
    let house = an_old_house().await;
    for (text, name) in [
        ("targets: [{ name: new/box }]\n", "new/box"),
        ("environments: [{ name: \"x,y\" }]\n", "x,y"),
        ("targets: [{ name: web02, tags: [\"e@f\"] }]\n", "e@f"),
        // A tag is no target: a name is old for its kind alone.
        ("targets: [{ name: \"a@b\" }]\n", "a@b"),
        (
            "targets: [{ name: old/box }, { name: older/box }]\n",
            "older/box",
        ),
    ] {
        let text = format!("mantle: v1\n{text}");
        let error = house.apply(&text, false).await.unwrap_err();
        let said = format!("{error:?}");
        assert!(
            said.contains(&format!("'{name}' cannot be the name of")),
            "{said}"
        );
    }
    let export = house.services.export(&house.admin, None).await.unwrap();
    let text = &export.files[0].text;
    assert!(!text.contains("new/box") && !text.contains("older/box"));
}

async fn released(house: &House, project: &str, fields: &[(&str, &str)]) {
    let fields = fields.iter();
    let request = ReleaseCreate {
        version: Some("1.0.0".to_owned()),
        fields: fields
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..ReleaseCreate::default()
    };
    let made = house
        .services
        .release_create(&house.admin, project, &request);
    made.await.unwrap();
}

const ASKING: &str = "\
mantle: v1
project: asking
variables:
  Ticket: { prompt: { label: Change ticket, required: true } }
  Mode: { prompt: { control: select, options: [fast, slow], default: slow } }
  Elsewhere: [{ prompt: { required: true }, environment: production }, { value: x }]
";

fn asking(given: &[(&str, &str)]) -> DeploymentCreate {
    let given = given
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    DeploymentCreate {
        project: "asking".to_owned(),
        version: Some("1.0.0".to_owned()),
        environment: "test".to_owned(),
        variables: Answers::new(given.collect()),
        ..DeploymentCreate::default()
    }
}

/// Sections 1.3 (deployment: comments) and 1.4 (custom fields, comments) of the reference.
#[tokio::test]
async fn what_is_said_about_a_deployment_is_kept_with_it() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(ASKING, false).await.unwrap();
    released(&house, "asking", &[("pr", "12")]).await;
    let (services, admin) = (&house.services, &house.admin);
    let request = DeploymentCreate {
        comment: "before the holidays".to_owned(),
        fields: [("ticket".to_owned(), "OPS-12".to_owned())].into(),
        ..asking(&[("Ticket", "CR-1")])
    };
    let task = services.deploy(admin, &request).await.unwrap();
    let shown = services.task_show(admin, &task.number).await.unwrap();
    assert_eq!(shown.comment, "before the holidays");
    assert_eq!(shown.fields["ticket"], "OPS-12");
    let trail = services.audit_list(admin, None, 50).await.unwrap();
    let row = trail
        .items
        .iter()
        .find(|row| row.action == "deployment.create");
    let detail = row.unwrap().detail.to_string();
    assert!(detail.contains("OPS-12") && detail.contains("before the holidays"));

    for (wrong, code) in [
        (
            DeploymentCreate {
                fields: (0..11).map(|n| (n.to_string(), String::new())).collect(),
                ..request.clone()
            },
            "bad-field",
        ),
        (
            DeploymentCreate {
                comment: "x".repeat(2001),
                ..request.clone()
            },
            "bad-comment",
        ),
    ] {
        for error in [
            services.deploy(admin, &wrong).await.unwrap_err(),
            services.deployment_plan(admin, &wrong).await.unwrap_err(),
        ] {
            assert!(
                matches!(error, Error::Invalid { code: found, .. } if found == code),
                "{error:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_plan_is_bound_to_what_was_given_with_it() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(ASKING, false).await.unwrap();
    released(&house, "asking", &[]).await;
    let (services, admin) = (&house.services, &house.admin);
    let request = DeploymentCreate {
        fields: [("ticket".to_owned(), "OPS-12".to_owned())].into(),
        ..asking(&[("Ticket", "CR-1")])
    };
    let plan = services.deployment_plan(admin, &request).await.unwrap();
    let bound = |request: DeploymentCreate| DeploymentCreate {
        plan: Some(plan.id.clone()),
        ..request
    };
    for (other, said) in [
        (
            asking(&[("Ticket", "CR-1")]),
            "field ticket is not given any more",
        ),
        (
            DeploymentCreate {
                fields: request.fields.clone(),
                ..asking(&[("Ticket", "CR-2")])
            },
            "the answer to 'Ticket' is another",
        ),
        (
            DeploymentCreate {
                comment: "now".to_owned(),
                ..request.clone()
            },
            "the comment is given now",
        ),
    ] {
        let error = services.deploy(admin, &bound(other)).await.unwrap_err();
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
    // By its label it is the same answer.
    let same = DeploymentCreate {
        fields: request.fields.clone(),
        ..asking(&[("change ticket", "CR-1")])
    };
    services.deploy(admin, &bound(same)).await.unwrap();
}

#[tokio::test]
async fn what_is_not_answered_yet_is_listed_and_what_is_wrong_is_refused_at_once() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(ASKING, false).await.unwrap();
    released(&house, "asking", &[]).await;
    let (services, admin) = (&house.services, &house.admin);
    let open = async |given: &[(&str, &str)]| {
        let asked = services.deployment_prompts(admin, &asking(given)).await?;
        let asked = asked.into_iter();
        Ok::<_, Error>(
            asked
                .map(|one| (one.variable, one.answered))
                .collect::<Vec<_>>(),
        )
    };
    let names = |all: &[(&str, bool)]| -> Vec<(String, bool)> {
        let all = all.iter();
        all.map(|(name, answered)| ((*name).to_owned(), *answered))
            .collect()
    };
    assert_eq!(
        open(&[]).await.unwrap(),
        names(&[("Ticket", false), ("Mode", false)])
    );
    assert_eq!(
        open(&[("change ticket", "CR-1")]).await.unwrap(),
        names(&[("Ticket", true), ("Mode", false)])
    );
    for wrong in [[("Mode", "fats")], [("Nothing", "x")]] {
        let error = open(&wrong).await.unwrap_err();
        assert!(error.to_string().contains(wrong[0].0), "{error}");
    }
    // The lifecycle forbids it: nobody is asked in vain.
    house
        .apply(
            &ASKING.replace("variables:", "lifecycle: standard\nvariables:"),
            false,
        )
        .await
        .unwrap();
    let early = DeploymentCreate {
        environment: "production".to_owned(),
        ..asking(&[])
    };
    let error = services
        .deployment_prompts(admin, &early)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
}

/// Section 1.4 of the reference, scopes: process and tenant tags are stored.
#[tokio::test]
async fn values_are_set_for_processes_and_tenant_tags() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(PROJECT, false).await.unwrap();
    let (services, admin) = (&house.services, &house.admin);
    let put = |value: &str, scope: &VariableScope| VariablePut {
        value: Some(value.to_owned()),
        secret: None,
        scope: scope.clone(),
        dry_run: false,
    };
    let process = VariableScope {
        processes: vec!["deployment".to_owned()],
        ..VariableScope::default()
    };
    let tenants = VariableScope {
        tenant_tags: vec!["Region/North".to_owned()],
        ..VariableScope::default()
    };
    for (value, scope, expected) in [
        ("1", &process, "+ variable Port (process deployment): 1"),
        (
            "2",
            &tenants,
            "+ variable Port (tenant tag Region/North): 2",
        ),
    ] {
        let body = put(value, scope);
        let done = services.variable_put(admin, "shop", "Port", &body).await;
        assert_eq!(done.unwrap().changes[0].diff, [expected]);
    }
    let exported = services.export(admin, Some("shop")).await.unwrap();
    let text = &exported.files[0].text;
    assert!(
        text.contains("process: deployment") && text.contains("Region/North"),
        "{text}"
    );
    let wrong = VariableScope {
        processes: vec!["runbook".to_owned()],
        ..VariableScope::default()
    };
    let body = put("1", &wrong);
    let error = services.variable_put(admin, "shop", "Port", &body).await;
    let said = format!("{:?}", error.unwrap_err());
    assert!(
        said.contains("'runbook'") && said.contains("deployment"),
        "{said}"
    );
    let remove = VariableRemove {
        scope: tenants,
        ..VariableRemove::default()
    };
    let done = services.variable_remove(admin, "shop", "Port", &remove);
    assert_eq!(
        done.await.unwrap().changes[0].diff,
        ["- variable Port (tenant tag Region/North): 2"]
    );
}

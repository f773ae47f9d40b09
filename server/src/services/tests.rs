//! The use cases as an operator meets them: what is refused, in which words, and that a refusal
//! changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::testing::{INFRASTRUCTURE, PROJECT, a_house, a_reader};
use super::{Error, TargetSwitch};
use crate::api::body::{
    ApiKeyCreate, ChangeKind, DeploymentCreate, JoinTokenCreate, ReleaseCreate, SecretSet,
    TargetTags,
};

fn deployment(project: &str, version: &str, environment: &str) -> DeploymentCreate {
    DeploymentCreate {
        project: project.to_owned(),
        version: Some(version.to_owned()),
        environment: environment.to_owned(),
        ..DeploymentCreate::default()
    }
}

#[tokio::test]
async fn a_dry_run_says_what_applying_changes_and_applying_twice_changes_nothing() {
    let house = a_house().await;
    let dry = house.apply(INFRASTRUCTURE, true).await.unwrap();
    assert!(!dry.applied);
    assert_eq!(dry.changes.len(), 4);
    assert!(dry.changes.iter().all(|c| c.change == ChangeKind::Create));
    let nothing = house.services.environment_list(&house.admin).await.unwrap();
    assert!(nothing.is_empty(), "a dry run applied something");

    let applied = house.apply(INFRASTRUCTURE, false).await.unwrap();
    assert!(applied.applied);
    let again = house.apply(INFRASTRUCTURE, false).await.unwrap();
    assert!(again.changes.is_empty() && !again.applied);
}

#[tokio::test]
async fn what_is_exported_applies_without_a_change() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(PROJECT, false).await.unwrap();
    let export = house.services.export(&house.admin, None).await.unwrap();
    assert_eq!(export.files.len(), 2);
    for file in export.files {
        let again = house.apply(&file.text, false).await.unwrap();
        assert!(
            again.changes.is_empty(),
            "{}: {:?}",
            file.name,
            again.changes
        );
    }
}

#[tokio::test]
async fn a_wrong_file_applies_nothing_and_names_its_place() {
    let house = a_house().await;
    let text = INFRASTRUCTURE.replace("  - name: production", "  - nam: production");
    let error = house.apply(&text, false).await.unwrap_err();
    let said = format!("{error:?}");
    assert!(said.contains("a.yaml:4:") && said.contains("nam"), "{said}");
    let known = house.services.environment_list(&house.admin).await.unwrap();
    assert!(known.is_empty(), "half of the file was applied");
}

#[tokio::test]
async fn unknown_names_are_answered_with_the_nearest() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(PROJECT, false).await.unwrap();
    let request = ReleaseCreate {
        version: Some("1.0.0".to_owned()),
        ..ReleaseCreate::default()
    };
    let (services, admin) = (&house.services, &house.admin);
    services
        .release_create(admin, "shop", &request)
        .await
        .unwrap();
    for (request, wrong, right) in [
        (deployment("shp", "1.0.0", "test"), "shp", "shop"),
        (deployment("shop", "1.0.1", "test"), "1.0.1", "1.0.0"),
        (deployment("shop", "1.0.0", "tset"), "tset", "test"),
    ] {
        let error = services.deploy(admin, &request).await.unwrap_err();
        // What happened, and what to type next.
        let text = format!("{error:?}");
        assert!(text.contains(wrong) && text.contains(right), "{text}");
    }
    // A release of another line is not what was meant.
    let far = deployment("shop", "7.0.0", "test");
    let text = format!("{:?}", services.deploy(admin, &far).await.unwrap_err());
    assert!(text.contains("7.0.0") && !text.contains("1.0.0"), "{text}");
}

#[tokio::test]
async fn a_deployment_that_the_rules_forbid_queues_nothing() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(PROJECT, false).await.unwrap();
    let (services, admin) = (&house.services, &house.admin);
    let request = ReleaseCreate {
        version: Some("1.0.0".to_owned()),
        ..ReleaseCreate::default()
    };
    services
        .release_create(admin, "shop", &request)
        .await
        .unwrap();
    let early = services
        .deploy(admin, &deployment("shop", "1.0.0", "production"))
        .await;
    let Err(Error::Refused { code, .. }) = early else {
        panic!("{early:?}");
    };
    assert_eq!(code, "phase-not-reached");
    // web01 is expected but has not joined.
    let offline = services
        .deploy(admin, &deployment("shop", "1.0.0", "test"))
        .await;
    assert!(offline.is_err(), "{offline:?}");
    let tasks = services
        .task_list(admin, None, None, (None, 10))
        .await
        .unwrap();
    assert!(tasks.items.is_empty(), "{tasks:?}");
}

#[tokio::test]
async fn a_release_is_refused_twice_and_never_follows_the_project() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(PROJECT, false).await.unwrap();
    let (services, admin) = (&house.services, &house.admin);
    let request = ReleaseCreate {
        version: Some("1.0.0".to_owned()),
        ..ReleaseCreate::default()
    };
    let first = services
        .release_create(admin, "shop", &request)
        .await
        .unwrap();
    let again = services
        .release_create(admin, "shop", &request)
        .await
        .unwrap_err();
    assert!(matches!(again, Error::Exists { .. }), "{again:?}");
    let changed = PROJECT.replace("hello", "goodbye").replace("8080", "9090");
    house.apply(&changed, false).await.unwrap();
    let later = services.release_show(admin, "shop", "1.0.0").await.unwrap();
    assert_eq!(later.process_digest, first.process_digest);
    assert_eq!(later.variables_digest, first.variables_digest);
}

#[tokio::test]
async fn nothing_can_be_promoted_from_where_nothing_runs() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(PROJECT, false).await.unwrap();
    let request = DeploymentCreate {
        version: None,
        from: Some("test".to_owned()),
        ..deployment("shop", "", "production")
    };
    let error = house
        .services
        .deploy(&house.admin, &request)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "no release of shop runs in test");
    let to_itself = DeploymentCreate {
        version: None,
        from: Some("test".to_owned()),
        ..deployment("shop", "", "test")
    };
    let error = house.services.deploy(&house.admin, &to_itself).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "a release cannot be promoted from 'test' to 'test'"
    );
}

#[tokio::test]
async fn a_reader_changes_nothing() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    let reader = a_reader();
    let services = &house.services;
    assert!(services.target_list(&reader, None, None).await.is_ok());
    let secret = SecretSet {
        value: "x".to_owned(),
    };
    let key = ApiKeyCreate {
        name: "mine".to_owned(),
        team: None,
        expires_in_s: None,
    };
    let token = JoinTokenCreate::default();
    let refused = [
        services.secret_set(&reader, "a/b", secret).await.err(),
        services.api_key_create(&reader, &key).await.err(),
        services.join_token_create(&reader, &token).await.err(),
        services
            .target_switch(&reader, "web01", TargetSwitch::Disable)
            .await
            .err(),
        services.task_cancel(&reader, "T-1").await.err(),
        services.api_key_list(&reader).await.err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(Error::Forbidden { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn every_change_is_in_the_audit_trail_and_no_secret_is() {
    let house = a_house().await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    let (services, admin) = (&house.services, &house.admin);
    let secret = SecretSet {
        value: "do-not-print".to_owned(),
    };
    services
        .secret_set(admin, "shop/password", secret)
        .await
        .unwrap();
    let tags = TargetTags {
        add: vec!["blue".to_owned()],
        remove: vec!["web".to_owned()],
    };
    services.target_tag(admin, "web01", &tags).await.unwrap();
    services.key_and_token(admin).await;
    let trail = services.audit_list(admin, None, 100).await.unwrap();
    let actions: Vec<&str> = trail.items.iter().map(|row| row.action.as_str()).collect();
    for action in [
        "apply.create",
        "secret.set",
        "target.tag",
        "apikey.create",
        "apikey.revoke",
        "join-token.create",
        "join-token.revoke",
    ] {
        assert!(actions.contains(&action), "{action} is not in {actions:?}");
    }
    let text = serde_json::to_string(&trail).unwrap();
    assert!(!text.contains("do-not-print") && !text.contains("mj1.") && !text.contains("mtl_"));
    assert!(services.audit_verify(admin).await.unwrap().intact);
}

#[tokio::test]
async fn a_revoked_or_unknown_key_opens_nothing() {
    let house = a_house().await;
    let services = &house.services;
    let token = house.key("ci").await;
    assert_eq!(
        services.authenticate(Some(&token)).await.unwrap().name,
        "ci"
    );
    services
        .api_key_revoke(&house.admin, "ci", true)
        .await
        .unwrap();
    for wrong in [Some(token.as_str()), Some("mtl_nonsense"), Some(""), None] {
        let error = services.authenticate(wrong).await.unwrap_err();
        assert!(matches!(error, Error::Unauthenticated { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn the_last_key_of_an_administrator_is_revoked_by_force_alone() {
    let house = a_house().await;
    let services = &house.services;
    let (first, second) = (house.key("first").await, house.key("second").await);
    let revoke = |name, force| services.api_key_revoke(&house.admin, name, force);
    revoke("first", false).await.unwrap();
    let error = revoke("second", false).await.unwrap_err();
    let said = format!("{error:?}");
    assert!(said.contains("last-administrator"), "{said}");
    assert!(said.contains("admin.key"), "{said}");
    assert!(services.authenticate(Some(&second)).await.is_ok());
    revoke("second", true).await.unwrap();
    for token in [first, second] {
        assert!(services.authenticate(Some(&token)).await.is_err());
    }
}

impl super::Services {
    async fn key_and_token(&self, admin: &super::Caller) {
        let key = ApiKeyCreate {
            name: "ci".to_owned(),
            team: None,
            expires_in_s: Some(60),
        };
        self.api_key_create(admin, &key).await.unwrap();
        self.api_key_revoke(admin, "ci", true).await.unwrap();
        let token = self
            .join_token_create(admin, &JoinTokenCreate::default())
            .await
            .unwrap();
        assert!(!token.command.contains("--name"), "{}", token.command);
        let id = token.join_token.id.to_string();
        self.join_token_revoke(admin, &id).await.unwrap();
        // What is shown can be typed as it stands: a machine has a name of its own.
        let named = JoinTokenCreate {
            name: Some("web01".to_owned()),
            ..JoinTokenCreate::default()
        };
        let token = self.join_token_create(admin, &named).await.unwrap();
        assert!(
            token.command.ends_with(" --name web01"),
            "{}",
            token.command
        );
    }
}

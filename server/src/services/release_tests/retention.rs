//! What goes, and what stays.

use super::*;
use crate::services::answered::Going;
use crate::store::{project_find, testing};

#[tokio::test]
async fn retention_removes_what_no_rule_keeps_and_nothing_that_is_in_use() {
    // Reference section 1.5, retention on the server.
    let infrastructure =
        INFRASTRUCTURE.replace("    phases:", "    retention: { releases: 1 }\n    phases:");
    let house = a_shop(&infrastructure, PROJECT).await;
    let (services, admin) = (&house.services, &house.admin);
    for version in ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"] {
        released(&house, version).await;
    }
    let gone = deployed(&house, "1.0", "test", TaskOutcome::Succeeded).await;
    let line = Record {
        at_us: 1,
        body: RecordBody::Line {
            stream: Stream::Agent,
            level: Level::Info,
            text: "it went well".to_owned(),
        },
    };
    services
        .store
        .write_logs(async |tx| log_append_server(tx, gone.task, std::slice::from_ref(&line)).await)
        .await
        .unwrap();
    for version in ["1.1", "1.2"] {
        deployed(&house, version, "test", TaskOutcome::Succeeded).await;
    }
    deployed(&house, "1.4", "test", TaskOutcome::Failed).await;
    let dry = services.retention_run(admin, true).await.unwrap();
    let goes = |result: &crate::api::body::RetentionResult| -> Vec<String> {
        let going = result.items.iter().filter(|item| item.goes);
        going.map(|item| item.name.clone()).collect()
    };
    // 1.2 runs, 1.1 ran before, 1.4 was tried last, 1.5 is the newest that was never anywhere.
    assert_eq!(goes(&dry), ["shop 1.3", "shop 1.0"], "{dry:#?}");
    assert_eq!(services.release_list(admin, "shop").await.unwrap().len(), 6);
    let reader = a_reader();
    assert!(services.retention_run(&reader, true).await.is_ok());
    let refused = services.retention_run(&reader, false).await.unwrap_err();
    assert_eq!(code(&refused), "forbidden");

    let done = services.retention_run(admin, false).await.unwrap();
    assert_eq!(goes(&done), goes(&dry));
    let left: Vec<String> = services
        .release_list(admin, "shop")
        .await
        .unwrap()
        .into_iter()
        .map(|release| release.version)
        .collect();
    assert_eq!(left, ["1.5", "1.4", "1.2", "1.1"]);
    let task = services.task_show(admin, &gone.number).await.unwrap_err();
    assert_eq!(code(&task), "not-found");
    let mut tx = services.store.read().await.unwrap();
    assert!(retired_task_list(&mut tx, 9).await.unwrap().is_empty());
    drop(tx);
    let mut logs = services.store.read_logs().await.unwrap();
    assert!(
        log_read(&mut logs, gone.task, 0, 9)
            .await
            .unwrap()
            .is_empty(),
        "the log is gone too"
    );
    drop(logs);
    // The rest still works, and a second run finds nothing.
    services.release_show(admin, "shop", "1.1").await.unwrap();
    assert!(goes(&services.retention_run(admin, false).await.unwrap()).is_empty());
    let trail = actions(&house).await;
    let count = trail
        .iter()
        .filter(|(_, action, _)| action == "release.delete")
        .count();
    assert_eq!(count, 2);
    assert!(services.audit_verify(admin).await.unwrap().intact);
}

#[tokio::test]
async fn a_rule_that_was_changed_meanwhile_holds() {
    let infrastructure =
        INFRASTRUCTURE.replace("    phases:", "    retention: { releases: 1 }\n    phases:");
    let house = a_shop(&infrastructure, PROJECT).await;
    let (services, admin) = (&house.services, &house.admin);
    for version in ["1.0", "1.1", "1.2"] {
        released(&house, version).await;
    }
    // The run has listed the projects; before it comes to this one its rules become others.
    let listed = {
        let mut tx = services.store.read().await.unwrap();
        project_find(&mut tx, "shop").await.unwrap().unwrap().id
    };
    let keeping = "mantle: v1\nlifecycles:\n  - { name: keeping, phases: [{ name: T, environments: [test] }] }\n";
    house.apply(keeping, false).await.unwrap();
    let follows = PROJECT.replace("lifecycle: standard", "lifecycle: keeping");
    house.apply(&follows, false).await.unwrap();
    let mut gone = Going::default();
    let retained = services
        .retain_releases(admin, listed, false, &mut gone)
        .await;
    assert!(retained.unwrap().iter().all(|item| !item.goes));
    house.apply(PROJECT, false).await.unwrap();
    let retained = services
        .retain_releases(admin, listed, false, &mut gone)
        .await;
    let goes = retained.unwrap().iter().filter(|item| item.goes).count();
    assert!(goes > 0, "by the first rule something would go");
    // A project that was removed meanwhile has nothing to look at.
    let unknown = mantle_domain::ids::ProjectId::from_uuid(mint());
    let retained = services
        .retain_releases(admin, unknown, false, &mut gone)
        .await;
    assert!(retained.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_decided_knows_all_and_not_what_is_shown_alone() {
    let infrastructure =
        INFRASTRUCTURE.replace("    phases:", "    retention: { packages: 1 }\n    phases:");
    let house = a_house().await;
    let (services, admin) = (&house.services, &house.admin);
    house.apply(&infrastructure, false).await.unwrap();
    let value = SecretSet {
        value: "s3cret".to_owned(),
    };
    services.secret_set(admin, "shop/pin", value).await.unwrap();
    let project = PROJECT.replace(
        "variables:",
        "packages: [{ id: Site }]\nvariables:\n  Pin: { secret: shop/pin }",
    );
    house.apply(&project, false).await.unwrap();
    house.push("Site", "1.0", "old").await;
    released(&house, "1.0").await;
    house.push("Site", "2.0", "new").await;
    released(&house, "9.0.0").await;
    testing::crowd(&services.store).await;

    let said = services.retention_run(admin, true).await.unwrap();
    let stays = |kind: &str, name: &str| {
        let mut items = said.items.iter();
        let found = items.find(|item| item.kind == kind && item.name == name);
        found.is_some_and(|item| !item.goes)
    };
    assert!(stays("package", "Site 1.0"), "the first release holds it");
    assert!(stays("release", "shop 1.0"));
    let next = services
        .release_create(admin, "shop", &ReleaseCreate::default())
        .await
        .unwrap();
    // The newest version is not the one that was pushed last, and the secret the last of all.
    assert_eq!(next.packages[0].version, "2.0");
    let again = ReleaseCreate {
        version: Some("1.0".to_owned()),
        ..ReleaseCreate::default()
    };
    let taken = services.release_create(admin, "shop", &again).await;
    let taken = taken.unwrap_err();
    assert!(
        matches!(
            &taken,
            Error::Exists {
                code: "release-exists",
                ..
            }
        ),
        "{taken:?}"
    );
}

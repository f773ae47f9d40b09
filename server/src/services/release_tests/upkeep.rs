//! Tasks, logs and the audit trail by age and by size.

use mantle_domain::upkeep::{Keep, UpkeepRules};

use super::super::testing::a_house_that_keeps;
use super::*;
use crate::api::body::RetentionResult;
use crate::store::release_reach_list;

async fn a_shop_that_keeps(upkeep: UpkeepRules) -> House {
    let house = a_house_that_keeps(upkeep).await;
    house.apply(INFRASTRUCTURE, false).await.unwrap();
    house.apply(PROJECT, false).await.unwrap();
    house
}

/// Nothing of it is kept that nothing needs.
fn nothing() -> Keep {
    Keep {
        age_ms: None,
        size_bytes: Some(0),
    }
}

async fn prints(house: &House, queued: &Queued) {
    let line = Record {
        at_us: 1,
        body: RecordBody::Line {
            stream: Stream::Agent,
            level: Level::Info,
            text: "it went well".to_owned(),
        },
    };
    let task = queued.task;
    let store = &house.services.store;
    store
        .write_logs(async |tx| log_append_server(tx, task, std::slice::from_ref(&line)).await)
        .await
        .unwrap();
}

async fn lines(house: &House, queued: &Queued) -> usize {
    let mut logs = house.services.store.read_logs().await.unwrap();
    log_read(&mut logs, queued.task, 0, 9).await.unwrap().len()
}

fn goes(result: &RetentionResult, kind: &str) -> Vec<String> {
    let going = result
        .items
        .iter()
        .filter(|item| item.goes && item.kind == kind);
    let number = |name: &str| name.split(' ').next().unwrap().to_owned();
    going.map(|item| number(&item.name)).collect()
}

fn count(result: &RetentionResult, kind: &str) -> u64 {
    let counts = result.counts.iter();
    counts
        .filter(|one| one.kind == kind)
        .map(|one| one.goes)
        .sum()
}

#[tokio::test]
async fn tasks_that_nothing_needs_go_with_their_logs_and_the_rest_still_works() {
    let house = a_shop_that_keeps(UpkeepRules {
        tasks: Keep {
            age_ms: Some(0),
            size_bytes: None,
        },
        ..UpkeepRules::default()
    })
    .await;
    let (services, admin) = (&house.services, &house.admin);
    released(&house, "1.0").await;
    released(&house, "1.1").await;
    let failed = deployed(&house, "1.0", "test", TaskOutcome::Failed).await;
    prints(&house, &failed).await;
    let before = deployed(&house, "1.0", "test", TaskOutcome::Succeeded).await;
    prints(&house, &before).await;
    let twice = deployed(&house, "1.1", "test", TaskOutcome::Succeeded).await;
    deployed(&house, "1.1", "test", TaskOutcome::Succeeded).await;
    deployed(&house, "1.1", "production", TaskOutcome::Failed).await;

    let dry = services.retention_run(admin, true).await.unwrap();
    assert_eq!(goes(&dry, "task"), ["T-1", "T-3"], "{dry:#?}");
    let why = |name: &str| {
        let mut items = dry.items.iter();
        let found = items.find(|item| item.kind == "task" && item.name.starts_with(name));
        found.unwrap().why.clone()
    };
    assert_eq!(why("T-1"), "older than 0s");
    assert_eq!(why("T-2"), "is the last one that took its release there");
    assert_eq!(why("T-4"), "is on the dashboard");
    services.task_show(admin, "T-1").await.unwrap();
    assert_eq!(lines(&house, &failed).await, 1, "it was only said");

    let done = services.retention_run(admin, false).await.unwrap();
    assert_eq!(goes(&done, "task"), goes(&dry, "task"));
    assert_eq!(count(&done, "task"), 2);
    for gone in [&failed, &twice] {
        let shown = services.task_show(admin, &gone.number).await.unwrap_err();
        assert_eq!(code(&shown), "not-found");
    }
    assert_eq!(lines(&house, &failed).await, 0);
    assert_eq!(lines(&house, &before).await, 1);
    let mut tx = services.store.read().await.unwrap();
    assert!(retired_task_list(&mut tx, 9).await.unwrap().is_empty());
    // Where releases have been is known as before.
    let project = names::project(&mut tx, "shop").await.unwrap();
    let reached = release_reach_list(&mut tx, project.id).await.unwrap();
    assert_eq!(reached.len(), 2, "1.0 and 1.1 in test: {reached:?}");
    drop(tx);
    let status = services.status(admin, None).await.unwrap();
    assert_eq!(status.projects.len(), 1, "{status:?}");
    let removed: Vec<String> = actions(&house)
        .await
        .into_iter()
        .filter(|(_, action, _)| action == "task.remove")
        .map(|(_, _, subject)| subject)
        .collect();
    assert_eq!(removed, ["T-1 to T-3"]);
    let again = services.retention_run(admin, false).await.unwrap();
    assert_eq!(goes(&again, "task"), [""; 0]);
}

#[tokio::test]
async fn a_log_goes_before_its_task_which_says_so() {
    let house = a_shop_that_keeps(UpkeepRules {
        logs: nothing(),
        ..UpkeepRules::default()
    })
    .await;
    let (services, admin) = (&house.services, &house.admin);
    released(&house, "1.0").await;
    let old = deployed(&house, "1.0", "test", TaskOutcome::Failed).await;
    let shown = deployed(&house, "1.0", "test", TaskOutcome::Succeeded).await;
    prints(&house, &old).await;
    prints(&house, &shown).await;
    let dry = services.retention_run(admin, true).await.unwrap();
    assert_eq!(goes(&dry, "log"), ["T-1"], "{dry:#?}");
    let task = services.task_show(admin, "T-1").await.unwrap().task;
    assert_eq!(task.log_removed_at, None);

    services.retention_run(admin, false).await.unwrap();
    assert_eq!(
        (lines(&house, &old).await, lines(&house, &shown).await),
        (0, 1)
    );
    let task = services.task_show(admin, "T-1").await.unwrap().task;
    assert!(task.log_removed_at.is_some());
    let task = services.task_show(admin, "T-2").await.unwrap().task;
    assert_eq!(task.log_removed_at, None);
    let again = services.retention_run(admin, false).await.unwrap();
    assert_eq!(count(&again, "log"), 0, "{again:#?}");
}

#[tokio::test]
async fn a_trail_that_is_cut_short_verifies_and_says_what_went() {
    let house = a_shop_that_keeps(UpkeepRules {
        audit: nothing(),
        ..UpkeepRules::default()
    })
    .await;
    let (services, admin) = (&house.services, &house.admin);
    released(&house, "1.0").await;
    let before = services.audit_verify(admin).await.unwrap();
    assert!(
        before.intact && before.entries > 3 && before.removed == 0,
        "{before:?}"
    );
    let dry = services.retention_run(admin, true).await.unwrap();
    assert_eq!(count(&dry, "audit"), before.entries - 1, "the newest stays");
    let same = services.audit_verify(admin).await.unwrap();
    assert_eq!((same.entries, same.head), (before.entries, before.head));

    services.retention_run(admin, false).await.unwrap();
    let after = services.audit_verify(admin).await.unwrap();
    assert!(after.intact, "{after:?}");
    assert_eq!((after.removed, after.entries), (before.entries - 1, 2));
    let trail = actions(&house).await;
    assert_eq!(trail[0].1, "audit.cut");
    // And on it goes.
    released(&house, "1.1").await;
    services.retention_run(admin, false).await.unwrap();
    let last = services.audit_verify(admin).await.unwrap();
    assert!(last.intact && last.removed > after.removed, "{last:?}");
}

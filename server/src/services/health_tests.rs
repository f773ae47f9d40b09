//! Health checks as they are applied, and when they are queued by themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::{SignedDuration, Timestamp};
use mantle_domain::health::KEPT_TASKS;

use super::health::queue_due;
use super::testing::{House, INFRASTRUCTURE, a_house};
use super::wake::NoWake;
use crate::api::body::{ApplyFile, ApplyRequest, Change, HealthCheckRun};
use crate::store::{
    AgentProfile, AgentRow, AgentStatus, TaskFilter, TaskOutcome, agent_insert, target_find,
    task_list, task_mark_dropped,
};

const CHECKS: &str = "\
health_checks:
  - { name: disk, tags: [web], environments: [test], linux: df, every: 1h }
  - { name: ping, linux: 'true' }
  - { name: registry, windows: exit 0, every: 1h }
";

/// A house with the checks, whose target has an agent.
async fn checked() -> House {
    let house = a_house().await;
    let text = format!("{INFRASTRUCTURE}{CHECKS}");
    house.apply(&text, false).await.unwrap();
    let mut tx = house.services.store.begin().await.unwrap();
    let target = target_find(&mut tx, "web01").await.unwrap().unwrap();
    let agent = AgentRow {
        id: mantle_domain::ids::AgentId::from_uuid(super::mint()),
        target_id: Some(target.id),
        name: target.name,
        status: AgentStatus::Active,
        profile: AgentProfile {
            version: "1".to_owned(),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            host_name: "web01".to_owned(),
            features: Vec::new(),
            boot_id: String::new(),
        },
        highest_epoch: 0,
        join_token_id: None,
        enrolled_at_us: 1,
        revoked_at_us: None,
        last_seen_at_us: None,
    };
    agent_insert(&mut tx, &agent).await.unwrap();
    tx.commit().await.unwrap();
    house
}

async fn titles(house: &House) -> Vec<String> {
    let mut tx = house.services.store.read().await.unwrap();
    let tasks = task_list(&mut tx, &TaskFilter::default(), 100)
        .await
        .unwrap();
    tasks.into_iter().map(|task| task.title).collect()
}

/// Ends all that is queued.
async fn end_all(house: &House) {
    let mut tx = house.services.store.begin().await.unwrap();
    let tasks = task_list(&mut tx, &TaskFilter::default(), 100)
        .await
        .unwrap();
    for task in tasks.iter().filter(|task| task.ended_at_us.is_none()) {
        task_mark_dropped(&mut tx, task.id, TaskOutcome::Cancelled, 9)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn checks_come_and_go_with_their_files_and_exporting_them_changes_nothing() {
    let house = checked().await;
    let export = house.services.export(&house.admin, None).await.unwrap();
    let text = &export.files[0].text;
    assert!(text.contains("health_checks:"), "{text}");
    let again = house.apply(text, true).await.unwrap();
    assert!(again.changes.is_empty(), "{:?}", again.changes);
    let changed = text.replace("every: 1h", "every: 2h");
    let changed = house.apply(&changed, false).await.unwrap();
    let lines: Vec<_> = changed.changes.iter().flat_map(|one| &one.diff).collect();
    assert_eq!(lines, ["~ every: 1h -> 2h", "~ every: 1h -> 2h"]);
    let run = HealthCheckRun::default();
    let queued = house.services.health_check_run(&house.admin, &run).await;
    assert!(!queued.unwrap().is_empty());
    let request = ApplyRequest {
        files: vec![ApplyFile {
            name: "a.yaml".to_owned(),
            text: INFRASTRUCTURE.to_owned(),
        }],
        prune: true,
        ..ApplyRequest::default()
    };
    let pruned = house.services.apply(&house.admin, &request).await.unwrap();
    let removed: Vec<String> = pruned.changes.iter().map(Change::key).collect();
    assert_eq!(removed.len(), 3, "{removed:?}");
    let left = house
        .services
        .health_check_list(&house.admin)
        .await
        .unwrap();
    assert!(left.is_empty());

    // Nothing keeps the tasks of what is declared no more.
    end_all(&house).await;
    let all = titles(&house).await.len();
    assert!(all > 0);
    assert_eq!(house.services.health_check_tidy().await.unwrap(), all);
    assert!(titles(&house).await.is_empty());
}

#[tokio::test]
async fn what_is_due_is_queued_once_however_often_its_time_has_passed() {
    let house = checked().await;
    let store = &house.services.store;
    let now = Timestamp::now();
    let later = |hours: i64| now + SignedDuration::from_hours(hours);
    let due = async |at| queue_due(store, &NoWake, at).await.unwrap().len();
    // The one without a schedule is not due, and the one for Windows is about nobody here.
    assert_eq!(due(now).await, 1);
    assert_eq!(titles(&house).await, ["health check disk"]);
    assert_eq!(due(now).await, 0);
    end_all(&house).await;
    assert_eq!(
        due(later(25)).await,
        1,
        "a day that nobody looked at is one run"
    );
    assert_eq!(due(later(25)).await, 0);
    // It still runs an hour later: that one stands for the next.
    assert_eq!(due(later(26)).await, 0);
    end_all(&house).await;
    assert_eq!(due(later(26)).await, 0);
    assert_eq!(due(later(27)).await, 1);
}

#[tokio::test]
async fn by_hand_each_check_that_is_about_the_targets_has_a_task() {
    let house = checked().await;
    let run = async |request: &HealthCheckRun| {
        house.services.health_check_run(&house.admin, request).await
    };
    let tasks = run(&HealthCheckRun::default()).await.unwrap();
    let titles: Vec<&str> = tasks.iter().map(|task| task.title.as_str()).collect();
    assert_eq!(titles, ["health check disk", "health check ping"]);
    let named = HealthCheckRun {
        checks: vec!["registry".to_owned()],
        targets: vec!["web01".to_owned()],
        ..HealthCheckRun::default()
    };
    let error = run(&named).await.unwrap_err().to_string();
    assert!(
        error.contains("'registry' is not about the target 'web01'"),
        "{error}"
    );
    let unknown = HealthCheckRun {
        tags: vec!["wep".to_owned()],
        ..HealthCheckRun::default()
    };
    assert!(run(&unknown).await.is_err());
    // A run of one target by hand stands for no run of all.
    end_all(&house).await;
    let one = HealthCheckRun {
        checks: vec!["disk".to_owned()],
        targets: vec!["web01".to_owned()],
        ..HealthCheckRun::default()
    };
    run(&one).await.unwrap();
    let due = queue_due(&house.services.store, &NoWake, Timestamp::now());
    assert_eq!(due.await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_latest_tasks_of_a_check_are_kept_and_the_list_shows_them_only_if_asked() {
    let house = checked().await;
    let (services, admin) = (&house.services, &house.admin);
    let request = HealthCheckRun {
        checks: vec!["ping".to_owned()],
        ..HealthCheckRun::default()
    };
    for _ in 0..KEPT_TASKS + 3 {
        services.health_check_run(admin, &request).await.unwrap();
    }
    assert_eq!(
        services.health_check_tidy().await.unwrap(),
        0,
        "none is over"
    );
    end_all(&house).await;
    assert_eq!(services.health_check_tidy().await.unwrap(), 3);
    assert_eq!(services.health_check_tidy().await.unwrap(), 0);
    for (kind, count) in [
        (None, 0),
        (Some("health-check"), KEPT_TASKS as usize),
        (Some("all"), KEPT_TASKS as usize),
        (Some("deployment"), 0),
    ] {
        let page = services
            .task_list(admin, None, kind, (None, 100))
            .await
            .unwrap();
        assert_eq!(page.items.len(), count, "{kind:?}");
    }
    assert!(
        services
            .task_list(admin, None, Some("deploy"), (None, 9))
            .await
            .is_err()
    );
}

//! Health checks, and what they found.

use mantle_domain::health::CheckStatus;
use mantle_domain::ids::{HealthCheckId, TargetId, TaskId};
use mantle_domain::queue::Priority;

use super::fixtures::{a_target, uuid};
use crate::store::testing::on_both;
use crate::store::{
    HealthCheckRow, NewTask, Store, TargetHealthRow, TaskFilter, TaskKind, TaskOutcome,
    health_check_delete, health_check_find, health_check_insert, health_check_list,
    health_check_mark_queued, health_check_update, target_delete, target_health_list,
    target_health_show, target_insert, task_insert, task_list, task_list_past, task_mark_dropped,
};

on_both!(
    a_check_is_kept_changed_and_removed_and_queued_once_for_a_time,
    what_was_found_says_since_when_and_goes_with_its_target_or_check,
    tasks_of_checks_are_told_apart_and_the_oldest_are_found,
);

fn a_check(name: &str) -> HealthCheckRow {
    HealthCheckRow {
        id: HealthCheckId::from_uuid(uuid()),
        name: name.to_owned(),
        body: "{}".to_owned(),
        revision: 1,
        changed_at_us: 5,
        queued_at_us: None,
    }
}

async fn a_check_is_kept_changed_and_removed_and_queued_once_for_a_time(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    let check = a_check("disk");
    health_check_insert(&mut tx, &check).await.unwrap();
    health_check_mark_queued(&mut tx, &check, 70).await.unwrap();
    let changed = HealthCheckRow {
        body: "{\"a\":1}".to_owned(),
        revision: 2,
        ..check.clone()
    };
    health_check_update(&mut tx, &changed).await.unwrap();
    assert!(health_check_update(&mut tx, &changed).await.is_err());
    let kept = health_check_find(&mut tx, "disk").await.unwrap().unwrap();
    let queued_at_us = Some(70);
    assert_eq!(
        kept,
        HealthCheckRow {
            queued_at_us,
            ..changed
        }
    );
    // Whoever read it before does not queue it once more.
    assert!(health_check_mark_queued(&mut tx, &check, 80).await.is_err());
    health_check_mark_queued(&mut tx, &kept, 80).await.unwrap();
    assert!(health_check_delete(&mut tx, &check).await.is_err());
    health_check_delete(&mut tx, &kept).await.unwrap();
    assert!(health_check_list(&mut tx).await.unwrap().is_empty());
}

async fn what_was_found_says_since_when_and_goes_with_its_target_or_check(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    let (disk, ping) = (a_check("disk"), a_check("ping"));
    let (one, other) = (a_target("one", &[]), a_target("other", &[]));
    for check in [&disk, &ping] {
        health_check_insert(&mut tx, check).await.unwrap();
    }
    for target in [&one, &other] {
        target_insert(&mut tx, target).await.unwrap();
    }
    let found =
        |target_id: TargetId, check: &HealthCheckRow, status, at_us, task_number| TargetHealthRow {
            target_id,
            check_id: check.id,
            status,
            message: format!("at {at_us}"),
            since_us: at_us,
            checked_at_us: at_us,
            task_number,
        };
    let first = found(one.id, &disk, CheckStatus::Unhealthy, 10, 1);
    let again = found(one.id, &disk, CheckStatus::Unhealthy, 20, 2);
    let well = found(one.id, &disk, CheckStatus::Healthy, 30, 3);
    for (show, since_us) in [(&first, 10), (&again, 10), (&well, 30)] {
        assert!(target_health_show(&mut tx, show).await.unwrap());
        let kept = target_health_list(&mut tx, Some(one.id)).await.unwrap();
        let expected = TargetHealthRow {
            since_us,
            ..show.clone()
        };
        assert_eq!(kept, [expected]);
    }
    for (target, check) in [(&one, &ping), (&other, &disk)] {
        let row = found(target.id, check, CheckStatus::Unknown, 40, 4);
        assert!(target_health_show(&mut tx, &row).await.unwrap());
    }
    let stranger = found(
        TargetId::from_uuid(uuid()),
        &disk,
        CheckStatus::Healthy,
        1,
        1,
    );
    assert!(!target_health_show(&mut tx, &stranger).await.unwrap());
    target_delete(&mut tx, other.id).await.unwrap();
    assert_eq!(target_health_list(&mut tx, None).await.unwrap().len(), 2);
    health_check_delete(&mut tx, &ping).await.unwrap();
    assert_eq!(target_health_list(&mut tx, None).await.unwrap(), [well]);
}

async fn tasks_of_checks_are_told_apart_and_the_oldest_are_found(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    for number in 1..=5_u64 {
        let task = NewTask {
            id: TaskId::from_uuid(uuid()),
            kind: TaskKind::HealthCheck,
            title: "health check disk".to_owned(),
            project_id: None,
            environment_id: None,
            release_id: None,
            queue_key: Some("health-check/disk".to_owned()),
            body: "{}".to_owned(),
            variables: None,
            priority: Priority::Normal,
            not_before_us: None,
            expires_at_us: None,
            at_us: 5,
            by: "schedule".to_owned(),
        };
        assert_eq!(task_insert(&mut tx, &task).await.unwrap(), number);
        if number < 5 {
            task_mark_dropped(&mut tx, task.id, TaskOutcome::Cancelled, 6)
                .await
                .unwrap();
        }
    }
    // The one that is not over does not count.
    let past = task_list_past(&mut tx, "health-check/disk", 2, 10)
        .await
        .unwrap();
    let numbers: Vec<u64> = past.iter().map(|task| task.number).collect();
    assert_eq!(numbers, [1, 2]);
    let other = task_list_past(&mut tx, "health-check/ping", 0, 10)
        .await
        .unwrap();
    assert!(other.is_empty());
    for (filter, count) in [
        (TaskFilter::default(), 5),
        (
            TaskFilter {
                not_kind: Some(TaskKind::HealthCheck),
                ..TaskFilter::default()
            },
            0,
        ),
        (
            TaskFilter {
                queue_key: Some("health-check/disk".to_owned()),
                ..TaskFilter::default()
            },
            5,
        ),
    ] {
        let found = task_list(&mut tx, &filter, 10).await.unwrap();
        assert_eq!(found.len(), count, "{filter:?}");
    }
}

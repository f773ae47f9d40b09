//! What becomes of releases: blocks, deployments by their lifecycle, plans, and their removal.

use mantle_domain::ids::TaskId;

use super::fixtures::{World, a_release, a_task, a_world, uuid};
use crate::store::testing::on_both;
use crate::store::{
    AttemptRow, AttemptState, DeploymentCurrentRow, NewArtifact, NewSecretVersion, NewTaskEvent,
    NodeId, ReleaseBlock, ReleaseUnblock, ReleaseVariablesRow, SnapshotKind, Store, StoreError,
    TaskOutcome, TaskState, artifact_insert_all, artifact_list, attempt_insert,
    automatic_deployment_claim, deployment_current_show, deployment_manifest_insert, plan_find,
    plan_keep, plan_prune, release_before, release_delete, release_fetch, release_mark_blocked,
    release_mark_unblocked, release_place_list, release_reach_list, release_replace_variables,
    retired_task_done, retired_task_list, secret_set, secret_version_fetch,
    secret_version_prune_all, snapshot_fetch, snapshot_keep, task_event_append, task_lease_take,
    task_mark_done, task_mark_started, task_open_list,
};

on_both!(
    a_block_is_set_and_lifted_once,
    a_lifecycle_sends_a_release_to_a_place_once,
    a_plan_is_kept_until_nobody_looks_at_it,
    what_a_release_is_used_for_is_found,
    a_release_goes_with_its_tasks_and_leaves_what_others_share,
    a_release_that_is_shown_cannot_be_removed,
);

async fn a_block_is_set_and_lifted_once(store: &Store) {
    let world = a_world(store).await;
    let block = ReleaseBlock {
        at_us: 9,
        by: "ada".to_owned(),
        reason: "loses orders".to_owned(),
    };
    let mut tx = store.begin().await.unwrap();
    assert_eq!(
        release_fetch(&mut tx, world.release).await.unwrap().blocked,
        None
    );
    let unblock = ReleaseUnblock {
        at_us: 10,
        by: "bob".to_owned(),
        reason: "the orders are found".to_owned(),
        was: block.reason.clone(),
    };
    let early = release_mark_unblocked(&mut tx, world.release, &unblock).await;
    assert!(matches!(
        early,
        Err(StoreError::Conflict { what: "release" })
    ));
    release_mark_blocked(&mut tx, world.release, &block)
        .await
        .unwrap();
    let twice = release_mark_blocked(&mut tx, world.release, &block).await;
    assert!(matches!(
        twice,
        Err(StoreError::Conflict { what: "release" })
    ));
    let found = release_fetch(&mut tx, world.release).await.unwrap();
    assert_eq!(found.blocked, Some(block));
    release_mark_unblocked(&mut tx, world.release, &unblock)
        .await
        .unwrap();
    let lifted = release_fetch(&mut tx, world.release).await.unwrap();
    assert_eq!((lifted.blocked, lifted.unblocked), (None, Some(unblock)));
}

async fn a_lifecycle_sends_a_release_to_a_place_once(store: &Store) {
    let world = a_world(store).await;
    let claim = async || {
        let task = TaskId::from_uuid(uuid());
        let (release, environment) = (world.release, world.environment);
        store
            .write(async |tx| automatic_deployment_claim(tx, release, environment, task, 5).await)
            .await
            .unwrap()
    };
    assert!(claim().await);
    assert!(!claim().await);
    // What a server that was killed did not commit can be claimed again.
    let other = a_release(store, world.project, "1.1.0").await;
    for _ in 0..2 {
        let task = TaskId::from_uuid(uuid());
        let mut tx = store.begin().await.unwrap();
        let claimed = automatic_deployment_claim(&mut tx, other, world.environment, task, 5).await;
        assert!(claimed.unwrap());
        drop(tx);
    }
}

async fn a_plan_is_kept_until_nobody_looks_at_it(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    plan_keep(&mut tx, "plan-1", "{}", 10).await.unwrap();
    plan_keep(&mut tx, "plan-2", "{}", 10).await.unwrap();
    plan_keep(&mut tx, "plan-1", "{}", 20).await.unwrap();
    assert_eq!(plan_prune(&mut tx, 15).await.unwrap(), 1);
    assert_eq!(
        plan_find(&mut tx, "plan-1").await.unwrap().as_deref(),
        Some("{}")
    );
    assert_eq!(plan_find(&mut tx, "plan-2").await.unwrap(), None);
}

async fn finish(store: &Store, task: TaskId, outcome: TaskOutcome) {
    let node = NodeId::from_uuid(uuid());
    let minute = std::time::Duration::from_mins(1);
    let mut tx = store.begin().await.unwrap();
    let lease = task_lease_take(&mut tx, task, node, minute).await.unwrap();
    task_mark_started(&mut tx, task, lease.epoch, 20)
        .await
        .unwrap();
    let event = NewTaskEvent {
        at_us: 20,
        body: "{}".to_owned(),
    };
    task_event_append(&mut tx, task, lease.epoch, 1, &[event])
        .await
        .unwrap();
    task_mark_done(&mut tx, task, lease.epoch, outcome, 30)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn what_a_release_is_used_for_is_found(store: &Store) {
    let mut world = a_world(store).await;
    let first = world.release;
    let (one, two) = (
        a_task(store, &world, None).await,
        a_task(store, &world, None).await,
    );
    finish(store, one, TaskOutcome::Succeeded).await;
    finish(store, two, TaskOutcome::Failed).await;
    let second = a_release(store, world.project, "1.1.0").await;
    world.release = second;
    let three = a_task(store, &world, None).await;
    finish(store, three, TaskOutcome::Succeeded).await;
    let open = a_task(store, &world, None).await;
    let mut tx = store.read().await.unwrap();
    let reached = release_reach_list(&mut tx, world.project).await.unwrap();
    let mut expected = vec![(first, world.environment), (second, world.environment)];
    expected.sort();
    assert_eq!(reached, expected);
    let before = release_before(&mut tx, world.project, world.environment, second).await;
    assert_eq!(before.unwrap(), Some(first));
    let before = release_before(&mut tx, world.project, world.environment, first).await;
    assert_eq!(before.unwrap(), Some(second));
    let running = task_open_list(&mut tx, world.project).await.unwrap();
    assert_eq!(running, [(4, second)]);
    drop(tx);
    finish(store, open, TaskOutcome::Failed).await;
    let mut tx = store.read().await.unwrap();
    assert!(
        task_open_list(&mut tx, world.project)
            .await
            .unwrap()
            .is_empty()
    );
    let places = release_place_list(&mut tx, second).await.unwrap();
    assert_eq!(places, [(world.environment, true)]);
}

async fn a_release_goes_with_its_tasks_and_leaves_what_others_share(store: &Store) {
    let world = a_world(store).await;
    let other = a_release(store, world.project, "1.1.0").await;
    let task = a_task(store, &world, None).await;
    finish(store, task, TaskOutcome::Succeeded).await;
    let mut tx = store.begin().await.unwrap();
    let release = release_fetch(&mut tx, world.release).await.unwrap();
    let kept = release_fetch(&mut tx, other).await.unwrap();
    // The secret's first version is pinned by this release alone, its second is the current one.
    let version = async |tx: &mut crate::store::Tx| {
        let id = mantle_domain::ids::SecretVersionId::from_uuid(uuid());
        let new = NewSecretVersion {
            id,
            path: "a/b".to_owned(),
            key_id: 1,
            ciphertext: vec![1],
            mark: "m".to_owned(),
            at_us: 5,
            by: "ada".to_owned(),
        };
        secret_set(tx, &new).await.unwrap();
        id
    };
    let (old, new) = (version(&mut tx).await, version(&mut tx).await);
    let own = snapshot_keep(&mut tx, SnapshotKind::Variables, b"{\"own\":1}", &[old], 8).await;
    let entry = |number, digest| ReleaseVariablesRow {
        number,
        digest,
        changed_at_us: 8,
        changed_by: "ada".to_owned(),
        reason: "x".to_owned(),
    };
    let own = own.unwrap();
    release_replace_variables(&mut tx, release.id, &entry(2, own))
        .await
        .unwrap();
    // It shares a snapshot with the other one.
    release_replace_variables(&mut tx, release.id, &entry(3, kept.variables))
        .await
        .unwrap();
    deployment_manifest_insert(&mut tx, task, b"{}", 9)
        .await
        .unwrap();
    let attempt = AttemptRow {
        id: mantle_domain::ids::AttemptId::from_uuid(uuid()),
        task_id: task,
        agent_id: world.agent,
        step: 0,
        action: 0,
        subject_id: world.target,
        executor_id: world.target,
        attempt: 1,
        epoch: 1,
        state: AttemptState::Ended,
        outcome: None,
        end_body: None,
        created_at_us: 9,
        ended_at_us: None,
    };
    attempt_insert(&mut tx, &attempt).await.unwrap();
    automatic_deployment_claim(&mut tx, release.id, world.environment, task, 9)
        .await
        .unwrap();

    let file = NewArtifact {
        attempt_seq: 1,
        name: "report.xml".to_owned(),
        size_bytes: 7,
        digest: own,
    };
    artifact_insert_all(&mut tx, (task, attempt.id, world.agent), &[file], 9)
        .await
        .unwrap();

    release_delete(&mut tx, &release, 100).await.unwrap();
    assert!(artifact_list(&mut tx, task).await.unwrap().is_empty());
    assert_eq!(secret_version_prune_all(&mut tx).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let gone = release_fetch(&mut tx, release.id).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })));
    for digest in [release.process, release.packages, release.variables, own] {
        assert!(snapshot_fetch(&mut tx, digest).await.is_err(), "{digest}");
    }
    for digest in [kept.process, kept.packages, kept.variables] {
        assert!(snapshot_fetch(&mut tx, digest).await.is_ok(), "{digest}");
    }
    assert!(secret_version_fetch(&mut tx, old).await.is_err());
    assert!(secret_version_fetch(&mut tx, new).await.is_ok());
    assert_eq!(retired_task_list(&mut tx, 9).await.unwrap(), [task]);
    retired_task_done(&mut tx, task).await.unwrap();
    assert!(retired_task_list(&mut tx, 9).await.unwrap().is_empty());
}

async fn a_release_that_is_shown_cannot_be_removed(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    finish(store, task, TaskOutcome::Succeeded).await;
    let row = DeploymentCurrentRow {
        project_id: world.project,
        environment_id: world.environment,
        task_id: task,
        release_id: world.release,
        release_version: "1.0.0".to_owned(),
        state: TaskState::Done,
        outcome: Some(TaskOutcome::Succeeded),
        has_warnings: false,
        changed_at_us: 70,
        succeeded: None,
    };
    let mut tx = store.begin().await.unwrap();
    deployment_current_show(&mut tx, &row).await.unwrap();
    let release = release_fetch(&mut tx, world.release).await.unwrap();
    tx.commit().await.unwrap();
    // Whatever the rules decided: the database itself knows better.
    let removed = store
        .write(async |tx| release_delete(tx, &release, 100).await)
        .await;
    assert!(
        matches!(removed, Err(StoreError::Conflict { what: "release" })),
        "{removed:?}"
    );
    // So is one with a task that is not over.
    let later = a_release(store, world.project, "2.0.0").await;
    let queued = World {
        release: later,
        ..world
    };
    a_task(store, &queued, None).await;
    let mut tx = store.begin().await.unwrap();
    let row = release_fetch(&mut tx, later).await.unwrap();
    drop(tx);
    let removed = store
        .write(async |tx| release_delete(tx, &row, 100).await)
        .await;
    assert!(
        matches!(removed, Err(StoreError::Conflict { what: "release" })),
        "{removed:?}"
    );
}

//! Tasks, leases, events, attempts and what they leave behind.

use std::time::Duration;

use mantle_domain::ids::{AttemptId, TaskId};
use mantle_domain::queue::Priority;
use mantle_shared::protocol::Outcome;

use super::fixtures::{World, a_release, a_task, a_world, uuid};
use crate::store::testing::on_both;
use crate::store::{
    AttemptRow, AttemptState, DeploymentCurrentRow, EventsAppended, Lease, MAX_RUNNING, NewTask,
    NewTaskEvent, NodeId, Store, StoreError, TargetCurrentFilter, TargetCurrentRow, TargetState,
    TaskFilter, TaskKind, TaskOutcome, TaskState, Tx, attempt_find, attempt_insert,
    attempt_list_live_of_agent, attempt_list_of_task, attempt_mark_ended, attempt_mark_running,
    deployment_current_list, deployment_current_show, deployment_manifest_find,
    deployment_manifest_insert, max_running, max_running_keep, target_current_list,
    target_current_show, target_delete, task_event_append, task_event_list, task_fetch, task_find,
    task_insert, task_lease_clear, task_lease_release, task_lease_release_all, task_lease_renew,
    task_lease_take, task_list, task_list_running, task_list_succeeded, task_mark_cancel_asked,
    task_mark_done, task_mark_dropped, task_mark_moved_up, task_mark_started, task_mark_warned,
    task_queue_list, task_queue_list_running, task_start_list,
};

on_both!(
    tasks_are_numbered_and_queued_in_order,
    a_task_goes_from_queued_to_done_under_one_epoch,
    a_lease_is_taken_over_only_when_it_ran_out,
    whoever_lost_the_lease_writes_nothing,
    of_one_queue_key_one_task_runs,
    events_are_numbered_without_gaps,
    what_was_committed_is_not_added_again,
    a_warning_shows_at_its_place,
    tasks_are_filtered,
    a_queued_task_can_be_dropped,
    the_queue_knows_who_is_urgent_who_was_moved_and_when,
    how_many_run_at_once_is_kept,
    the_first_end_of_an_attempt_holds,
    the_dashboard_shows_the_latest_and_what_succeeded,
    what_runs_on_a_target_is_its_last_deployment,
    of_a_removed_target_nothing_is_shown_and_the_rest_is_kept,
    a_manifest_is_written_once,
);

const MINUTE: Duration = Duration::from_mins(1);

fn node() -> NodeId {
    NodeId::from_uuid(uuid())
}

async fn take(store: &Store, task: TaskId, node: NodeId) -> Result<Lease, StoreError> {
    store
        .write(async |tx| task_lease_take(tx, task, node, MINUTE).await)
        .await
}

fn is_conflict<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict { .. }))
}

async fn tasks_are_numbered_and_queued_in_order(store: &Store) {
    let world = a_world(store).await;
    let first = a_task(store, &world, None).await;
    let second = a_task(store, &world, None).await;
    let mut tx = store.read().await.unwrap();
    let queued = task_queue_list(&mut tx, 10).await.unwrap();
    let ids: Vec<_> = queued.iter().map(|task| (task.id, task.number)).collect();
    assert_eq!(ids, [(first, 1), (second, 2)]);
    assert_eq!(task_find(&mut tx, 2).await.unwrap().unwrap().id, second);
    assert!(task_find(&mut tx, 3).await.unwrap().is_none());
    let gone = task_fetch(&mut tx, TaskId::from_uuid(uuid())).await;
    assert!(matches!(gone, Err(StoreError::NotFound { what: "task" })));
}

async fn a_task_goes_from_queued_to_done_under_one_epoch(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let lease = take(store, task, node()).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    task_mark_started(&mut tx, task, lease.epoch, 20)
        .await
        .unwrap();
    assert!(is_conflict(
        &task_mark_started(&mut tx, task, lease.epoch, 21).await
    ));
    assert_eq!(task_list_running(&mut tx, 10).await.unwrap().len(), 1);
    task_mark_cancel_asked(&mut tx, task, "bob", 22)
        .await
        .unwrap();
    task_mark_cancel_asked(&mut tx, task, "eve", 23)
        .await
        .unwrap();
    task_mark_warned(&mut tx, task).await.unwrap();
    task_mark_done(&mut tx, task, lease.epoch, TaskOutcome::Cancelled, 30)
        .await
        .unwrap();
    let row = task_fetch(&mut tx, task).await.unwrap();
    assert_eq!(row.state, TaskState::Done);
    assert_eq!(row.outcome, Some(TaskOutcome::Cancelled));
    assert_eq!((row.started_at_us, row.ended_at_us), (Some(20), Some(30)));
    assert_eq!(
        (row.cancel_at_us, row.cancel_by.as_deref()),
        (Some(22), Some("bob"))
    );
    assert!(row.has_warnings && row.lease.is_none());
    assert!(is_conflict(
        &task_mark_cancel_asked(&mut tx, task, "bob", 31).await
    ));
    let again = task_mark_done(&mut tx, task, lease.epoch, TaskOutcome::Failed, 31).await;
    assert!(is_conflict(&again));
    assert!(is_conflict(
        &task_lease_take(&mut tx, task, node(), MINUTE).await
    ));
}

async fn a_lease_is_taken_over_only_when_it_ran_out(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let (ours, theirs) = (node(), node());
    let first = take(store, task, ours).await.unwrap();
    assert!(is_conflict(&take(store, task, theirs).await));
    let again = take(store, task, ours).await.unwrap();
    assert!(again.epoch > first.epoch);
    let renewed = store
        .write(async |tx| task_lease_renew(tx, ours, Duration::ZERO).await)
        .await
        .unwrap();
    assert_eq!(renewed, 1);
    let taken = take(store, task, theirs).await.unwrap();
    assert!(taken.epoch > again.epoch);
    let renewed = store
        .write(async |tx| task_lease_renew(tx, ours, MINUTE).await)
        .await
        .unwrap();
    assert_eq!(renewed, 0);

    let mut tx = store.begin().await.unwrap();
    assert!(is_conflict(
        &task_lease_release(&mut tx, task, again.epoch).await
    ));
    task_lease_release(&mut tx, task, taken.epoch)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    take(store, task, ours).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    assert_eq!(task_lease_release_all(&mut tx, theirs).await.unwrap(), 0);
    assert_eq!(task_lease_clear(&mut tx).await.unwrap(), 1);
    assert!(task_fetch(&mut tx, task).await.unwrap().lease.is_none());
}

fn events(count: usize) -> Vec<NewTaskEvent> {
    (0..count)
        .map(|number| NewTaskEvent {
            at_us: 50,
            body: format!("{{\"v\":1,\"n\":{number}}}"),
        })
        .collect()
}

async fn whoever_lost_the_lease_writes_nothing(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let old = take(store, task, node()).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    task_lease_clear(&mut tx).await.unwrap();
    let unleased = task_event_append(&mut tx, task, old.epoch, 1, &events(1)).await;
    assert!(is_conflict(&unleased), "nobody holds it");
    tx.commit().await.unwrap();
    let new = take(store, task, node()).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    assert!(is_conflict(
        &task_event_append(&mut tx, task, old.epoch, 1, &events(1)).await
    ));
    assert!(is_conflict(
        &task_mark_started(&mut tx, task, old.epoch, 20).await
    ));
    task_mark_started(&mut tx, task, new.epoch, 20)
        .await
        .unwrap();
    let late = task_mark_done(&mut tx, task, old.epoch, TaskOutcome::Failed, 30).await;
    assert!(is_conflict(&late));
    assert!(
        task_event_list(&mut tx, task, 0, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn of_one_queue_key_one_task_runs(store: &Store) {
    let world = a_world(store).await;
    let first = a_task(store, &world, Some("octofx/test")).await;
    let second = a_task(store, &world, Some("octofx/test")).await;
    let other = a_task(store, &world, Some("octofx/live")).await;
    let mut epochs = Vec::new();
    for task in [first, second, other] {
        epochs.push(take(store, task, node()).await.unwrap().epoch);
    }
    let start = async |task: TaskId, epoch: u64| {
        store
            .write(async |tx| task_mark_started(tx, task, epoch, 20).await)
            .await
    };
    start(first, epochs[0]).await.unwrap();
    assert!(is_conflict(&start(second, epochs[1]).await));
    start(other, epochs[2]).await.unwrap();
    store
        .write(async |tx| task_mark_done(tx, first, epochs[0], TaskOutcome::Succeeded, 30).await)
        .await
        .unwrap();
    start(second, epochs[1]).await.unwrap();
}

async fn events_are_numbered_without_gaps(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let epoch = take(store, task, node()).await.unwrap().epoch;
    let append = async |tx: &mut Tx, first: u64, count: usize| {
        task_event_append(tx, task, epoch, first, &events(count)).await
    };
    let mut tx = store.begin().await.unwrap();
    assert!(is_conflict(&append(&mut tx, 2, 3).await), "1 is next");
    let appended = append(&mut tx, 1, 3).await.unwrap();
    assert_eq!(appended, EventsAppended::Now);
    tx.commit().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    append(&mut tx, 4, 1).await.unwrap();
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    append(&mut tx, 4, 2).await.unwrap();
    let numbers = |rows: Vec<crate::store::TaskEventRow>| -> Vec<u64> {
        rows.iter().map(|row| row.seq).collect()
    };
    let page = task_event_list(&mut tx, task, 0, 2).await.unwrap();
    assert_eq!(page[1].body, events(2)[1].body);
    assert_eq!(numbers(page), [1, 2]);
    let page = task_event_list(&mut tx, task, 2, 10).await.unwrap();
    assert_eq!(numbers(page), [3, 4, 5]);
    assert_eq!(task_fetch(&mut tx, task).await.unwrap().next_event, 6);
}

async fn finish(store: &Store, task: TaskId, outcome: TaskOutcome) {
    let epoch = take(store, task, node()).await.unwrap().epoch;
    let mut tx = store.begin().await.unwrap();
    task_mark_started(&mut tx, task, epoch, 20).await.unwrap();
    task_mark_done(&mut tx, task, epoch, outcome, 30)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn what_was_committed_is_not_added_again(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let epoch = take(store, task, node()).await.unwrap().epoch;
    let append = async |first: u64, count: usize| {
        store
            .write(async |tx| task_event_append(tx, task, epoch, first, &events(count)).await)
            .await
    };
    assert_eq!(append(1, 2).await.unwrap(), EventsAppended::Now);
    // The answer to that commit was lost, and whoever gave it tries again.
    assert_eq!(append(1, 2).await.unwrap(), EventsAppended::Before);
    assert!(
        is_conflict(&append(2, 1).await),
        "another event stands there"
    );
    assert!(is_conflict(&append(1, 3).await), "one of them does not");
    let mut tx = store.read().await.unwrap();
    let all = task_event_list(&mut tx, task, 0, 10).await.unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(task_fetch(&mut tx, task).await.unwrap().next_event, 3);
}

async fn a_warning_shows_at_its_place(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let row = DeploymentCurrentRow {
        project_id: world.project,
        environment_id: world.environment,
        task_id: task,
        release_id: world.release,
        release_version: "1.0.0".to_owned(),
        state: TaskState::Done,
        outcome: Some(TaskOutcome::Failed),
        has_warnings: false,
        changed_at_us: 70,
        succeeded: None,
    };
    let mut tx = store.begin().await.unwrap();
    deployment_current_show(&mut tx, &row).await.unwrap();
    task_mark_warned(&mut tx, task).await.unwrap();
    let shown = deployment_current_list(&mut tx, None).await.unwrap();
    assert!(shown[0].has_warnings);
}

async fn tasks_are_filtered(store: &Store) {
    let world = a_world(store).await;
    let mut tasks = Vec::new();
    for outcome in [
        TaskOutcome::Succeeded,
        TaskOutcome::Failed,
        TaskOutcome::Succeeded,
    ] {
        let task = a_task(store, &world, None).await;
        finish(store, task, outcome).await;
        tasks.push(task);
    }
    tasks.push(a_task(store, &world, None).await);
    let mut tx = store.read().await.unwrap();
    let ids = |rows: Vec<crate::store::TaskRow>| -> Vec<TaskId> {
        rows.iter().map(|row| row.id).collect()
    };
    let all = task_list(&mut tx, &TaskFilter::default(), 3).await.unwrap();
    assert_eq!(ids(all), [tasks[3], tasks[2], tasks[1]]);
    let older = TaskFilter {
        before: Some(2),
        release_id: Some(world.release),
        ..TaskFilter::default()
    };
    assert_eq!(
        ids(task_list(&mut tx, &older, 3).await.unwrap()),
        [tasks[0]]
    );
    let succeeded = task_list_succeeded(&mut tx, world.project, world.environment, 10)
        .await
        .unwrap();
    assert_eq!(ids(succeeded), [tasks[2], tasks[0]]);
    let queued = TaskFilter {
        state: Some(TaskState::Queued),
        environment_id: Some(world.environment),
        ..TaskFilter::default()
    };
    assert_eq!(
        ids(task_list(&mut tx, &queued, 10).await.unwrap()),
        [tasks[3]]
    );
}

async fn a_queued_task_can_be_dropped(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let mut tx = store.begin().await.unwrap();
    task_mark_dropped(&mut tx, task, TaskOutcome::Cancelled, 12)
        .await
        .unwrap();
    assert!(is_conflict(
        &task_mark_dropped(&mut tx, task, TaskOutcome::Failed, 13).await
    ));
    let row = task_fetch(&mut tx, task).await.unwrap();
    assert_eq!((row.state, row.started_at_us), (TaskState::Done, None));
}

fn attempt(world: &World, task: TaskId, step: u32) -> AttemptRow {
    AttemptRow {
        id: AttemptId::from_uuid(uuid()),
        task_id: task,
        agent_id: world.agent,
        step,
        action: 0,
        subject_id: world.target,
        executor_id: world.target,
        attempt: 1,
        epoch: 3,
        state: AttemptState::Ordered,
        outcome: None,
        end_body: None,
        created_at_us: 40,
        ended_at_us: None,
    }
}

async fn the_first_end_of_an_attempt_holds(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let (first, second) = (attempt(&world, task, 0), attempt(&world, task, 1));
    let mut tx = store.begin().await.unwrap();
    attempt_insert(&mut tx, &second).await.unwrap();
    attempt_insert(&mut tx, &first).await.unwrap();
    attempt_insert(&mut tx, &first).await.unwrap();
    attempt_mark_running(&mut tx, first.id).await.unwrap();
    attempt_mark_running(&mut tx, first.id).await.unwrap();
    let all = attempt_list_of_task(&mut tx, task).await.unwrap();
    assert_eq!(
        all.iter().map(|row| row.id).collect::<Vec<_>>(),
        [first.id, second.id]
    );
    let live = attempt_list_live_of_agent(&mut tx, world.agent)
        .await
        .unwrap();
    assert_eq!(live.len(), 2);
    for (outcome, stored) in [(Outcome::TimedOut, true), (Outcome::Succeeded, false)] {
        let done = attempt_mark_ended(&mut tx, first.id, outcome, "{}", 60)
            .await
            .unwrap();
        assert_eq!(done, stored);
    }
    attempt_mark_running(&mut tx, first.id).await.unwrap();
    let row = attempt_find(&mut tx, first.id).await.unwrap().unwrap();
    assert_eq!(
        (row.state, row.outcome),
        (AttemptState::Ended, Some(Outcome::TimedOut))
    );
    assert_eq!(
        attempt_list_live_of_agent(&mut tx, world.agent)
            .await
            .unwrap(),
        [second]
    );
    let unknown = AttemptId::from_uuid(uuid());
    let gone = attempt_mark_ended(&mut tx, unknown, Outcome::Failed, "{}", 60).await;
    assert!(matches!(
        gone,
        Err(StoreError::NotFound { what: "attempt" })
    ));
}

async fn the_dashboard_shows_the_latest_and_what_succeeded(store: &Store) {
    let world = a_world(store).await;
    let newer = a_release(store, world.project, "1.1.0").await;
    let first = a_task(store, &world, None).await;
    let second = a_task(store, &world, None).await;
    let row = |task, release, version: &str, outcome| DeploymentCurrentRow {
        project_id: world.project,
        environment_id: world.environment,
        task_id: task,
        release_id: release,
        release_version: version.to_owned(),
        state: TaskState::Done,
        outcome: Some(outcome),
        has_warnings: false,
        changed_at_us: 70,
        succeeded: None,
    };
    let mut tx = store.begin().await.unwrap();
    let good = row(first, world.release, "1.0.0", TaskOutcome::Succeeded);
    deployment_current_show(&mut tx, &good).await.unwrap();
    let bad = row(second, newer, "1.1.0", TaskOutcome::Failed);
    deployment_current_show(&mut tx, &bad).await.unwrap();
    // Late news of the earlier one does not hide the later.
    deployment_current_show(&mut tx, &good).await.unwrap();
    let shown = deployment_current_list(&mut tx, Some(world.project))
        .await
        .unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(
        (shown[0].task_id, shown[0].outcome),
        (second, Some(TaskOutcome::Failed))
    );
    let succeeded = shown[0].succeeded.clone().unwrap();
    assert_eq!(
        (succeeded.task_id, succeeded.release_version.as_str()),
        (first, "1.0.0")
    );
    assert_eq!(deployment_current_list(&mut tx, None).await.unwrap(), shown);
}

async fn what_runs_on_a_target_is_its_last_deployment(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let mut row = TargetCurrentRow {
        target_id: world.target,
        project_id: world.project,
        environment_id: world.environment,
        task_id: task,
        release_id: world.release,
        release_version: "1.0.0".to_owned(),
        state: TargetState::Deploying,
        changed_at_us: 80,
    };
    let mut tx = store.begin().await.unwrap();
    assert!(target_current_show(&mut tx, &row).await.unwrap());
    row.state = TargetState::Deployed;
    assert!(target_current_show(&mut tx, &row).await.unwrap());
    let filter = TargetCurrentFilter {
        target_id: Some(world.target),
        ..TargetCurrentFilter::default()
    };
    assert_eq!(target_current_list(&mut tx, filter).await.unwrap(), [row]);
    let other = TargetCurrentFilter {
        project_id: Some(mantle_domain::ids::ProjectId::from_uuid(uuid())),
        ..filter
    };
    assert!(
        target_current_list(&mut tx, other)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn of_a_removed_target_nothing_is_shown_and_the_rest_is_kept(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let row = TargetCurrentRow {
        target_id: world.target,
        project_id: world.project,
        environment_id: world.environment,
        task_id: task,
        release_id: world.release,
        release_version: "1.0.0".to_owned(),
        state: TargetState::Deployed,
        changed_at_us: 80,
    };
    let shown = store
        .write(async |tx| target_current_show(tx, &row).await)
        .await;
    assert!(shown.unwrap());
    store
        .write(async |tx| target_delete(tx, world.target).await)
        .await
        .unwrap();
    let shown = store
        .write(async |tx| {
            let shown = target_current_show(tx, &row).await?;
            task_mark_warned(tx, task).await?;
            Ok::<_, StoreError>(shown)
        })
        .await;
    assert!(!shown.unwrap());
    let mut tx = store.read().await.unwrap();
    assert!(task_fetch(&mut tx, task).await.unwrap().has_warnings);
    let all = TargetCurrentFilter::default();
    assert!(target_current_list(&mut tx, all).await.unwrap().is_empty());
}

async fn a_manifest_is_written_once(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let write = async || {
        store
            .write(async |tx| deployment_manifest_insert(tx, task, b"{\"a\":1}", 5).await)
            .await
    };
    write().await.unwrap();
    assert!(is_conflict(&write().await));
    let mut tx = store.begin().await.unwrap();
    let body = deployment_manifest_find(&mut tx, task).await.unwrap();
    assert_eq!(body.unwrap(), b"{\"a\":1}");
    tx.script("UPDATE deployment_manifest SET body = '{}'")
        .await
        .unwrap();
    let error = deployment_manifest_find(&mut tx, task).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }));
}

async fn the_queue_knows_who_is_urgent_who_was_moved_and_when(store: &Store) {
    let world = a_world(store).await;
    let first = a_task(store, &world, Some("octofx/test")).await;
    let urgent = NewTask {
        id: TaskId::from_uuid(uuid()),
        kind: TaskKind::Deployment,
        title: "deploy octofx 1.0.1 to live".to_owned(),
        project_id: Some(world.project),
        environment_id: Some(world.environment),
        release_id: Some(world.release),
        queue_key: None,
        body: "{}".to_owned(),
        variables: None,
        priority: Priority::High,
        not_before_us: Some(40),
        expires_at_us: Some(50),
        at_us: 10,
        by: "ada".to_owned(),
    };
    let mut tx = store.begin().await.unwrap();
    task_insert(&mut tx, &urgent).await.unwrap();
    task_mark_moved_up(&mut tx, first, 33).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.read().await.unwrap();
    let queue = task_queue_list(&mut tx, 10).await.unwrap();
    let told: Vec<_> = queue
        .iter()
        .map(|row| {
            let times = (row.moved_up_at_us, row.not_before_us, row.expires_at_us);
            (row.number, row.priority, times)
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, Priority::Normal, (Some(33), None, None)),
            (2, Priority::High, (None, Some(40), Some(50))),
        ]
    );
    let row = task_fetch(&mut tx, urgent.id).await.unwrap();
    assert_eq!((row.not_before_us, row.expires_at_us), (Some(40), Some(50)));
    drop(tx);

    let lease = take(store, first, node()).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    task_mark_started(&mut tx, first, lease.epoch, 60)
        .await
        .unwrap();
    assert!(is_conflict(&task_mark_moved_up(&mut tx, first, 61).await));
    let running = task_queue_list_running(&mut tx).await.unwrap();
    assert_eq!(running[0].queue_key.as_deref(), Some("octofx/test"));
    assert_eq!(task_queue_list(&mut tx, 10).await.unwrap().len(), 1);
    let started = task_start_list(&mut tx, 4).await.unwrap();
    assert_eq!(started, [(Priority::Normal, Some(33))]);
}

async fn how_many_run_at_once_is_kept(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    assert_eq!(max_running(&mut tx).await.unwrap(), MAX_RUNNING);
    for limit in [1, 7] {
        max_running_keep(&mut tx, limit).await.unwrap();
        assert_eq!(max_running(&mut tx).await.unwrap(), limit);
    }
}

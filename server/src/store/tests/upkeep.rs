//! The past: why tasks stay, how they go, logs in portions, and a trail that was cut and holds.

use mantle_domain::audit::{CUT_ACTION, Cut};
use mantle_domain::ids::{AttemptId, TaskId};
use mantle_shared::Digest;
use mantle_shared::lock::LockMode;
use mantle_shared::protocol::{Level, Record, RecordBody, Stream};

use super::fixtures::{World, a_release, a_task, a_world, uuid};
use crate::store::testing::on_both;
use crate::store::{
    AuditEntry, AuditFault, AuditVerdict, DeploymentCurrentRow, HeldLockRow, NewTaskEvent, NodeId,
    PastAudit, Store, StoreError, TargetCurrentRow, TargetState, TaskHold, TaskOutcome, TaskState,
    Tx, audit_append, audit_cut, audit_cut_find, audit_verify, deployment_current_show,
    deployment_manifest_insert, held_lock_insert, log_append, log_bytes, log_bytes_of,
    log_position, log_read, log_shorten, past_audit_bytes, past_audit_list, past_task_bytes,
    past_task_list, retired_task_list, target_current_show, task_event_append, task_exists,
    task_fetch, task_lease_take, task_log_retire, task_mark_done, task_mark_started, task_retire,
};

on_both!(
    a_task_says_why_it_must_stay,
    a_task_goes_with_its_parts_and_one_that_is_needed_does_not,
    a_log_goes_in_portions_and_late_words_find_their_place,
    a_trail_that_was_cut_holds_and_a_cut_that_nobody_vouches_for_shows,
);

async fn done(store: &Store, task: TaskId, outcome: TaskOutcome) {
    let node = NodeId::from_uuid(uuid());
    let minute = std::time::Duration::from_mins(1);
    let mut tx = store.begin().await.unwrap();
    let lease = task_lease_take(&mut tx, task, node, minute).await.unwrap();
    task_mark_started(&mut tx, task, lease.epoch, 20)
        .await
        .unwrap();
    let event = NewTaskEvent {
        at_us: 20,
        body: "{\"said\":\"ü\"}".to_owned(),
    };
    task_event_append(&mut tx, task, lease.epoch, 1, &[event])
        .await
        .unwrap();
    task_mark_done(&mut tx, task, lease.epoch, outcome, 30)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn a_done_task(store: &Store, world: &World, outcome: TaskOutcome) -> TaskId {
    let task = a_task(store, world, None).await;
    done(store, task, outcome).await;
    task
}

async fn show(tx: &mut Tx, world: &World, task: TaskId, outcome: TaskOutcome) {
    let row = DeploymentCurrentRow {
        project_id: world.project,
        environment_id: world.environment,
        task_id: task,
        release_id: world.release,
        release_version: "1.0.0".to_owned(),
        state: TaskState::Done,
        outcome: Some(outcome),
        has_warnings: false,
        changed_at_us: 30,
        succeeded: None,
    };
    deployment_current_show(tx, &row).await.unwrap();
}

async fn a_task_says_why_it_must_stay(store: &Store) {
    let mut world = a_world(store).await;
    let first = a_done_task(store, &world, TaskOutcome::Succeeded).await;
    let second = a_done_task(store, &world, TaskOutcome::Succeeded).await;
    let on_target = a_done_task(store, &world, TaskOutcome::Failed).await;
    let locking = a_done_task(store, &world, TaskOutcome::Unknown).await;
    world.release = a_release(store, world.project, "1.1.0").await;
    let succeeded = a_done_task(store, &world, TaskOutcome::Succeeded).await;
    let last = a_done_task(store, &world, TaskOutcome::Failed).await;
    let open = a_task(store, &world, None).await;
    let mut tx = store.begin().await.unwrap();
    show(&mut tx, &world, succeeded, TaskOutcome::Succeeded).await;
    show(&mut tx, &world, last, TaskOutcome::Failed).await;
    let shown = TargetCurrentRow {
        target_id: world.target,
        project_id: world.project,
        environment_id: world.environment,
        task_id: on_target,
        release_id: world.release,
        release_version: "1.0.0".to_owned(),
        state: TargetState::Failed,
        changed_at_us: 30,
    };
    assert!(target_current_show(&mut tx, &shown).await.unwrap());
    let lock = HeldLockRow {
        attempt_id: AttemptId::from_uuid(uuid()),
        name: "target".to_owned(),
        mode: LockMode::Exclusive,
        executor_id: world.target,
        agent_id: world.agent,
        task_id: locking,
        holder: "T-4".to_owned(),
        taken_at_us: 20,
        ended: None,
        broken_at_us: None,
        broken_by: None,
    };
    held_lock_insert(&mut tx, &lock).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = store.read().await.unwrap();
    let all = past_task_list(&mut tx, 0, 100).await.unwrap();
    let holds: Vec<_> = all.iter().map(|task| (task.id, task.hold)).collect();
    assert_eq!(
        holds,
        [
            (first, None),
            (second, Some(TaskHold::History)),
            (on_target, Some(TaskHold::Target)),
            (locking, Some(TaskHold::Lock)),
            (succeeded, Some(TaskHold::Dashboard)),
            (last, Some(TaskHold::Dashboard)),
            (open, Some(TaskHold::Open)),
        ]
    );
    assert_eq!(all[0].ended_at_us, Some(30));
    assert_eq!(all[6].ended_at_us, None);
    let page = past_task_list(&mut tx, all[1].number, 2).await.unwrap();
    assert_eq!(page, all[2..4]);
}

async fn a_task_goes_with_its_parts_and_one_that_is_needed_does_not(store: &Store) {
    let world = a_world(store).await;
    let old = a_done_task(store, &world, TaskOutcome::Failed).await;
    let kept = a_done_task(store, &world, TaskOutcome::Failed).await;
    let open = a_task(store, &world, None).await;
    let mut tx = store.begin().await.unwrap();
    deployment_manifest_insert(&mut tx, old, b"{\"a\":1}", 30)
        .await
        .unwrap();
    show(&mut tx, &world, kept, TaskOutcome::Failed).await;
    tx.commit().await.unwrap();

    let event = "{\"said\":\"ü\"}".len() as u64;
    let mut tx = store.read().await.unwrap();
    assert_eq!(past_task_bytes(&mut tx).await.unwrap(), 2 * event + 7);
    let sizes: Vec<u64> = past_task_list(&mut tx, 0, 9)
        .await
        .unwrap()
        .iter()
        .map(|task| task.size_bytes)
        .collect();
    assert_eq!(sizes, [event + 7, event, 0]);
    drop(tx);

    for needed in [kept, open] {
        let refused = store
            .write(async |tx| task_retire(tx, needed, 40).await)
            .await;
        assert!(
            matches!(refused, Err(StoreError::Conflict { what: "task" })),
            "{refused:?}"
        );
    }
    let refused = store
        .write(async |tx| task_log_retire(tx, open, 40).await)
        .await;
    assert!(matches!(
        refused,
        Err(StoreError::Conflict { what: "task" })
    ));
    store
        .write(async |tx| task_retire(tx, old, 40).await)
        .await
        .unwrap();
    store
        .write(async |tx| task_log_retire(tx, kept, 41).await)
        .await
        .unwrap();
    let mut tx = store.read().await.unwrap();
    assert!(!task_exists(&mut tx, old).await.unwrap());
    assert!(task_exists(&mut tx, kept).await.unwrap());
    assert_eq!(past_task_bytes(&mut tx).await.unwrap(), event);
    let row = task_fetch(&mut tx, kept).await.unwrap();
    assert_eq!(row.log_removed_at_us, Some(41));
    let mut noted = retired_task_list(&mut tx, 9).await.unwrap();
    noted.sort_unstable();
    let mut due = [old, kept];
    due.sort_unstable();
    assert_eq!(noted, due, "their logs are still to be removed");
}

fn line(text: &str) -> Record {
    Record {
        at_us: 5,
        body: RecordBody::Line {
            stream: Stream::Stdout,
            level: Level::Info,
            text: text.to_owned(),
        },
    }
}

async fn a_log_goes_in_portions_and_late_words_find_their_place(store: &Store) {
    let (task, other) = (TaskId::from_uuid(uuid()), TaskId::from_uuid(uuid()));
    let attempt = AttemptId::from_uuid(uuid());
    for first in 0..5 {
        store
            .write_logs(async |tx| log_append(tx, task, attempt, first, &[line("early")]).await)
            .await
            .unwrap();
    }
    let records = [line("of another task")];
    let theirs = AttemptId::from_uuid(uuid());
    store
        .write_logs(async |tx| log_append(tx, other, theirs, 0, &records).await)
        .await
        .unwrap();
    let mut logs = store.read_logs().await.unwrap();
    let (all, of_task) = (
        log_bytes(&mut logs).await.unwrap(),
        log_bytes_of(&mut logs, task).await.unwrap(),
    );
    assert!(of_task > 0 && all > of_task, "{all} {of_task}");
    drop(logs);
    let shorten = async |chunks| {
        store
            .write_logs(async |tx| log_shorten(tx, task, chunks).await)
            .await
            .unwrap()
    };
    assert_eq!(shorten(2).await, 2);
    let mut logs = store.read_logs().await.unwrap();
    let left = log_read(&mut logs, task, 0, 99).await.unwrap();
    assert_eq!(left.len(), 3, "the first went first");
    drop(logs);
    assert_eq!(shorten(9).await, 3);
    assert_eq!(shorten(9).await, 0);
    let mut logs = store.read_logs().await.unwrap();
    assert_eq!(log_bytes_of(&mut logs, task).await.unwrap(), 0);
    assert_eq!(log_bytes(&mut logs).await.unwrap(), all - of_task);
    assert_eq!(log_position(&mut logs, attempt).await.unwrap(), 5);
    drop(logs);
    // What was stored comes again and is not stored twice; what follows is.
    let late = [line("again"), line("late")];
    store
        .write_logs(async |tx| log_append(tx, task, attempt, 4, &late).await)
        .await
        .unwrap();
    let mut logs = store.read_logs().await.unwrap();
    let found = log_read(&mut logs, task, 0, 99).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
}

fn entry(subject: &str) -> AuditEntry {
    AuditEntry {
        at_us: 7,
        actor: "apikey:ada".to_owned(),
        action: "release.create".to_owned(),
        subject: subject.to_owned(),
        detail: "{}".to_owned(),
    }
}

async fn cut_at(tx: &mut Tx, entry: &PastAudit) -> u64 {
    let cut = Cut {
        through: entry.sequence,
        hash: entry.hash,
    };
    let rows = audit_cut(tx, &cut).await.unwrap();
    let said = AuditEntry {
        action: CUT_ACTION.to_owned(),
        detail: serde_json::to_string(&cut).unwrap(),
        ..self::entry("the beginning")
    };
    audit_append(tx, &said).await.unwrap();
    rows
}

async fn a_trail_that_was_cut_holds_and_a_cut_that_nobody_vouches_for_shows(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    for row in 1..=8 {
        audit_append(&mut tx, &entry(&format!("octofx {row}")))
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let rows = past_audit_list(&mut tx, 0, 99).await.unwrap();
    assert_eq!(rows.len(), 8);
    let sum: u64 = rows.iter().map(|row| row.size_bytes).sum();
    assert_eq!(past_audit_bytes(&mut tx).await.unwrap(), sum);
    // Twice, so that the row that vouched for the first cut goes with the second.
    assert_eq!(cut_at(&mut tx, &rows[3]).await, 4);
    let rows = past_audit_list(&mut tx, 4, 99).await.unwrap();
    assert_eq!(rows.len(), 5);
    assert_eq!(cut_at(&mut tx, &rows[4]).await, 5);
    tx.commit().await.unwrap();

    let mut tx = store.read().await.unwrap();
    assert_eq!(audit_cut_find(&mut tx).await.unwrap().through, 9);
    let AuditVerdict::Intact(head) = audit_verify(&mut tx).await.unwrap() else {
        panic!("the trail is broken");
    };
    assert_eq!(head.sequence, 10);
    drop(tx);
    let same = store
        .write(async |tx| {
            let hash = Digest::of(b"another");
            audit_cut(tx, &Cut { through: 9, hash }).await
        })
        .await;
    assert!(
        matches!(
            same,
            Err(StoreError::Conflict {
                what: "audit trail"
            })
        ),
        "a trail is cut forward only"
    );
    let cases: &[(&'static str, u64, AuditFault)] = &[
        (
            "DELETE FROM audit WHERE seq = 10",
            10,
            AuditFault::Truncated,
        ),
        (
            "UPDATE audit SET detail = '{}' WHERE seq = 10",
            10,
            AuditFault::Changed,
        ),
        ("UPDATE audit_cut SET seq = 8", 9, AuditFault::Missing),
        (
            "UPDATE audit_cut SET seq = 10, hash = (SELECT hash FROM audit WHERE seq = 10);
             DELETE FROM audit WHERE seq = 10",
            11,
            AuditFault::Unvouched,
        ),
    ];
    for (tamper, sequence, fault) in cases {
        let mut tx = store.begin().await.unwrap();
        tx.script(tamper).await.unwrap();
        assert_eq!(
            audit_verify(&mut tx).await.unwrap(),
            AuditVerdict::Broken {
                sequence: *sequence,
                fault: *fault
            },
            "{tamper}"
        );
    }
}

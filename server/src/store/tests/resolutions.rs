//! What people say of attempts whose end nobody knows.

use mantle_domain::ids::{AttemptId, TaskId};
use mantle_domain::state::ResolvedAs;
use mantle_shared::lock::LockMode;

use super::fixtures::{World, a_task, a_world, uuid};
use crate::store::testing::on_both;
use crate::store::{
    AttemptRow, AttemptState, HeldLockRow, LockEnd, NewTaskEvent, NodeId, ResolutionRow, Store,
    TargetCurrentRow, TargetState, TaskOutcome, attempt_insert, attempt_list_live_of_agent,
    held_lock_insert, held_lock_list, held_lock_mark_ended, held_lock_resolve, resolution_delete,
    resolution_find, resolution_insert, resolution_list_of_target, resolution_list_of_task,
    resolution_list_pending, resolution_mark_taken, target_current_show, task_event_append,
    task_event_append_after_end, task_event_list, task_exists, task_lease_take, task_mark_done,
    task_mark_started, task_retire,
};

on_both!(
    the_first_word_holds_and_waits_until_it_is_taken_in,
    a_word_that_was_taken_in_stays_and_makes_an_attempt_not_live,
    locks_of_what_was_resolved_are_let_go_or_passed_over,
    what_becomes_known_after_the_end_is_added_to_the_events,
    words_are_shown_of_the_target_that_they_brought_where_it_is_and_go_with_their_task,
);

async fn an_attempt(store: &Store, world: &World, task: TaskId) -> AttemptId {
    let row = AttemptRow {
        id: AttemptId::from_uuid(uuid()),
        task_id: task,
        agent_id: world.agent,
        step: 0,
        action: 0,
        subject_id: world.target,
        executor_id: world.target,
        attempt: 1,
        epoch: 1,
        state: AttemptState::Ordered,
        outcome: None,
        end_body: None,
        created_at_us: 20,
        ended_at_us: None,
    };
    let mut tx = store.begin().await.unwrap();
    attempt_insert(&mut tx, &row).await.unwrap();
    tx.commit().await.unwrap();
    row.id
}

fn a_word(task: TaskId, attempt: AttemptId, ended: ResolvedAs, at_us: i64) -> ResolutionRow {
    ResolutionRow {
        attempt_id: attempt,
        task_id: task,
        about: "'Install' on web-01".to_owned(),
        ended,
        resolved_by: "ada".to_owned(),
        reason: "l\u{f6}oked".to_owned(),
        at_us,
        taken_at_us: None,
    }
}

async fn done(store: &Store, task: TaskId) {
    let mut tx = store.begin().await.unwrap();
    let minute = std::time::Duration::from_mins(1);
    let lease = task_lease_take(&mut tx, task, NodeId::from_uuid(uuid()), minute);
    let epoch = lease.await.unwrap().epoch;
    task_mark_started(&mut tx, task, epoch, 20).await.unwrap();
    task_event_append(&mut tx, task, epoch, 1, &[an_event("1")])
        .await
        .unwrap();
    task_mark_done(&mut tx, task, epoch, TaskOutcome::Failed, 30)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

fn an_event(body: &str) -> NewTaskEvent {
    NewTaskEvent {
        at_us: 40,
        body: body.to_owned(),
    }
}

async fn the_first_word_holds_and_waits_until_it_is_taken_in(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let one = an_attempt(store, &world, task).await;
    let two = an_attempt(store, &world, task).await;
    let first = a_word(task, one, ResolvedAs::Failed, 20);
    let other = a_word(task, two, ResolvedAs::Succeeded, 10);
    let mut tx = store.begin().await.unwrap();
    assert!(resolution_insert(&mut tx, &first).await.unwrap());
    assert!(resolution_insert(&mut tx, &other).await.unwrap());
    let again = a_word(task, one, ResolvedAs::Succeeded, 30);
    assert!(!resolution_insert(&mut tx, &again).await.unwrap());
    let found = resolution_find(&mut tx, one).await.unwrap();
    assert_eq!(found.as_ref(), Some(&first));
    let pending = resolution_list_pending(&mut tx, 10).await.unwrap();
    assert_eq!(pending, [other.clone(), first.clone()]);
    let oldest = resolution_list_pending(&mut tx, 1).await.unwrap();
    assert_eq!(oldest, std::slice::from_ref(&other));
    resolution_mark_taken(&mut tx, two, 50).await.unwrap();
    let pending = resolution_list_pending(&mut tx, 10).await.unwrap();
    assert_eq!(pending, std::slice::from_ref(&first));
    // What is not needed makes room for another word, later.
    resolution_delete(&mut tx, one).await.unwrap();
    assert!(resolution_insert(&mut tx, &again).await.unwrap());
    let all = resolution_list_of_task(&mut tx, task).await.unwrap();
    let taken = ResolutionRow {
        taken_at_us: Some(50),
        ..other
    };
    assert_eq!(all, [taken, again]);
}

async fn a_word_that_was_taken_in_stays_and_makes_an_attempt_not_live(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let attempt = an_attempt(store, &world, task).await;
    let word = a_word(task, attempt, ResolvedAs::Failed, 20);
    let mut tx = store.begin().await.unwrap();
    resolution_insert(&mut tx, &word).await.unwrap();
    let live = attempt_list_live_of_agent(&mut tx, world.agent);
    assert_eq!(live.await.unwrap().len(), 1, "nobody has taken it in");
    resolution_mark_taken(&mut tx, attempt, 50).await.unwrap();
    let live = attempt_list_live_of_agent(&mut tx, world.agent);
    assert_eq!(live.await.unwrap(), []);
    resolution_delete(&mut tx, attempt).await.unwrap();
    let found = resolution_find(&mut tx, attempt).await.unwrap();
    assert_eq!(found.unwrap().taken_at_us, Some(50));
    let never = AttemptId::from_uuid(uuid());
    assert!(resolution_mark_taken(&mut tx, never, 50).await.is_err());
}

async fn locks_of_what_was_resolved_are_let_go_or_passed_over(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let mut tx = store.begin().await.unwrap();
    let mut attempts = Vec::new();
    for (at_us, ended) in [
        (1, None),
        (2, Some(LockEnd::Unknown)),
        (3, Some(LockEnd::Abandoned)),
        (4, Some(LockEnd::Abandoned)),
    ] {
        let row = HeldLockRow {
            attempt_id: AttemptId::from_uuid(uuid()),
            name: "target".to_owned(),
            mode: LockMode::Exclusive,
            executor_id: world.target,
            agent_id: world.agent,
            task_id: task,
            holder: "T-1 step 'x'".to_owned(),
            taken_at_us: at_us,
            ended: None,
            broken_at_us: None,
            broken_by: None,
        };
        held_lock_insert(&mut tx, &row).await.unwrap();
        if let Some(ended) = ended {
            held_lock_mark_ended(&mut tx, row.attempt_id, ended)
                .await
                .unwrap();
        }
        attempts.push(row.attempt_id);
    }
    for attempt in &attempts[..3] {
        held_lock_resolve(&mut tx, *attempt, "ada", 60)
            .await
            .unwrap();
    }
    let left = held_lock_list(&mut tx).await.unwrap();
    let left: Vec<_> = left
        .iter()
        .map(|row| (row.attempt_id, row.broken_by.as_deref()))
        .collect();
    assert_eq!(left, [(attempts[2], Some("ada")), (attempts[3], None)]);
}

async fn what_becomes_known_after_the_end_is_added_to_the_events(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let late = an_event("2");
    let mut tx = store.begin().await.unwrap();
    let added = task_event_append_after_end(&mut tx, task, &late).await;
    assert!(!added.unwrap(), "whoever drives it adds its events");
    drop(tx);
    done(store, task).await;
    let mut tx = store.begin().await.unwrap();
    for body in ["2", "3"] {
        let added = task_event_append_after_end(&mut tx, task, &an_event(body)).await;
        assert!(added.unwrap());
    }
    let events = task_event_list(&mut tx, task, 0, 10).await.unwrap();
    let events: Vec<_> = events
        .iter()
        .map(|row| (row.seq, row.body.as_str()))
        .collect();
    assert_eq!(events, [(1, "1"), (2, "2"), (3, "3")]);
}

async fn words_are_shown_of_the_target_that_they_brought_where_it_is_and_go_with_their_task(
    store: &Store,
) {
    let world = a_world(store).await;
    let (before, task) = (
        a_task(store, &world, None).await,
        a_task(store, &world, None).await,
    );
    for (task, at_us) in [(before, 10), (task, 20)] {
        let attempt = an_attempt(store, &world, task).await;
        let mut tx = store.begin().await.unwrap();
        let word = a_word(task, attempt, ResolvedAs::Failed, at_us);
        resolution_insert(&mut tx, &word).await.unwrap();
        tx.commit().await.unwrap();
        done(store, task).await;
    }
    let mut tx = store.begin().await.unwrap();
    let shown = TargetCurrentRow {
        target_id: world.target,
        project_id: world.project,
        environment_id: world.environment,
        task_id: task,
        release_id: world.release,
        release_version: "1.0.0".to_owned(),
        state: TargetState::Failed,
        changed_at_us: 30,
    };
    assert!(target_current_show(&mut tx, &shown).await.unwrap());
    let words = resolution_list_of_target(&mut tx, world.target, 10).await;
    let words: Vec<_> = words
        .unwrap()
        .into_iter()
        .map(|(number, row)| (number, row.at_us))
        .collect();
    assert_eq!(words, [(2, 20)], "not of what came before");
    task_retire(&mut tx, before, 90).await.unwrap();
    assert!(!task_exists(&mut tx, before).await.unwrap());
    let left = resolution_list_of_task(&mut tx, before).await.unwrap();
    assert_eq!(left, []);
}

//! What people are asked and answer, and who is in which team.

use mantle_domain::ids::{ApiKeyId, TaskId};

use super::fixtures::{a_task, a_world, uuid};
use crate::store::testing::on_both;
use crate::store::{
    ApiKeyRow, InterruptionAnswerRow, InterruptionRow, NodeId, Store, StoreError, TaskOutcome,
    TeamMemberRow, Tx, api_key_insert, interruption_answer_insert, interruption_answer_list,
    interruption_find, interruption_insert, interruption_list_of_task, interruption_list_open,
    interruption_mark_closed, interruption_mark_taken, release_delete, release_fetch, task_fetch,
    task_lease_take, task_mark_awaiting, task_mark_done, task_mark_started,
    task_queue_list_running, team_member_delete, team_member_insert, team_member_list,
};

on_both!(
    a_question_is_open_until_it_is_closed_once,
    an_answer_is_taken_once_of_each_and_only_while_it_is_open,
    a_task_that_awaits_a_person_says_since_when,
    questions_go_with_their_release,
    a_key_is_in_a_team_once,
);

fn a_question(task: TaskId, number: u32, at_us: i64) -> InterruptionRow {
    InterruptionRow {
        task_id: task,
        number,
        body: "{}".to_owned(),
        raised_at_us: at_us,
        deadline_us: at_us + 100,
        taken_by: None,
        taken_at_us: None,
        closed: None,
        closed_at_us: None,
    }
}

fn an_answer(number: u32, by: &str, answer: &str, at_us: i64) -> InterruptionAnswerRow {
    InterruptionAnswerRow {
        number,
        answered_by: by.to_owned(),
        answer: answer.to_owned(),
        notes: "as \u{e4}greed".to_owned(),
        at_us,
    }
}

fn is_conflict<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict { .. }))
}

async fn a_question_is_open_until_it_is_closed_once(store: &Store) {
    let world = a_world(store).await;
    let (first, second) = (
        a_task(store, &world, None).await,
        a_task(store, &world, None).await,
    );
    let mut tx = store.begin().await.unwrap();
    for row in [
        a_question(second, 1, 20),
        a_question(first, 1, 10),
        a_question(first, 2, 30),
    ] {
        interruption_insert(&mut tx, &row).await.unwrap();
    }
    let open = interruption_list_open(&mut tx, 10).await.unwrap();
    let ids: Vec<_> = open.iter().map(|row| (row.task_id, row.number)).collect();
    assert_eq!(ids, [(first, 1), (second, 1), (first, 2)]);
    interruption_mark_taken(&mut tx, first, 1, "ann", 40)
        .await
        .unwrap();
    interruption_mark_closed(&mut tx, first, 1, "\"expired\"", 50)
        .await
        .unwrap();
    let row = interruption_find(&mut tx, first, 1).await.unwrap().unwrap();
    assert_eq!(
        row,
        InterruptionRow {
            taken_by: Some("ann".to_owned()),
            taken_at_us: Some(40),
            closed: Some("\"expired\"".to_owned()),
            closed_at_us: Some(50),
            ..a_question(first, 1, 10)
        }
    );
    let again = interruption_mark_closed(&mut tx, first, 1, "\"moot\"", 60).await;
    assert!(is_conflict(&again));
    let taken = interruption_mark_taken(&mut tx, first, 1, "bob", 60).await;
    assert!(is_conflict(&taken));
    assert_eq!(interruption_list_open(&mut tx, 10).await.unwrap().len(), 2);
    let own = interruption_list_of_task(&mut tx, first, 10).await.unwrap();
    assert_eq!(own.iter().map(|row| row.number).collect::<Vec<_>>(), [1, 2]);
}

async fn an_answer_is_taken_once_of_each_and_only_while_it_is_open(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let ask = async |number| {
        let mut tx = store.begin().await.unwrap();
        interruption_insert(&mut tx, &a_question(task, number, 10))
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    ask(1).await;
    ask(2).await;
    let give = async |row: InterruptionAnswerRow| {
        store
            .write(async |tx: &mut Tx| interruption_answer_insert(tx, task, &row).await)
            .await
    };
    give(an_answer(1, "ann", "proceed", 30)).await.unwrap();
    give(an_answer(1, "bob", "proceed", 20)).await.unwrap();
    give(an_answer(1, "ann", "abort", 40)).await.unwrap();
    give(an_answer(2, "ann", "retry", 10)).await.unwrap();
    let twice = give(an_answer(1, "ann", "proceed", 50)).await;
    assert!(is_conflict(&twice), "{twice:?}");
    let never = give(an_answer(3, "ann", "proceed", 50)).await;
    assert!(is_conflict(&never), "what was never asked: {never:?}");
    store
        .write(async |tx: &mut Tx| interruption_mark_closed(tx, task, 1, "\"cancelled\"", 60).await)
        .await
        .unwrap();
    let late = give(an_answer(1, "cat", "proceed", 70)).await;
    assert!(is_conflict(&late), "{late:?}");
    let mut tx = store.read().await.unwrap();
    let answers = interruption_answer_list(&mut tx, task).await.unwrap();
    assert_eq!(
        answers,
        [
            an_answer(2, "ann", "retry", 10),
            an_answer(1, "bob", "proceed", 20),
            an_answer(1, "ann", "proceed", 30),
            an_answer(1, "ann", "abort", 40),
        ]
    );
}

async fn a_task_that_awaits_a_person_says_since_when(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let mut tx = store.begin().await.unwrap();
    let node = NodeId::from_uuid(uuid());
    let minute = std::time::Duration::from_mins(1);
    let epoch = task_lease_take(&mut tx, task, node, minute)
        .await
        .unwrap()
        .epoch;
    task_mark_started(&mut tx, task, epoch, 5).await.unwrap();
    for (mark, expected) in [
        (Some(10), Some(10)),
        // It is since the first time, until something else goes on.
        (Some(20), Some(10)),
        (None, None),
        (Some(30), Some(30)),
    ] {
        task_mark_awaiting(&mut tx, task, epoch, mark)
            .await
            .unwrap();
        let row = task_fetch(&mut tx, task).await.unwrap();
        assert_eq!(row.awaits_person_since_us, expected);
        let running = task_queue_list_running(&mut tx).await.unwrap();
        assert_eq!(running[0].awaits_person_since_us, expected);
    }
    let stale = task_mark_awaiting(&mut tx, task, epoch + 1, None).await;
    assert!(is_conflict(&stale), "whoever lost the lease writes nothing");
    task_mark_done(&mut tx, task, epoch, TaskOutcome::Failed, 40)
        .await
        .unwrap();
    let row = task_fetch(&mut tx, task).await.unwrap();
    assert_eq!(
        row.awaits_person_since_us, None,
        "what is over awaits nobody"
    );
}

async fn questions_go_with_their_release(store: &Store) {
    let world = a_world(store).await;
    let task = a_task(store, &world, None).await;
    let mut tx = store.begin().await.unwrap();
    let node = NodeId::from_uuid(uuid());
    let minute = std::time::Duration::from_mins(1);
    let lease = task_lease_take(&mut tx, task, node, minute).await.unwrap();
    task_mark_started(&mut tx, task, lease.epoch, 5)
        .await
        .unwrap();
    interruption_insert(&mut tx, &a_question(task, 1, 10))
        .await
        .unwrap();
    interruption_answer_insert(&mut tx, task, &an_answer(1, "ann", "fail", 20))
        .await
        .unwrap();
    task_mark_done(&mut tx, task, lease.epoch, TaskOutcome::Failed, 30)
        .await
        .unwrap();
    let release = release_fetch(&mut tx, world.release).await.unwrap();
    release_delete(&mut tx, &release, 40).await.unwrap();
    let left = interruption_list_of_task(&mut tx, task, 10).await.unwrap();
    assert!(left.is_empty());
    let left = interruption_answer_list(&mut tx, task).await.unwrap();
    assert!(left.is_empty());
}

async fn a_key_is_in_a_team_once(store: &Store) {
    let key = ApiKeyRow {
        id: ApiKeyId::from_uuid(uuid()),
        name: "ann".to_owned(),
        team: None,
        secret_hash: [1; 32],
        created_at_us: 1,
        created_by: "ada".to_owned(),
        expires_at_us: None,
        revoked_at_us: None,
        last_used_at_us: None,
    };
    let member = |team: &str| TeamMemberRow {
        team: team.to_owned(),
        key_id: key.id,
        added_at_us: 5,
        added_by: "ada".to_owned(),
    };
    let mut tx = store.begin().await.unwrap();
    api_key_insert(&mut tx, &key).await.unwrap();
    tx.commit().await.unwrap();
    for team in ["managers", "admins"] {
        let row = member(team);
        store
            .write(async |tx: &mut Tx| team_member_insert(tx, &row).await)
            .await
            .unwrap();
    }
    let row = member("admins");
    let twice = store
        .write(async |tx: &mut Tx| team_member_insert(tx, &row).await)
        .await;
    assert!(is_conflict(&twice), "{twice:?}");
    let mut tx = store.begin().await.unwrap();
    let all = team_member_list(&mut tx).await.unwrap();
    assert_eq!(all, [member("admins"), member("managers")]);
    team_member_delete(&mut tx, "admins", key.id).await.unwrap();
    let gone = team_member_delete(&mut tx, "admins", key.id).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })));
    assert_eq!(
        team_member_list(&mut tx).await.unwrap(),
        [member("managers")]
    );
}

//! What attempts hold, as the next server finds it.

use mantle_domain::ids::{AgentId, AttemptId, TargetId, TaskId};
use mantle_shared::lock::LockMode;

use super::fixtures::uuid;
use crate::store::testing::on_both;
use crate::store::{
    HeldLockRow, LockEnd, Store, held_lock_insert, held_lock_list, held_lock_mark_broken,
    held_lock_mark_ended, held_lock_release,
};

on_both!(
    a_lock_is_held_until_it_is_let_go,
    breaking_a_lock_breaks_all_that_its_holders_hold,
);

fn a_lock(attempt: AttemptId, name: &str, executor: TargetId, at_us: i64) -> HeldLockRow {
    HeldLockRow {
        attempt_id: attempt,
        name: name.to_owned(),
        mode: LockMode::Shared,
        executor_id: executor,
        agent_id: AgentId::from_uuid(uuid()),
        task_id: TaskId::from_uuid(uuid()),
        holder: "T-12 step 'Install'".to_owned(),
        taken_at_us: at_us,
        ended: None,
        broken_at_us: None,
        broken_by: None,
    }
}

async fn a_lock_is_held_until_it_is_let_go(store: &Store) {
    let (attempt, target) = (AttemptId::from_uuid(uuid()), TargetId::from_uuid(uuid()));
    let first = a_lock(attempt, "disk", target, 10);
    let second = HeldLockRow {
        mode: LockMode::Exclusive,
        ..a_lock(AttemptId::from_uuid(uuid()), "target", target, 20)
    };
    let mut tx = store.begin().await.unwrap();
    for row in [&second, &first, &first] {
        held_lock_insert(&mut tx, row).await.unwrap();
    }
    assert_eq!(
        held_lock_list(&mut tx).await.unwrap(),
        [first, second.clone()]
    );
    held_lock_mark_ended(&mut tx, second.attempt_id, LockEnd::Unknown)
        .await
        .unwrap();
    held_lock_release(&mut tx, attempt).await.unwrap();
    let left = held_lock_list(&mut tx).await.unwrap();
    let ended = Some(LockEnd::Unknown);
    assert_eq!(left, [HeldLockRow { ended, ..second }]);
}

async fn breaking_a_lock_breaks_all_that_its_holders_hold(store: &Store) {
    let (here, there) = (TargetId::from_uuid(uuid()), TargetId::from_uuid(uuid()));
    let attempts: Vec<AttemptId> = (0..3).map(|_| AttemptId::from_uuid(uuid())).collect();
    let mut tx = store.begin().await.unwrap();
    for row in [
        a_lock(attempts[0], "disk", here, 1),
        a_lock(attempts[0], "target", here, 1),
        a_lock(attempts[1], "disk", here, 2),
        a_lock(attempts[2], "disk", there, 3),
    ] {
        held_lock_insert(&mut tx, &row).await.unwrap();
    }
    let mut broken = held_lock_mark_broken(&mut tx, here, "disk", "ada", 50)
        .await
        .unwrap();
    broken.sort();
    assert_eq!(broken, attempts[..2]);
    for row in held_lock_list(&mut tx).await.unwrap() {
        let is_broken = (row.broken_at_us, row.broken_by.as_deref()) == (Some(50), Some("ada"));
        assert_eq!(is_broken, row.executor_id == here, "{row:?}");
    }
    let again = held_lock_mark_broken(&mut tx, here, "disk", "ada", 60).await;
    assert!(again.unwrap().is_empty());
}

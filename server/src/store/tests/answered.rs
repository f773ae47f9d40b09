//! Variables that answers are in: they go with the last task that has them, never before.

use mantle_domain::ids::{SecretVersionId, TaskId};
use mantle_shared::Digest;

use super::fixtures::{World, a_new_task, a_release, a_world, uuid};
use crate::store::testing::on_both;
use crate::store::tx::Tx;
use crate::store::{
    ANSWER_PATH, AnsweredVariables, Leaving, NewSecretVersion, NodeId, ReleaseVariablesRow,
    SnapshotKind, Store, StoreError, TaskOutcome, answered_drop_left, answered_list_left,
    release_delete, release_fetch, release_replace_variables, secret_find, secret_keep, secret_set,
    secret_version_fetch, snapshot_fetch, snapshot_keep, task_answered, task_insert,
    task_lease_take, task_mark_done, task_mark_started, task_retire,
};

on_both!(
    answers_go_with_the_last_task_that_has_them,
    answers_that_a_release_has_as_well_stay,
    a_deployment_with_the_same_answers_at_the_same_moment_keeps_them,
    answers_that_were_left_behind_are_found,
);

/// Text that people answered.
const TEXT: &str = "{\"Ticket\":\"CR-1\"}";

async fn kept(tx: &mut Tx, body: &str, secrets: &[SecretVersionId]) -> Digest {
    let body = body.as_bytes();
    let kept = snapshot_keep(tx, SnapshotKind::Variables, body, secrets, 5).await;
    kept.unwrap()
}

/// A task that is over and uses these variables.
async fn used_by_a_task(store: &Store, world: &World, body: &str) -> (TaskId, Digest) {
    let mut tx = store.begin().await.unwrap();
    let digest = kept(&mut tx, body, &[]).await;
    let task = a_task_with(&mut tx, world, digest).await;
    tx.commit().await.unwrap();
    over(store, task).await;
    (task, digest)
}

async fn a_task_with(tx: &mut Tx, world: &World, digest: Digest) -> TaskId {
    let task = a_new_task(world, None, Some(digest));
    task_insert(tx, &task).await.unwrap();
    task.id
}

async fn over(store: &Store, task: TaskId) {
    let node = NodeId::from_uuid(uuid());
    let minute = std::time::Duration::from_mins(1);
    let mut tx = store.begin().await.unwrap();
    let lease = task_lease_take(&mut tx, task, node, minute).await.unwrap();
    task_mark_started(&mut tx, task, lease.epoch, 20)
        .await
        .unwrap();
    task_mark_done(&mut tx, task, lease.epoch, TaskOutcome::Failed, 30)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn retired(store: &Store, task: TaskId) -> Option<AnsweredVariables> {
    let retired = store.write(async |tx| task_retire(tx, task, 40).await);
    retired.await.unwrap()
}

async fn is_there(store: &Store, digest: Digest) -> bool {
    let mut tx = store.read().await.unwrap();
    match snapshot_fetch(&mut tx, digest).await {
        Ok(_) => true,
        Err(StoreError::NotFound { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

fn version(path: &str) -> NewSecretVersion {
    NewSecretVersion {
        id: SecretVersionId::from_uuid(uuid()),
        path: path.to_owned(),
        key_id: 1,
        ciphertext: vec![7; 40],
        mark: "m".to_owned(),
        at_us: 5,
        by: "ada".to_owned(),
    }
}

async fn answers_go_with_the_last_task_that_has_them(store: &Store) {
    let world = a_world(store).await;
    let answer = version(&format!("{ANSWER_PATH}T/Password"));
    let set = version("shop/password");
    let mut tx = store.begin().await.unwrap();
    secret_keep(&mut tx, &answer).await.unwrap();
    secret_set(&mut tx, &set).await.unwrap();
    let digest = kept(&mut tx, TEXT, &[answer.id, set.id]).await;
    // A rollback uses the variables of the deployment that it repeats.
    let first = a_task_with(&mut tx, &world, digest).await;
    let again = a_task_with(&mut tx, &world, digest).await;
    tx.commit().await.unwrap();
    over(store, first).await;
    over(store, again).await;
    let size_bytes = TEXT.len() as u64 + 40;

    let mut tx = store.read().await.unwrap();
    let mut leaving = Leaving::default();
    for (task, goes) in [(first, None), (again, Some(2))] {
        let found = task_answered(&mut tx, task, &leaving).await.unwrap();
        let told = found.map(|found| (found.task, found.size_bytes));
        assert_eq!(told, goes.map(|number| (number, size_bytes)));
        leaving.tasks.insert(task);
    }
    drop(tx);

    assert_eq!(retired(store, first).await, None);
    assert!(is_there(store, digest).await, "the other one has them");
    let went = retired(store, again).await.unwrap();
    assert_eq!((went.task, went.size_bytes), (2, size_bytes));
    assert!(!is_there(store, digest).await);
    let mut tx = store.read().await.unwrap();
    assert!(secret_version_fetch(&mut tx, answer.id).await.is_err());
    assert_eq!(secret_find(&mut tx, &answer.path).await.unwrap(), None);
    // What people set is no answer.
    assert!(secret_version_fetch(&mut tx, set.id).await.is_ok());
    assert!(secret_find(&mut tx, &set.path).await.unwrap().is_some());
}

async fn answers_that_a_release_has_as_well_stay(store: &Store) {
    let mut world = a_world(store).await;
    let (task, digest) = used_by_a_task(store, &world, TEXT).await;
    let answering = world.release;
    let other = a_release(store, world.project, "2.0.0").await;
    // Somebody made a release with the very values that were answered.
    let entry = |number: u64, digest: Digest| ReleaseVariablesRow {
        number,
        digest,
        changed_at_us: 50,
        changed_by: "ada".to_owned(),
        reason: "as answered".to_owned(),
    };
    let mut tx = store.begin().await.unwrap();
    let was = release_fetch(&mut tx, other).await.unwrap().variables;
    for row in [entry(2, digest), entry(3, was)] {
        release_replace_variables(&mut tx, other, &row)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let mut tx = store.read().await.unwrap();
    let leaving = Leaving::default();
    assert_eq!(
        task_answered(&mut tx, task, &leaving).await.unwrap(),
        None,
        "the other release could be reverted to them"
    );
    drop(tx);
    assert_eq!(retired(store, task).await, None);
    assert!(is_there(store, digest).await);

    // The other way round: the release goes, and a task that was answered alike still has them.
    world.release = answering;
    let (task, same) = used_by_a_task(store, &world, TEXT).await;
    assert_eq!(same, digest);
    let gone = store.write(async |tx| {
        let row = release_fetch(tx, other).await?;
        release_delete(tx, &row, 60).await
    });
    assert_eq!(gone.await.unwrap(), []);
    assert!(is_there(store, digest).await, "a task uses them");
    // The database itself would not have let them go.
    let mut tx = store.begin().await.unwrap();
    assert!(tx.script("DELETE FROM snapshot").await.is_err());
    drop(tx);
    let gone = store.write(async |tx| {
        let row = release_fetch(tx, answering).await?;
        release_delete(tx, &row, 60).await
    });
    let went = gone.await.unwrap();
    assert_eq!(went.len(), 1, "{went:?}");
    assert_eq!(went[0].size_bytes, TEXT.len() as u64);
    assert!(!is_there(store, digest).await);
    let mut tx = store.read().await.unwrap();
    assert!(
        task_answered(&mut tx, task, &leaving)
            .await
            .unwrap()
            .is_none()
    );
}

async fn a_deployment_with_the_same_answers_at_the_same_moment_keeps_them(store: &Store) {
    let world = a_world(store).await;
    // The deployment has its turn first.
    let (old, digest) = used_by_a_task(store, &world, TEXT).await;
    let mut tx = store.begin().await.unwrap();
    assert_eq!(kept(&mut tx, TEXT, &[]).await, digest);
    let (other, behind) = (store.clone(), tokio::sync::oneshot::channel());
    let (started, starts) = behind;
    let removing = tokio::spawn(async move {
        started.send(()).unwrap();
        retired(&other, old).await
    });
    starts.await.unwrap();
    let new = a_task_with(&mut tx, &world, digest).await;
    tx.commit().await.unwrap();
    assert_eq!(removing.await.unwrap(), None);
    assert!(is_there(store, digest).await);
    over(store, new).await;

    // Retention has.
    let mut tx = store.begin().await.unwrap();
    assert!(task_retire(&mut tx, new, 40).await.unwrap().is_some());
    let (other, again) = (store.clone(), a_new_task(&world, None, Some(digest)));
    let (started, starts) = tokio::sync::oneshot::channel();
    let deploying = tokio::spawn(async move {
        started.send(()).unwrap();
        let deployed = other.write(async |tx| {
            kept(tx, TEXT, &[]).await;
            task_insert(tx, &again).await
        });
        deployed.await
    });
    starts.await.unwrap();
    tx.commit().await.unwrap();
    deploying.await.unwrap().unwrap();
    assert!(is_there(store, digest).await);
}

async fn answers_that_were_left_behind_are_found(store: &Store) {
    let world = a_world(store).await;
    let (_, used) = used_by_a_task(store, &world, TEXT).await;
    let answer = version(&format!("{ANSWER_PATH}T/Password"));
    let mut tx = store.begin().await.unwrap();
    secret_keep(&mut tx, &answer).await.unwrap();
    let mut left = vec![
        (kept(&mut tx, "{\"a\":1}", &[answer.id]).await, 47),
        (kept(&mut tx, "{\"b\":1}", &[]).await, 7),
    ];
    left.sort();
    tx.commit().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    assert_eq!(answered_list_left(&mut tx, 9).await.unwrap(), left);
    assert_eq!(answered_drop_left(&mut tx, 1).await.unwrap(), left[..1]);
    assert_eq!(answered_drop_left(&mut tx, 9).await.unwrap(), left[1..]);
    assert_eq!(answered_drop_left(&mut tx, 9).await.unwrap(), []);
    tx.commit().await.unwrap();
    assert!(is_there(store, used).await);
    for (digest, _) in left {
        assert!(!is_there(store, digest).await);
    }
    let mut tx = store.read().await.unwrap();
    assert_eq!(secret_find(&mut tx, &answer.path).await.unwrap(), None);
}

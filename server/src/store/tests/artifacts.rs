//! Files that attempts left behind, on their way from the agent.

use mantle_domain::ids::{AgentId, AttemptId, TaskId};
use mantle_shared::Digest;
use mantle_shared::protocol::{Level, Record, RecordBody, Stream};

use super::fixtures::uuid;
use crate::store::testing::on_both;
use crate::store::{
    ArtifactRow, ArtifactState, NewArtifact, Store, artifact_find, artifact_insert_all,
    artifact_is_waiting, artifact_list, artifact_list_agents, artifact_list_digests,
    artifact_list_open, artifact_mark_kept, artifact_mark_lost, artifact_mark_stored, log_append,
    log_artifacts,
};

on_both!(
    files_are_numbered_in_their_task_and_noted_once,
    a_file_goes_from_its_agent_to_the_store_and_no_step_is_taken_back,
    the_files_that_an_attempt_recorded_are_found_among_its_lines,
);

fn file(attempt_seq: u64, name: &str) -> NewArtifact {
    NewArtifact {
        attempt_seq,
        name: name.to_owned(),
        size_bytes: 7,
        digest: Digest::of(name.as_bytes()),
    }
}

fn ids() -> (TaskId, AttemptId, AgentId) {
    (
        TaskId::from_uuid(uuid()),
        AttemptId::from_uuid(uuid()),
        AgentId::from_uuid(uuid()),
    )
}

fn names(rows: &[ArtifactRow]) -> Vec<(u64, &str)> {
    let name = |row: &ArtifactRow| row.number;
    let mut named: Vec<_> = rows
        .iter()
        .map(|row| (name(row), row.name.as_str()))
        .collect();
    named.sort_unstable();
    named
}

async fn files_are_numbered_in_their_task_and_noted_once(store: &Store) {
    let (task, attempt, agent) = ids();
    let other = AttemptId::from_uuid(uuid());
    let mut tx = store.begin().await.unwrap();
    let first = [file(3, "a"), file(9, "b")];
    for (added, at_us) in [(2, 10), (0, 20)] {
        let noted = artifact_insert_all(&mut tx, (task, attempt, agent), &first, at_us).await;
        assert_eq!(noted.unwrap(), added);
    }
    artifact_insert_all(&mut tx, (task, other, agent), &[file(3, "a")], 30)
        .await
        .unwrap();
    let (elsewhere, ..) = ids();
    artifact_insert_all(
        &mut tx,
        (elsewhere, AttemptId::from_uuid(uuid()), agent),
        &first,
        5,
    )
    .await
    .unwrap();
    let rows = artifact_list(&mut tx, task).await.unwrap();
    assert_eq!(names(&rows), [(1, "a"), (2, "b"), (3, "a")]);
    assert_eq!((rows[0].created_at_us, rows[2].created_at_us), (10, 30));
    let second = artifact_find(&mut tx, task, 2).await.unwrap();
    assert_eq!(second.as_ref(), rows.get(1));
    assert_eq!(artifact_find(&mut tx, task, 4).await.unwrap(), None);
}

async fn a_file_goes_from_its_agent_to_the_store_and_no_step_is_taken_back(store: &Store) {
    let (task, attempt, agent) = ids();
    let mut tx = store.begin().await.unwrap();
    // Two names for the same bytes move together.
    let twice = NewArtifact {
        attempt_seq: 2,
        ..file(1, "a")
    };
    let files = [file(1, "a"), twice, file(3, "b")];
    artifact_insert_all(&mut tx, (task, attempt, agent), &files, 10)
        .await
        .unwrap();
    assert_eq!(artifact_list_agents(&mut tx).await.unwrap(), [agent]);
    let open = artifact_list_open(&mut tx, agent, 2).await.unwrap();
    assert_eq!(names(&open), [(1, "a"), (2, "a")]);
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    assert!(artifact_is_waiting(&mut tx, attempt, a).await.unwrap());

    assert!(artifact_mark_stored(&mut tx, attempt, a, 20).await.unwrap());
    assert!(!artifact_mark_stored(&mut tx, attempt, a, 30).await.unwrap());
    assert!(!artifact_is_waiting(&mut tx, attempt, a).await.unwrap());
    let lost = artifact_mark_lost(&mut tx, attempt, a, "no").await.unwrap();
    assert_eq!(lost, 0, "what is stored is not lost");
    artifact_mark_kept(&mut tx, attempt, b).await.unwrap();
    assert_eq!(
        artifact_mark_lost(&mut tx, attempt, b, "gone")
            .await
            .unwrap(),
        1,
        "what was not stored is not kept"
    );
    assert_eq!(artifact_list_agents(&mut tx).await.unwrap(), [agent]);
    artifact_mark_kept(&mut tx, attempt, a).await.unwrap();
    assert!(artifact_list_agents(&mut tx).await.unwrap().is_empty());
    assert_eq!(artifact_list_digests(&mut tx).await.unwrap(), [a]);
    let rows = artifact_list(&mut tx, task).await.unwrap();
    let states: Vec<ArtifactState> = rows.iter().map(|row| row.state).collect();
    use ArtifactState::{Kept, Lost};
    assert_eq!(states, [Kept, Kept, Lost]);
    assert_eq!(
        (rows[0].stored_at_us, rows[2].note.as_deref()),
        (Some(20), Some("gone"))
    );
}

async fn the_files_that_an_attempt_recorded_are_found_among_its_lines(store: &Store) {
    let (task, attempt, _) = ids();
    let line = RecordBody::Line {
        stream: Stream::Stdout,
        level: Level::Info,
        text: "hello".to_owned(),
    };
    let kept = |name: &str| RecordBody::Artifact {
        name: name.to_owned(),
        size_bytes: 7,
        digest: Digest::of(name.as_bytes()),
    };
    let bodies = [line.clone(), kept("a"), line, kept("b"), kept("c")];
    let records: Vec<Record> = bodies
        .into_iter()
        .map(|body| Record { at_us: 1, body })
        .collect();
    let mut tx = store.begin_logs().await.unwrap();
    let (first, rest) = records.split_at(2);
    log_append(&mut tx, task, attempt, 0, first).await.unwrap();
    log_append(&mut tx, task, attempt, 2, rest).await.unwrap();
    let all = [file(1, "a"), file(3, "b"), file(4, "c")];
    assert_eq!(log_artifacts(&mut tx, attempt, 9).await.unwrap(), all);
    assert_eq!(log_artifacts(&mut tx, attempt, 2).await.unwrap(), all[..2]);
}

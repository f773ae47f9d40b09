//! Logs: once each, in order, from any place.

use mantle_domain::ids::{AttemptId, TaskId};
use mantle_shared::protocol::{Level, Record, RecordBody, RecordHasher, Stream};

use super::fixtures::uuid;
use crate::store::testing::on_both;
use crate::store::{
    LogRecord, LogVariable, Store, StoreError, log_append, log_append_server, log_delete,
    log_digest, log_last, log_position, log_read, log_read_attempt, log_read_before,
    log_read_remarks, log_sealed_variables, log_variables,
};

on_both!(
    records_are_stored_once_however_often_they_come,
    a_hole_is_refused,
    warnings_highlights_and_gaps_are_found_without_reading_the_rest,
    sealed_variables_of_a_task_are_found,
    an_attempt_belongs_to_one_task,
    a_log_is_read_from_any_place,
    a_log_is_read_backwards,
    the_digest_is_that_of_the_agent,
    variables_are_found_among_many_lines,
    variables_of_an_agent_that_keeps_no_limit_are_bounded,
    attempts_at_once_share_one_numbering,
    a_chunk_is_bounded,
    a_deleted_log_is_gone,
    a_damaged_chunk_is_reported,
);

fn line(text: impl Into<String>) -> Record {
    Record {
        at_us: 5,
        body: RecordBody::Line {
            stream: Stream::Stdout,
            level: Level::Info,
            text: text.into(),
        },
    }
}

fn lines(from: u64, to: u64) -> Vec<Record> {
    (from..to)
        .map(|number| line(format!("line {number}")))
        .collect()
}

fn task() -> TaskId {
    TaskId::from_uuid(uuid())
}

fn attempt() -> AttemptId {
    AttemptId::from_uuid(uuid())
}

async fn append(
    store: &Store,
    task: TaskId,
    attempt: AttemptId,
    first: u64,
    records: &[Record],
) -> Result<(u64, u64, u64), StoreError> {
    let done = store
        .write_logs(async |tx| log_append(tx, task, attempt, first, records).await)
        .await?;
    Ok((done.next_seq, done.first, done.end))
}

fn numbers(records: &[LogRecord]) -> Vec<u64> {
    records.iter().map(|record| record.seq).collect()
}

async fn records_are_stored_once_however_often_they_come(store: &Store) {
    let (task, attempt) = (task(), attempt());
    let sent = append(store, task, attempt, 0, &lines(0, 3)).await.unwrap();
    assert_eq!(sent, (3, 1, 4));
    let again = append(store, task, attempt, 0, &lines(0, 3)).await.unwrap();
    assert_eq!(again, (3, 0, 0));
    let overlap = append(store, task, attempt, 1, &lines(1, 5)).await.unwrap();
    assert_eq!(overlap, (5, 4, 6));
    let nothing = append(store, task, attempt, 5, &[]).await.unwrap();
    assert_eq!(nothing, (5, 0, 0));
    let server = store
        .write_logs(async |tx| log_append_server(tx, task, &[line("waiting")]).await)
        .await
        .unwrap();
    assert_eq!(server, (6, 7));

    let mut tx = store.read_logs().await.unwrap();
    let all = log_read(&mut tx, task, 0, 100).await.unwrap();
    assert_eq!(numbers(&all), [1, 2, 3, 4, 5, 6]);
    let expected = lines(0, 5);
    for (record, (seq, expected)) in all.iter().zip((0..).zip(&expected)) {
        assert_eq!(record.attempt, Some((attempt, seq)));
        assert_eq!(&record.record, expected);
    }
    assert_eq!(all[5].attempt, None);
    assert_eq!(log_position(&mut tx, attempt).await.unwrap(), 5);
    assert_eq!(log_last(&mut tx, task).await.unwrap(), 6);
}

async fn warnings_highlights_and_gaps_are_found_without_reading_the_rest(store: &Store) {
    let (task, attempt) = (task(), attempt());
    let of_level = |text: &str, wanted: Level| {
        let mut record = line(text);
        if let RecordBody::Line { level, .. } = &mut record.body {
            *level = wanted;
        }
        record
    };
    append(store, task, attempt, 0, &lines(0, 1500))
        .await
        .unwrap();
    let some = [
        of_level("w", Level::Warning),
        line("x"),
        of_level("h", Level::Highlight),
    ];
    append(store, task, attempt, 1500, &some).await.unwrap();
    append(store, task, attempt, 1503, &lines(0, 10))
        .await
        .unwrap();
    let gap = RecordBody::Gap {
        lines: 1,
        bytes: 2,
        reason: "full".to_owned(),
    };
    let gap = Record {
        at_us: 5,
        body: gap,
    };
    append(store, task, attempt, 1513, &[gap]).await.unwrap();
    let mut tx = store.read_logs().await.unwrap();
    let found = log_read_remarks(&mut tx, task, 0, 10).await.unwrap();
    assert_eq!(numbers(&found), [1501, 1503, 1514]);
    let found = log_read_remarks(&mut tx, task, 1501, 10).await.unwrap();
    assert_eq!(numbers(&found), [1503, 1514]);
    assert_eq!(log_read_remarks(&mut tx, task, 1514, 10).await.unwrap(), []);
}

async fn sealed_variables_of_a_task_are_found(store: &Store) {
    let (task, attempt) = (task(), attempt());
    let variable = |name: &str, sensitive| Record {
        at_us: 1,
        body: RecordBody::Variable {
            name: name.to_owned(),
            value: format!("value of {name}"),
            sensitive,
        },
    };
    append(store, task, attempt, 0, &lines(0, 3)).await.unwrap();
    let some = [variable("Open", false), variable("Key", true)];
    append(store, task, attempt, 3, &some).await.unwrap();
    let mut tx = store.read_logs().await.unwrap();
    let found = log_sealed_variables(&mut tx, task).await.unwrap();
    assert_eq!(
        found,
        [(attempt, "Key".to_owned(), "value of Key".to_owned())]
    );
    assert_eq!(
        log_sealed_variables(&mut tx, self::task()).await.unwrap(),
        []
    );
}

async fn a_hole_is_refused(store: &Store) {
    let (task, attempt) = (task(), attempt());
    append(store, task, attempt, 0, &lines(0, 2)).await.unwrap();
    let hole = append(store, task, attempt, 3, &lines(3, 4)).await;
    assert!(matches!(hole, Err(StoreError::Conflict { .. })), "{hole:?}");
    let mut tx = store.read_logs().await.unwrap();
    assert_eq!(log_position(&mut tx, attempt).await.unwrap(), 2);
    assert_eq!(log_position(&mut tx, self::attempt()).await.unwrap(), 0);
}

async fn an_attempt_belongs_to_one_task(store: &Store) {
    let attempt = attempt();
    append(store, task(), attempt, 0, &lines(0, 1))
        .await
        .unwrap();
    let other = append(store, task(), attempt, 1, &lines(1, 2)).await;
    assert!(
        matches!(other, Err(StoreError::Conflict { .. })),
        "{other:?}"
    );
}

async fn a_log_is_read_from_any_place(store: &Store) {
    let (task, one, two) = (task(), attempt(), attempt());
    for round in 0..10 {
        append(
            store,
            task,
            one,
            round * 7,
            &lines(round * 7, round * 7 + 7),
        )
        .await
        .unwrap();
        append(store, task, two, round, &lines(round, round + 1))
            .await
            .unwrap();
    }
    // Another task's log between them does not show.
    append(store, self::task(), attempt(), 0, &lines(0, 9))
        .await
        .unwrap();
    let mut tx = store.read_logs().await.unwrap();
    for after in 0..=80 {
        let page = log_read(&mut tx, task, after, 5).await.unwrap();
        let first = (after < 80).then_some(after + 1);
        assert_eq!(
            page.first().map(|record| record.seq),
            first,
            "after {after}"
        );
        assert!(
            page.len() as u64 >= 5.min(80 - after),
            "after {after}: {}",
            page.len()
        );
        let expected: Vec<u64> = (after + 1..).take(page.len()).collect();
        assert_eq!(numbers(&page), expected);
    }
    let mine = log_read_attempt(&mut tx, one, 30, 1000).await.unwrap();
    let seqs: Vec<u64> = mine
        .iter()
        .map(|record| record.attempt.unwrap().1)
        .collect();
    assert_eq!(seqs, (30..70).collect::<Vec<_>>());
    assert!(
        log_read(&mut tx, self::task(), 0, 5)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn a_log_is_read_backwards(store: &Store) {
    let (task, attempt) = (task(), attempt());
    for round in 0..10 {
        append(
            store,
            task,
            attempt,
            round * 3,
            &lines(round * 3, round * 3 + 3),
        )
        .await
        .unwrap();
    }
    let mut tx = store.read_logs().await.unwrap();
    let tail = log_read_before(&mut tx, task, u64::MAX, 4).await.unwrap();
    assert_eq!(numbers(&tail), [25, 26, 27, 28, 29, 30]);
    let before = log_read_before(&mut tx, task, 24, 2).await.unwrap();
    assert_eq!(numbers(&before), [22, 23]);
    assert!(
        log_read_before(&mut tx, task, 1, 2)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn the_digest_is_that_of_the_agent(store: &Store) {
    let (task, attempt) = (task(), attempt());
    let mut records = lines(0, 2500);
    records.push(Record {
        at_us: -1,
        body: RecordBody::Gap {
            lines: u64::from(u32::MAX),
            bytes: 1 << 40,
            reason: "the disk was full".to_owned(),
        },
    });
    records.push(Record {
        at_us: 6,
        body: RecordBody::Progress {
            percent: 100,
            message: "\u{0}\u{1F600}\n\"".to_owned(),
        },
    });
    let mut hasher = RecordHasher::new();
    for record in &records {
        hasher.update(record);
    }
    append(store, task, attempt, 0, &records[..1700])
        .await
        .unwrap();
    append(store, task, attempt, 1600, &records[1600..])
        .await
        .unwrap();
    let mut tx = store.read_logs().await.unwrap();
    assert_eq!(
        log_digest(&mut tx, attempt).await.unwrap(),
        (hasher.count(), hasher.digest())
    );
}

async fn variables_are_found_among_many_lines(store: &Store) {
    let (task, attempt) = (task(), attempt());
    let variable = |name: &str, sensitive| Record {
        at_us: 5,
        body: RecordBody::Variable {
            name: name.to_owned(),
            value: format!("{name}'s"),
            sensitive,
        },
    };
    let mut records = lines(0, 1500);
    records.push(variable("Url", false));
    records.extend(lines(0, 1200));
    records.push(variable("Token", true));
    append(store, task, attempt, 0, &records).await.unwrap();
    append(store, task, self::attempt(), 0, &[variable("Other", false)])
        .await
        .unwrap();
    let mut tx = store.read_logs().await.unwrap();
    let found = log_variables(&mut tx, attempt).await.unwrap().kept;
    let expected = [("Url", false), ("Token", true)].map(|(name, sensitive)| LogVariable {
        name: name.to_owned(),
        value: format!("{name}'s"),
        sensitive,
    });
    assert_eq!(found, expected);
}

async fn variables_of_an_agent_that_keeps_no_limit_are_bounded(store: &Store) {
    let (task, attempt) = (task(), attempt());
    let variable = |name: String, value: String| Record {
        at_us: 5,
        body: RecordBody::Variable {
            name,
            value,
            sensitive: false,
        },
    };
    let large = "x".repeat(120 * 1024);
    let mut records = vec![variable("Url".to_owned(), "old".to_owned())];
    records.extend((0..100).map(|index| variable(format!("big{index}"), large.clone())));
    records.push(variable("Url".to_owned(), "new".to_owned()));
    for (index, portion) in records.chunks(10).enumerate() {
        append(store, task, attempt, index as u64 * 10, portion)
            .await
            .unwrap();
    }
    let mut tx = store.read_logs().await.unwrap();
    let found = log_variables(&mut tx, attempt).await.unwrap();
    let names: Vec<&str> = found.kept.iter().map(|kept| kept.name.as_str()).collect();
    let expected = [
        "big0", "big1", "big2", "big3", "big4", "big5", "big6", "big7", "Url",
    ];
    assert_eq!(names, expected);
    assert_eq!(found.kept.last().unwrap().value, "new");
    assert_eq!(found.left_out.first().unwrap(), "big8");
    assert_eq!(found.left_out.len(), 20);
    assert_eq!(found.left_out_count, 92);
}

async fn attempts_at_once_share_one_numbering(store: &Store) {
    let task = task();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            let attempt = attempt();
            for round in 0..10 {
                append(
                    &store,
                    task,
                    attempt,
                    round * 2,
                    &lines(round * 2, round * 2 + 2),
                )
                .await
                .unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let mut tx = store.read_logs().await.unwrap();
    let all = log_read(&mut tx, task, 0, 1000).await.unwrap();
    assert_eq!(numbers(&all), (1..=160).collect::<Vec<_>>());
}

async fn a_chunk_is_bounded(store: &Store) {
    let (task, attempt) = (task(), attempt());
    let large = line("x".repeat(200 * 1024));
    let records = vec![large; 6];
    append(store, task, attempt, 0, &records).await.unwrap();
    append(store, task, attempt, 6, &lines(0, 2500))
        .await
        .unwrap();
    let mut tx = store.read_logs().await.unwrap();
    let page = log_read(&mut tx, task, 0, 1).await.unwrap();
    assert!(page.len() <= 2, "{}", page.len());
    let page = log_read(&mut tx, task, 6, 1).await.unwrap();
    assert_eq!(page.len(), 1000);
    assert_eq!(log_read(&mut tx, task, 0, 5000).await.unwrap().len(), 2506);
}

async fn a_deleted_log_is_gone(store: &Store) {
    let (task, attempt) = (task(), attempt());
    append(store, task, attempt, 0, &lines(0, 3)).await.unwrap();
    store
        .write_logs(async |tx| log_delete(tx, task).await)
        .await
        .unwrap();
    let mut tx = store.read_logs().await.unwrap();
    assert!(log_read(&mut tx, task, 0, 10).await.unwrap().is_empty());
    assert_eq!(log_last(&mut tx, task).await.unwrap(), 0);
    assert_eq!(log_position(&mut tx, attempt).await.unwrap(), 0);
}

async fn a_damaged_chunk_is_reported(store: &Store) {
    let (task, attempt) = (task(), attempt());
    append(store, task, attempt, 0, &lines(0, 3)).await.unwrap();
    append(store, task, attempt, 3, &lines(3, 6)).await.unwrap();
    let mut tx = store.begin_logs().await.unwrap();
    tx.script("DELETE FROM log_chunk WHERE first_seq = 1")
        .await
        .unwrap();
    let missing = log_digest(&mut tx, attempt).await;
    assert!(
        matches!(missing, Err(StoreError::Corrupt { .. })),
        "{missing:?}"
    );
    tx.script("UPDATE log_chunk SET count = 2").await.unwrap();
    let short = log_read(&mut tx, task, 0, 10).await;
    assert!(
        matches!(short, Err(StoreError::Corrupt { .. })),
        "{short:?}"
    );
}

//! Writers at once, transactions that end badly, full disks.

use crate::store::testing::{self, on_both};
use crate::store::{
    META_INSTANCE_ID, SnapshotKind, Store, StoreError, epoch_current, epoch_next, epoch_raise,
    now_us, server_meta_find, server_meta_keep, server_meta_replace, snapshot_keep,
};

on_both!(
    many_writers_and_readers_never_see_busy,
    a_dropped_transaction_leaves_nothing,
    a_failed_statement_spoils_its_transaction,
    a_failed_query_spoils_its_transaction,
    a_cancelled_writer_lets_the_next_one_in,
    a_reader_sees_one_moment,
    a_reader_cannot_write,
    the_epoch_counter_only_rises,
    settings_are_kept_once,
    the_clock_is_the_time,
);

async fn many_writers_and_readers_never_see_busy(store: &Store) {
    const WRITERS: u64 = 16;
    const WRITES: u64 = 20;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..WRITES {
                let before = epoch_current(&mut store.read().await?).await?;
                let mine = store.write(async |tx| epoch_next(tx).await).await?;
                assert!(mine > before);
            }
            Ok::<_, StoreError>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    let last = epoch_current(&mut store.read().await.unwrap())
        .await
        .unwrap();
    assert_eq!(last, WRITERS * WRITES);
}

async fn a_dropped_transaction_leaves_nothing(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    epoch_next(&mut tx).await.unwrap();
    drop(tx);
    let failed: Result<(), StoreError> = store
        .write(async |tx| {
            epoch_next(tx).await?;
            Err(StoreError::not_found("thing"))
        })
        .await;
    assert!(failed.is_err());
    let mut tx = store.begin().await.unwrap();
    assert_eq!(epoch_current(&mut tx).await.unwrap(), 0);
}

async fn a_failed_statement_spoils_its_transaction(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    epoch_next(&mut tx).await.unwrap();
    assert!(tx.script("INSERT INTO nowhere VALUES (1)").await.is_err());
    // Whoever swallows that gets no further.
    let aborted = |failed| matches!(failed, StoreError::Aborted);
    assert!(aborted(epoch_next(&mut tx).await.unwrap_err()));
    assert!(aborted(epoch_current(&mut tx).await.unwrap_err()));
    assert!(aborted(tx.script("SELECT 1").await.unwrap_err()));
    assert!(aborted(tx.commit().await.unwrap_err()));
    let mut tx = store.begin().await.unwrap();
    assert_eq!(epoch_current(&mut tx).await.unwrap(), 0);
}

async fn a_failed_query_spoils_its_transaction(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    epoch_next(&mut tx).await.unwrap();
    assert!(tx.rows("SELECT a FROM nowhere", vec![]).await.is_err());
    assert!(matches!(tx.commit().await, Err(StoreError::Aborted)));
}

async fn a_cancelled_writer_lets_the_next_one_in(store: &Store) {
    for _ in 0..20 {
        let (begun, started) = tokio::sync::oneshot::channel();
        let writer = store.clone();
        let task = tokio::spawn(async move {
            let mut tx = writer.begin().await.unwrap();
            begun.send(()).unwrap();
            loop {
                epoch_next(&mut tx).await.unwrap();
            }
        });
        started.await.unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        let mut tx = store.begin().await.unwrap();
        assert_eq!(epoch_current(&mut tx).await.unwrap(), 0);
        tx.commit().await.unwrap();
    }
}

async fn a_reader_sees_one_moment(store: &Store) {
    let mut reader = store.read().await.unwrap();
    assert_eq!(epoch_current(&mut reader).await.unwrap(), 0);
    store.write(async |tx| epoch_next(tx).await).await.unwrap();
    assert_eq!(epoch_current(&mut reader).await.unwrap(), 0);
    drop(reader);
    let mut reader = store.read().await.unwrap();
    assert_eq!(epoch_current(&mut reader).await.unwrap(), 1);
}

async fn a_reader_cannot_write(store: &Store) {
    let mut reader = store.read().await.unwrap();
    assert!(epoch_next(&mut reader).await.is_err());
}

async fn the_epoch_counter_only_rises(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    assert_eq!(epoch_next(&mut tx).await.unwrap(), 1);
    assert_eq!(epoch_raise(&mut tx, 41).await.unwrap(), 42);
    assert_eq!(epoch_raise(&mut tx, 7).await.unwrap(), 42);
    assert_eq!(epoch_next(&mut tx).await.unwrap(), 43);
}

async fn settings_are_kept_once(store: &Store) {
    let mut tx = store.begin().await.unwrap();
    let name = META_INSTANCE_ID;
    assert_eq!(server_meta_find(&mut tx, name).await.unwrap(), None);
    let error = server_meta_replace(&mut tx, name, b"x").await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }));
    assert_eq!(server_meta_keep(&mut tx, name, b"a").await.unwrap(), b"a");
    assert_eq!(server_meta_keep(&mut tx, name, b"b").await.unwrap(), b"a");
    server_meta_replace(&mut tx, name, b"c").await.unwrap();
    assert_eq!(
        server_meta_find(&mut tx, name).await.unwrap(),
        Some(b"c".to_vec())
    );
}

async fn the_clock_is_the_time(store: &Store) {
    let machine = jiff::Timestamp::now().as_microsecond();
    let mut tx = store.read().await.unwrap();
    let database = now_us(&mut tx).await.unwrap();
    assert!(
        (database - machine).abs() < 60_000_000,
        "{database} {machine}"
    );
}

#[tokio::test]
async fn what_sqlite_acknowledged_survives_a_power_cut() {
    let test = testing::sqlite().await;
    let mut state = test.store.begin().await.unwrap();
    let mut logs = test.store.begin_logs().await.unwrap();
    for tx in [&mut state, &mut *logs] {
        let row = tx.row("PRAGMA synchronous", vec![]).await.unwrap().unwrap();
        let full = 2;
        assert_eq!(row.get::<i64>("synchronous").unwrap(), full);
        let row = tx
            .row("PRAGMA journal_mode", vec![])
            .await
            .unwrap()
            .unwrap();
        assert_eq!(row.get::<String>("journal_mode").unwrap(), "wal");
        let row = tx
            .row("PRAGMA foreign_keys", vec![])
            .await
            .unwrap()
            .unwrap();
        assert!(row.get::<bool>("foreign_keys").unwrap());
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing_half_done() {
    let test = testing::sqlite().await;
    let store = &test.store;
    let mut tx = store.begin().await.unwrap();
    // SQLite raises a limit below the present size to that size: the file cannot grow any more.
    tx.script("PRAGMA max_page_count = 1").await.unwrap();
    tx.commit().await.unwrap();

    let large = format!("\"{}\"", "x".repeat(4 << 20));
    for _ in 0..3 {
        let error = store
            .write(async |tx| {
                epoch_next(tx).await?;
                snapshot_keep(tx, SnapshotKind::Process, large.as_bytes(), &[], 1).await
            })
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::NoSpace(_)), "{error:?}");
        assert!(error.to_string().contains("free disk space"), "{error}");
    }
    let mut tx = store.read().await.unwrap();
    assert_eq!(epoch_current(&mut tx).await.unwrap(), 0);
    drop(tx);

    let mut tx = store.begin().await.unwrap();
    tx.script("PRAGMA max_page_count = 1073741823")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    store
        .write(async |tx| {
            epoch_next(tx).await?;
            snapshot_keep(tx, SnapshotKind::Process, large.as_bytes(), &[], 1).await
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn what_postgresql_reports_is_told_apart() {
    type Is = fn(&StoreError) -> bool;
    let busy: Is = |e| matches!(e, StoreError::Busy(_)) && e.is_retryable();
    let away: Is = |e| matches!(e, StoreError::Unavailable(_)) && e.is_retryable();
    let cases: &[(&'static str, Is)] = &[
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END $$",
            |e| matches!(e, StoreError::NoSpace(_)),
        ),
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$",
            busy,
        ),
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$",
            busy,
        ),
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '55P03'; END $$",
            busy,
        ),
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57P01'; END $$",
            away,
        ),
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53300'; END $$",
            away,
        ),
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'XX001'; END $$",
            |e| matches!(e, StoreError::Corrupt { .. }),
        ),
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '23505'; END $$",
            |e| matches!(e, StoreError::Conflict { .. }),
        ),
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '42601'; END $$",
            |e| matches!(e, StoreError::Statement(_)),
        ),
    ];
    let test = testing::postgres().await;
    for (sql, is) in cases {
        let mut tx = test.store.begin().await.unwrap();
        let error = tx.script(sql).await.unwrap_err();
        assert!(is(&error), "{sql}: {error:?}");
    }
}

/// A file's commit cannot be called off: whoever stopped waiting for it would do it twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_commit_to_a_file_is_waited_for() {
    let test = testing::sqlite().await;
    let mut tx = test.store.begin().await.unwrap();
    epoch_next(&mut tx).await.unwrap();
    tx.let_no_time();
    tx.commit().await.unwrap();
    let mut tx = test.store.begin().await.unwrap();
    assert_eq!(epoch_current(&mut tx).await.unwrap(), 1);
    tx.let_no_time();
    let late = epoch_next(&mut tx).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
}

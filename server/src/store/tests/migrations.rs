//! Schemas are brought up to date whole steps at a time, and never by an older binary.

use mantle_shared::Digest;
use sqlx::{Connection as _, Executor as _, Row as _};

use crate::store::migrate::{
    Component, MigrateError, Migration, STATE, backup_path, postgres_with, sqlite_with,
};
use crate::store::testing;
use crate::store::{OpenError, STATE_FILE, Store, StoreConfig, StoreError, epoch_next};

/// The first version that no released step has.
const LATER: i64 = STATE[STATE.len() - 1].version + 1;
const GOOD: Migration = Migration {
    version: LATER,
    sqlite: "CREATE TABLE later (a INTEGER NOT NULL) STRICT; INSERT INTO later VALUES (1);",
    postgres: "CREATE TABLE later (a BIGINT NOT NULL); INSERT INTO later VALUES (1);",
};
/// Fails in its second statement.
const BAD: Migration = Migration {
    version: LATER,
    sqlite: "CREATE TABLE later (a INTEGER NOT NULL) STRICT; INSERT INTO nowhere VALUES (1);",
    postgres: "CREATE TABLE later (a BIGINT NOT NULL); INSERT INTO nowhere VALUES (1);",
};

fn steps(last: Migration) -> Vec<Migration> {
    [STATE, &[last]].concat()
}

#[tokio::test]
async fn a_step_that_fails_half_way_changes_nothing_and_can_be_repeated() {
    let test = testing::sqlite().await;
    test.store
        .write(async |tx| epoch_next(tx).await)
        .await
        .unwrap();
    test.store.close().await;
    let path = test.folder.path().join(STATE_FILE);
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();

    let error = sqlite_with(&pool, &path, Component::State, &steps(BAD))
        .await
        .unwrap_err();
    assert!(
        matches!(error, MigrateError::Step { version: LATER, .. }),
        "{error:?}"
    );
    pool.close().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    assert!(pool.fetch_one("SELECT * FROM later").await.is_err());

    sqlite_with(&pool, &path, Component::State, &steps(GOOD))
        .await
        .unwrap();
    let row = pool.fetch_one("SELECT a FROM later").await.unwrap();
    assert_eq!(row.get::<i64, _>("a"), 1);
    // Again: there is nothing left to do.
    sqlite_with(&pool, &path, Component::State, &steps(GOOD))
        .await
        .unwrap();

    let copy = backup_path(&path, LATER);
    let mut old = sqlx::SqliteConnection::connect(&format!("sqlite://{}", copy.display()))
        .await
        .unwrap();
    assert!(old.fetch_one("SELECT * FROM later").await.is_err());
    let row = old
        .fetch_one("SELECT value FROM counter WHERE name = 'epoch'")
        .await
        .unwrap();
    assert_eq!(row.get::<i64, _>("value"), 1, "the copy holds the data");
}

#[tokio::test]
async fn a_step_that_fails_half_way_changes_nothing_in_postgresql() {
    let url = testing::postgres_url().await;
    let config = StoreConfig::Postgres { url: url.clone() };
    Store::open(config).await.unwrap().close().await;
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let error = postgres_with(&pool, Component::State, &steps(BAD))
        .await
        .unwrap_err();
    assert!(
        matches!(error, MigrateError::Step { version: LATER, .. }),
        "{error:?}"
    );
    assert!(pool.fetch_one("SELECT * FROM later").await.is_err());
    postgres_with(&pool, Component::State, &steps(GOOD))
        .await
        .unwrap();
    assert!(pool.fetch_one("SELECT * FROM later").await.is_ok());
}

/// Four tasks: one that names variables, one whose variables are gone, one that names none, and one that
/// is no deployment; and the only snapshot that there is.
const TASKS: &str = "
    INSERT INTO snapshot (digest, kind, body, created_at_us) VALUES (BYTES, 'variables', '{}', 1);
    INSERT INTO task (id, number, kind, state, has_warnings, title, body, created_at_us, created_by,
                      next_event, priority)
    VALUES (ID1, 1, 'deployment', 'done', 0, 't', '{\"variables\":\"HEX\"}', 1, 'ada', 1, 'normal'),
           (ID2, 2, 'deployment', 'done', 0, 't', '{\"variables\":\"GONE\"}', 1, 'ada', 1, 'normal'),
           (ID3, 3, 'deployment', 'done', 0, 't', '{}', 1, 'ada', 1, 'normal'),
           (ID4, 4, 'upgrade', 'done', 0, 't', 'none', 1, 'ada', 1, 'normal');";
const TOLD: &str =
    "SELECT number FROM task JOIN snapshot ON snapshot.digest = task.variables ORDER BY number";

/// The same in the spelling of a database.
fn tasks(bytes: impl Fn(&str) -> String) -> String {
    let digest = Digest::of(b"{}").to_string();
    let ids = (1..=4).fold(TASKS.to_owned(), |sql, id| {
        sql.replace(&format!("ID{id}"), &bytes(&format!("0{id}")))
    });
    ids.replace("BYTES", &bytes(&digest))
        .replace("HEX", &digest)
        .replace("GONE", &Digest::of(b"gone").to_string())
}

#[tokio::test]
async fn the_variables_of_earlier_deployments_are_found_in_what_was_asked() {
    let (before, step) = {
        let at = STATE.iter().position(|step| step.version == 12).unwrap();
        (&STATE[..at], &STATE[..=at])
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(STATE_FILE);
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlite_with(&pool, &path, Component::State, before)
        .await
        .unwrap();
    let filled = tasks(|hex| format!("x'{hex}'"));
    pool.execute(sqlx::AssertSqlSafe(filled)).await.unwrap();
    sqlite_with(&pool, &path, Component::State, step)
        .await
        .unwrap();
    let rows = pool.fetch_all(TOLD).await.unwrap();
    let ours: Vec<i64> = rows.iter().map(|row| row.get("number")).collect();

    let pool = sqlx::PgPool::connect(&testing::postgres_url().await)
        .await
        .unwrap();
    // The table of steps is made with the first one.
    postgres_with(&pool, Component::State, before)
        .await
        .unwrap();
    let filled = tasks(|hex| format!("'\\x{hex}'"));
    pool.execute(sqlx::AssertSqlSafe(filled)).await.unwrap();
    postgres_with(&pool, Component::State, step).await.unwrap();
    let rows = pool.fetch_all(TOLD).await.unwrap();
    let theirs: Vec<i64> = rows.iter().map(|row| row.get("number")).collect();
    assert_eq!((ours, theirs), (vec![1], vec![1]));
}

#[tokio::test]
async fn servers_that_start_at_once_on_one_postgresql_migrate_once() {
    let url = testing::postgres_url().await;
    let opened = futures_util::future::join_all(
        (0..4).map(|_| Store::open(StoreConfig::Postgres { url: url.clone() })),
    )
    .await;
    for store in opened {
        store.unwrap();
    }
}

#[tokio::test]
async fn an_older_binary_refuses_a_newer_database() {
    let test = testing::sqlite().await;
    let mut tx = test.store.begin().await.unwrap();
    tx.script("INSERT INTO schema_migration VALUES ('state', 99, 0)")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    test.store.close().await;
    drop(test.store);
    let config = StoreConfig::Sqlite {
        folder: test.folder.path().to_owned(),
    };
    let error = Store::open(config).await.err().unwrap();
    let text = error.to_string();
    assert!(
        text.contains("newer mantle") && text.contains("99"),
        "{text}"
    );

    let url = testing::postgres_url().await;
    let config = StoreConfig::Postgres { url };
    let store = Store::open(config.clone()).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.script("INSERT INTO schema_migration VALUES ('logs', 7, 0)")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let error = Store::open(config).await.err().unwrap();
    assert!(
        matches!(
            error,
            OpenError::Migrate(MigrateError::Newer {
                component: "logs",
                found: 7,
                known: 2
            })
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn one_server_a_data_folder() {
    let test = testing::sqlite().await;
    let config = StoreConfig::Sqlite {
        folder: test.folder.path().to_owned(),
    };
    let error = Store::open(config.clone()).await.err().unwrap();
    assert!(
        error.to_string().contains("another mantle server"),
        "{error}"
    );
    test.store.close().await;
    drop(test.store);
    Store::open(config).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let gone = StoreConfig::Sqlite {
        folder: folder.path().join("nowhere"),
    };
    let error = Store::open(gone).await.err().unwrap();
    assert!(error.to_string().contains("cannot be written"), "{error}");

    std::fs::write(folder.path().join(STATE_FILE), vec![7_u8; 8192]).unwrap();
    let junk = StoreConfig::Sqlite {
        folder: folder.path().to_owned(),
    };
    let error = Store::open(junk).await.err().unwrap();
    assert!(
        matches!(
            &error,
            OpenError::Connect {
                source: StoreError::Corrupt { .. },
                ..
            }
        ),
        "{error:?}"
    );

    let bad = StoreConfig::Postgres {
        url: "http://x".to_owned(),
    };
    let error = Store::open(bad).await.err().unwrap();
    assert!(error.to_string().contains("postgres://"), "{error}");
}

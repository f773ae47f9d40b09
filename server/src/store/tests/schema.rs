//! The two schemas are the same schema.

use std::collections::BTreeSet;

use crate::store::testing;
use crate::store::tx::Tx;
use crate::store::value::{Row, params};

const SQLITE_COLUMNS: &str = "
    SELECT t.name || '.' || c.name || ' ' || c.type || ' ' ||
        CASE WHEN c.\"notnull\" = 1 THEN 'required' ELSE 'optional' END AS line
    FROM sqlite_master t JOIN pragma_table_info(t.name) c
    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
const POSTGRES_COLUMNS: &str = "
    SELECT table_name || '.' || column_name || ' ' || data_type || ' ' ||
        CASE WHEN is_nullable = 'NO' THEN 'required' ELSE 'optional' END AS line
    FROM information_schema.columns WHERE table_schema = 'public'";
const SQLITE_KEYS: &str = "
    SELECT t.name || ' PRIMARY KEY (' || group_concat(c.name, ', ' ORDER BY c.pk) || ')' AS line
    FROM sqlite_master t JOIN pragma_table_info(t.name) c
    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND c.pk > 0
    GROUP BY t.name
    UNION ALL
    SELECT t.name || ' FOREIGN KEY (' || f.\"from\" || ') REFERENCES ' || f.\"table\" || '('
        || f.\"to\" || ')' || CASE WHEN f.on_delete = 'NO ACTION' THEN ''
           ELSE ' ON DELETE ' || f.on_delete END AS line
    FROM sqlite_master t JOIN pragma_foreign_key_list(t.name) f
    WHERE t.type = 'table'";
const POSTGRES_KEYS: &str = "
    SELECT conrelid::regclass::text || ' ' || pg_get_constraintdef(oid) AS line
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'f')";
const SQLITE_INDEXES: &str = "
    SELECT sql AS line FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL";
const POSTGRES_INDEXES: &str = "
    SELECT indexdef AS line FROM pg_indexes
    WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey'";

async fn lines(tx: &mut Tx, sql: &'static str) -> BTreeSet<String> {
    let rows: Vec<Row> = tx.rows(sql, params![]).await.unwrap();
    rows.iter()
        .map(|row| normal(&row.get::<String>("line").unwrap()))
        .collect()
}

/// One spelling for what the two spell differently.
fn normal(line: &str) -> String {
    let mut line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    for (from, to) in [
        (" INTEGER ", " bigint "),
        (" BIGINT ", " bigint "),
        (" BLOB ", " bytea "),
        (" TEXT ", " text "),
        ("public.", ""),
        (" USING btree", ""),
        ("::text", ""),
    ] {
        line = line.replace(from, to);
    }
    match line.split_once(" WHERE ") {
        Some((index, predicate)) => {
            format!("{index} WHERE {}", predicate.replace(['(', ')'], ""))
        }
        None => line,
    }
}

#[tokio::test]
async fn both_databases_have_the_same_tables_keys_and_indexes() {
    let (sqlite, postgres) = (testing::sqlite().await, testing::postgres().await);
    let mut state = sqlite.store.read().await.unwrap();
    let mut logs = sqlite.store.read_logs().await.unwrap();
    let mut both = postgres.store.read().await.unwrap();
    for (ours, theirs, least) in [
        (SQLITE_COLUMNS, POSTGRES_COLUMNS, 150),
        (SQLITE_KEYS, POSTGRES_KEYS, 40),
        (SQLITE_INDEXES, POSTGRES_INDEXES, 25),
    ] {
        let mut found = lines(&mut state, ours).await;
        found.extend(lines(&mut logs, ours).await);
        let expected = lines(&mut both, theirs).await;
        let only_sqlite: Vec<_> = found.difference(&expected).collect();
        let only_postgres: Vec<_> = expected.difference(&found).collect();
        assert!(
            only_sqlite.is_empty() && only_postgres.is_empty(),
            "only in SQLite: {only_sqlite:#?}\nonly in PostgreSQL: {only_postgres:#?}"
        );
        assert!(found.len() >= least, "{} lines seem too few", found.len());
    }
}

#[tokio::test]
async fn every_text_of_postgresql_sorts_by_bytes_as_sqlite_does() {
    let postgres = testing::postgres().await;
    let mut tx = postgres.store.read().await.unwrap();
    let others = lines(
        &mut tx,
        "SELECT table_name || '.' || column_name AS line FROM information_schema.columns
         WHERE table_schema = 'public' AND data_type = 'text'
           AND table_name <> 'schema_migration' AND collation_name IS DISTINCT FROM 'C'",
    )
    .await;
    assert!(others.is_empty(), "without COLLATE \"C\": {others:?}");
}

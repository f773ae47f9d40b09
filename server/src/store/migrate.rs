//! Bringing a database's schema up to date.
//!
//! Each migration and the note that it ran are one transaction, in SQLite as in PostgreSQL, so a
//! process that is killed leaves the schema before or after it. A copy of an existing SQLite file
//! is made before its first pending migration. A schema newer than this binary is refused.

use std::path::{Path, PathBuf};

use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use sqlx::{AssertSqlSafe, Row as _};

use super::error::StoreError;

/// Which of the two schemas. PostgreSQL holds both in one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Component {
    State,
    Logs,
}

/// One step of a schema, in both dialects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    pub(super) version: i64,
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

/// The state's schema. Steps are only ever added; one that was released is never edited.
pub(super) const STATE: &[Migration] = &[
    Migration {
        version: 1,
        sqlite: include_str!("migrations/sqlite/state/0001_initial.sql"),
        postgres: include_str!("migrations/postgres/state/0001_initial.sql"),
    },
    Migration {
        version: 2,
        sqlite: include_str!("migrations/sqlite/state/0002_releases.sql"),
        postgres: include_str!("migrations/postgres/state/0002_releases.sql"),
    },
    Migration {
        version: 3,
        sqlite: include_str!("migrations/sqlite/state/0003_variable_sets.sql"),
        postgres: include_str!("migrations/postgres/state/0003_variable_sets.sql"),
    },
    Migration {
        version: 4,
        sqlite: include_str!("migrations/sqlite/state/0004_task_queue.sql"),
        postgres: include_str!("migrations/postgres/state/0004_task_queue.sql"),
    },
    Migration {
        version: 5,
        sqlite: include_str!("migrations/sqlite/state/0005_held_lock.sql"),
        postgres: include_str!("migrations/postgres/state/0005_held_lock.sql"),
    },
    Migration {
        version: 6,
        sqlite: include_str!("migrations/sqlite/state/0006_maintenance.sql"),
        postgres: include_str!("migrations/postgres/state/0006_maintenance.sql"),
    },
    Migration {
        version: 7,
        sqlite: include_str!("migrations/sqlite/state/0007_artifact.sql"),
        postgres: include_str!("migrations/postgres/state/0007_artifact.sql"),
    },
    Migration {
        version: 8,
        sqlite: include_str!("migrations/sqlite/state/0008_unblocked.sql"),
        postgres: include_str!("migrations/postgres/state/0008_unblocked.sql"),
    },
    Migration {
        version: 9,
        sqlite: include_str!("migrations/sqlite/state/0009_upkeep.sql"),
        postgres: include_str!("migrations/postgres/state/0009_upkeep.sql"),
    },
    Migration {
        version: 10,
        sqlite: include_str!("migrations/sqlite/state/0010_interruption.sql"),
        postgres: include_str!("migrations/postgres/state/0010_interruption.sql"),
    },
    // 11 was never given out.
    Migration {
        version: 12,
        sqlite: include_str!("migrations/sqlite/state/0012_task_variables.sql"),
        postgres: include_str!("migrations/postgres/state/0012_task_variables.sql"),
    },
    Migration {
        version: 13,
        sqlite: include_str!("migrations/sqlite/state/0013_health.sql"),
        postgres: include_str!("migrations/postgres/state/0013_health.sql"),
    },
    Migration {
        version: 14,
        sqlite: include_str!("migrations/sqlite/state/0014_resolution.sql"),
        postgres: include_str!("migrations/postgres/state/0014_resolution.sql"),
    },
    Migration {
        version: 16,
        sqlite: include_str!("migrations/sqlite/state/0016_dashboard.sql"),
        postgres: include_str!("migrations/postgres/state/0016_dashboard.sql"),
    },
];

/// The logs' schema.
pub(super) const LOGS: &[Migration] = &[
    Migration {
        version: 1,
        sqlite: include_str!("migrations/sqlite/logs/0001_initial.sql"),
        postgres: include_str!("migrations/postgres/logs/0001_initial.sql"),
    },
    Migration {
        version: 2,
        sqlite: include_str!("migrations/sqlite/logs/0002_remarks.sql"),
        postgres: include_str!("migrations/postgres/logs/0002_remarks.sql"),
    },
];

/// Why a schema could not be brought up to date. The database is as it was, or at a step between.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A newer server wrote it.
    #[error(
        "the database was written by a newer mantle: its {component} schema is at version \
         {found}, this binary knows {known}; start the newer mantle again, or restore the copy \
         that it made before it changed the database (*.before-{found}.bak in the data folder)"
    )]
    Newer {
        /// `state` or `logs`.
        component: &'static str,
        /// The version in the database.
        found: i64,
        /// The newest version that this binary knows.
        known: i64,
    },
    /// The copy before the migration could not be made.
    #[error(
        "the database could not be copied to {path} before it is changed; make room there and \
         start again"
    )]
    Backup {
        /// The copy.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A migration did not run. It changed nothing.
    #[error("version {version} of the {component} schema could not be reached")]
    Step {
        /// `state` or `logs`.
        component: &'static str,
        /// The version that was tried.
        version: i64,
        /// Why.
        #[source]
        source: StoreError,
    },
}

impl Component {
    fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Logs => "logs",
        }
    }

    fn migrations(self) -> &'static [Migration] {
        match self {
            Self::State => STATE,
            Self::Logs => LOGS,
        }
    }
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migration (
    component TEXT NOT NULL,
    version BIGINT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (component, version)
)";

/// Brings a SQLite file up to date. `pool` is its only writer.
pub(super) async fn sqlite(
    pool: &SqlitePool,
    path: &Path,
    component: Component,
) -> Result<(), MigrateError> {
    sqlite_with(pool, path, component, component.migrations()).await
}

pub(super) async fn sqlite_with(
    pool: &SqlitePool,
    path: &Path,
    component: Component,
    migrations: &[Migration],
) -> Result<(), MigrateError> {
    let failed = |version, source: sqlx::Error| MigrateError::Step {
        component: component.name(),
        version,
        source: source.into(),
    };
    let mut connection = pool.acquire().await.map_err(|e| failed(0, e))?;
    sqlx::raw_sql(TABLE)
        .execute(&mut *connection)
        .await
        .map_err(|e| failed(0, e))?;
    let found: i64 = sqlx::query(
        "SELECT COALESCE(MAX(version), 0) AS version FROM schema_migration WHERE component = $1",
    )
    .bind(component.name())
    .fetch_one(&mut *connection)
    .await
    .and_then(|row| row.try_get("version"))
    .map_err(|e| failed(0, e))?;
    let pending = pending(component, migrations, found)?;
    for migration in pending {
        let version = migration.version;
        if found > 0 {
            backup(&mut connection, path, version).await?;
        }
        let script = sqlite_script(component, migration);
        sqlx::raw_sql(AssertSqlSafe(script))
            .execute(&mut *connection)
            .await
            .map_err(|e| failed(version, e))?;
    }
    Ok(())
}

/// A whole migration as one script: had it failed half-way, the open transaction would be rolled
/// back when the connection goes back to its pool.
fn sqlite_script(component: Component, migration: &Migration) -> String {
    format!(
        "BEGIN IMMEDIATE;\n{}\n{}\nCOMMIT;",
        migration.sqlite,
        note(component, migration.version, "unixepoch() * 1000000"),
    )
}

fn note(component: Component, version: i64, now: &str) -> String {
    format!(
        "INSERT INTO schema_migration (component, version, at_us) VALUES ('{}', {version}, {now});",
        component.name(),
    )
}

fn pending(
    component: Component,
    migrations: &[Migration],
    found: i64,
) -> Result<impl Iterator<Item = &Migration>, MigrateError> {
    let known = migrations.last().map_or(0, |last| last.version);
    if found > known {
        return Err(MigrateError::Newer {
            component: component.name(),
            found,
            known,
        });
    }
    Ok(migrations.iter().filter(move |m| m.version > found))
}

/// Where the copy lies that is made before a file is brought to this version.
pub(super) fn backup_path(path: &Path, version: i64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".before-{version}.bak"));
    PathBuf::from(name)
}

/// Copies the file, whole or not at all: SQLite writes a new one, which then gets its name.
async fn backup(
    connection: &mut sqlx::SqliteConnection,
    path: &Path,
    version: i64,
) -> Result<(), MigrateError> {
    let copy = backup_path(path, version);
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| MigrateError::Backup {
        path: copy.display().to_string(),
        source,
    };
    let mut part = copy.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    // Left by a process that was killed while it copied.
    match tokio::fs::remove_file(&part).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed(error.into()));
        }
        _ => {}
    }
    sqlx::query("VACUUM INTO $1")
        .bind(part.to_string_lossy().into_owned())
        .execute(&mut *connection)
        .await
        .map_err(|e| failed(e.into()))?;
    let done = async {
        tokio::fs::File::open(&part).await?.sync_all().await?;
        tokio::fs::rename(&part, &copy).await
    };
    done.await.map_err(|e| failed(e.into()))
}

/// Serialises servers that start at once on one PostgreSQL. The number is arbitrary and ours.
const POSTGRES_LOCK: i64 = 0x6d61_6e74_6c65;

/// Brings a PostgreSQL database up to date: all pending steps of both schemas in one transaction.
pub(super) async fn postgres(pool: &PgPool) -> Result<(), MigrateError> {
    for component in [Component::State, Component::Logs] {
        postgres_with(pool, component, component.migrations()).await?;
    }
    Ok(())
}

pub(super) async fn postgres_with(
    pool: &PgPool,
    component: Component,
    migrations: &[Migration],
) -> Result<(), MigrateError> {
    let failed = |version, source: sqlx::Error| MigrateError::Step {
        component: component.name(),
        version,
        source: source.into(),
    };
    let mut tx = pool.begin().await.map_err(|e| failed(0, e))?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(POSTGRES_LOCK)
        .execute(&mut *tx)
        .await
        .map_err(|e| failed(0, e))?;
    sqlx::raw_sql(TABLE)
        .execute(&mut *tx)
        .await
        .map_err(|e| failed(0, e))?;
    let found: i64 = sqlx::query(
        "SELECT COALESCE(MAX(version), 0) AS version FROM schema_migration WHERE component = $1",
    )
    .bind(component.name())
    .fetch_one(&mut *tx)
    .await
    .and_then(|row| row.try_get("version"))
    .map_err(|e| failed(0, e))?;
    for migration in pending(component, migrations, found)? {
        let now = "(EXTRACT(EPOCH FROM now()) * 1000000)::BIGINT";
        let script = format!(
            "{}\n{}",
            migration.postgres,
            note(component, migration.version, now)
        );
        sqlx::raw_sql(AssertSqlSafe(script))
            .execute(&mut *tx)
            .await
            .map_err(|e| failed(migration.version, e))?;
    }
    tx.commit().await.map_err(|e| failed(0, e))
}

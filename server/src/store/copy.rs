//! Copies of the SQLite files, made while a server works on them, and what a copy says of itself.
//!
//! What must hold of a copy: its state refers to no log that it lacks. The server commits records
//! before the state that rests on them, so the state is copied first and the logs after it; and it
//! removes the state that names a log before the log, under the lock that a copy holds.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use mantle_shared::Digest;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::error::{Result, StoreError};
use super::migrate::{LOGS, STATE};
use super::open::{LOGS_FILE, STATE_FILE};

/// The files of a copy.
pub const COPIED_FILES: [&str; 2] = [STATE_FILE, LOGS_FILE];

/// Readers do not wait for the writer, so only a file that is being made is waited for.
const BUSY: Duration = Duration::from_secs(15);
/// The version of the state's schema from which on there are collected files.
const ARTIFACTS_SINCE: i64 = 7;
const LOCK_FILE: &str = "maintenance.lock";

/// Held by a copy, and by whoever removes logs, until it is dropped or the process ends.
#[derive(Debug)]
pub struct MaintenanceLock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl MaintenanceLock {
    /// Waits until it is free, and takes it. Blocks.
    pub fn take(folder: &Path) -> std::io::Result<Self> {
        let file = Self::open(folder)?;
        file.lock()?;
        Ok(Self(file))
    }

    /// Takes it, if it is free.
    pub fn try_take(folder: &Path) -> std::io::Result<Option<Self>> {
        let file = Self::open(folder)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn open(folder: &Path) -> std::io::Result<File> {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK_FILE))
    }
}

/// A package that a copy's database names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedPackage {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The root of its manifest.
    pub root: Digest,
    /// The digest of its archive.
    pub archive: Digest,
}

/// A collected file that a copy's database names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedArtifact {
    /// The number of its task.
    pub task: u64,
    /// What it is called.
    pub name: String,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// What a copy says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFacts {
    /// Its epoch counter.
    pub epoch: u64,
    /// Every package version.
    pub packages: Vec<CopiedPackage>,
    /// Every collected file that is stored.
    pub artifacts: Vec<CopiedArtifact>,
    /// The versions of its two schemas.
    pub schemas: (i64, i64),
}

/// Copies both files of a data folder into another one, where they must not be. The caller holds the
/// [`MaintenanceLock`].
pub async fn sqlite_copy(folder: &Path, into: &Path) -> Result<()> {
    for name in COPIED_FILES {
        let mut connection = connect(&folder.join(name)).await?;
        let target = into.join(name).to_string_lossy().into_owned();
        sqlx::query("VACUUM INTO $1")
            .bind(target)
            .execute(&mut connection)
            .await?;
        connection.close().await?;
    }
    Ok(())
}

/// Reads what a copy says of itself.
pub async fn sqlite_copy_facts(folder: &Path) -> Result<CopyFacts> {
    let mut logs = connect(&folder.join(LOGS_FILE)).await?;
    let logs_version = version(&mut logs, "logs").await?;
    logs.close().await?;
    let mut state = connect(&folder.join(STATE_FILE)).await?;
    let state_version = version(&mut state, "state").await?;
    let epoch: i64 = sqlx::query("SELECT value FROM counter WHERE name = 'epoch'")
        .fetch_one(&mut state)
        .await?
        .try_get("value")?;
    let rows = sqlx::query(
        "SELECT package_id, version, root, archive FROM package_version
         ORDER BY package_id, version",
    )
    .fetch_all(&mut state)
    .await?;
    let artifacts = if state_version >= ARTIFACTS_SINCE {
        artifacts(&mut state).await?
    } else {
        Vec::new()
    };
    state.close().await?;
    let packages = rows
        .iter()
        .map(|row| {
            Ok(CopiedPackage {
                id: row.try_get("package_id")?,
                version: row.try_get("version")?,
                root: digest(row.try_get("root")?)?,
                archive: digest(row.try_get("archive")?)?,
            })
        })
        .collect::<Result<_>>()?;
    Ok(CopyFacts {
        epoch: u64::try_from(epoch).unwrap_or(0),
        packages,
        artifacts,
        schemas: (state_version, logs_version),
    })
}

async fn artifacts(state: &mut SqliteConnection) -> Result<Vec<CopiedArtifact>> {
    let rows = sqlx::query(
        "SELECT task.number, artifact.name, artifact.digest
         FROM artifact JOIN task ON task.id = artifact.task_id
         WHERE artifact.state IN ('stored', 'kept') ORDER BY task.number, artifact.number",
    )
    .fetch_all(state)
    .await?;
    rows.iter()
        .map(|row| {
            let number: i64 = row.try_get("number")?;
            Ok(CopiedArtifact {
                task: u64::try_from(number).unwrap_or(0),
                name: row.try_get("name")?,
                digest: digest(row.try_get("digest")?)?,
            })
        })
        .collect()
}

fn digest(bytes: Vec<u8>) -> Result<Digest> {
    <[u8; 32]>::try_from(bytes)
        .map(Digest::from_bytes)
        .map_err(|_| StoreError::corrupt("a digest"))
}

/// A value that the copy's server kept of itself.
pub async fn sqlite_copy_meta(folder: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let mut state = connect(&folder.join(STATE_FILE)).await?;
    let row = sqlx::query("SELECT value FROM server_meta WHERE name = $1")
        .bind(name)
        .fetch_optional(&mut state)
        .await?;
    state.close().await?;
    Ok(row.map(|row| row.try_get("value")).transpose()?)
}

/// Sets a value in a copy that nobody works on yet.
pub async fn sqlite_copy_mark(folder: &Path, name: &str, value: &[u8]) -> Result<()> {
    let mut state = connect(&folder.join(STATE_FILE)).await?;
    sqlx::query(
        "INSERT INTO server_meta (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(&mut state)
    .await?;
    state.close().await?;
    Ok(())
}

/// Looks through a copy's files; the sentence says what is wrong with one.
pub async fn sqlite_copy_check(folder: &Path) -> Result<Option<String>> {
    for name in COPIED_FILES {
        let mut connection = connect(&folder.join(name)).await?;
        let found: String = sqlx::query("PRAGMA quick_check(1)")
            .fetch_one(&mut connection)
            .await?
            .try_get(0)?;
        connection.close().await?;
        if found != "ok" {
            return Ok(Some(format!("{name} is damaged: {found}")));
        }
    }
    let (state, logs) = sqlite_copy_facts(folder).await?.schemas;
    let known = |list: &[super::migrate::Migration]| list.last().map_or(0, |last| last.version);
    if state > known(STATE) || logs > known(LOGS) {
        return Ok(Some(format!(
            "a newer mantle wrote it (schemas {state} and {logs}, this one knows {} and {}); \
             restore with that one",
            known(STATE),
            known(LOGS)
        )));
    }
    Ok(None)
}

async fn connect(path: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .disable_statement_logging();
    Ok(options.connect().await?)
}

async fn version(connection: &mut SqliteConnection, component: &str) -> Result<i64> {
    let row = sqlx::query(
        "SELECT COALESCE(MAX(version), 0) AS version FROM schema_migration WHERE component = $1",
    )
    .bind(component)
    .fetch_one(connection)
    .await?;
    Ok(row.try_get("version")?)
}

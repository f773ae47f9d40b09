//! Opening the database: SQLite in the data folder, or PostgreSQL by URL.
//!
//! SQLite has one writer for the state and one for the logs, each a pool of a single connection,
//! so writers queue up here in order rather than fail in SQLite. Readers never wait for them (WAL).
//! Both files are written with `synchronous=FULL`: what was acknowledged survives a power cut, be
//! it a state change or a log line.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{Executor as _, PgConnection, Postgres, Sqlite, SqliteConnection};
use tokio::sync::Semaphore;

use super::error::{Result, StoreError};
use super::lock::{FolderLock, LockError};
use super::migrate::{self, Component, MigrateError};
use super::reserve::Reserve;
use super::room::{Room, RoomLeft};
use super::tx::{LogTx, Mode, Tx};

/// The state's file in the data folder.
pub const STATE_FILE: &str = "mantle.db";
/// The logs' file in the data folder.
pub const LOGS_FILE: &str = "logs.db";

/// How long a transaction waits for its turn before the caller is told that the database is busy.
const TURN_DEADLINE: Duration = Duration::from_secs(15);
/// Readers of one SQLite file: more than that only contend for its page cache.
const SQLITE_READERS: u32 = 4;
/// Connections to PostgreSQL of one server process.
const POSTGRES_CONNECTIONS: u32 = 12;

/// Where the database is.
#[derive(Clone)]
pub enum StoreConfig {
    /// SQLite files in this folder, which exists.
    Sqlite {
        /// The data folder.
        folder: PathBuf,
    },
    /// A PostgreSQL database.
    Postgres {
        /// `postgres://user:password@host:port/database`.
        url: String,
    },
}

impl std::fmt::Debug for StoreConfig {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite { folder } => f.debug_struct("Sqlite").field("folder", folder).finish(),
            Self::Postgres { .. } => f.debug_struct("Postgres").finish_non_exhaustive(),
        }
    }
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server works on this folder, or the folder cannot be written.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The URL cannot be read.
    #[error(
        "the database URL cannot be read; it looks like postgres://user:password@host/database"
    )]
    Url(#[source] Option<sqlx::Error>),
    /// The database could not be reached or opened.
    #[error("the database at {place} could not be opened")]
    Connect {
        /// The file, or the server's host.
        place: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Its schema could not be brought up to date.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
}

/// The database. Clones share it.
#[derive(Clone)]
pub struct Store {
    pools: Arc<Pools>,
    room: Arc<Room>,
}

enum Pools {
    Sqlite {
        state: Files,
        logs: Files,
        _lock: FolderLock,
    },
    Postgres {
        pool: PgPool,
        /// Whose turn it is to write, within this process: those that wait take no connection.
        turn: Arc<Semaphore>,
    },
}

struct Files {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Store {
    /// Opens the database, creates it if there is none and brings its schema up to date.
    pub async fn open(config: StoreConfig) -> Result<Self, OpenError> {
        let room = Arc::new(match &config {
            StoreConfig::Sqlite { folder } => Room::of(folder),
            StoreConfig::Postgres { .. } => Room::default(),
        });
        let pools = match config {
            StoreConfig::Sqlite { folder } => {
                let lock = FolderLock::take(&folder)?;
                let state = open_sqlite(&folder.join(STATE_FILE), Component::State).await?;
                let logs = open_sqlite(&folder.join(LOGS_FILE), Component::Logs).await?;
                Pools::Sqlite {
                    state,
                    logs,
                    _lock: lock,
                }
            }
            StoreConfig::Postgres { url } => Pools::Postgres {
                pool: open_postgres(&url).await?,
                turn: Arc::new(Semaphore::new(1)),
            },
        };
        Ok(Self {
            pools: Arc::new(pools),
            room,
        })
    }

    /// What of the disk is kept free for what must not wait for room; nothing where the database is another
    /// machine's.
    pub fn reserve(&self) -> Option<Reserve> {
        self.room.folder().map(Reserve::of)
    }

    /// How much room there is for what is written. Asks the file system.
    pub fn room_left(&self) -> RoomLeft {
        self.room.look()
    }

    /// Starts a transaction that writes the state. There is one at a time: hold it for statements
    /// only, never across another wait.
    pub async fn begin(&self) -> Result<Tx> {
        match &*self.pools {
            Pools::Sqlite { state, .. } => {
                Tx::begin_sqlite(state.writer.acquire().await?, Mode::Write, &self.room).await
            }
            Pools::Postgres { pool, turn } => {
                let turn = tokio::time::timeout(TURN_DEADLINE, Arc::clone(turn).acquire_owned());
                let turn = turn.await.map_err(|_| StoreError::Busy(None))?;
                let turn = turn.map_err(|_| StoreError::Unavailable(None))?;
                Tx::begin_postgres(pool.acquire().await?, Mode::Write, Some(turn), &self.room).await
            }
        }
    }

    /// Starts a transaction that reads the state, all of it as it is at one moment.
    pub async fn read(&self) -> Result<Tx> {
        match &*self.pools {
            Pools::Sqlite { state, .. } => {
                Tx::begin_sqlite(state.readers.acquire().await?, Mode::Read, &self.room).await
            }
            Pools::Postgres { pool, .. } => {
                Tx::begin_postgres(pool.acquire().await?, Mode::Read, None, &self.room).await
            }
        }
    }

    /// Starts a transaction that writes the logs.
    pub async fn begin_logs(&self) -> Result<LogTx> {
        let tx = match &*self.pools {
            Pools::Sqlite { logs, .. } => {
                Tx::begin_sqlite(logs.writer.acquire().await?, Mode::WriteLogs, &self.room).await?
            }
            Pools::Postgres { pool, .. } => {
                Tx::begin_postgres(pool.acquire().await?, Mode::WriteLogs, None, &self.room).await?
            }
        };
        Ok(LogTx::new(tx))
    }

    /// Starts a transaction that reads the logs.
    pub async fn read_logs(&self) -> Result<LogTx> {
        let tx = match &*self.pools {
            Pools::Sqlite { logs, .. } => {
                Tx::begin_sqlite(logs.readers.acquire().await?, Mode::Read, &self.room).await?
            }
            Pools::Postgres { pool, .. } => {
                Tx::begin_postgres(pool.acquire().await?, Mode::Read, None, &self.room).await?
            }
        };
        Ok(LogTx::new(tx))
    }

    /// Does the work in one transaction on the state and commits it, or rolls all of it back.
    ///
    /// `store.write(async |tx| { ... Ok(..) }).await`
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut Tx) -> Result<T, E>,
        E: From<StoreError>,
    {
        let mut tx = self.begin().await?;
        let value = work(&mut tx).await?;
        tx.commit().await?;
        Ok(value)
    }

    /// The same on the logs.
    pub async fn write_logs<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut LogTx) -> Result<T, E>,
        E: From<StoreError>,
    {
        let mut tx = self.begin_logs().await?;
        let value = work(&mut tx).await?;
        tx.commit().await?;
        Ok(value)
    }

    /// Closes all connections; transactions under way are awaited.
    pub async fn close(&self) {
        match &*self.pools {
            Pools::Sqlite { state, logs, .. } => {
                for files in [state, logs] {
                    files.readers.close().await;
                    files.writer.close().await;
                }
            }
            Pools::Postgres { pool, turn } => {
                turn.close();
                pool.close().await;
            }
        }
    }
}

async fn open_sqlite(path: &Path, component: Component) -> Result<Files, OpenError> {
    let failed = |source: sqlx::Error| OpenError::Connect {
        place: path.display().to_string(),
        source: source.into(),
    };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(TURN_DEADLINE)
        .disable_statement_logging();
    let writing = options
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let writer = sqlite_pool(1).connect_with(writing).await.map_err(failed)?;
    migrate::sqlite(&writer, path, component).await?;
    let readers = sqlite_pool(SQLITE_READERS)
        .connect_with(options.pragma("query_only", "ON"))
        .await
        .map_err(failed)?;
    Ok(Files { writer, readers })
}

fn sqlite_pool(connections: u32) -> PoolOptions<Sqlite> {
    PoolOptions::<Sqlite>::new()
        .max_connections(connections)
        .acquire_timeout(TURN_DEADLINE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        // A transaction that was dropped ends here, before anyone else gets the connection. The
        // driver's own guard is not used: SQLite ends a transaction by itself when the disk is
        // full, and the guard would then believe for ever that one is open.
        .after_release(|connection, _| Box::pin(end_sqlite(connection)))
}

/// Whether the connection may go back to the pool.
async fn end_sqlite(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    match connection.execute("ROLLBACK").await {
        Ok(_) => Ok(true),
        Err(error) => Ok(error.to_string().contains("no transaction is active")),
    }
}

/// The same for PostgreSQL, which warns, rather than fails, if there is nothing to roll back. An
/// error makes the pool drop the connection without another word to a server that may be gone.
async fn end_postgres(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    tokio::time::timeout(TURN_DEADLINE, connection.execute("ROLLBACK"))
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        .map(|_| true)
}

async fn open_postgres(url: &str) -> Result<PgPool, OpenError> {
    // The driver takes any scheme and would look for a host of some other service.
    if !["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(OpenError::Url(None));
    }
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| OpenError::Url(Some(error)))?
        .application_name("mantle")
        // The server's own limits, so that a stuck client or lock frees itself.
        .options([
            ("statement_timeout", "30s"),
            ("lock_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "60s"),
        ])
        .disable_statement_logging();
    let place = options.get_host().to_owned();
    let pool = PoolOptions::<Postgres>::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(TURN_DEADLINE)
        .after_release(|connection, _| Box::pin(end_postgres(connection)))
        .connect_with(options)
        .await
        .map_err(|source| OpenError::Connect {
            place,
            source: source.into(),
        })?;
    migrate::postgres(&pool).await?;
    Ok(pool)
}

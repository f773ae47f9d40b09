//! One transaction on either database.
//!
//! Those that write the state come one after the other, on both databases: a use case may look at
//! what there is, decide, and write, and what it looked at is still so. With SQLite the file has
//! one writer; with PostgreSQL a lock that ends with the transaction gives all nodes their turns.
//!
//! A transaction that is dropped is rolled back. One in which a statement failed is over: it takes
//! no further statement and cannot be committed. SQLite would carry on and keep the half that
//! worked; PostgreSQL would answer a commit by silently rolling back. So what may be missing or may
//! be there already is asked for in the statement (`WHERE EXISTS`, `ON CONFLICT`), never tried.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{Database, Postgres, Sqlite};
use tokio::sync::OwnedSemaphorePermit;

use super::error::{Result, StoreError};
use super::room::Room;
use super::value::{Param, Row};

/// No statement of ours takes this long; one that does is on a database that went away.
const STATEMENT_DEADLINE: Duration = Duration::from_mins(1);

/// Waits for the turn of this transaction among those of all nodes that write the state, and keeps
/// it until the end of the transaction. The number is ours alone in this database.
const WRITERS_TURN: &str = "SELECT pg_advisory_xact_lock(5570194382217)";

/// A transaction on the state.
#[must_use = "a transaction that is not committed is rolled back"]
pub struct Tx {
    connection: Connection,
    failed: bool,
    deadline: Duration,
    /// Told of what is refused for want of room.
    room: Arc<Room>,
    writes: bool,
    wrote: bool,
    /// This process's turn to write, with PostgreSQL; given back when the transaction is over.
    _turn: Option<OwnedSemaphorePermit>,
}

/// A transaction on the logs, which SQLite keeps in a file of their own.
#[must_use = "a transaction that is not committed is rolled back"]
pub struct LogTx(Tx);

enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// How a transaction starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It writes the state. It waits here, once, for the one writer's turn.
    Write,
    /// It writes the logs.
    WriteLogs,
    /// It sees one state of the database from its first statement to its last.
    Read,
}

impl Tx {
    pub(super) async fn begin_sqlite(
        connection: PoolConnection<Sqlite>,
        mode: Mode,
        room: &Arc<Room>,
    ) -> Result<Self> {
        let sql = match mode {
            Mode::Write | Mode::WriteLogs => "BEGIN IMMEDIATE",
            Mode::Read => "BEGIN DEFERRED",
        };
        let mut tx = Self::on(Connection::Sqlite(connection), None, (mode, room));
        tx.script(sql).await?;
        Ok(tx)
    }

    /// `turn` is this process's turn to write, which a transaction that writes the state needs.
    pub(super) async fn begin_postgres(
        connection: PoolConnection<Postgres>,
        mode: Mode,
        turn: Option<OwnedSemaphorePermit>,
        room: &Arc<Room>,
    ) -> Result<Self> {
        let mut tx = Self::on(Connection::Postgres(connection), turn, (mode, room));
        match mode {
            Mode::Write => {
                tx.script("BEGIN").await?;
                // The next statement sees what the one before in turn has committed.
                tx.script(WRITERS_TURN).await?;
            }
            Mode::WriteLogs => tx.script("BEGIN").await?,
            Mode::Read => {
                let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                tx.script(sql).await?;
            }
        }
        Ok(tx)
    }

    fn on(
        connection: Connection,
        turn: Option<OwnedSemaphorePermit>,
        (mode, room): (Mode, &Arc<Room>),
    ) -> Self {
        Self {
            room: Arc::clone(room),
            wrote: false,
            writes: match mode {
                Mode::Write | Mode::WriteLogs => true,
                Mode::Read => false,
            },
            connection,
            failed: false,
            deadline: STATEMENT_DEADLINE,
            _turn: turn,
        }
    }

    /// Keeps what was done. An error that [is retryable](StoreError::is_retryable) leaves open whether
    /// it was kept: the connection to PostgreSQL may break or go silent at this very moment. Whoever
    /// tries again must write what is the same if it is written twice, or look first. Any other error
    /// means that nothing was kept.
    pub async fn commit(mut self) -> Result<()> {
        self.check()?;
        let done = if self.is_postgres() {
            self.script("COMMIT").await
        } else {
            // A file answers in the end, however slow the disk. Not to wait for it would not stop
            // it: the commit goes on, and its caller would take it for failed.
            self.statements("COMMIT").await
        };
        self.note_room(&done);
        if done.is_ok() && self.writes && self.wrote {
            self.room.note_taken();
        }
        done
    }

    fn note_room<T>(&self, done: &Result<T>) {
        if let Err(StoreError::NoSpace(_)) = done {
            self.room.note_refused();
        }
    }

    /// Every later statement of this transaction is out of time.
    #[cfg(test)]
    pub(super) fn let_no_time(&mut self) {
        self.deadline = Duration::ZERO;
    }

    /// A statement failed before, so no other one is taken.
    fn check(&self) -> Result<()> {
        if self.failed {
            return Err(StoreError::Aborted);
        }
        Ok(())
    }

    /// The database is PostgreSQL; else it is SQLite.
    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.connection, Connection::Postgres(_))
    }

    /// Carries out a statement and says how many rows it touched.
    pub(super) fn exec<'t>(
        &'t mut self,
        sql: &'static str,
        params: Vec<Param>,
    ) -> BoxFuture<'t, Result<u64>> {
        Box::pin(async move {
            self.check()?;
            let work = async {
                match &mut self.connection {
                    Connection::Sqlite(connection) => {
                        let query = bind_sqlite(sqlx::query(sql), params);
                        Ok(query.execute(&mut **connection).await?.rows_affected())
                    }
                    Connection::Postgres(connection) => {
                        let query = bind_postgres(sqlx::query(sql), params);
                        Ok(query.execute(&mut **connection).await?.rows_affected())
                    }
                }
            };
            let result = within(self.deadline, work).await;
            self.failed |= result.is_err();
            self.wrote |= result.as_ref().is_ok_and(|rows| *rows > 0);
            self.note_room(&result);
            result
        })
    }

    /// Carries out a statement that must touch exactly one row; otherwise says what is not so.
    pub(super) async fn exec_one(
        &mut self,
        sql: &'static str,
        params: Vec<Param>,
        otherwise: StoreError,
    ) -> Result<()> {
        match self.exec(sql, params).await? {
            1 => Ok(()),
            _ => Err(otherwise),
        }
    }

    /// All rows of a query. The query bounds them.
    pub(super) fn rows<'t>(
        &'t mut self,
        sql: &'static str,
        params: Vec<Param>,
    ) -> BoxFuture<'t, Result<Vec<Row>>> {
        Box::pin(async move {
            let deadline = self.deadline;
            let work = self.stream(sql, params).try_collect();
            within(deadline, work).await
        })
    }

    /// The only row of a query, if there is one.
    pub(super) async fn row(
        &mut self,
        sql: &'static str,
        params: Vec<Param>,
    ) -> Result<Option<Row>> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    /// The rows of a query, as they come. Each has a deadline of its own.
    pub(super) fn stream<'t>(
        &'t mut self,
        sql: &'static str,
        params: Vec<Param>,
    ) -> BoxStream<'t, Result<Row>> {
        if let Err(error) = self.check() {
            return Box::pin(futures_util::stream::once(async { Err(error) }));
        }
        let Self {
            connection,
            failed,
            deadline,
            room,
            ..
        } = self;
        let rows: BoxStream<'t, Result<Row>> = match connection {
            Connection::Sqlite(connection) => Box::pin(
                bind_sqlite(sqlx::query(sql), params)
                    .fetch(&mut **connection)
                    .map_ok(Row::Sqlite)
                    .map_err(StoreError::from),
            ),
            Connection::Postgres(connection) => Box::pin(
                bind_postgres(sqlx::query(sql), params)
                    .fetch(&mut **connection)
                    .map_ok(Row::Postgres)
                    .map_err(StoreError::from),
            ),
        };
        let rows = tokio_stream::StreamExt::timeout(rows, *deadline);
        Box::pin(
            rows.map(|row| row.unwrap_or(Err(StoreError::Unavailable(None))))
                .inspect_err(|error| {
                    *failed = true;
                    if let StoreError::NoSpace(_) = error {
                        room.note_refused();
                    }
                }),
        )
    }

    /// Carries out statements without values.
    pub(super) async fn script(&mut self, sql: &'static str) -> Result<()> {
        self.check()?;
        let result = within(self.deadline, self.statements(sql)).await;
        self.failed |= result.is_err();
        result
    }

    async fn statements(&mut self, sql: &'static str) -> Result<()> {
        match &mut self.connection {
            Connection::Sqlite(connection) => {
                sqlx::raw_sql(sql).execute(&mut **connection).await?;
            }
            Connection::Postgres(connection) => {
                sqlx::raw_sql(sql).execute(&mut **connection).await?;
            }
        }
        Ok(())
    }
}

impl LogTx {
    pub(super) fn new(tx: Tx) -> Self {
        Self(tx)
    }

    /// Keeps what was done; see [`Tx::commit`].
    pub async fn commit(self) -> Result<()> {
        self.0.commit().await
    }
}

impl Deref for LogTx {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.0
    }
}

impl DerefMut for LogTx {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.0
    }
}

async fn within<T>(deadline: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    if deadline.is_zero() {
        return Err(StoreError::Unavailable(None));
    }
    tokio::time::timeout(deadline, work)
        .await
        .unwrap_or(Err(StoreError::Unavailable(None)))
}

type Bound<'q, DB> = Query<'q, DB, <DB as Database>::Arguments>;

fn bind_sqlite(mut query: Bound<'_, Sqlite>, params: Vec<Param>) -> Bound<'_, Sqlite> {
    for param in params {
        query = match param {
            Param::Int(value) => query.bind(value),
            Param::Text(value) => query.bind(value),
            Param::Blob(value) => query.bind(value),
        };
    }
    query
}

fn bind_postgres(mut query: Bound<'_, Postgres>, params: Vec<Param>) -> Bound<'_, Postgres> {
    for param in params {
        query = match param {
            Param::Int(value) => query.bind(value),
            Param::Text(value) => query.bind(value),
            Param::Blob(value) => query.bind(value),
        };
    }
    query
}

//! What can go wrong in the database, told apart by what the caller can do about it.

use sqlx::error::{DatabaseError, ErrorKind};

/// The result of everything in the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why the store did not do what was asked. Nothing of the transaction was kept, but see
/// [`Tx::commit`](super::Tx::commit).
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The named thing does not exist.
    #[error("there is no such {what}")]
    NotFound {
        /// What was looked for, such as `release`.
        what: &'static str,
    },
    /// It is not in the state that the change expects, or it exists already.
    #[error("the {what} is not what was expected: it exists already or was changed meanwhile")]
    Conflict {
        /// What stands in the way, such as `release`.
        what: &'static str,
    },
    /// Another transaction was in the way for too long. The same call may succeed later.
    #[error("the database is busy; try again")]
    Busy(#[source] Option<sqlx::Error>),
    /// The database cannot be reached or used just now. The same call may succeed later.
    #[error("the database cannot be used just now; try again")]
    Unavailable(#[source] Option<sqlx::Error>),
    /// The disk or the database's quota is full.
    #[error("the database has no room: free disk space where the server keeps its data")]
    NoSpace(#[source] sqlx::Error),
    /// What is stored cannot be what was written.
    #[error("the database is damaged at {what}; restore it from a backup")]
    Corrupt {
        /// Where, such as `column id`.
        what: String,
        /// What the database said, if it was the one to notice.
        #[source]
        source: Option<sqlx::Error>,
    },
    /// An earlier statement of this transaction failed, so it cannot be committed.
    #[error("an earlier statement of this transaction failed")]
    Aborted,
    /// A fault in a statement or in the driver.
    #[error("the database refused a statement")]
    Statement(#[source] sqlx::Error),
}

impl StoreError {
    /// There is no such thing.
    pub fn not_found(what: &'static str) -> Self {
        Self::NotFound { what }
    }

    /// It is not in the expected state.
    pub fn conflict(what: &'static str) -> Self {
        Self::Conflict { what }
    }

    /// The stored value of a column or file cannot be right.
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt {
            what: what.into(),
            source: None,
        }
    }

    /// The same call may succeed a moment later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Unavailable(_))
    }

    /// It collided with another transaction, and all of it was rolled back: the same again is
    /// harmless, and most often goes through at once.
    pub fn is_collision(&self) -> bool {
        let Self::Busy(Some(sqlx::Error::Database(error))) = self else {
            return false;
        };
        // Serialisation failure, deadlock.
        matches!(error.code().as_deref(), Some("40001" | "40P01"))
    }

    /// Names what exists already, when the database only knew that a rule was broken.
    #[must_use]
    pub fn naming(self, what: &'static str) -> Self {
        match self {
            Self::Conflict { .. } => Self::Conflict { what },
            other => other,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => classify(database.as_ref())(error),
            sqlx::Error::PoolTimedOut => Self::Busy(Some(error)),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unavailable(Some(error)),
            sqlx::Error::ColumnDecode { index, .. } => Self::Corrupt {
                what: format!("column {index}"),
                source: Some(error),
            },
            _ => Self::Statement(error),
        }
    }
}

fn classify(error: &dyn DatabaseError) -> fn(sqlx::Error) -> StoreError {
    match error.kind() {
        ErrorKind::UniqueViolation | ErrorKind::ForeignKeyViolation => {
            return |_| StoreError::conflict("record");
        }
        _ => {}
    }
    let code = error.code().unwrap_or_default();
    match code.parse::<i32>() {
        // PostgreSQL's codes have five characters, SQLite's fewer.
        Ok(number) if code.len() < 5 => classify_sqlite(number),
        _ => classify_postgres(&code),
    }
}

/// By the primary result code, the low byte of the extended one.
fn classify_sqlite(code: i32) -> fn(sqlx::Error) -> StoreError {
    match code & 0xff {
        // BUSY, LOCKED, and PROTOCOL: many tries to take a lock failed.
        5 | 6 | 15 => |e| StoreError::Busy(Some(e)),
        // FULL.
        13 => StoreError::NoSpace,
        // CORRUPT, NOTADB.
        11 | 26 => |e| StoreError::Corrupt {
            what: "its file".to_owned(),
            source: Some(e),
        },
        // NOMEM, READONLY, INTERRUPT, IOERR, CANTOPEN.
        7..=10 | 14 => |e| StoreError::Unavailable(Some(e)),
        _ => StoreError::Statement,
    }
}

/// By SQLSTATE.
fn classify_postgres(code: &str) -> fn(sqlx::Error) -> StoreError {
    match code {
        // Serialisation failure, deadlock, lock not available, statement cancelled by timeout.
        "40001" | "40P01" | "55P03" | "57014" => |e| StoreError::Busy(Some(e)),
        "53100" => StoreError::NoSpace,
        "XX001" | "XX002" => |e| StoreError::Corrupt {
            what: "its files".to_owned(),
            source: Some(e),
        },
        // Read-only transaction: a standby, or a server being switched over.
        "25006" => |e| StoreError::Unavailable(Some(e)),
        _ if ["08", "53", "57", "58"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            |e| StoreError::Unavailable(Some(e))
        }
        _ => StoreError::Statement,
    }
}

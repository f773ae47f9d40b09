//! The logs of tasks: what attempts and the server itself said, in compressed chunks.
//!
//! Two numberings meet here. An attempt's records are numbered from 0 by its supervisor; they are
//! stored once each, without a gap, however often they are sent. A task's log is numbered from 1
//! in the order in which records were committed, over all its attempts; readers resume by it.

use std::collections::{HashMap, VecDeque};

use futures_util::StreamExt as _;
use mantle_domain::ids::{AttemptId, TaskId};
use mantle_shared::Digest;
use mantle_shared::outputs::{OUTPUTS_SET_BYTES, OUTPUTS_TOLD, OutputTally};
use mantle_shared::protocol::{Level, Record, RecordBody, RecordHasher};

use super::artifact::NewArtifact;
use super::error::{Result, StoreError};
use super::log_chunk::{decode, encode};
use super::tx::LogTx;
use super::value::{Row, params};

/// Records a chunk, at most: opening the log at any place costs at most one such chunk.
const CHUNK_RECORDS: usize = 1000;
/// Bytes of text a chunk before compression, at most, unless a single record is larger.
const CHUNK_BYTES: usize = 256 * 1024;

/// A record in its task's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its number in the task's log, from 1.
    pub seq: u64,
    /// The attempt that said it and its number there; `None` if the server did.
    pub attempt: Option<(AttemptId, u64)>,
    /// What was said.
    pub record: Record,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogAppended {
    /// Records of the attempt below this number are stored, once this transaction is committed.
    pub next_seq: u64,
    /// The numbers in the task's log that the new records got; empty if none was new.
    pub first: u64,
    /// The number after the last of them.
    pub end: u64,
}

/// An output variable as it was reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogVariable {
    /// Its name.
    pub name: String,
    /// Its value, sealed if it is sensitive.
    pub value: String,
    /// It is sealed.
    pub sensitive: bool,
}

/// The output variables of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogVariables {
    /// Those within the limits, one of each name.
    pub kept: Vec<LogVariable>,
    /// The names of the first that are beyond them.
    pub left_out: Vec<String>,
    /// How often one was set that is beyond them.
    pub left_out_count: u64,
}

/// Stores records of an attempt. Those that are stored already are passed over; a conflict if
/// some before them are missing, for then the agent must send those first.
pub async fn log_append(
    tx: &mut LogTx,
    task: TaskId,
    attempt: AttemptId,
    first_seq: u64,
    records: &[Record],
) -> Result<LogAppended> {
    let position = position_ensure(tx, task, attempt).await?;
    if first_seq > position {
        return Err(StoreError::conflict(
            "log, whose earlier records are missing",
        ));
    }
    let known = usize::try_from(position - first_seq).unwrap_or(usize::MAX);
    let new = records.get(known..).unwrap_or_default();
    if new.is_empty() {
        return Ok(LogAppended {
            next_seq: position,
            first: 0,
            end: 0,
        });
    }
    let next_seq = position + new.len() as u64;
    position_advance(tx, attempt, position, next_seq).await?;
    let (first, end) = store(tx, task, Some(attempt), position, new).await?;
    Ok(LogAppended {
        next_seq,
        first,
        end,
    })
}

/// Puts a gap in the place of records that will not come, from the first number up to the second; gives
/// the first that is not stored then. What is stored of them already stays; a conflict if some before
/// them are missing.
pub async fn log_skip(
    tx: &mut LogTx,
    task: TaskId,
    attempt: AttemptId,
    (first_seq, next_seq): (u64, u64),
    (at_us, reason): (i64, &str),
) -> Result<u64> {
    let position = position_ensure(tx, task, attempt).await?;
    if first_seq > position {
        return Err(StoreError::conflict(
            "log, whose earlier records are missing",
        ));
    }
    if next_seq <= position {
        return Ok(position);
    }
    position_advance(tx, attempt, position, next_seq).await?;
    let gap = Record {
        at_us,
        body: RecordBody::Gap {
            lines: next_seq - position,
            bytes: 0,
            reason: reason.to_owned(),
        },
    };
    store(
        tx,
        task,
        Some(attempt),
        position,
        std::slice::from_ref(&gap),
    )
    .await?;
    Ok(next_seq)
}

/// The first record of an attempt that is not stored; from here on it is known whose it is.
async fn position_ensure(tx: &mut LogTx, task: TaskId, attempt: AttemptId) -> Result<u64> {
    tx.exec(
        "INSERT INTO log_attempt (attempt_id, task_id, next_seq) VALUES ($1, $2, 0)
         ON CONFLICT (attempt_id) DO NOTHING",
        params![attempt, task],
    )
    .await?;
    position_fetch(tx, task, attempt).await
}

async fn position_advance(tx: &mut LogTx, attempt: AttemptId, from: u64, to: u64) -> Result<()> {
    tx.exec_one(
        "UPDATE log_attempt SET next_seq = $3 WHERE attempt_id = $1 AND next_seq = $2",
        params![attempt, from, to],
        StoreError::Busy(None),
    )
    .await
}

/// Stores lines of the server's own in a task's log. Says which numbers they got: from, to.
pub async fn log_append_server(
    tx: &mut LogTx,
    task: TaskId,
    records: &[Record],
) -> Result<(u64, u64)> {
    if records.is_empty() {
        return Ok((0, 0));
    }
    store(tx, task, None, 0, records).await
}

async fn store(
    tx: &mut LogTx,
    task: TaskId,
    attempt: Option<AttemptId>,
    attempt_first_seq: u64,
    records: &[Record],
) -> Result<(u64, u64)> {
    let end: u64 = tx
        .row(
            "INSERT INTO log_task (task_id, next_seq) VALUES ($1, $2 + 1)
             ON CONFLICT (task_id) DO UPDATE SET next_seq = log_task.next_seq + $2
             RETURNING next_seq",
            params![task, records.len()],
        )
        .await?
        .ok_or(StoreError::conflict("log"))?
        .get("next_seq")?;
    let first = end - records.len() as u64;
    let (mut seq, mut attempt_seq) = (first, attempt_first_seq);
    for chunk in chunks(records) {
        let has_variables = chunk
            .iter()
            .any(|record| matches!(record.body, RecordBody::Variable { .. }));
        let has_remarks = chunk
            .iter()
            .any(|record| is_remark(record) || is_artifact(record));
        tx.exec(
            "INSERT INTO log_chunk (task_id, first_seq, count, attempt_id, attempt_first_seq,
                 has_variables, has_remarks, body)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            params![
                task,
                seq,
                chunk.len(),
                attempt,
                attempt_seq,
                has_variables,
                has_remarks,
                encode(chunk)?,
            ],
        )
        .await?;
        seq += chunk.len() as u64;
        attempt_seq += chunk.len() as u64;
    }
    Ok((first, end))
}

/// Whether a record is worth a look by itself.
fn is_remark(record: &Record) -> bool {
    match &record.body {
        RecordBody::Line { level, .. } | RecordBody::Piece { level, .. } => {
            matches!(level, Level::Highlight | Level::Warning)
        }
        RecordBody::Gap { .. } => true,
        RecordBody::Variable { .. } | RecordBody::Progress { .. } | RecordBody::Artifact { .. } => {
            false
        }
    }
}

/// Whether a record is about a collected file: such are looked for in the chunks that have remarks.
fn is_artifact(record: &Record) -> bool {
    matches!(record.body, RecordBody::Artifact { .. })
}

/// Cuts records into chunks of bounded size, each of at least one record.
fn chunks(records: &[Record]) -> Vec<&[Record]> {
    let mut cut = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let mut bytes = 0;
        let count = rest
            .iter()
            .take(CHUNK_RECORDS)
            .take_while(|record| {
                let fits = bytes < CHUNK_BYTES;
                bytes += record.body.text_bytes();
                fits
            })
            .count()
            .max(1);
        let (chunk, after) = rest.split_at(count);
        cut.push(chunk);
        rest = after;
    }
    cut
}

/// The first record of an attempt that is not stored; 0 for an attempt that has said nothing.
pub async fn log_position(tx: &mut LogTx, attempt: AttemptId) -> Result<u64> {
    tx.row(
        "SELECT next_seq FROM log_attempt WHERE attempt_id = $1",
        params![attempt],
    )
    .await?
    .map_or(Ok(0), |row| row.get("next_seq"))
}

async fn position_fetch(tx: &mut LogTx, task: TaskId, attempt: AttemptId) -> Result<u64> {
    let row = tx
        .row(
            "SELECT task_id, next_seq FROM log_attempt WHERE attempt_id = $1",
            params![attempt],
        )
        .await?
        .ok_or(StoreError::not_found("attempt"))?;
    if row.get::<TaskId>("task_id")? != task {
        return Err(StoreError::conflict("attempt, which is another task's"));
    }
    row.get("next_seq")
}

/// Records of a task with a higher number than this, in order, at least one and at most about
/// `limit` (whole chunks are not cut: a few more may come). 0 reads from the start.
pub async fn log_read(
    tx: &mut LogTx,
    task: TaskId,
    after: u64,
    limit: u32,
) -> Result<Vec<LogRecord>> {
    let mut records = Vec::new();
    // The chunk that holds the next number begins at or before it: one step in the index.
    let mut chunks = tx.stream(
        "SELECT * FROM log_chunk
         WHERE task_id = $1 AND first_seq >= COALESCE(
             (SELECT MAX(first_seq) FROM log_chunk WHERE task_id = $1 AND first_seq <= $2), 0)
         ORDER BY first_seq LIMIT $3",
        // Each chunk holds at least one record, so this many are enough.
        params![task, after + 1, u64::from(limit) + 1],
    );
    while let Some(row) = chunks.next().await {
        records.extend(
            chunk_records(&row?)?
                .into_iter()
                .filter(|record| record.seq > after),
        );
        if records.len() >= limit as usize {
            break;
        }
    }
    Ok(records)
}

/// Records of a task with a lower number than this, in order, the last about `limit` of them.
/// What a reader asks who scrolls up; with `u64::MAX`, the tail.
pub async fn log_read_before(
    tx: &mut LogTx,
    task: TaskId,
    before: u64,
    limit: u32,
) -> Result<Vec<LogRecord>> {
    let mut pages = Vec::new();
    let mut count = 0;
    let mut chunks = tx.stream(
        "SELECT * FROM log_chunk WHERE task_id = $1 AND first_seq < $2
         ORDER BY first_seq DESC LIMIT $3",
        params![task, before, limit],
    );
    while let Some(row) = chunks.next().await {
        let mut page = chunk_records(&row?)?;
        page.retain(|record| record.seq < before);
        count += page.len();
        pages.push(page);
        if count >= limit as usize {
            break;
        }
    }
    Ok(pages.into_iter().rev().flatten().collect())
}

/// The warnings, highlights and gaps of a task after this number, in order, about `limit` of them.
/// Chunks without any are not read.
pub async fn log_read_remarks(
    tx: &mut LogTx,
    task: TaskId,
    after: u64,
    limit: u32,
) -> Result<Vec<LogRecord>> {
    let mut records = Vec::new();
    let mut chunks = tx.stream(
        "SELECT * FROM log_chunk
         WHERE task_id = $1 AND has_remarks = 1 AND first_seq + count > $2
         ORDER BY first_seq",
        params![task, after + 1],
    );
    while let Some(row) = chunks.next().await {
        records.extend(
            chunk_records(&row?)?
                .into_iter()
                .filter(|record| record.seq > after && is_remark(&record.record)),
        );
        if records.len() >= limit as usize {
            break;
        }
    }
    Ok(records)
}

/// The last number in a task's log; 0 if it is empty.
pub async fn log_last(tx: &mut LogTx, task: TaskId) -> Result<u64> {
    tx.row(
        "SELECT next_seq - 1 AS last FROM log_task WHERE task_id = $1",
        params![task],
    )
    .await?
    .map_or(Ok(0), |row| row.get("last"))
}

/// Records of one attempt from this number of its own on, in order, about `limit` of them.
pub async fn log_read_attempt(
    tx: &mut LogTx,
    attempt: AttemptId,
    from_seq: u64,
    limit: u32,
) -> Result<Vec<LogRecord>> {
    let mut records = Vec::new();
    let mut chunks = tx.stream(
        "SELECT * FROM log_chunk
         WHERE attempt_id = $1 AND attempt_first_seq + count > $2
         ORDER BY attempt_first_seq LIMIT $3",
        params![attempt, from_seq, u64::from(limit) + 1],
    );
    while let Some(row) = chunks.next().await {
        records.extend(
            chunk_records(&row?)?
                .into_iter()
                .filter(|record| record.attempt.is_some_and(|(_, seq)| seq >= from_seq)),
        );
        if records.len() >= limit as usize {
            break;
        }
    }
    Ok(records)
}

/// The count and hash of all stored records of an attempt, to be compared with what its end says.
/// Reads them chunk by chunk, so its memory does not grow with the log.
pub async fn log_digest(tx: &mut LogTx, attempt: AttemptId) -> Result<(u64, Digest)> {
    let mut hasher = RecordHasher::new();
    let mut chunks = tx.stream(
        "SELECT * FROM log_chunk WHERE attempt_id = $1 ORDER BY attempt_first_seq",
        params![attempt],
    );
    while let Some(row) = chunks.next().await {
        let row = row?;
        if row.get::<u64>("attempt_first_seq")? != hasher.count() {
            return Err(StoreError::corrupt(format!("the log of attempt {attempt}")));
        }
        for record in decode(&row.get::<Vec<u8>>("body")?)? {
            hasher.update(&record);
        }
    }
    Ok((hasher.count(), hasher.digest()))
}

/// The output variables of an attempt, in the order in which they were last set, and what was left
/// out of them: an agent keeps to the limits of [`mantle_shared::outputs`] itself, but one that does not must
/// not take the server's memory. Reads only the chunks that hold some, one at a time.
pub async fn log_variables(tx: &mut LogTx, attempt: AttemptId) -> Result<LogVariables> {
    let mut tally = OutputTally::default();
    let mut kept: HashMap<String, (u64, String, bool)> = HashMap::new();
    let mut left_out = Vec::new();
    let mut left_out_count = 0;
    let mut chunks = tx.stream(
        "SELECT * FROM log_chunk WHERE attempt_id = $1 AND has_variables = 1
         ORDER BY attempt_first_seq",
        params![attempt],
    );
    let mut order = 0;
    while let Some(row) = chunks.next().await {
        for record in decode(&row?.get::<Vec<u8>>("body")?)? {
            let RecordBody::Variable {
                name,
                value,
                sensitive,
            } = record.body
            else {
                continue;
            };
            if tally.take(&name, value.len()).is_err() {
                left_out_count += 1;
                if left_out_count <= OUTPUTS_TOLD {
                    left_out.push(name);
                }
                continue;
            }
            order += 1;
            kept.insert(name, (order, value, sensitive));
        }
    }
    let mut ordered: Vec<_> = kept.into_iter().collect();
    ordered.sort_by_key(|(_, (order, ..))| *order);
    let kept = ordered.into_iter();
    Ok(LogVariables {
        kept: kept
            .map(|(name, (_, value, sensitive))| LogVariable {
                name,
                value,
                sensitive,
            })
            .collect(),
        left_out,
        left_out_count,
    })
}

/// The files that an attempt recorded, in order, so many at most.
pub async fn log_artifacts(
    tx: &mut LogTx,
    attempt: AttemptId,
    most: usize,
) -> Result<Vec<NewArtifact>> {
    let mut found = Vec::new();
    let mut chunks = tx.stream(
        "SELECT * FROM log_chunk WHERE attempt_id = $1 AND has_remarks = 1
         ORDER BY attempt_first_seq",
        params![attempt],
    );
    while let Some(row) = chunks.next().await {
        for record in chunk_records(&row?)? {
            if let (
                RecordBody::Artifact {
                    name,
                    size_bytes,
                    digest,
                },
                Some((_, attempt_seq)),
            ) = (record.record.body, record.attempt)
            {
                found.push(NewArtifact {
                    attempt_seq,
                    name,
                    size_bytes,
                    digest,
                });
            }
        }
        if found.len() >= most {
            break;
        }
    }
    found.truncate(most);
    Ok(found)
}

/// The sensitive output variables of a task's attempts: who sealed it, its name, its sealed value. Each
/// value once; as many of the last as an attempt may set.
pub async fn log_sealed_variables(
    tx: &mut LogTx,
    task: TaskId,
) -> Result<Vec<(AttemptId, String, String)>> {
    let mut found = VecDeque::new();
    let mut bytes = 0;
    let mut chunks = tx.stream(
        "SELECT * FROM log_chunk WHERE task_id = $1 AND has_variables = 1 ORDER BY first_seq",
        params![task],
    );
    while let Some(row) = chunks.next().await {
        let row = row?;
        let Some(attempt) = row.find::<AttemptId>("attempt_id")? else {
            continue;
        };
        for record in decode(&row.get::<Vec<u8>>("body")?)? {
            if let RecordBody::Variable {
                name,
                value,
                sensitive: true,
            } = record.body
            {
                bytes += name.len() + value.len();
                found.push_back((attempt, name, value));
            }
        }
        // An agent that keeps to no limit must not take the server's memory.
        while bytes > OUTPUTS_SET_BYTES {
            let Some((_, name, value)) = found.pop_front() else {
                break;
            };
            bytes -= name.len() + value.len();
        }
    }
    Ok(found.into())
}

/// Removes a task's whole log.
pub async fn log_delete(tx: &mut LogTx, task: TaskId) -> Result<()> {
    tx.exec("DELETE FROM log_chunk WHERE task_id = $1", params![task])
        .await?;
    tx.exec("DELETE FROM log_attempt WHERE task_id = $1", params![task])
        .await?;
    tx.exec("DELETE FROM log_task WHERE task_id = $1", params![task])
        .await?;
    Ok(())
}

fn chunk_records(row: &Row) -> Result<Vec<LogRecord>> {
    let attempt: Option<AttemptId> = row.find("attempt_id")?;
    let first_seq: u64 = row.get("first_seq")?;
    let attempt_first_seq: u64 = row.get("attempt_first_seq")?;
    let records = decode(&row.get::<Vec<u8>>("body")?)?;
    if records.len() as u64 != row.get::<u64>("count")? {
        return Err(StoreError::corrupt("a chunk of a log"));
    }
    Ok(records
        .into_iter()
        .zip(0..)
        .map(|(record, at)| LogRecord {
            seq: first_seq + at,
            attempt: attempt.map(|id| (id, attempt_first_seq + at)),
            record,
        })
        .collect())
}

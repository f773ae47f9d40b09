//! Releases: a version and the three snapshots that it pins.
//!
//! Process and packages never change. The variables can be refreshed on purpose; every snapshot
//! of them that a release has had is kept.

use mantle_domain::ids::{ProjectId, ReleaseId};
use mantle_domain::plan::basis::ReleaseDigests;
use mantle_shared::Digest;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::{Row, params};

/// A release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRow {
    /// Its id.
    pub id: ReleaseId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its version, unique in the project.
    pub version: String,
    /// Its channel.
    pub channel: String,
    /// The process snapshot.
    pub process: Digest,
    /// The package snapshot.
    pub packages: Digest,
    /// The current variable snapshot.
    pub variables: Digest,
    /// The number of the current variable snapshot, from 1.
    pub variables_number: u64,
    /// What its author wrote about it.
    pub notes: String,
    /// Its own fields, as a JSON object of texts.
    pub fields: String,
    /// It is blocked: it enters no further phase.
    pub blocked: Option<ReleaseBlock>,
    /// The last block that was lifted.
    pub unblocked: Option<ReleaseUnblock>,
    /// When it was made.
    pub created_at_us: i64,
    /// Who made it.
    pub created_by: String,
}

impl ReleaseRow {
    /// The digests of what it pins, with its variables as they are now.
    pub fn digests(&self) -> ReleaseDigests {
        ReleaseDigests {
            process: self.process,
            variables: self.variables,
            packages: self.packages,
        }
    }
}

/// A block on a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseBlock {
    /// Since when.
    pub at_us: i64,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// The end of a block on a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseUnblock {
    /// When it was lifted.
    pub at_us: i64,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Why it was blocked.
    pub was: String,
}

/// One variable snapshot that a release has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseVariablesRow {
    /// Its number, from 1.
    pub number: u64,
    /// The snapshot.
    pub digest: Digest,
    /// When it became the current one.
    pub changed_at_us: i64,
    /// Who made it so.
    pub changed_by: String,
    /// Why.
    pub reason: String,
}

/// Adds a release with the first entry of its variable history. A conflict if the project has
/// this version.
pub async fn release_insert(tx: &mut Tx, release: &ReleaseRow) -> Result<()> {
    tx.exec(
        "INSERT INTO release (id, project_id, version, channel, process, packages, variables,
             variables_number, notes, fields, created_at_us, created_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        params![
            release.id,
            release.project_id,
            release.version,
            release.channel,
            release.process,
            release.packages,
            release.variables,
            release.variables_number,
            release.notes,
            release.fields,
            release.created_at_us,
            release.created_by,
        ],
    )
    .await
    .map_err(|error| error.naming("release"))?;
    let first = ReleaseVariablesRow {
        number: release.variables_number,
        digest: release.variables,
        changed_at_us: release.created_at_us,
        changed_by: release.created_by.clone(),
        reason: "created".to_owned(),
    };
    history_insert(tx, release.id, &first).await
}

/// Gives a release other variables: the entry's number must be the one after the current.
pub async fn release_replace_variables(
    tx: &mut Tx,
    id: ReleaseId,
    entry: &ReleaseVariablesRow,
) -> Result<()> {
    tx.exec_one(
        "UPDATE release SET variables = $2, variables_number = $3
         WHERE id = $1 AND variables_number = $3 - 1",
        params![id, entry.digest, entry.number],
        StoreError::conflict("release"),
    )
    .await?;
    history_insert(tx, id, entry).await
}

/// Gives a release other notes. Not found if there is no such release any more.
pub async fn release_replace_notes(tx: &mut Tx, id: ReleaseId, notes: &str) -> Result<()> {
    tx.exec_one(
        "UPDATE release SET notes = $2 WHERE id = $1",
        params![id, notes],
        StoreError::not_found("release"),
    )
    .await
}

/// Blocks a release. A conflict if it is blocked already.
pub async fn release_mark_blocked(tx: &mut Tx, id: ReleaseId, block: &ReleaseBlock) -> Result<()> {
    tx.exec_one(
        "UPDATE release SET blocked_at_us = $2, blocked_by = $3, blocked_reason = $4
         WHERE id = $1 AND blocked_at_us IS NULL",
        params![id, block.at_us, block.by, block.reason],
        StoreError::conflict("release"),
    )
    .await
}

/// Lifts the block on a release, and keeps why. A conflict if there is none.
pub async fn release_mark_unblocked(
    tx: &mut Tx,
    id: ReleaseId,
    unblock: &ReleaseUnblock,
) -> Result<()> {
    tx.exec_one(
        "UPDATE release SET blocked_at_us = NULL, blocked_by = NULL, blocked_reason = NULL,
             unblocked_at_us = $2, unblocked_by = $3, unblocked_reason = $4, unblocked_was = $5
         WHERE id = $1 AND blocked_at_us IS NOT NULL",
        params![id, unblock.at_us, unblock.by, unblock.reason, unblock.was,],
        StoreError::conflict("release"),
    )
    .await
}

async fn history_insert(tx: &mut Tx, id: ReleaseId, entry: &ReleaseVariablesRow) -> Result<()> {
    tx.exec(
        "INSERT INTO release_variables (release_id, number, digest, changed_at_us, changed_by,
             reason)
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            id,
            entry.number,
            entry.digest,
            entry.changed_at_us,
            entry.changed_by,
            entry.reason,
        ],
    )
    .await
    .map_err(|error| error.naming("release"))?;
    Ok(())
}

/// The release of this id.
pub async fn release_fetch(tx: &mut Tx, id: ReleaseId) -> Result<ReleaseRow> {
    tx.row("SELECT * FROM release WHERE id = $1", params![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()?
        .ok_or(StoreError::not_found("release"))
}

/// The release of this version.
pub async fn release_find(
    tx: &mut Tx,
    project: ProjectId,
    version: &str,
) -> Result<Option<ReleaseRow>> {
    tx.row(
        "SELECT * FROM release WHERE project_id = $1 AND version = $2",
        params![project, version],
    )
    .await?
    .as_ref()
    .map(read)
    .transpose()
}

/// Releases of a project, the newest first, made before this time.
pub async fn release_list(
    tx: &mut Tx,
    project: ProjectId,
    before_us: Option<i64>,
    limit: u32,
) -> Result<Vec<ReleaseRow>> {
    tx.rows(
        "SELECT * FROM release WHERE project_id = $1 AND created_at_us < $2
         ORDER BY created_at_us DESC, id DESC LIMIT $3",
        params![project, before_us.unwrap_or(i64::MAX), limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// What rules ask of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseOutline {
    /// Its id.
    pub id: ReleaseId,
    /// Its version.
    pub version: String,
    /// Its channel.
    pub channel: String,
    /// When it was made.
    pub created_at_us: i64,
}

/// Every release of a project, the newest first.
pub async fn release_outline_list(tx: &mut Tx, project: ProjectId) -> Result<Vec<ReleaseOutline>> {
    tx.rows(
        "SELECT id, version, channel, created_at_us FROM release WHERE project_id = $1
         ORDER BY created_at_us DESC, id DESC",
        params![project],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(ReleaseOutline {
            id: row.get("id")?,
            version: row.get("version")?,
            channel: row.get("channel")?,
            created_at_us: row.get("created_at_us")?,
        })
    })
    .collect()
}

/// Every release with the package snapshot that it pins.
pub async fn release_pin_list(tx: &mut Tx) -> Result<Vec<(ReleaseId, Digest)>> {
    tx.rows(
        "SELECT id, packages FROM release ORDER BY packages, id",
        params![],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("id")?, row.get("packages")?)))
    .collect()
}

/// How many releases of a project are of this channel.
pub async fn release_count_of_channel(
    tx: &mut Tx,
    project: ProjectId,
    channel: &str,
) -> Result<u64> {
    let row = tx
        .row(
            "SELECT CAST(COUNT(*) AS BIGINT) AS count FROM release
             WHERE project_id = $1 AND channel = $2",
            params![project, channel],
        )
        .await?;
    row.as_ref().map_or(Ok(0), |row| row.get("count"))
}

/// The package snapshots that releases pin, each once.
pub async fn release_list_packages(tx: &mut Tx) -> Result<Vec<Digest>> {
    tx.rows(
        "SELECT DISTINCT packages FROM release ORDER BY packages",
        params![],
    )
    .await?
    .iter()
    .map(|row| row.get("packages"))
    .collect()
}

/// Every variable snapshot that a release has had, the newest first.
pub async fn release_variables_list(
    tx: &mut Tx,
    id: ReleaseId,
) -> Result<Vec<ReleaseVariablesRow>> {
    tx.rows(
        "SELECT * FROM release_variables WHERE release_id = $1 ORDER BY number DESC LIMIT 10000",
        params![id],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(ReleaseVariablesRow {
            number: row.get("number")?,
            digest: row.get("digest")?,
            changed_at_us: row.get("changed_at_us")?,
            changed_by: row.get("changed_by")?,
            reason: row.get("reason")?,
        })
    })
    .collect()
}

pub(super) fn read(row: &Row) -> Result<ReleaseRow> {
    let blocked = match row.find("blocked_at_us")? {
        None => None,
        Some(at_us) => Some(ReleaseBlock {
            at_us,
            by: row.get("blocked_by")?,
            reason: row.get("blocked_reason")?,
        }),
    };
    let unblocked = match row.find("unblocked_at_us")? {
        None => None,
        Some(at_us) => Some(ReleaseUnblock {
            at_us,
            by: row.get("unblocked_by")?,
            reason: row.get("unblocked_reason")?,
            was: row.get("unblocked_was")?,
        }),
    };
    Ok(ReleaseRow {
        id: row.get("id")?,
        project_id: row.get("project_id")?,
        version: row.get("version")?,
        channel: row.get("channel")?,
        process: row.get("process")?,
        packages: row.get("packages")?,
        variables: row.get("variables")?,
        variables_number: row.get("variables_number")?,
        notes: row.get("notes")?,
        fields: row.get("fields")?,
        blocked,
        unblocked,
        created_at_us: row.get("created_at_us")?,
        created_by: row.get("created_by")?,
    })
}

//! Health checks, and what each found last on each target.

use mantle_domain::health::CheckStatus;
use mantle_domain::ids::{HealthCheckId, TargetId};

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::{Column, Param, Row, ToParam, params};

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheckRow {
    /// Its id.
    pub id: HealthCheckId,
    /// Its name, unique.
    pub name: String,
    /// Its definition, as JSON.
    pub body: String,
    /// Counts its changes, from 1.
    pub revision: u64,
    /// When it was last changed.
    pub changed_at_us: i64,
    /// When it was last queued by itself.
    pub queued_at_us: Option<i64>,
}

/// What a check found last on a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetHealthRow {
    /// The target.
    pub target_id: TargetId,
    /// The check.
    pub check_id: HealthCheckId,
    /// How the target is.
    pub status: CheckStatus,
    /// Why, for people.
    pub message: String,
    /// Since when it is so.
    pub since_us: i64,
    /// When it was last looked at.
    pub checked_at_us: i64,
    /// The number of the task that looked; it may be gone.
    pub task_number: u64,
}

/// Adds a health check. A conflict if there is one of this name.
pub async fn health_check_insert(tx: &mut Tx, check: &HealthCheckRow) -> Result<()> {
    tx.exec(
        "INSERT INTO health_check (id, name, body, revision, changed_at_us, queued_at_us)
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            check.id,
            check.name,
            check.body,
            check.revision,
            check.changed_at_us,
            check.queued_at_us,
        ],
    )
    .await
    .map_err(|error| error.naming("health check"))?;
    Ok(())
}

/// Replaces the definition of a health check that is at the revision before this one. When it last ran
/// stays: changing it is no run.
pub async fn health_check_update(tx: &mut Tx, check: &HealthCheckRow) -> Result<()> {
    tx.exec_one(
        "UPDATE health_check SET name = $2, body = $3, revision = $4, changed_at_us = $5
         WHERE id = $1 AND revision = $4 - 1",
        params![
            check.id,
            check.name,
            check.body,
            check.revision,
            check.changed_at_us,
        ],
        StoreError::conflict("health check"),
    )
    .await
    .map_err(|error| error.naming("health check"))
}

/// The health check of this name.
pub async fn health_check_find(tx: &mut Tx, name: &str) -> Result<Option<HealthCheckRow>> {
    tx.row("SELECT * FROM health_check WHERE name = $1", params![name])
        .await?
        .as_ref()
        .map(read_check)
        .transpose()
}

/// Every health check, by name.
pub async fn health_check_list(tx: &mut Tx) -> Result<Vec<HealthCheckRow>> {
    tx.rows("SELECT * FROM health_check ORDER BY name", params![])
        .await?
        .iter()
        .map(read_check)
        .collect()
}

/// Notes that it was queued by itself. A conflict if it was queued since it was read, so that no two do
/// it for the same time.
pub async fn health_check_mark_queued(
    tx: &mut Tx,
    check: &HealthCheckRow,
    at_us: i64,
) -> Result<()> {
    tx.exec_one(
        "UPDATE health_check SET queued_at_us = $2
         WHERE id = $1 AND COALESCE(queued_at_us, -1) = $3",
        params![check.id, at_us, check.queued_at_us.unwrap_or(-1)],
        StoreError::conflict("health check"),
    )
    .await
}

/// Removes a health check that is at this revision, with what it found.
pub async fn health_check_delete(tx: &mut Tx, check: &HealthCheckRow) -> Result<()> {
    tx.exec_one(
        "DELETE FROM health_check WHERE id = $1 AND revision = $2",
        params![check.id, check.revision],
        StoreError::conflict("health check"),
    )
    .await
}

/// Shows what a check found, and since when it is so. `false` if the target or the check is not there
/// any more: then there is nothing to show.
pub async fn target_health_show(tx: &mut Tx, found: &TargetHealthRow) -> Result<bool> {
    let touched = tx
        .exec(
            "INSERT INTO target_health (target_id, check_id, status, message, since_us,
                 checked_at_us, task_number)
             SELECT t.id, c.id, $3, $4, $5, $6, $7 FROM target t, health_check c
             WHERE t.id = $1 AND c.id = $2
             ON CONFLICT (target_id, check_id) DO UPDATE SET
                 since_us = CASE WHEN target_health.status = excluded.status
                     THEN target_health.since_us ELSE excluded.since_us END,
                 status = excluded.status, message = excluded.message,
                 checked_at_us = excluded.checked_at_us, task_number = excluded.task_number",
            params![
                found.target_id,
                found.check_id,
                found.status,
                found.message,
                found.since_us,
                found.checked_at_us,
                found.task_number,
            ],
        )
        .await?;
    Ok(touched > 0)
}

/// What checks found last, of one target or of all.
pub async fn target_health_list(
    tx: &mut Tx,
    target: Option<TargetId>,
) -> Result<Vec<TargetHealthRow>> {
    tx.rows(
        "SELECT * FROM target_health WHERE $1 IS NULL OR target_id = $1
         ORDER BY target_id, check_id",
        params![target],
    )
    .await?
    .iter()
    .map(read_health)
    .collect()
}

/// What one check found last, on all targets.
pub async fn target_health_list_of_check(
    tx: &mut Tx,
    check: HealthCheckId,
) -> Result<Vec<TargetHealthRow>> {
    tx.rows(
        "SELECT * FROM target_health WHERE check_id = $1 ORDER BY target_id",
        params![check],
    )
    .await?
    .iter()
    .map(read_health)
    .collect()
}

impl ToParam for CheckStatus {
    const NONE: Param = Param::Text(None);

    fn to_param(&self) -> Param {
        self.word().to_param()
    }
}

impl Column for CheckStatus {
    type Raw = String;

    fn from_raw(raw: String) -> Option<Self> {
        Self::from_word(&raw)
    }
}

fn read_check(row: &Row) -> Result<HealthCheckRow> {
    Ok(HealthCheckRow {
        id: row.get("id")?,
        name: row.get("name")?,
        body: row.get("body")?,
        revision: row.get("revision")?,
        changed_at_us: row.get("changed_at_us")?,
        queued_at_us: row.find("queued_at_us")?,
    })
}

fn read_health(row: &Row) -> Result<TargetHealthRow> {
    Ok(TargetHealthRow {
        target_id: row.get("target_id")?,
        check_id: row.get("check_id")?,
        status: row.get("status")?,
        message: row.get("message")?,
        since_us: row.get("since_us")?,
        checked_at_us: row.get("checked_at_us")?,
        task_number: row.get("task_number")?,
    })
}

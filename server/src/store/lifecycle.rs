//! Lifecycles.

use mantle_domain::ids::LifecycleId;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::{Row, params};

/// A lifecycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleRow {
    /// Its id.
    pub id: LifecycleId,
    /// Its name, unique.
    pub name: String,
    /// Its phases, as JSON.
    pub body: String,
    /// Counts its changes, from 1.
    pub revision: u64,
    /// When it was last changed.
    pub changed_at_us: i64,
}

/// Adds a lifecycle. A conflict if there is one of this name.
pub async fn lifecycle_insert(tx: &mut Tx, lifecycle: &LifecycleRow) -> Result<()> {
    tx.exec(
        "INSERT INTO lifecycle (id, name, body, revision, changed_at_us)
         VALUES ($1, $2, $3, $4, $5)",
        params![
            lifecycle.id,
            lifecycle.name,
            lifecycle.body,
            lifecycle.revision,
            lifecycle.changed_at_us,
        ],
    )
    .await
    .map_err(|error| error.naming("lifecycle"))?;
    Ok(())
}

/// Replaces a lifecycle that is at the revision before this one.
pub async fn lifecycle_update(tx: &mut Tx, lifecycle: &LifecycleRow) -> Result<()> {
    tx.exec_one(
        "UPDATE lifecycle SET name = $2, body = $3, revision = $4, changed_at_us = $5
         WHERE id = $1 AND revision = $4 - 1",
        params![
            lifecycle.id,
            lifecycle.name,
            lifecycle.body,
            lifecycle.revision,
            lifecycle.changed_at_us,
        ],
        StoreError::conflict("lifecycle"),
    )
    .await
    .map_err(|error| error.naming("lifecycle"))
}

/// The lifecycle of this id.
pub async fn lifecycle_fetch(tx: &mut Tx, id: LifecycleId) -> Result<LifecycleRow> {
    tx.row("SELECT * FROM lifecycle WHERE id = $1", params![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()?
        .ok_or(StoreError::not_found("lifecycle"))
}

/// The lifecycle of this name.
pub async fn lifecycle_find(tx: &mut Tx, name: &str) -> Result<Option<LifecycleRow>> {
    tx.row("SELECT * FROM lifecycle WHERE name = $1", params![name])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Every lifecycle, by name.
pub async fn lifecycle_list(tx: &mut Tx) -> Result<Vec<LifecycleRow>> {
    tx.rows("SELECT * FROM lifecycle ORDER BY name", params![])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Removes a lifecycle that is at this revision and that nothing refers to.
pub async fn lifecycle_delete(tx: &mut Tx, lifecycle: &LifecycleRow) -> Result<()> {
    tx.exec_one(
        "DELETE FROM lifecycle WHERE id = $1 AND revision = $2",
        params![lifecycle.id, lifecycle.revision],
        StoreError::conflict("lifecycle"),
    )
    .await
}

fn read(row: &Row) -> Result<LifecycleRow> {
    Ok(LifecycleRow {
        id: row.get("id")?,
        name: row.get("name")?,
        body: row.get("body")?,
        revision: row.get("revision")?,
        changed_at_us: row.get("changed_at_us")?,
    })
}

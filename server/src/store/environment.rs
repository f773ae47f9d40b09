//! Environments.

use mantle_domain::ids::EnvironmentId;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::{Row, params};

/// An environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentRow {
    /// Its id.
    pub id: EnvironmentId,
    /// Its name, unique.
    pub name: String,
    /// Its place in lists, the lowest first.
    pub position: i64,
    /// The rest of what was declared, as JSON.
    pub body: String,
    /// Counts its changes, from 1.
    pub revision: u64,
    /// When it was last changed.
    pub changed_at_us: i64,
}

/// Adds an environment. A conflict if there is one of this name.
pub async fn environment_insert(tx: &mut Tx, environment: &EnvironmentRow) -> Result<()> {
    tx.exec(
        "INSERT INTO environment (id, name, position, body, revision, changed_at_us)
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            environment.id,
            environment.name,
            environment.position,
            environment.body,
            environment.revision,
            environment.changed_at_us,
        ],
    )
    .await
    .map_err(|error| error.naming("environment"))?;
    Ok(())
}

/// Replaces an environment that is at the revision before this one.
pub async fn environment_update(tx: &mut Tx, environment: &EnvironmentRow) -> Result<()> {
    tx.exec_one(
        "UPDATE environment SET name = $2, position = $3, body = $4, revision = $5,
             changed_at_us = $6
         WHERE id = $1 AND revision = $5 - 1",
        params![
            environment.id,
            environment.name,
            environment.position,
            environment.body,
            environment.revision,
            environment.changed_at_us,
        ],
        StoreError::conflict("environment"),
    )
    .await
    .map_err(|error| error.naming("environment"))
}

/// The environment of this id.
pub async fn environment_fetch(tx: &mut Tx, id: EnvironmentId) -> Result<EnvironmentRow> {
    tx.row("SELECT * FROM environment WHERE id = $1", params![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()?
        .ok_or(StoreError::not_found("environment"))
}

/// The environment of this name.
pub async fn environment_find(tx: &mut Tx, name: &str) -> Result<Option<EnvironmentRow>> {
    tx.row("SELECT * FROM environment WHERE name = $1", params![name])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Every environment, in order.
pub async fn environment_list(tx: &mut Tx) -> Result<Vec<EnvironmentRow>> {
    tx.rows(
        "SELECT * FROM environment ORDER BY position, name",
        params![],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Removes an environment that is at this revision and that nothing refers to.
pub async fn environment_delete(tx: &mut Tx, environment: &EnvironmentRow) -> Result<()> {
    tx.exec_one(
        "DELETE FROM environment WHERE id = $1 AND revision = $2",
        params![environment.id, environment.revision],
        StoreError::conflict("environment"),
    )
    .await
}

fn read(row: &Row) -> Result<EnvironmentRow> {
    Ok(EnvironmentRow {
        id: row.get("id")?,
        name: row.get("name")?,
        position: row.get("position")?,
        body: row.get("body")?,
        revision: row.get("revision")?,
        changed_at_us: row.get("changed_at_us")?,
    })
}

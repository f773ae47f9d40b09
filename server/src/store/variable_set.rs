//! Variable sets. What a release pinned of one is in its snapshot.

use mantle_domain::ids::VariableSetId;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::{Row, params};

/// A set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableSetRow {
    /// Its id.
    pub id: VariableSetId,
    /// Its name, unique.
    pub name: String,
    /// The rest of what was declared, as JSON.
    pub body: String,
    /// Counts its changes, from 1.
    pub revision: u64,
    /// When it was last changed.
    pub changed_at_us: i64,
}

/// Adds a set. A conflict if there is one of this name.
pub async fn variable_set_insert(tx: &mut Tx, set: &VariableSetRow) -> Result<()> {
    tx.exec(
        "INSERT INTO variable_set (id, name, body, revision, changed_at_us)
         VALUES ($1, $2, $3, $4, $5)",
        params![set.id, set.name, set.body, set.revision, set.changed_at_us,],
    )
    .await
    .map_err(|error| error.naming("variable set"))?;
    Ok(())
}

/// Replaces a variable set that is at the revision before this one.
pub async fn variable_set_update(tx: &mut Tx, set: &VariableSetRow) -> Result<()> {
    tx.exec_one(
        "UPDATE variable_set SET name = $2, body = $3, revision = $4, changed_at_us = $5
         WHERE id = $1 AND revision = $4 - 1",
        params![set.id, set.name, set.body, set.revision, set.changed_at_us,],
        StoreError::conflict("variable set"),
    )
    .await
    .map_err(|error| error.naming("variable set"))
}

/// The variable set of this name.
pub async fn variable_set_find(tx: &mut Tx, name: &str) -> Result<Option<VariableSetRow>> {
    tx.row("SELECT * FROM variable_set WHERE name = $1", params![name])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Every variable set, by name.
pub async fn variable_set_list(tx: &mut Tx) -> Result<Vec<VariableSetRow>> {
    tx.rows("SELECT * FROM variable_set ORDER BY name", params![])
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Removes a variable set that is at this revision.
pub async fn variable_set_delete(tx: &mut Tx, set: &VariableSetRow) -> Result<()> {
    tx.exec_one(
        "DELETE FROM variable_set WHERE id = $1 AND revision = $2",
        params![set.id, set.revision],
        StoreError::conflict("variable set"),
    )
    .await
}

fn read(row: &Row) -> Result<VariableSetRow> {
    Ok(VariableSetRow {
        id: row.get("id")?,
        name: row.get("name")?,
        body: row.get("body")?,
        revision: row.get("revision")?,
        changed_at_us: row.get("changed_at_us")?,
    })
}

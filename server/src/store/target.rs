//! Targets: machines by name, whether or not their agent has joined yet.

use std::collections::HashMap;

use mantle_domain::ids::{EnvironmentId, TargetId};

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::{Row, params};

/// A target with its tags and environments, both sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRow {
    /// Its id.
    pub id: TargetId,
    /// Its name, unique.
    pub name: String,
    /// An operator switched it off.
    pub disabled: bool,
    /// It is in maintenance.
    pub maintenance: Option<Maintenance>,
    /// When it became known.
    pub created_at_us: i64,
    /// Its tags.
    pub tags: Vec<String>,
    /// The environments that it is in.
    pub environments: Vec<EnvironmentId>,
}

/// Why and since when a target is in maintenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// Why.
    pub reason: String,
    /// Who said so.
    pub by: String,
    /// Since when.
    pub since_us: i64,
}

/// Adds a target. A conflict if there is one of this name.
pub async fn target_insert(tx: &mut Tx, target: &TargetRow) -> Result<()> {
    tx.exec(
        "INSERT INTO target (id, name, disabled, created_at_us) VALUES ($1, $2, $3, $4)",
        params![
            target.id,
            target.name,
            target.disabled,
            target.created_at_us
        ],
    )
    .await
    .map_err(|error| error.naming("target"))?;
    target_replace_tags(tx, target.id, &target.tags).await?;
    target_replace_environments(tx, target.id, &target.environments).await
}

/// Makes these a target's tags, all of them.
pub async fn target_replace_tags(tx: &mut Tx, id: TargetId, tags: &[String]) -> Result<()> {
    tx.exec("DELETE FROM target_tag WHERE target_id = $1", params![id])
        .await?;
    for tag in tags {
        tx.exec(
            "INSERT INTO target_tag (target_id, tag) VALUES ($1, $2)
             ON CONFLICT (target_id, tag) DO NOTHING",
            params![id, tag],
        )
        .await?;
    }
    Ok(())
}

/// Makes these a target's environments, all of them.
pub async fn target_replace_environments(
    tx: &mut Tx,
    id: TargetId,
    environments: &[EnvironmentId],
) -> Result<()> {
    tx.exec(
        "DELETE FROM target_environment WHERE target_id = $1",
        params![id],
    )
    .await?;
    for environment in environments {
        tx.exec(
            "INSERT INTO target_environment (target_id, environment_id) VALUES ($1, $2)
             ON CONFLICT (target_id, environment_id) DO NOTHING",
            params![id, environment],
        )
        .await?;
    }
    Ok(())
}

/// Switches a target off or on. A conflict if it is so already.
pub async fn target_mark_disabled(tx: &mut Tx, id: TargetId, disabled: bool) -> Result<()> {
    tx.exec_one(
        "UPDATE target SET disabled = $2 WHERE id = $1 AND disabled <> $2",
        params![id, disabled],
        StoreError::conflict("target"),
    )
    .await
}

/// Takes a target into maintenance, or out of it. Taking it in again replaces the reason.
pub async fn target_mark_maintenance(
    tx: &mut Tx,
    id: TargetId,
    maintenance: Option<&Maintenance>,
) -> Result<()> {
    tx.exec_one(
        "UPDATE target SET maintenance_reason = $2, maintenance_by = $3, maintenance_at_us = $4
         WHERE id = $1",
        params![
            id,
            maintenance.map(|m| m.reason.as_str()),
            maintenance.map(|m| m.by.as_str()),
            maintenance.map(|m| m.since_us),
        ],
        StoreError::not_found("target"),
    )
    .await
}

/// Removes a target. Its agent stays on record without one; revoke it first.
pub async fn target_delete(tx: &mut Tx, id: TargetId) -> Result<()> {
    tx.exec_one(
        "DELETE FROM target WHERE id = $1",
        params![id],
        StoreError::not_found("target"),
    )
    .await
}

/// The target of this id.
pub async fn target_fetch(tx: &mut Tx, id: TargetId) -> Result<TargetRow> {
    let row = tx
        .row("SELECT * FROM target WHERE id = $1", params![id])
        .await?
        .ok_or(StoreError::not_found("target"))?;
    complete(tx, read(&row)?).await
}

/// The target of this name.
pub async fn target_find(tx: &mut Tx, name: &str) -> Result<Option<TargetRow>> {
    match tx
        .row("SELECT * FROM target WHERE name = $1", params![name])
        .await?
    {
        Some(row) => complete(tx, read(&row)?).await.map(Some),
        None => Ok(None),
    }
}

/// Every target, or those in an environment, by name. A fleet fits in memory: three queries.
pub async fn target_list(
    tx: &mut Tx,
    environment: Option<EnvironmentId>,
) -> Result<Vec<TargetRow>> {
    let rows = tx
        .rows(
            "SELECT * FROM target
             WHERE $1 IS NULL OR id IN
                 (SELECT target_id FROM target_environment WHERE environment_id = $1)
             ORDER BY name",
            params![environment],
        )
        .await?;
    let mut tags: HashMap<TargetId, Vec<String>> = HashMap::new();
    for row in tx
        .rows(
            "SELECT target_id, tag FROM target_tag ORDER BY target_id, tag",
            params![],
        )
        .await?
    {
        tags.entry(row.get("target_id")?)
            .or_default()
            .push(row.get("tag")?);
    }
    let mut environments: HashMap<TargetId, Vec<EnvironmentId>> = HashMap::new();
    for row in tx
        .rows(
            "SELECT target_id, environment_id FROM target_environment
             ORDER BY target_id, environment_id",
            params![],
        )
        .await?
    {
        environments
            .entry(row.get("target_id")?)
            .or_default()
            .push(row.get("environment_id")?);
    }
    rows.iter()
        .map(|row| {
            let mut target = read(row)?;
            target.tags = tags.remove(&target.id).unwrap_or_default();
            target.environments = environments.remove(&target.id).unwrap_or_default();
            Ok(target)
        })
        .collect()
}

async fn complete(tx: &mut Tx, mut target: TargetRow) -> Result<TargetRow> {
    target.tags = tx
        .rows(
            "SELECT tag FROM target_tag WHERE target_id = $1 ORDER BY tag",
            params![target.id],
        )
        .await?
        .iter()
        .map(|row| row.get("tag"))
        .collect::<Result<_>>()?;
    target.environments = tx
        .rows(
            "SELECT environment_id FROM target_environment WHERE target_id = $1
             ORDER BY environment_id",
            params![target.id],
        )
        .await?
        .iter()
        .map(|row| row.get("environment_id"))
        .collect::<Result<_>>()?;
    Ok(target)
}

fn read(row: &Row) -> Result<TargetRow> {
    Ok(TargetRow {
        id: row.get("id")?,
        name: row.get("name")?,
        disabled: row.get("disabled")?,
        maintenance: match row.find("maintenance_reason")? {
            None => None,
            Some(reason) => Some(Maintenance {
                reason,
                by: row.get("maintenance_by")?,
                since_us: row.get("maintenance_at_us")?,
            }),
        },
        created_at_us: row.get("created_at_us")?,
        tags: Vec::new(),
        environments: Vec::new(),
    })
}

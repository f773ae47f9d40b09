//! Projects as they are now. What a release pinned of one is in its snapshots.

use mantle_domain::ids::{LifecycleId, ProjectId};

use super::error::{Result, StoreError};
use super::extent::Extent;
use super::tx::Tx;
use super::value::{Row, params};

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectRow {
    /// Its id.
    pub id: ProjectId,
    /// Its slug, unique.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Its lifecycle.
    pub lifecycle_id: Option<LifecycleId>,
    /// The rest of what was declared, as JSON: process, variables, packages.
    pub body: String,
    /// Counts its changes, from 1.
    pub revision: u64,
    /// When it was made.
    pub created_at_us: i64,
    /// When it was last changed.
    pub changed_at_us: i64,
}

/// Adds a project. A conflict if there is one of this slug.
pub async fn project_insert(tx: &mut Tx, project: &ProjectRow) -> Result<()> {
    tx.exec(
        "INSERT INTO project (id, slug, name, lifecycle_id, body, revision, created_at_us,
             changed_at_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        params![
            project.id,
            project.slug,
            project.name,
            project.lifecycle_id,
            project.body,
            project.revision,
            project.created_at_us,
            project.changed_at_us,
        ],
    )
    .await
    .map_err(|error| error.naming("project"))?;
    Ok(())
}

/// Replaces a project that is at the revision before this one.
pub async fn project_update(tx: &mut Tx, project: &ProjectRow) -> Result<()> {
    tx.exec_one(
        "UPDATE project SET slug = $2, name = $3, lifecycle_id = $4, body = $5, revision = $6,
             changed_at_us = $7
         WHERE id = $1 AND revision = $6 - 1",
        params![
            project.id,
            project.slug,
            project.name,
            project.lifecycle_id,
            project.body,
            project.revision,
            project.changed_at_us,
        ],
        StoreError::conflict("project"),
    )
    .await
    .map_err(|error| error.naming("project"))
}

/// The project of this id.
pub async fn project_fetch(tx: &mut Tx, id: ProjectId) -> Result<ProjectRow> {
    tx.row("SELECT * FROM project WHERE id = $1", params![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()?
        .ok_or(StoreError::not_found("project"))
}

/// The project of this slug.
pub async fn project_find(tx: &mut Tx, slug: &str) -> Result<Option<ProjectRow>> {
    tx.row("SELECT * FROM project WHERE slug = $1", params![slug])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Projects by slug, after this one.
pub async fn project_list(tx: &mut Tx, after: &str, extent: Extent) -> Result<Vec<ProjectRow>> {
    tx.rows(
        "SELECT * FROM project WHERE slug > $1 ORDER BY slug LIMIT $2",
        params![after, extent],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Removes a project that is at this revision and that nothing refers to.
pub async fn project_delete(tx: &mut Tx, project: &ProjectRow) -> Result<()> {
    tx.exec_one(
        "DELETE FROM project WHERE id = $1 AND revision = $2",
        params![project.id, project.revision],
        StoreError::conflict("project"),
    )
    .await
}

fn read(row: &Row) -> Result<ProjectRow> {
    Ok(ProjectRow {
        id: row.get("id")?,
        slug: row.get("slug")?,
        name: row.get("name")?,
        lifecycle_id: row.find("lifecycle_id")?,
        body: row.get("body")?,
        revision: row.get("revision")?,
        created_at_us: row.get("created_at_us")?,
        changed_at_us: row.get("changed_at_us")?,
    })
}

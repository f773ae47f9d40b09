//! API keys. Only a hash of the secret is kept.

use mantle_domain::ids::ApiKeyId;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::{Row, params};

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// Its id, which is part of its text.
    pub id: ApiKeyId,
    /// Its name, unique among the keys that are not revoked.
    pub name: String,
    /// The team that it belongs to.
    pub team: Option<String>,
    /// The hash of its secret.
    pub secret_hash: [u8; 32],
    /// When it was made.
    pub created_at_us: i64,
    /// Who made it.
    pub created_by: String,
    /// From when on it is refused.
    pub expires_at_us: Option<i64>,
    /// When it was revoked.
    pub revoked_at_us: Option<i64>,
    /// When it was last used, to the minute.
    pub last_used_at_us: Option<i64>,
}

fn read(row: &Row) -> Result<ApiKeyRow> {
    Ok(ApiKeyRow {
        id: row.get("id")?,
        name: row.get("name")?,
        team: row.find("team")?,
        secret_hash: row.get("secret_hash")?,
        created_at_us: row.get("created_at_us")?,
        created_by: row.get("created_by")?,
        expires_at_us: row.find("expires_at_us")?,
        revoked_at_us: row.find("revoked_at_us")?,
        last_used_at_us: row.find("last_used_at_us")?,
    })
}

/// Adds a key. A conflict if one of this name is live.
pub async fn api_key_insert(tx: &mut Tx, key: &ApiKeyRow) -> Result<()> {
    tx.exec(
        "INSERT INTO api_key (id, name, team, secret_hash, created_at_us, created_by,
             expires_at_us, revoked_at_us, last_used_at_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        params![
            key.id,
            key.name,
            key.team,
            key.secret_hash,
            key.created_at_us,
            key.created_by,
            key.expires_at_us,
            key.revoked_at_us,
            key.last_used_at_us,
        ],
    )
    .await
    .map_err(|error| error.naming("API key"))?;
    Ok(())
}

/// The key of this id, revoked or not.
pub async fn api_key_find(tx: &mut Tx, id: ApiKeyId) -> Result<Option<ApiKeyRow>> {
    tx.row("SELECT * FROM api_key WHERE id = $1", params![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The live key of this name.
pub async fn api_key_find_live(tx: &mut Tx, name: &str) -> Result<Option<ApiKeyRow>> {
    tx.row(
        "SELECT * FROM api_key WHERE name = $1 AND revoked_at_us IS NULL",
        params![name],
    )
    .await?
    .as_ref()
    .map(read)
    .transpose()
}

/// Every key, live ones first, by name.
pub async fn api_key_list(tx: &mut Tx) -> Result<Vec<ApiKeyRow>> {
    tx.rows(
        "SELECT * FROM api_key
         ORDER BY CASE WHEN revoked_at_us IS NULL THEN 0 ELSE 1 END, name, created_at_us
         LIMIT 10000",
        params![],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Revokes a live key.
pub async fn api_key_mark_revoked(tx: &mut Tx, id: ApiKeyId, at_us: i64) -> Result<()> {
    tx.exec_one(
        "UPDATE api_key SET revoked_at_us = $2 WHERE id = $1 AND revoked_at_us IS NULL",
        params![id, at_us],
        StoreError::not_found("API key"),
    )
    .await
}

/// Notes that a key was used. The caller does so at most once a minute for each key.
pub async fn api_key_mark_used(tx: &mut Tx, id: ApiKeyId, at_us: i64) -> Result<()> {
    tx.exec(
        "UPDATE api_key SET last_used_at_us = $2
         WHERE id = $1 AND (last_used_at_us IS NULL OR last_used_at_us < $2)",
        params![id, at_us],
    )
    .await?;
    Ok(())
}

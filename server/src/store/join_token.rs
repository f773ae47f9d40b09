//! Join tokens. Only a hash of the secret is kept; each use is taken by a guarded update.

use mantle_domain::ids::JoinTokenId;

use super::agent::{read_words, words};
use super::error::{Result, StoreError};
use super::extent::Extent;
use super::tx::Tx;
use super::value::{Row, params};

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinTokenRow {
    /// Its id, which is part of its text.
    pub id: JoinTokenId,
    /// The hash of its secret.
    pub secret_hash: [u8; 32],
    /// The only target name that it may be used for.
    pub name: Option<String>,
    /// Tags that its targets get; an agent may ask for no others.
    pub tags: Vec<String>,
    /// Environments, by name, that its targets get; an agent may ask for no others.
    pub environments: Vec<String>,
    /// How often it may be used.
    pub uses: u32,
    /// How often it may still be used.
    pub uses_left: u32,
    /// From when on it is refused.
    pub expires_at_us: i64,
    /// When it was withdrawn.
    pub revoked_at_us: Option<i64>,
    /// When it was made.
    pub created_at_us: i64,
    /// Who made it.
    pub created_by: String,
}

/// Adds a token.
pub async fn join_token_insert(tx: &mut Tx, token: &JoinTokenRow) -> Result<()> {
    tx.exec(
        "INSERT INTO join_token (id, secret_hash, name, tags, environments, uses, uses_left,
             expires_at_us, revoked_at_us, created_at_us, created_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        params![
            token.id,
            token.secret_hash,
            token.name,
            words(&token.tags),
            words(&token.environments),
            token.uses,
            token.uses_left,
            token.expires_at_us,
            token.revoked_at_us,
            token.created_at_us,
            token.created_by,
        ],
    )
    .await
    .map_err(|error| error.naming("join token"))?;
    Ok(())
}

/// The token of this id.
pub async fn join_token_find(tx: &mut Tx, id: JoinTokenId) -> Result<Option<JoinTokenRow>> {
    tx.row("SELECT * FROM join_token WHERE id = $1", params![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Tokens, the newest first.
pub async fn join_token_list(tx: &mut Tx, extent: Extent) -> Result<Vec<JoinTokenRow>> {
    tx.rows(
        "SELECT * FROM join_token ORDER BY created_at_us DESC, id LIMIT $1",
        params![extent],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Takes one use of a token. A conflict if none is left at this moment, however many try at once.
pub async fn join_token_use(tx: &mut Tx, id: JoinTokenId, now_us: i64) -> Result<()> {
    tx.exec_one(
        "UPDATE join_token SET uses_left = uses_left - 1
         WHERE id = $1 AND uses_left > 0 AND revoked_at_us IS NULL AND expires_at_us > $2",
        params![id, now_us],
        StoreError::conflict("join token"),
    )
    .await
}

/// Withdraws a token.
pub async fn join_token_mark_revoked(tx: &mut Tx, id: JoinTokenId, at_us: i64) -> Result<()> {
    tx.exec_one(
        "UPDATE join_token SET revoked_at_us = $2 WHERE id = $1 AND revoked_at_us IS NULL",
        params![id, at_us],
        StoreError::not_found("join token"),
    )
    .await
}

fn read(row: &Row) -> Result<JoinTokenRow> {
    Ok(JoinTokenRow {
        id: row.get("id")?,
        secret_hash: row.get("secret_hash")?,
        name: row.find("name")?,
        tags: read_words(row, "tags")?,
        environments: read_words(row, "environments")?,
        uses: row.get("uses")?,
        uses_left: row.get("uses_left")?,
        expires_at_us: row.get("expires_at_us")?,
        revoked_at_us: row.find("revoked_at_us")?,
        created_at_us: row.get("created_at_us")?,
        created_by: row.get("created_by")?,
    })
}

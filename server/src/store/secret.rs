//! Secrets: a path and its versions. Values are ciphertext here; see `security::master_key`.

use mantle_domain::ids::SecretVersionId;

use super::error::{Result, StoreError};
use super::extent::Extent;
use super::tx::Tx;
use super::value::{Row, params};

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRow {
    /// Its path, such as `octofx/db-password`.
    pub path: String,
    /// How many versions it has had.
    pub number: u64,
    /// The version that holds its value now; `None` once it was deleted.
    pub current_version: Option<SecretVersionId>,
    /// When it was first set.
    pub created_at_us: i64,
    /// When it was last set or deleted.
    pub changed_at_us: i64,
    /// Who did so.
    pub changed_by: String,
}

/// One value that a secret has had, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretVersionRow {
    /// Its id, which the ciphertext is bound to.
    pub id: SecretVersionId,
    /// The secret's path.
    pub path: String,
    /// Its number, from 1.
    pub number: u64,
    /// The master key that it is sealed under.
    pub key_id: u32,
    /// The value, sealed.
    pub ciphertext: Vec<u8>,
    /// HMAC of the value under the compare key, hex.
    pub mark: String,
    /// When it was set.
    pub created_at_us: i64,
    /// Who set it.
    pub created_by: String,
}

/// A new value of a secret, sealed by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSecretVersion {
    /// Its id, which the ciphertext is bound to.
    pub id: SecretVersionId,
    /// The secret's path.
    pub path: String,
    /// The master key that it is sealed under.
    pub key_id: u32,
    /// The value, sealed.
    pub ciphertext: Vec<u8>,
    /// HMAC of the value under the compare key, hex.
    pub mark: String,
    /// When it was set.
    pub at_us: i64,
    /// Who set it.
    pub by: String,
}

/// Sets a secret: makes it if there is none, and this its current version. Says which number the
/// version got.
pub async fn secret_set(tx: &mut Tx, new: &NewSecretVersion) -> Result<u64> {
    let number: u64 = tx
        .row(
            "INSERT INTO secret (path, number, current_version, created_at_us, changed_at_us,
                 changed_by)
             VALUES ($1, 1, $2, $3, $3, $4)
             ON CONFLICT (path) DO UPDATE SET number = secret.number + 1,
                 current_version = excluded.current_version,
                 changed_at_us = excluded.changed_at_us, changed_by = excluded.changed_by
             RETURNING number",
            params![new.path, new.id, new.at_us, new.by],
        )
        .await?
        .ok_or(StoreError::conflict("secret"))?
        .get("number")?;
    insert_version(tx, new, number).await?;
    Ok(number)
}

/// What begins the path of a secret that a deployment was answered with. The colon keeps it apart from
/// every path that can be set or named.
pub const ANSWER_PATH: &str = "deployment:";

/// Keeps a value that belongs to one task: a secret that has no current value, so that it is in no
/// list and nobody can name it. Once; a conflict if the path is taken.
pub async fn secret_keep(tx: &mut Tx, new: &NewSecretVersion) -> Result<()> {
    tx.exec(
        "INSERT INTO secret (path, number, current_version, created_at_us, changed_at_us,
             changed_by)
         VALUES ($1, 1, NULL, $2, $2, $3)",
        params![new.path, new.at_us, new.by],
    )
    .await
    .map_err(|error| error.naming("secret"))?;
    insert_version(tx, new, 1).await
}

async fn insert_version(tx: &mut Tx, new: &NewSecretVersion, number: u64) -> Result<()> {
    tx.exec(
        "INSERT INTO secret_version (id, path, number, key_id, ciphertext, mark, created_at_us,
             created_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        params![
            new.id,
            new.path,
            number,
            new.key_id,
            new.ciphertext,
            new.mark,
            new.at_us,
            new.by,
        ],
    )
    .await
    .map_err(|error| error.naming("secret version"))?;
    Ok(())
}

/// The secret at this path, deleted or not.
pub async fn secret_find(tx: &mut Tx, path: &str) -> Result<Option<SecretRow>> {
    tx.row("SELECT * FROM secret WHERE path = $1", params![path])
        .await?
        .as_ref()
        .map(read_secret)
        .transpose()
}

/// Secrets that have a value, by path, after this one.
pub async fn secret_list(tx: &mut Tx, after: &str, extent: Extent) -> Result<Vec<SecretRow>> {
    tx.rows(
        "SELECT * FROM secret WHERE current_version IS NOT NULL AND path > $1
         ORDER BY path LIMIT $2",
        params![after, extent],
    )
    .await?
    .iter()
    .map(read_secret)
    .collect()
}

/// Of every secret that has a value: its path, and the version and the mark of the value.
pub async fn secret_list_current(tx: &mut Tx) -> Result<Vec<(String, SecretVersionId, String)>> {
    tx.rows(
        "SELECT secret.path AS path, secret_version.id AS id, secret_version.mark AS mark
         FROM secret JOIN secret_version ON secret_version.id = secret.current_version
         ORDER BY secret.path",
        params![],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("path")?, row.get("id")?, row.get("mark")?)))
    .collect()
}

/// Takes a secret's value away. Versions that releases pinned stay; the others go at once.
pub async fn secret_delete(tx: &mut Tx, path: &str, at_us: i64, by: &str) -> Result<()> {
    tx.exec_one(
        "UPDATE secret SET current_version = NULL, changed_at_us = $2, changed_by = $3
         WHERE path = $1 AND current_version IS NOT NULL",
        params![path, at_us, by],
        StoreError::not_found("secret"),
    )
    .await?;
    secret_version_prune(tx, path).await?;
    Ok(())
}

/// Removes the versions of a secret that are neither current nor pinned by a snapshot.
pub async fn secret_version_prune(tx: &mut Tx, path: &str) -> Result<u64> {
    tx.exec(
        "DELETE FROM secret_version
         WHERE path = $1
           AND NOT EXISTS (SELECT 1 FROM secret WHERE current_version = secret_version.id)
           AND NOT EXISTS (SELECT 1 FROM snapshot_secret
                           WHERE secret_version_id = secret_version.id)",
        params![path],
    )
    .await
}

/// One version, sealed.
pub async fn secret_version_fetch(tx: &mut Tx, id: SecretVersionId) -> Result<SecretVersionRow> {
    tx.row("SELECT * FROM secret_version WHERE id = $1", params![id])
        .await?
        .as_ref()
        .map(read_version)
        .transpose()?
        .ok_or(StoreError::not_found("secret version"))
}

/// Removes a version that was an answer, with its secret, once no snapshot has it; says what it held.
/// One that people set stays.
pub(super) async fn secret_answer_drop(tx: &mut Tx, id: SecretVersionId) -> Result<u64> {
    let row = tx
        .row(
            "DELETE FROM secret_version
             WHERE id = $1 AND path LIKE $2
               AND NOT EXISTS (SELECT 1 FROM snapshot_secret WHERE secret_version_id = $1)
             RETURNING path, CAST(octet_length(ciphertext) AS BIGINT) AS size_bytes",
            params![id, format!("{ANSWER_PATH}%")],
        )
        .await?;
    let Some(row) = row else { return Ok(0) };
    tx.exec(
        "DELETE FROM secret WHERE path = $1 AND current_version IS NULL
           AND NOT EXISTS (SELECT 1 FROM secret_version WHERE path = $1)",
        params![row.get::<String>("path")?],
    )
    .await?;
    row.get("size_bytes")
}

/// Versions that are sealed under another key than this one, for rotation.
pub async fn secret_version_list_other_key(
    tx: &mut Tx,
    key_id: u32,
    limit: u32,
) -> Result<Vec<SecretVersionRow>> {
    tx.rows(
        "SELECT * FROM secret_version WHERE key_id <> $1 ORDER BY id LIMIT $2",
        params![key_id, limit],
    )
    .await?
    .iter()
    .map(read_version)
    .collect()
}

/// Replaces a version's seal with one under another key; its value is the same.
pub async fn secret_version_reseal(
    tx: &mut Tx,
    id: SecretVersionId,
    old_key: u32,
    new_key: u32,
    ciphertext: &[u8],
) -> Result<()> {
    tx.exec_one(
        "UPDATE secret_version SET key_id = $3, ciphertext = $4 WHERE id = $1 AND key_id = $2",
        params![id, old_key, new_key, ciphertext],
        StoreError::conflict("secret version"),
    )
    .await
}

fn read_secret(row: &Row) -> Result<SecretRow> {
    Ok(SecretRow {
        path: row.get("path")?,
        number: row.get("number")?,
        current_version: row.find("current_version")?,
        created_at_us: row.get("created_at_us")?,
        changed_at_us: row.get("changed_at_us")?,
        changed_by: row.get("changed_by")?,
    })
}

fn read_version(row: &Row) -> Result<SecretVersionRow> {
    Ok(SecretVersionRow {
        id: row.get("id")?,
        path: row.get("path")?,
        number: row.get("number")?,
        key_id: row.get("key_id")?,
        ciphertext: row.get("ciphertext")?,
        mark: row.get("mark")?,
        created_at_us: row.get("created_at_us")?,
        created_by: row.get("created_by")?,
    })
}

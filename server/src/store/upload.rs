//! Uploads that are under way. The bytes are in a file of the data folder named by the id.

use mantle_shared::Digest;

use super::error::{Result, StoreError};
use super::ids::UploadId;
use super::tx::Tx;
use super::value::{Row, params};

/// An upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    /// Its id.
    pub id: UploadId,
    /// The package's id.
    pub package_id: String,
    /// The version.
    pub version: String,
    /// The archive's format.
    pub format: String,
    /// The size that was announced.
    pub size_bytes: u64,
    /// The digest that was announced.
    pub digest: Option<Digest>,
    /// How many bytes are safely on disk.
    pub received_bytes: u64,
    /// When it began.
    pub created_at_us: i64,
    /// Who began it.
    pub created_by: String,
    /// When it last went on.
    pub touched_at_us: i64,
}

/// Adds an upload.
pub async fn upload_insert(tx: &mut Tx, upload: &UploadRow) -> Result<()> {
    tx.exec(
        "INSERT INTO upload (id, package_id, version, format, size_bytes, digest, received_bytes,
             created_at_us, created_by, touched_at_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        params![
            upload.id,
            upload.package_id,
            upload.version,
            upload.format,
            upload.size_bytes,
            upload.digest,
            upload.received_bytes,
            upload.created_at_us,
            upload.created_by,
            upload.touched_at_us,
        ],
    )
    .await
    .map_err(|error| error.naming("upload"))?;
    Ok(())
}

/// The upload of this id.
pub async fn upload_find(tx: &mut Tx, id: UploadId) -> Result<Option<UploadRow>> {
    tx.row("SELECT * FROM upload WHERE id = $1", params![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// The newest upload by this caller of the same bytes, to be resumed.
pub async fn upload_find_same(
    tx: &mut Tx,
    created_by: &str,
    digest: Digest,
) -> Result<Option<UploadRow>> {
    tx.row(
        "SELECT * FROM upload WHERE created_by = $1 AND digest = $2
         ORDER BY touched_at_us DESC LIMIT 1",
        params![created_by, digest],
    )
    .await?
    .as_ref()
    .map(read)
    .transpose()
}

/// Notes that more bytes are on disk. A conflict if the upload is not where the caller thinks.
pub async fn upload_advance(
    tx: &mut Tx,
    id: UploadId,
    from_bytes: u64,
    to_bytes: u64,
    at_us: i64,
) -> Result<()> {
    tx.exec_one(
        "UPDATE upload SET received_bytes = $3, touched_at_us = $4
         WHERE id = $1 AND received_bytes = $2",
        params![id, from_bytes, to_bytes, at_us],
        StoreError::conflict("upload"),
    )
    .await
}

/// Removes an upload, finished or given up.
pub async fn upload_delete(tx: &mut Tx, id: UploadId) -> Result<()> {
    tx.exec("DELETE FROM upload WHERE id = $1", params![id])
        .await?;
    Ok(())
}

/// Uploads that nobody went on with since this time.
pub async fn upload_list_idle(tx: &mut Tx, before_us: i64, limit: u32) -> Result<Vec<UploadRow>> {
    tx.rows(
        "SELECT * FROM upload WHERE touched_at_us < $1 ORDER BY touched_at_us LIMIT $2",
        params![before_us, limit],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

fn read(row: &Row) -> Result<UploadRow> {
    Ok(UploadRow {
        id: row.get("id")?,
        package_id: row.get("package_id")?,
        version: row.get("version")?,
        format: row.get("format")?,
        size_bytes: row.get("size_bytes")?,
        digest: row.find("digest")?,
        received_bytes: row.get("received_bytes")?,
        created_at_us: row.get("created_at_us")?,
        created_by: row.get("created_by")?,
        touched_at_us: row.get("touched_at_us")?,
    })
}

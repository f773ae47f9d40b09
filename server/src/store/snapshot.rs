//! Snapshots: canonical JSON, stored once under its digest, never changed.

use mantle_domain::ids::SecretVersionId;
use mantle_shared::Digest;

use super::error::{Result, StoreError};
use super::secret::secret_answer_drop;
use super::tx::Tx;
use super::value::{params, word_enum};

word_enum! {
    /// What a snapshot holds.
    pub enum SnapshotKind {
        /// A process.
        Process = "process",
        /// Packages.
        Packages = "packages",
        /// Variables.
        Variables = "variables",
    }
}

/// Stores a document under its digest, unless it is there already, and keeps the versions of
/// secrets that it names.
pub async fn snapshot_keep(
    tx: &mut Tx,
    kind: SnapshotKind,
    body: &[u8],
    secrets: &[SecretVersionId],
    at_us: i64,
) -> Result<Digest> {
    let digest = Digest::of(body);
    let body =
        std::str::from_utf8(body).map_err(|_| StoreError::corrupt("a snapshot, not UTF-8"))?;
    tx.exec(
        "INSERT INTO snapshot (digest, kind, body, created_at_us) VALUES ($1, $2, $3, $4)
         ON CONFLICT (digest) DO NOTHING",
        params![digest, kind, body, at_us],
    )
    .await?;
    for secret in secrets {
        tx.exec(
            "INSERT INTO snapshot_secret (digest, secret_version_id) VALUES ($1, $2)
             ON CONFLICT (digest, secret_version_id) DO NOTHING",
            params![digest, secret],
        )
        .await
        .map_err(|error| error.naming("secret version"))?;
    }
    Ok(digest)
}

/// Removes a snapshot that no release and no task has any more, with what was sealed for it alone; says
/// how much both held. Plans and manifests name no other one: a plan those of its release, a manifest
/// that of its task.
pub(super) async fn snapshot_drop_unused(tx: &mut Tx, digest: Digest) -> Result<Option<u64>> {
    const USED: &str = "SELECT 1 AS used WHERE EXISTS (SELECT 1 FROM release WHERE process = $1)
         OR EXISTS (SELECT 1 FROM release WHERE packages = $1)
         OR EXISTS (SELECT 1 FROM release WHERE variables = $1)
         OR EXISTS (SELECT 1 FROM release_variables WHERE digest = $1)
         OR EXISTS (SELECT 1 FROM task WHERE variables = $1)";
    if tx.row(USED, params![digest]).await?.is_some() {
        return Ok(None);
    }
    let secrets: Vec<SecretVersionId> = tx
        .rows(
            "DELETE FROM snapshot_secret WHERE digest = $1 RETURNING secret_version_id",
            params![digest],
        )
        .await?
        .iter()
        .map(|row| row.get("secret_version_id"))
        .collect::<Result<_>>()?;
    let row = tx
        .row(
            "DELETE FROM snapshot WHERE digest = $1
             RETURNING CAST(octet_length(body) AS BIGINT) AS size_bytes",
            params![digest],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut size_bytes: u64 = row.get("size_bytes")?;
    for secret in secrets {
        size_bytes += secret_answer_drop(tx, secret).await?;
    }
    Ok(Some(size_bytes))
}

/// A snapshot's bytes. What does not have its digest any more is reported, never returned.
pub async fn snapshot_fetch(tx: &mut Tx, digest: Digest) -> Result<Vec<u8>> {
    let body: String = tx
        .row(
            "SELECT body FROM snapshot WHERE digest = $1",
            params![digest],
        )
        .await?
        .ok_or(StoreError::not_found("snapshot"))?
        .get("body")?;
    if Digest::of(body.as_bytes()) != digest {
        return Err(StoreError::corrupt(format!("snapshot {digest}")));
    }
    Ok(body.into_bytes())
}

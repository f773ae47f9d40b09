//! Snapshots: canonical JSON, stored once under its digest, never changed.

use mantle_domain::ids::SecretVersionId;
use mantle_shared::Digest;

use super::error::{Result, StoreError};
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

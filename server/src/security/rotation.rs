//! Rotating the master key: a new key in the file, then every secret sealed again, then the old
//! key out of the file.
//!
//! In this order every instant is safe: the file always holds each key that a row needs, so a
//! server that is killed in between starts, and the same command goes on where it was.

use std::path::Path;

use super::files::{self, FileError};
use super::master_key::{MasterKey, SealError};
use crate::store::{
    META_MASTER_KEY_CHECK, Store, StoreError, secret_version_list_other_key, secret_version_reseal,
    server_meta_replace,
};

/// Rows sealed again in one transaction: short enough not to hold others up.
const BATCH: u32 = 100;
/// The table whose rows are sealed, with the version's id as the row; part of what binds each sealed
/// value to its place.
pub const SECRET_VERSION_TABLE: &str = "secret_version";

/// Why a rotation stopped. It can be started again.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The key file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret could not be opened.
    #[error("the secret '{path}' could not be opened, so the old master key is kept")]
    Secret {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: SealError,
    },
}

/// Rotates, or finishes a rotation that was interrupted. Returns the key to use from now on and how
/// many secret versions were sealed again.
pub async fn master_key_rotate(
    store: &Store,
    path: &Path,
    key: &MasterKey,
) -> Result<(MasterKey, u64), RotationError> {
    let key = if key.has_old_keys() {
        MasterKey::parse(&key.text()).map_err(|_| StoreError::corrupt("a key in memory"))?
    } else {
        let key = key.with_new_key();
        files::replace(path, &key.text())?;
        key
    };
    keep_check(store, &key).await?;
    let resealed = reseal(store, &key).await?;
    let rotated = key.without_old_keys();
    keep_check(store, &rotated).await?;
    files::replace(path, &rotated.text())?;
    Ok((rotated, resealed))
}

async fn keep_check(store: &Store, key: &MasterKey) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    server_meta_replace(&mut tx, META_MASTER_KEY_CHECK, &key.check()).await?;
    tx.commit().await
}

async fn reseal(store: &Store, key: &MasterKey) -> Result<u64, RotationError> {
    let mut resealed = 0;
    loop {
        let mut tx = store.begin().await?;
        let rows = secret_version_list_other_key(&mut tx, key.active_id(), BATCH).await?;
        if rows.is_empty() {
            return Ok(resealed);
        }
        for row in rows {
            let failed = |source| RotationError::Secret {
                path: row.path.clone(),
                source,
            };
            let value = key
                .unseal(SECRET_VERSION_TABLE, row.id.as_bytes(), &row.ciphertext)
                .map_err(failed)?;
            let sealed = key
                .seal(SECRET_VERSION_TABLE, row.id.as_bytes(), &value)
                .map_err(failed)?;
            secret_version_reseal(&mut tx, row.id, row.key_id, key.active_id(), &sealed).await?;
            resealed += 1;
        }
        tx.commit().await?;
    }
}

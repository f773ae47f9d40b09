//! API keys: `mtl_<id>_<secret>`, 256 random bits of which only a hash is kept.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mantle_domain::ids::ApiKeyId;
use mantle_shared::uuid::Uuid;
use rand::RngCore as _;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::files::{self, FileError};
use super::secret::Secret;
use crate::store::{ApiKeyRow, StoreError, Tx, api_key_find};

/// What every key begins with, so that scanners of leaked secrets know it.
pub const API_KEY_PREFIX: &str = "mtl_";

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// Its name.
    pub name: String,
    /// The team that it belongs to.
    pub team: Option<String>,
    /// From when on it is refused.
    pub expires_at_us: Option<i64>,
    /// When.
    pub at_us: i64,
    /// By whom.
    pub by: String,
}

/// Why a request is not let in.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// It is not a key of ours, or its secret is wrong: the two look alike.
    #[error("the API key is not valid; run 'mantle login' or set MANTLE_TOKEN")]
    Unknown,
    /// Its time is over.
    #[error("the API key '{name}' expired; make a new one with 'mantle apikey create'")]
    Expired {
        /// The key's name.
        name: String,
    },
    /// An operator withdrew it.
    #[error("the API key '{name}' was revoked; ask for a new one")]
    Revoked {
        /// The key's name.
        name: String,
    },
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a key: the row to insert, and the text to show once.
pub fn api_key_mint(new: NewApiKey) -> (ApiKeyRow, Secret) {
    let id = ApiKeyId::from_uuid(Uuid::now_v7());
    let mut secret = Zeroizing::new([0_u8; 32]);
    rand::rng().fill_bytes(&mut *secret);
    let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(*secret));
    let text = format!("{API_KEY_PREFIX}{}_{}", id.as_uuid().simple(), *encoded);
    let row = ApiKeyRow {
        id,
        name: new.name,
        team: new.team,
        secret_hash: hash(&*secret),
        created_at_us: new.at_us,
        created_by: new.by,
        expires_at_us: new.expires_at_us,
        revoked_at_us: None,
        last_used_at_us: None,
    };
    (row, Secret::new(text))
}

/// The key that a request shows, if it is good now. Nothing but the holder of the right secret
/// learns that a key exists, expired or was revoked.
pub async fn api_key_authenticate(
    tx: &mut Tx,
    text: &str,
    now_us: i64,
) -> Result<ApiKeyRow, ApiKeyError> {
    let (id, secret) = parse(text).ok_or(ApiKeyError::Unknown)?;
    let row = api_key_find(tx, id).await?;
    let expected = row.as_ref().map_or([0; 32], |row| row.secret_hash);
    let matches = bool::from(hash(&secret).ct_eq(&expected));
    let row = row.filter(|_| matches).ok_or(ApiKeyError::Unknown)?;
    if row.revoked_at_us.is_some() {
        return Err(ApiKeyError::Revoked { name: row.name });
    }
    if row.expires_at_us.is_some_and(|end| end <= now_us) {
        return Err(ApiKeyError::Expired { name: row.name });
    }
    Ok(row)
}

/// Writes a key where the command line on this machine finds it, readable by its owner alone.
pub fn api_key_save(path: &Path, text: &Secret) -> Result<(), FileError> {
    let line = Zeroizing::new(format!("{}\n", text.expose()));
    files::replace(path, line.as_bytes())
}

fn parse(text: &str) -> Option<(ApiKeyId, Zeroizing<Vec<u8>>)> {
    let (id, secret) = text.trim().strip_prefix(API_KEY_PREFIX)?.split_once('_')?;
    let id = Uuid::try_parse(id).ok()?;
    let secret = Zeroizing::new(URL_SAFE_NO_PAD.decode(secret).ok()?);
    (secret.len() == 32).then_some((ApiKeyId::from_uuid(id), secret))
}

/// The secret has 256 random bits, so a fast hash is enough: there is nothing to guess.
fn hash(secret: &[u8]) -> [u8; 32] {
    blake3::derive_key("mantle 2026 api key v1", secret)
}

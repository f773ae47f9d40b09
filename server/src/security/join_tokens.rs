//! Join tokens: what lets a machine enrol. Only a hash of the secret is kept.

use mantle_domain::ids::JoinTokenId;
use mantle_shared::protocol::EnrolRefusal;
use mantle_shared::tls::Fingerprint;
use mantle_shared::token::JoinToken;
use mantle_shared::uuid::Uuid;
use rand::RngCore as _;
use subtle::ConstantTimeEq as _;

use crate::store::{JoinTokenRow, Result, Tx, join_token_find};

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJoinToken {
    /// The only target name that it may be used for.
    pub name: Option<String>,
    /// Tags that its targets get.
    pub tags: Vec<String>,
    /// Environments, by name, that its targets get.
    pub environments: Vec<String>,
    /// How often it may be used.
    pub uses: u32,
    /// From when on it is refused.
    pub expires_at_us: i64,
    /// When.
    pub at_us: i64,
    /// By whom.
    pub by: String,
}

/// Makes a token: the row to insert, and the token to show once. `pin` is the authority's
/// fingerprint.
pub fn join_token_mint(new: NewJoinToken, pin: Fingerprint) -> (JoinTokenRow, JoinToken) {
    let id = Uuid::now_v7();
    let mut secret = [0_u8; 32];
    rand::rng().fill_bytes(&mut secret);
    let row = JoinTokenRow {
        id: JoinTokenId::from_uuid(id),
        secret_hash: hash(&secret),
        name: new.name,
        tags: new.tags,
        environments: new.environments,
        uses: new.uses,
        uses_left: new.uses,
        expires_at_us: new.expires_at_us,
        revoked_at_us: None,
        created_at_us: new.at_us,
        created_by: new.by,
    };
    (row, JoinToken { id, secret, pin })
}

/// The token that an agent shows, if it may be used now, or what to answer. It is not used up yet:
/// `join_token_use` does that, in the transaction that enrols the agent.
pub async fn join_token_verify(
    tx: &mut Tx,
    id: [u8; 16],
    secret: &[u8; 32],
    now_us: i64,
) -> Result<std::result::Result<JoinTokenRow, EnrolRefusal>> {
    let row = join_token_find(tx, JoinTokenId::from_uuid(Uuid::from_bytes(id))).await?;
    let expected = row.as_ref().map_or([0; 32], |row| row.secret_hash);
    let matches = bool::from(hash(secret).ct_eq(&expected));
    Ok(match row {
        Some(row) if matches => judge(row, now_us),
        _ => Err(EnrolRefusal::TokenUnknown),
    })
}

fn judge(row: JoinTokenRow, now_us: i64) -> std::result::Result<JoinTokenRow, EnrolRefusal> {
    if row.revoked_at_us.is_some() {
        return Err(EnrolRefusal::TokenRevoked);
    }
    if row.uses_left == 0 {
        return Err(EnrolRefusal::TokenUsed);
    }
    if row.expires_at_us <= now_us {
        return Err(EnrolRefusal::TokenExpired);
    }
    Ok(row)
}

fn hash(secret: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("mantle 2026 join token v1", secret)
}

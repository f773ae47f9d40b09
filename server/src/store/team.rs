//! Who is in which team, beside the team that a key is made with.

use mantle_domain::ids::ApiKeyId;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::params;

/// A key in a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamMemberRow {
    /// The team.
    pub team: String,
    /// The key.
    pub key_id: ApiKeyId,
    /// Since when.
    pub added_at_us: i64,
    /// Who added it.
    pub added_by: String,
}

/// Adds a key to a team. A conflict if it is in there.
pub async fn team_member_insert(tx: &mut Tx, row: &TeamMemberRow) -> Result<()> {
    tx.exec(
        "INSERT INTO team_member (team, key_id, added_at_us, added_by) VALUES ($1, $2, $3, $4)",
        params![row.team, row.key_id, row.added_at_us, row.added_by],
    )
    .await
    .map(|_| ())
    .map_err(|error| error.naming("team member"))
}

/// Takes a key out of a team.
pub async fn team_member_delete(tx: &mut Tx, team: &str, key: ApiKeyId) -> Result<()> {
    tx.exec_one(
        "DELETE FROM team_member WHERE team = $1 AND key_id = $2",
        params![team, key],
        StoreError::not_found("team member"),
    )
    .await
}

/// Every membership, by team.
pub async fn team_member_list(tx: &mut Tx) -> Result<Vec<TeamMemberRow>> {
    tx.rows(
        "SELECT * FROM team_member ORDER BY team, added_at_us, key_id LIMIT 100000",
        params![],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(TeamMemberRow {
            team: row.get("team")?,
            key_id: row.get("key_id")?,
            added_at_us: row.get("added_at_us")?,
            added_by: row.get("added_by")?,
        })
    })
    .collect()
}

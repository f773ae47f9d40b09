//! Enrolled agents and every key that ever got a certificate.
//!
//! The allow-list of the gateway is [`agent_key_list_allowed`]: a key that is not in it is out.

use mantle_domain::ids::{AgentId, JoinTokenId, TargetId};
use mantle_shared::tls::Fingerprint;

use super::error::{Result, StoreError};
use super::tx::Tx;
use super::value::{Row, params, word_enum};

word_enum! {
    /// Whether an agent may connect.
    pub enum AgentStatus {
        /// It may.
        Active = "active",
        /// It may not, ever again.
        Revoked = "revoked",
    }
}

word_enum! {
    /// What an agent's key is good for.
    pub enum AgentKeyStatus {
        /// The one in use.
        Current = "current",
        /// Issued by a renewal, not yet seen in use; the current one is still good.
        Offered = "offered",
        /// Replaced or revoked; kept so that it is never taken again.
        Retired = "retired",
    }
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    /// Its id; never reused.
    pub id: AgentId,
    /// The target that it speaks for; `None` once that was removed.
    pub target_id: Option<TargetId>,
    /// The target's name when it enrolled.
    pub name: String,
    /// Whether it may connect.
    pub status: AgentStatus,
    /// What it said of itself when it was last here.
    pub profile: AgentProfile,
    /// The highest epoch that it has seen, as far as is known.
    pub highest_epoch: u64,
    /// The token that it enrolled with.
    pub join_token_id: Option<JoinTokenId>,
    /// When it enrolled.
    pub enrolled_at_us: i64,
    /// When it was revoked.
    pub revoked_at_us: Option<i64>,
    /// When it was last connected.
    pub last_seen_at_us: Option<i64>,
}

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentProfile {
    /// Its version.
    pub version: String,
    /// `linux` or `windows`.
    pub os: String,
    /// `x86_64`, `aarch64`, ...
    pub arch: String,
    /// The machine's host name.
    pub host_name: String,
    /// What it can do.
    pub features: Vec<String>,
    /// Changes when the machine boots.
    pub boot_id: String,
}

/// A key of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentKeyRow {
    /// The SHA-256 of the public key (SPKI, DER).
    pub spki: Fingerprint,
    /// Whose it is.
    pub agent_id: AgentId,
    /// What it is good for.
    pub status: AgentKeyStatus,
    /// The serial number of its certificate.
    pub serial: Vec<u8>,
    /// When its certificate ends.
    pub not_after_us: i64,
    /// When its certificate was issued.
    pub issued_at_us: i64,
}

/// Adds an agent. A conflict if its target has an active one.
pub async fn agent_insert(tx: &mut Tx, agent: &AgentRow) -> Result<()> {
    tx.exec(
        "INSERT INTO agent (id, target_id, name, status, version, os, arch, host_name, features,
             boot_id, highest_epoch, join_token_id, enrolled_at_us, revoked_at_us, last_seen_at_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        params![
            agent.id,
            agent.target_id,
            agent.name,
            agent.status,
            agent.profile.version,
            agent.profile.os,
            agent.profile.arch,
            agent.profile.host_name,
            words(&agent.profile.features),
            agent.profile.boot_id,
            agent.highest_epoch,
            agent.join_token_id,
            agent.enrolled_at_us,
            agent.revoked_at_us,
            agent.last_seen_at_us,
        ],
    )
    .await
    .map_err(|error| error.naming("agent"))?;
    Ok(())
}

/// The agent of this id.
pub async fn agent_fetch(tx: &mut Tx, id: AgentId) -> Result<AgentRow> {
    tx.row("SELECT * FROM agent WHERE id = $1", params![id])
        .await?
        .as_ref()
        .map(read)
        .transpose()?
        .ok_or(StoreError::not_found("agent"))
}

/// The active agent of a target.
pub async fn agent_find_of_target(tx: &mut Tx, target: TargetId) -> Result<Option<AgentRow>> {
    tx.row(
        "SELECT * FROM agent WHERE target_id = $1 AND status = 'active'",
        params![target],
    )
    .await?
    .as_ref()
    .map(read)
    .transpose()
}

/// Every agent, by name and then the newest first; only active ones if so asked.
pub async fn agent_list(tx: &mut Tx, status: Option<AgentStatus>) -> Result<Vec<AgentRow>> {
    tx.rows(
        "SELECT * FROM agent WHERE $1 IS NULL OR status = $1
         ORDER BY name, enrolled_at_us DESC",
        params![status],
    )
    .await?
    .iter()
    .map(read)
    .collect()
}

/// Notes what an agent said when it connected.
pub async fn agent_mark_connected(
    tx: &mut Tx,
    id: AgentId,
    profile: &AgentProfile,
    highest_epoch: u64,
    at_us: i64,
) -> Result<()> {
    tx.exec_one(
        "UPDATE agent SET version = $2, os = $3, arch = $4, host_name = $5, features = $6,
             boot_id = $7, highest_epoch = $8, last_seen_at_us = $9
         WHERE id = $1 AND status = 'active'",
        params![
            id,
            profile.version,
            profile.os,
            profile.arch,
            profile.host_name,
            words(&profile.features),
            profile.boot_id,
            highest_epoch,
            at_us,
        ],
        StoreError::conflict("agent"),
    )
    .await
}

/// Notes when an agent was last here.
pub async fn agent_mark_seen(tx: &mut Tx, id: AgentId, at_us: i64) -> Result<()> {
    tx.exec_one(
        "UPDATE agent SET last_seen_at_us = $2 WHERE id = $1",
        params![id, at_us],
        StoreError::not_found("agent"),
    )
    .await
}

/// Notes that an agent was here at least until then.
pub async fn agent_mark_seen_until(tx: &mut Tx, id: AgentId, at_us: i64) -> Result<()> {
    tx.exec(
        "UPDATE agent SET last_seen_at_us = $2
         WHERE id = $1 AND (last_seen_at_us IS NULL OR last_seen_at_us < $2)",
        params![id, at_us],
    )
    .await
    .map(|_| ())
}

/// The agents that are revoked.
pub async fn agent_list_revoked(tx: &mut Tx) -> Result<Vec<AgentId>> {
    tx.rows(
        "SELECT id FROM agent WHERE status = 'revoked' ORDER BY id",
        params![],
    )
    .await?
    .iter()
    .map(|row| row.get("id"))
    .collect()
}

/// Revokes an active agent and retires its keys.
pub async fn agent_mark_revoked(tx: &mut Tx, id: AgentId, at_us: i64) -> Result<()> {
    tx.exec_one(
        "UPDATE agent SET status = 'revoked', revoked_at_us = $2
         WHERE id = $1 AND status = 'active'",
        params![id, at_us],
        StoreError::conflict("agent"),
    )
    .await?;
    tx.exec(
        "UPDATE agent_key SET status = 'retired' WHERE agent_id = $1",
        params![id],
    )
    .await?;
    Ok(())
}

/// Adds a key that got a certificate. A conflict if this key was ever seen before, from anyone.
pub async fn agent_key_insert(tx: &mut Tx, key: &AgentKeyRow) -> Result<()> {
    tx.exec(
        "INSERT INTO agent_key (spki, agent_id, status, serial, not_after_us, issued_at_us)
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            key.spki,
            key.agent_id,
            key.status,
            key.serial,
            key.not_after_us,
            key.issued_at_us,
        ],
    )
    .await
    .map_err(|error| error.naming("agent key"))?;
    Ok(())
}

/// The key of this fingerprint.
pub async fn agent_key_find(tx: &mut Tx, spki: Fingerprint) -> Result<Option<AgentKeyRow>> {
    tx.row("SELECT * FROM agent_key WHERE spki = $1", params![spki])
        .await?
        .as_ref()
        .map(read_key)
        .transpose()
}

/// Every key that may connect now: current or offered, of an active agent.
pub async fn agent_key_list_allowed(tx: &mut Tx) -> Result<Vec<AgentKeyRow>> {
    tx.rows(
        "SELECT k.* FROM agent_key k JOIN agent a ON a.id = k.agent_id
         WHERE a.status = 'active' AND k.status IN ('current', 'offered')",
        params![],
    )
    .await?
    .iter()
    .map(read_key)
    .collect()
}

/// The key that was offered to an agent last and was not seen in use yet.
pub async fn agent_key_find_offered(tx: &mut Tx, agent: AgentId) -> Result<Option<AgentKeyRow>> {
    tx.row(
        "SELECT * FROM agent_key WHERE agent_id = $1 AND status = 'offered'
         ORDER BY issued_at_us DESC LIMIT 1",
        params![agent],
    )
    .await?
    .as_ref()
    .map(read_key)
    .transpose()
}

/// What was offered to an agent and never used is withdrawn, for another offer.
pub async fn agent_key_retire_offered(tx: &mut Tx, agent: AgentId) -> Result<()> {
    tx.exec(
        "UPDATE agent_key SET status = 'retired' WHERE agent_id = $1 AND status = 'offered'",
        params![agent],
    )
    .await?;
    Ok(())
}

/// An offered key was seen in use: it is the current one from now on and the others retire.
pub async fn agent_key_mark_current(tx: &mut Tx, agent: AgentId, spki: Fingerprint) -> Result<()> {
    tx.exec_one(
        "UPDATE agent_key SET status = 'current'
         WHERE spki = $2 AND agent_id = $1 AND status = 'offered'",
        params![agent, spki],
        StoreError::conflict("agent key"),
    )
    .await?;
    tx.exec(
        "UPDATE agent_key SET status = 'retired' WHERE agent_id = $1 AND spki <> $2",
        params![agent, spki],
    )
    .await?;
    Ok(())
}

/// Words as a JSON array. Serialising strings cannot fail.
pub(super) fn words(list: &[String]) -> String {
    serde_json::Value::from(list.to_vec()).to_string()
}

/// Reads back what [`words`] wrote.
pub(super) fn read_words(row: &Row, name: &'static str) -> Result<Vec<String>> {
    serde_json::from_str(&row.get::<String>(name)?)
        .map_err(|_| StoreError::corrupt(format!("column {name}")))
}

fn read(row: &Row) -> Result<AgentRow> {
    Ok(AgentRow {
        id: row.get("id")?,
        target_id: row.find("target_id")?,
        name: row.get("name")?,
        status: row.get("status")?,
        profile: AgentProfile {
            version: row.get("version")?,
            os: row.get("os")?,
            arch: row.get("arch")?,
            host_name: row.get("host_name")?,
            features: read_words(row, "features")?,
            boot_id: row.get("boot_id")?,
        },
        highest_epoch: row.get("highest_epoch")?,
        join_token_id: row.find("join_token_id")?,
        enrolled_at_us: row.get("enrolled_at_us")?,
        revoked_at_us: row.find("revoked_at_us")?,
        last_seen_at_us: row.find("last_seen_at_us")?,
    })
}

fn read_key(row: &Row) -> Result<AgentKeyRow> {
    Ok(AgentKeyRow {
        spki: row.get("spki")?,
        agent_id: row.get("agent_id")?,
        status: row.get("status")?,
        serial: row.get("serial")?,
        not_after_us: row.get("not_after_us")?,
        issued_at_us: row.get("issued_at_us")?,
    })
}

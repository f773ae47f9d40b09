//! Agents: list and revoke.

use std::collections::HashMap;

use mantle_domain::ids::AgentId;
use mantle_domain::permission::Permission;
use serde_json::json;

use super::error::{Error, Result};
use super::{Caller, Deed, Services, at};
use crate::api::body::Agent;
use crate::store::{
    AgentKeyStatus, AgentRow, AgentStatus, Tx, agent_fetch, agent_key_list_allowed, agent_list,
    agent_mark_revoked,
};

/// Use cases of agents.
impl Services {
    /// All agents, active ones first.
    pub async fn agent_list(&self, caller: &Caller) -> Result<Vec<Agent>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let mut rows = agent_list(&mut tx, Some(AgentStatus::Active)).await?;
        rows.extend(agent_list(&mut tx, Some(AgentStatus::Revoked)).await?);
        let ends: HashMap<AgentId, i64> = agent_key_list_allowed(&mut tx)
            .await?
            .into_iter()
            .filter(|key| key.status == AgentKeyStatus::Current)
            .map(|key| (key.agent_id, key.not_after_us))
            .collect();
        let shape = |row: &AgentRow| Agent {
            certificate_until: ends.get(&row.id).copied().map(at),
            ..self.agent_shape(row)
        };
        Ok(rows.iter().map(shape).collect())
    }

    /// Revokes an agent, named by its target or its id: it is out within a second.
    pub async fn agent_revoke(&self, caller: &Caller, name: &str) -> Result<Agent> {
        caller.may(Permission::ManageTargets)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let row = find(&mut tx, name).await?;
        if row.status == AgentStatus::Revoked {
            // Asked for again: it is so. The gateway is told once more, in case it was not.
            self.wake.agent_revoked(row.id);
            return Ok(self.agent_shape(&row));
        }
        agent_mark_revoked(&mut tx, row.id, now.as_microsecond()).await?;
        let deed = Deed {
            action: "agent.revoke",
            subject: &row.name,
            id: Some(row.id.as_uuid()),
            detail: json!({}),
        };
        caller.audit(&mut tx, now, deed).await?;
        let row = agent_fetch(&mut tx, row.id).await?;
        tx.commit().await?;
        self.wake.agent_revoked(row.id);
        Ok(self.agent_shape(&row))
    }

    fn agent_shape(&self, row: &AgentRow) -> Agent {
        Agent {
            id: row.id,
            target: row.name.clone(),
            online: row.status == AgentStatus::Active && self.presence.is_online(row.id),
            version: row.profile.version.clone(),
            platform: row.profile.os.clone(),
            arch: row.profile.arch.clone(),
            joined_at: at(row.enrolled_at_us),
            last_seen_at: row.last_seen_at_us.map(at),
            revoked_at: row.revoked_at_us.map(at),
            certificate_until: None,
        }
    }
}

async fn find(tx: &mut Tx, name: &str) -> Result<AgentRow> {
    if let Ok(id) = name.parse::<AgentId>()
        && let Ok(row) = agent_fetch(tx, id).await
    {
        return Ok(row);
    }
    let mut rows = agent_list(tx, None).await?;
    // The active one of the name, else the one that was revoked last.
    rows.sort_by_key(|row| (row.status != AgentStatus::Active, -row.enrolled_at_us));
    match rows.iter().position(|row| row.name == name) {
        Some(index) => Ok(rows.swap_remove(index)),
        None => Err(Error::not_found(
            "agent",
            name,
            rows.iter().map(|row| row.name.as_str()),
            "'mantle agent list' shows all",
        )),
    }
}

//! An agent that leaves for good: by its own wish it is revoked. Its target stays, with all that was
//! deployed there; a machine may join under its name again.

use std::net::SocketAddr;

use jiff::Timestamp;
use mantle_domain::ids::AgentId;
use mantle_shared::fault;
use mantle_shared::protocol::LeaveResult;
use serde_json::json;

use super::enrolment::Enrolment;
use crate::store::{
    AgentStatus, AuditEntry, StoreError, agent_fetch, agent_mark_revoked, audit_append,
};

/// Leaving.
impl Enrolment {
    /// Revokes the agent that asks for it. Asked again, it is so already.
    pub(super) async fn let_go(&self, agent: AgentId, remote: SocketAddr) -> LeaveResult {
        let now = Timestamp::now().as_microsecond();
        let written = self
            .store
            .write(async |tx| {
                let row = agent_fetch(tx, agent).await?;
                if row.status == AgentStatus::Revoked {
                    return Ok(row.name);
                }
                agent_mark_revoked(tx, agent, now).await?;
                let entry = AuditEntry {
                    at_us: now,
                    actor: format!("agent:{agent}"),
                    action: "agent.leave".to_owned(),
                    subject: row.name.clone(),
                    detail: json!({
                        "agent": agent.to_string(),
                        "remote": remote.ip().to_string(),
                    })
                    .to_string(),
                };
                audit_append(tx, &entry).await?;
                Ok::<_, StoreError>(row.name)
            })
            .await;
        match written {
            Ok(name) => {
                fault::point("server.agent_left");
                self.trust.withdraw(agent);
                tracing::info!(agent.id = %agent, target.name = name, remote = %remote, "an agent has left");
                LeaveResult::Left
            }
            Err(error) => {
                tracing::error!(
                    agent.id = %agent,
                    error = &error as &dyn std::error::Error,
                    "that an agent leaves could not be written down"
                );
                LeaveResult::Refused {
                    reason: "the server cannot write it down just now; try again".to_owned(),
                }
            }
        }
    }
}

//! How the server itself stands, and taking a restored one into use.

use mantle_domain::permission::Permission;
use mantle_shared::Digest;
use serde_json::json;

use super::error::{Error, Result};
use super::{Caller, Deed, Services};
use crate::api::body::{
    AgentAhead, MissingPackage, RestoredServer, ServerRecovered, ServerStatus, UdpBuffers,
};
use crate::backup::Restored;
use crate::gateway::SOCKET_BUFFER_BYTES;
use crate::packages::objects::ObjectError;
use crate::store::{
    META_RESTORED, Tx, agent_fetch, epoch_current, epoch_raise, package_version_list_all,
    server_meta_find, server_meta_remove,
};

/// The counter is raised by this: an epoch is taken for each task, so that no server gave out as many
/// since any backup.
const ABOVE: u64 = 1 << 32;
/// So many missing packages are named.
const NAMED: usize = 100;

/// Use cases of the server itself.
impl Services {
    /// How the server stands.
    pub async fn server_status(&self, caller: &Caller) -> Result<ServerStatus> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let epoch = epoch_current(&mut tx).await?;
        let restored = restored(&mut tx).await?;
        let mut ahead = Vec::new();
        for (agent, epoch) in self.wake.ahead() {
            let target = agent_fetch(&mut tx, agent).await.map(|row| row.name);
            ahead.push(AgentAhead {
                agent,
                target: target.unwrap_or_default(),
                epoch,
            });
        }
        let room = self.server_room(caller, &mut tx).await?;
        let packages = package_version_list_all(&mut tx).await?;
        drop(tx);
        let missing = self.missing(packages).await?;
        Ok(ServerStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.server.started_at,
            udp_buffers: UdpBuffers {
                asked_bytes: SOCKET_BUFFER_BYTES as u64,
                receive_bytes: self.server.buffers.receive_bytes as u64,
                send_bytes: self.server.buffers.send_bytes as u64,
            },
            epoch,
            restored: restored.map(|restored| RestoredServer {
                taken_at: restored.taken_at,
                restored_at: restored.restored_at,
            }),
            ahead,
            room,
            missing_count: missing.len() as u64,
            missing_packages: missing.into_iter().take(NAMED).collect(),
        })
    }

    /// Takes a restored server into use: the epoch counter is raised above all that its agents may have
    /// seen, and from then on they obey it.
    pub async fn server_recover(&self, caller: &Caller) -> Result<ServerRecovered> {
        caller.may(Permission::ManageServer)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let restored = restored(&mut tx).await?;
        let ahead = self.wake.ahead();
        if restored.is_none() && ahead.is_empty() {
            return Err(Error::refused(
                "not-restored",
                "this server was not restored from a backup, and no agent is ahead of it: there is \
                 nothing to recover",
                "'mantle server status' shows how it stands",
            ));
        }
        let before = epoch_current(&mut tx).await?;
        let seen = ahead.values().copied().max().unwrap_or(0).max(before);
        let above = seen
            .checked_add(ABOVE)
            .filter(|above| i64::try_from(*above).is_ok());
        let Some(above) = above else {
            return Err(Error::refused(
                "epoch-exhausted",
                format!("an agent says that it has seen epoch {seen}, which no server gave out"),
                "revoke it: 'mantle server status' names it, 'mantle agent revoke' revokes it",
            ));
        };
        let epoch = epoch_raise(&mut tx, above).await?;
        server_meta_remove(&mut tx, META_RESTORED).await?;
        let deed = Deed {
            action: "server.recover",
            subject: "server",
            id: None,
            detail: json!({
                "backup": restored.map(|restored| restored.taken_at.to_string()),
                "epoch_before": before,
                "epoch": epoch,
                "ahead": ahead.iter().map(|(agent, epoch)| json!({"agent": agent.to_string(), "epoch": epoch})).collect::<Vec<_>>(),
            }),
        };
        caller.audit(&mut tx, now, deed).await?;
        tx.commit().await?;
        self.wake.recovered(epoch);
        Ok(ServerRecovered {
            epoch_before: before,
            epoch,
        })
    }

    /// Refuses what a server must not begin that was restored and not taken into use yet.
    pub(super) fn must_not_be_held(&self) -> Result<()> {
        if self.wake.is_held() {
            return Err(Error::refused(
                "not-recovered",
                "this server was restored from a backup: it orders nothing, since its agents may \
                 have gone further than it knows",
                "look at 'mantle server status', then take it into use with 'mantle server recover'",
            ));
        }
        Ok(())
    }

    async fn missing(
        &self,
        packages: Vec<(String, String, Digest)>,
    ) -> Result<Vec<MissingPackage>> {
        let objects = self.packages.objects().clone();
        let looked = tokio::task::spawn_blocking(move || {
            let lacks =
                |root: &Digest| matches!(objects.wire(root), Err(ObjectError::Missing { .. }));
            packages
                .into_iter()
                .filter(|(_, _, root)| lacks(root))
                .map(|(id, version, _)| MissingPackage { id, version })
                .collect()
        });
        looked
            .await
            .map_err(|error| Error::internal("the package repository", error))
    }
}

async fn restored(tx: &mut Tx) -> Result<Option<Restored>> {
    let stored = server_meta_find(tx, META_RESTORED).await?;
    let parsed = stored
        .map(|bytes| serde_json::from_slice(&bytes))
        .transpose();
    parsed.map_err(|error| Error::internal("the mark of a restored server", error))
}

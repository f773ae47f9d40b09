//! Targets: list, tag, switch off and on, remove.

use std::collections::BTreeSet;

use mantle_domain::health::CheckStatus;
use mantle_domain::name::IN_TAGS;
use mantle_domain::permission::Permission;
use mantle_domain::variable::tags::Tagged;
use serde_json::json;

use super::error::{Error, Result};
use super::health::{Looks, target_checks, telling, told};
use super::{Caller, Deed, Services, at, facts, names, resolution, ties};
use crate::api::body::{
    MaintenanceSet, Target, TargetAgent, TargetHealth, TargetMaintenance, TargetState, TargetTags,
};
use crate::store::{
    AgentRow, Maintenance, TargetRow, Tx, agent_find_of_target, agent_mark_revoked,
    attempt_list_live_of_agent, target_delete, target_fetch, target_list, target_mark_disabled,
    target_mark_maintenance, target_replace_tags,
};

/// Use cases of targets.
impl Services {
    /// Targets by name, perhaps only those of an environment or with a tag.
    pub async fn target_list(
        &self,
        caller: &Caller,
        environment: Option<&str>,
        tag: Option<&str>,
    ) -> Result<Vec<Target>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let environment = match environment {
            Some(name) => Some(names::environment(&mut tx, name).await?.id),
            None => None,
        };
        let rows = target_list(&mut tx, environment).await?;
        let known = names::environment_names(&mut tx).await?;
        let agents = facts::agents_by_target(&mut tx).await?;
        let looks = Looks::read(&mut tx, None).await?;
        Ok(rows
            .into_iter()
            .filter(|row| tag.is_none_or(|tag| row.tags.iter().any(|own| own == tag)))
            .map(|row| {
                let environments = facts::named(&row.environments, &known);
                self.shape(&row, environments, agents.get(&row.id), &looks)
            })
            .collect())
    }

    /// One target.
    pub async fn target_show(&self, caller: &Caller, name: &str) -> Result<Target> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let row = names::target(&mut tx, name).await?;
        let tagged = Tagged {
            name: &row.name,
            tags: &row.tags,
            before: None,
        };
        let warnings = ties::by_tags(&mut tx, tagged).await?;
        let resolved = resolution::of_target(&mut tx, row.id).await?;
        let view = self.view(&mut tx, &row).await?;
        Ok(Target {
            resolved,
            warnings,
            ..view
        })
    }

    /// Gives a target tags and takes some away.
    pub async fn target_tag(
        &self,
        caller: &Caller,
        name: &str,
        change: &TargetTags,
    ) -> Result<Target> {
        caller.may(Permission::ManageTargets)?;
        for tag in &change.add {
            names::check("tag", tag, IN_TAGS)?;
        }
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let row = names::target(&mut tx, name).await?;
        let before: BTreeSet<&String> = row.tags.iter().collect();
        if let Some(missing) = change.remove.iter().find(|tag| !before.contains(tag)) {
            return Err(Error::not_found(
                "tag",
                missing,
                row.tags.iter().map(String::as_str),
                format!("'mantle target show {name}' lists its tags"),
            ));
        }
        let mut after: BTreeSet<String> = row.tags.iter().cloned().collect();
        after.extend(change.add.iter().cloned());
        for tag in &change.remove {
            after.remove(tag);
        }
        let after: Vec<String> = after.into_iter().collect();
        target_replace_tags(&mut tx, row.id, &after).await?;
        let detail = json!({"added": change.add, "removed": change.remove, "tags": after});
        let deed = deed("target.tag", &row, detail);
        caller.audit(&mut tx, now, deed).await?;
        let tagged = Tagged {
            name: &row.name,
            tags: &after,
            before: Some(&row.tags),
        };
        let warnings = ties::by_tags(&mut tx, tagged).await?;
        let row = target_fetch(&mut tx, row.id).await?;
        let view = self.view(&mut tx, &row).await?;
        tx.commit().await?;
        self.wake.targets_changed();
        Ok(Target { warnings, ..view })
    }

    /// Keeps deployments from choosing a target, or lets them again.
    pub async fn target_switch(
        &self,
        caller: &Caller,
        name: &str,
        switch: TargetSwitch,
    ) -> Result<Target> {
        caller.may(Permission::ManageTargets)?;
        let (disabled, action) = match switch {
            TargetSwitch::Enable => (false, "target.enable"),
            TargetSwitch::Disable => (true, "target.disable"),
        };
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let row = names::target(&mut tx, name).await?;
        target_mark_disabled(&mut tx, row.id, disabled).await?;
        caller
            .audit(&mut tx, now, deed(action, &row, json!({})))
            .await?;
        let row = target_fetch(&mut tx, row.id).await?;
        let view = self.view(&mut tx, &row).await?;
        tx.commit().await?;
        self.wake.targets_changed();
        Ok(view)
    }

    /// Takes a target into maintenance, so that deployments leave it out and say so, or out of it.
    pub async fn target_maintenance(
        &self,
        caller: &Caller,
        name: &str,
        request: &MaintenanceSet,
    ) -> Result<Target> {
        caller.may(Permission::ManageTargets)?;
        let now = self.now();
        let reason = request.reason.as_deref().map(str::trim);
        let maintenance = match (request.on, reason) {
            (false, _) => None,
            (true, None | Some("")) => {
                return Err(Error::invalid(
                    "no-reason",
                    "a target is in maintenance for a reason, which deployments that leave it out give",
                    "say it with --reason",
                ));
            }
            (true, Some(reason)) => Some(Maintenance {
                reason: reason.to_owned(),
                by: caller.actor.name.clone(),
                since_us: now.as_microsecond(),
            }),
        };
        let mut tx = self.store.begin().await?;
        let row = names::target(&mut tx, name).await?;
        target_mark_maintenance(&mut tx, row.id, maintenance.as_ref()).await?;
        let detail = json!({"on": request.on, "reason": reason});
        caller
            .audit(&mut tx, now, deed("target.maintenance", &row, detail))
            .await?;
        let row = target_fetch(&mut tx, row.id).await?;
        let view = self.view(&mut tx, &row).await?;
        tx.commit().await?;
        self.wake.targets_changed();
        Ok(view)
    }

    /// Forgets a target and revokes its agent. Refused while a deployment is under way that its
    /// plan says goes there, whether its turn has come, is to come or is over: what the deployment
    /// does about the others, and what it says in the end, rests on that plan.
    pub async fn target_remove(&self, caller: &Caller, name: &str) -> Result<()> {
        caller.may(Permission::ManageTargets)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let row = names::target(&mut tx, name).await?;
        if let Some(task) = facts::running_task_of(&mut tx, row.id).await? {
            return Err(Error::refused(
                "target-busy",
                format!("the target '{name}' cannot be removed: T-{task} deploys to it"),
                format!("wait for it, or stop it with 'mantle task cancel T-{task}'"),
            ));
        }
        let agent = agent_find_of_target(&mut tx, row.id).await?;
        if let Some(agent) = &agent {
            if !attempt_list_live_of_agent(&mut tx, agent.id)
                .await?
                .is_empty()
            {
                return Err(Error::refused(
                    "target-busy",
                    format!("the target '{name}' cannot be removed: work is under way there"),
                    "wait for it, or stop it with 'mantle task cancel'; if its machine is gone for good, \
                     say how the work ended with 'mantle task resolve'",
                ));
            }
            agent_mark_revoked(&mut tx, agent.id, now.as_microsecond()).await?;
        }
        target_delete(&mut tx, row.id).await?;
        let detail = json!({"agent": agent.as_ref().map(|agent| agent.id.to_string())});
        caller
            .audit(&mut tx, now, deed("target.remove", &row, detail))
            .await?;
        tx.commit().await?;
        if let Some(agent) = agent {
            self.wake.agent_revoked(agent.id);
        }
        self.wake.targets_changed();
        Ok(())
    }

    async fn view(&self, tx: &mut Tx, row: &TargetRow) -> Result<Target> {
        let known = names::environment_names(tx).await?;
        let agent = agent_find_of_target(tx, row.id).await?;
        let environments = facts::named(&row.environments, &known);
        let looks = Looks::read(tx, Some(row.id)).await?;
        Ok(self.shape(row, environments, agent.as_ref(), &looks))
    }

    fn shape(
        &self,
        row: &TargetRow,
        environments: Vec<String>,
        agent: Option<&AgentRow>,
        looks: &Looks,
    ) -> Target {
        let state = match agent {
            _ if row.disabled => TargetState::Disabled,
            _ if row.maintenance.is_some() => TargetState::Maintenance,
            None => TargetState::Expected,
            Some(agent) if self.presence.is_online(agent.id) => TargetState::Online,
            Some(_) => TargetState::Offline,
        };
        // Noted when it connects and when it goes, so it is since when it stands as it does.
        let since = agent.and_then(|agent| agent.last_seen_at_us).map(at);
        let found = looks.of(row.id, &row.tags, &environments);
        let mut health = match (agent, since) {
            (Some(agent), _) if self.presence.is_online(agent.id) => TargetHealth::Healthy,
            (Some(_), Some(_)) => TargetHealth::Unavailable,
            (Some(_) | None, _) => TargetHealth::Unknown,
        };
        let (mut health_since, mut health_message) = (since, String::new());
        if health == TargetHealth::Healthy
            && let Some((check, worst)) = telling(&found)
        {
            health = match worst.status {
                CheckStatus::Healthy => TargetHealth::Healthy,
                CheckStatus::HealthyWithWarnings => TargetHealth::HealthyWithWarnings,
                CheckStatus::Unhealthy => TargetHealth::Unhealthy,
                CheckStatus::Unknown => TargetHealth::Unknown,
            };
            if health != TargetHealth::Healthy {
                health_since = Some(at(worst.since_us));
                health_message = told(check, &worst.message);
            }
        }
        Target {
            warnings: Vec::new(),
            resolved: Vec::new(),
            id: row.id,
            name: row.name.clone(),
            tags: row.tags.clone(),
            environments,
            state,
            health,
            health_since,
            health_message,
            checks: target_checks(&found),
            maintenance: row.maintenance.as_ref().map(|kept| TargetMaintenance {
                reason: kept.reason.clone(),
                by: kept.by.clone(),
                since: at(kept.since_us),
            }),
            agent: agent.map(|agent| TargetAgent {
                id: agent.id,
                version: agent.profile.version.clone(),
                platform: agent.profile.os.clone(),
                arch: agent.profile.arch.clone(),
                last_seen_at: agent.last_seen_at_us.map(at),
                copy: self
                    .wake
                    .copy_of(agent.id)
                    .map(|(name, remote)| format!("{name} at {remote}")),
            }),
        }
    }
}

/// Which way a target is switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSwitch {
    /// Deployments may choose it.
    Enable,
    /// They may not.
    Disable,
}

fn deed<'a>(action: &'static str, row: &'a TargetRow, detail: serde_json::Value) -> Deed<'a> {
    Deed {
        action,
        subject: &row.name,
        id: Some(row.id.as_uuid()),
        detail,
    }
}

//! Locks: who holds what where, and breaking what nobody lets go.

use std::collections::BTreeMap;

use mantle_domain::permission::Permission;
use mantle_shared::ids::TargetId;
use serde_json::json;

use super::error::{Error, Result};
use super::{Caller, Deed, Services, at, names};
use crate::api::body::{HeldLock, LockBreak};
use crate::store::{HeldLockRow, Tx, held_lock_list, held_lock_mark_broken, target_list};

/// Use cases of locks.
impl Services {
    /// The locks that are held, perhaps only those on one target.
    pub async fn lock_list(&self, caller: &Caller, target: Option<&str>) -> Result<Vec<HeldLock>> {
        caller.may(Permission::Read)?;
        let mut tx = self.store.read().await?;
        let only = match target {
            Some(name) => Some(names::target(&mut tx, name).await?.id),
            None => None,
        };
        let targets = target_names(&mut tx).await?;
        let rows = held_lock_list(&mut tx).await?;
        Ok(rows
            .into_iter()
            .filter(|row| only.is_none_or(|only| row.executor_id == only))
            .map(|row| shape(row, &targets))
            .collect())
    }

    /// Breaks a lock on a target: whoever waits for it goes on, although whoever held it may live.
    pub async fn lock_break(&self, caller: &Caller, request: &LockBreak) -> Result<Vec<HeldLock>> {
        caller.may(Permission::BreakLocks)?;
        let reason = request.reason.trim();
        if reason.is_empty() {
            return Err(Error::invalid(
                "no-reason",
                "a lock is broken for a reason, which the audit trail keeps",
                "say it with --reason",
            ));
        }
        let now = self.now();
        let (target, lock) = (&request.target, &request.lock);
        let mut tx = self.store.begin().await?;
        let executor = names::target(&mut tx, target).await?;
        let by = &caller.actor.name;
        let at_us = now.as_microsecond();
        let broken = held_lock_mark_broken(&mut tx, executor.id, lock, by, at_us).await?;
        if broken.is_empty() {
            let all = held_lock_list(&mut tx).await?;
            let here = all
                .iter()
                .filter(|row| row.executor_id == executor.id && row.broken_at_us.is_none());
            return Err(Error::not_found(
                "held lock",
                lock,
                here.map(|row| row.name.as_str()),
                format!("'mantle lock list --target {target}' shows what is held there"),
            ));
        }
        let targets = target_names(&mut tx).await?;
        let held: Vec<HeldLock> = held_lock_list(&mut tx)
            .await?
            .into_iter()
            .filter(|row| broken.contains(&row.attempt_id))
            .map(|row| shape(row, &targets))
            .collect();
        let holders: Vec<&str> = held.iter().map(|lock| lock.holder.as_str()).collect();
        let deed = Deed {
            action: "lock.break",
            subject: target,
            id: Some(executor.id.as_uuid()),
            detail: json!({"lock": lock, "reason": reason, "holders": holders, "attempts": broken}),
        };
        caller.audit(&mut tx, now, deed).await?;
        tx.commit().await?;
        self.wake.locks_changed();
        Ok(held)
    }
}

async fn target_names(tx: &mut Tx) -> Result<BTreeMap<TargetId, String>> {
    let rows = target_list(tx, None).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

fn shape(row: HeldLockRow, targets: &BTreeMap<TargetId, String>) -> HeldLock {
    HeldLock {
        // Of a target that was removed only the id is left.
        target: targets
            .get(&row.executor_id)
            .cloned()
            .unwrap_or_else(|| row.executor_id.to_string()),
        lock: row.name,
        mode: row.mode.word().to_owned(),
        holder: row.holder,
        attempt: row.attempt_id,
        since: at(row.taken_at_us),
        ended: row.ended.map(|end| end.word().to_owned()),
        broken_at: row.broken_at_us.map(at),
        broken_by: row.broken_by,
    }
}

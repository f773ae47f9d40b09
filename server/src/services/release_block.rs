//! Blocking a release: it was found bad, so that it enters no further phase until somebody says
//! otherwise, and why.

use mantle_domain::lifecycle::Occasion;
use mantle_domain::permission::Permission;
use serde_json::json;

use super::error::{Error, Result};
use super::progress::progress;
use super::releases::detail;
use super::{Caller, Deed, Services, names};
use crate::api::body::ReleaseDetail;
use crate::store::{
    ReleaseBlock, ReleaseUnblock, release_fetch, release_mark_blocked, release_mark_unblocked,
};

/// A reason is a sentence, not a report.
const LONGEST_REASON: usize = 1000;

/// Use cases of blocks.
impl Services {
    /// Blocks a release.
    pub async fn release_block(
        &self,
        caller: &Caller,
        project: &str,
        version: &str,
        reason: &str,
    ) -> Result<ReleaseDetail> {
        caller.may(Permission::ReleaseBlock)?;
        let reason = checked_reason(reason)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let project = names::project(&mut tx, project).await?;
        let row = names::release(&mut tx, &project, version).await?;
        let subject = format!("{} {}", project.slug, row.version);
        if let Some(block) = &row.blocked {
            return Err(Error::refused(
                "release-blocked",
                format!(
                    "{subject} is blocked already: {} ({})",
                    block.reason, block.by
                ),
                format!("lift that block first: mantle release unblock {subject} --reason WHY"),
            ));
        }
        let block = ReleaseBlock {
            at_us: now.as_microsecond(),
            by: caller.actor.name.clone(),
            reason: reason.to_owned(),
        };
        release_mark_blocked(&mut tx, row.id, &block).await?;
        let deed = Deed {
            action: "release.block",
            subject: &subject,
            id: Some(row.id.as_uuid()),
            detail: json!({ "reason": reason }),
        };
        caller.audit(&mut tx, now, deed).await?;
        let row = release_fetch(&mut tx, row.id).await?;
        let detail = detail(&mut tx, &project, &row).await?;
        tx.commit().await?;
        Ok(detail)
    }

    /// Lifts the block on a release. What its lifecycle would have done meanwhile it does now.
    pub async fn release_unblock(
        &self,
        caller: &Caller,
        project: &str,
        version: &str,
        reason: &str,
    ) -> Result<ReleaseDetail> {
        caller.may(Permission::ReleaseBlock)?;
        let reason = checked_reason(reason)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let project = names::project(&mut tx, project).await?;
        let row = names::release(&mut tx, &project, version).await?;
        let subject = format!("{} {}", project.slug, row.version);
        let Some(block) = row.blocked else {
            return Err(Error::refused(
                "release-not-blocked",
                format!("{subject} is not blocked"),
                format!("'mantle release show {subject}' shows how it stands"),
            ));
        };
        let unblock = ReleaseUnblock {
            at_us: now.as_microsecond(),
            by: caller.actor.name.clone(),
            reason: reason.to_owned(),
            was: block.reason.clone(),
        };
        release_mark_unblocked(&mut tx, row.id, &unblock).await?;
        let deed = Deed {
            action: "release.unblock",
            subject: &subject,
            id: Some(row.id.as_uuid()),
            detail: json!({ "reason": reason, "was": block.reason, "blocked_by": block.by }),
        };
        caller.audit(&mut tx, now, deed).await?;
        let row = release_fetch(&mut tx, row.id).await?;
        let queued = progress(
            &mut tx,
            &project,
            &row,
            Occasion::Unblocked,
            "its block was lifted",
            now,
        )
        .await?;
        let mut detail = detail(&mut tx, &project, &row).await?;
        tx.commit().await?;
        for task in &queued {
            self.wake.task_queued(task.task);
        }
        detail.queued = queued.into_iter().map(Into::into).collect();
        Ok(detail)
    }
}

/// A reason that somebody can read later.
pub(super) fn checked_reason(reason: &str) -> Result<&str> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
        return Err(Error::invalid(
            "bad-reason",
            format!(
                "a reason of {} characters says nothing",
                reason.chars().count()
            ),
            format!("say why in up to {LONGEST_REASON} characters with --reason"),
        ));
    }
    Ok(reason)
}

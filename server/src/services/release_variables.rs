//! Giving a release other variables on purpose: the project's of now, or those it had before.
//!
//! Each change is an entry in the release's history, with who and why, and can itself be undone.
//! The difference is said first: a dry run answers the digest that the variables would have, and
//! the change that follows names it, so that nobody gets another change than the one that was shown.

use mantle_domain::explain::Refusal;
use mantle_domain::permission::Permission;
use mantle_domain::release::compare;
use mantle_domain::release::refresh::{Which, refresh};
use mantle_domain::snapshot::VariableSnapshot;
use serde_json::json;

use super::declared::whole_project;
use super::error::{Error, Result};
use super::planning::snapshot;
use super::release_block::checked_reason;
use super::releases::{document, pinned_secrets, secret_facts, snapshot_entry};
use super::{Caller, Deed, Services, names};
use crate::api::body::{
    RefreshVariables, RevertVariables, VariableSnapshotEntry, VariablesChanged,
};
use crate::store::{
    ProjectRow, ReleaseRow, ReleaseVariablesRow, SnapshotKind, Tx, release_replace_variables,
    release_variables_list, snapshot_keep,
};

/// What is written down of a change.
struct Step<'a> {
    action: &'static str,
    variables: VariableSnapshot,
    reason: String,
    expected: Option<&'a str>,
    dry_run: bool,
    warnings: Vec<String>,
    way_back: Option<WayBack>,
}

/// From which snapshot to which one.
struct WayBack {
    from: VariableSnapshotEntry,
    to: VariableSnapshotEntry,
}

/// Use cases of a release's variables.
impl Services {
    /// Gives a release the variables that its project has now, all or some.
    pub async fn release_refresh_variables(
        &self,
        caller: &Caller,
        project: &str,
        version: &str,
        request: &RefreshVariables,
    ) -> Result<VariablesChanged> {
        caller.may(Permission::ReleaseChange)?;
        let mut tx = self.store.begin().await?;
        let project = names::project(&mut tx, project).await?;
        let row = names::release(&mut tx, &project, version).await?;
        let reason = reason(&request.reason, request.dry_run)?;
        let current: VariableSnapshot = snapshot(&mut tx, row.variables).await?;
        let definition = whole_project(&mut tx, &project).await?;
        let secrets = secret_facts(&mut tx).await?;
        let which = if request.only.is_empty() {
            Which::All
        } else {
            Which::Only(request.only.iter().cloned().collect())
        };
        let refreshed = refresh(&definition, &current, &which, &secrets)?;
        let step = Step {
            action: "release.refresh-variables",
            variables: refreshed.variables,
            reason,
            expected: request.expect.as_deref(),
            dry_run: request.dry_run,
            warnings: refreshed.warnings,
            way_back: None,
        };
        self.change(tx, caller, &project, &row, &current, step)
            .await
    }

    /// Gives a release the variables back that it had.
    pub async fn release_revert_variables(
        &self,
        caller: &Caller,
        project: &str,
        version: &str,
        request: &RevertVariables,
    ) -> Result<VariablesChanged> {
        caller.may(Permission::ReleaseChange)?;
        let mut tx = self.store.begin().await?;
        let project = names::project(&mut tx, project).await?;
        let row = names::release(&mut tx, &project, version).await?;
        let reason = reason(&request.reason, request.dry_run)?;
        let current: VariableSnapshot = snapshot(&mut tx, row.variables).await?;
        let history = release_variables_list(&mut tx, row.id).await?;
        let number = match request.to {
            Some(number) => number,
            None => row.variables_number.saturating_sub(1),
        };
        let numbered = |number| {
            let entry = history.iter().find(|entry| entry.number == number);
            entry.ok_or_else(|| Refusal::NoSuchSnapshot {
                project: project.slug.clone(),
                version: row.version.clone(),
                number,
                known: row.variables_number,
            })
        };
        let entry = numbered(number)?;
        let way_back = WayBack {
            from: snapshot_entry(numbered(row.variables_number)?.clone()),
            to: snapshot_entry(entry.clone()),
        };
        let step = Step {
            action: "release.revert-variables",
            variables: snapshot(&mut tx, entry.digest).await?,
            reason: format!("back to {number}: {reason}"),
            expected: request.expect.as_deref(),
            dry_run: request.dry_run,
            warnings: Vec::new(),
            way_back: Some(way_back),
        };
        self.change(tx, caller, &project, &row, &current, step)
            .await
    }

    async fn change(
        &self,
        mut tx: Tx,
        caller: &Caller,
        project: &ProjectRow,
        row: &ReleaseRow,
        current: &VariableSnapshot,
        step: Step<'_>,
    ) -> Result<VariablesChanged> {
        let now = self.now();
        let subject = format!("{} {}", project.slug, row.version);
        let changes = compare::variables(&current.variables, &step.variables.variables);
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        let body = document(&step.variables)?;
        let secrets = pinned_secrets(&step.variables);
        let at_us = now.as_microsecond();
        let digest =
            snapshot_keep(&mut tx, SnapshotKind::Variables, &body, &secrets, at_us).await?;
        let shown = digest.to_string();
        if step.expected.is_some_and(|expected| expected != shown) {
            return Err(Error::refused(
                "changed-meanwhile",
                format!("the variables of {subject} would not become what was shown before"),
                "somebody changed the project or a secret meanwhile: look at the difference again",
            ));
        }
        let (back_from, back_to) = step.way_back.map(|way| (way.from, way.to)).unzip();
        let mut answer = VariablesChanged {
            back_from,
            back_to,
            digest: shown,
            number: row.variables_number,
            changes,
            changed: false,
            warnings: step.warnings,
        };
        // A secret that was set again to the same value is another version, and no change to people.
        if step.dry_run || digest == row.variables {
            return Ok(answer);
        }
        let entry = ReleaseVariablesRow {
            number: row.variables_number + 1,
            digest,
            changed_at_us: at_us,
            changed_by: caller.actor.name.clone(),
            reason: step.reason,
        };
        release_replace_variables(&mut tx, row.id, &entry).await?;
        let deed = Deed {
            action: step.action,
            subject: &subject,
            id: Some(row.id.as_uuid()),
            detail: json!({
                "reason": entry.reason,
                "from": row.variables,
                "to": digest,
                "number": entry.number,
                "diff": answer.changes,
            }),
        };
        caller.audit(&mut tx, now, deed).await?;
        tx.commit().await?;
        answer.number = entry.number;
        answer.changed = true;
        Ok(answer)
    }
}

/// A dry run needs no reason yet.
fn reason(given: &str, dry_run: bool) -> Result<String> {
    if dry_run {
        return Ok(String::new());
    }
    checked_reason(given).map(str::to_owned)
}

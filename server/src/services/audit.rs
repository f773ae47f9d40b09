//! The audit trail: read and check.

use mantle_domain::audit::AuditRow;
use mantle_domain::permission::Permission;

use super::error::Result;
use super::{Caller, Services, at};
use crate::api::body::{AuditEntry, AuditVerified, Page};
use crate::store::{AuditFault, AuditVerdict, audit_cut_find, audit_list, audit_verify};

/// Use cases of the audit trail.
impl Services {
    /// A page of entries, the newest first.
    pub async fn audit_list(
        &self,
        caller: &Caller,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<AuditEntry>> {
        caller.may(Permission::ReadAudit)?;
        let mut tx = self.store.read().await?;
        let rows = audit_list(&mut tx, before, None, limit).await?;
        let full = rows.len() == limit as usize;
        let next = rows
            .last()
            .filter(|_| full)
            .map(|row| row.sequence.to_string());
        Ok(Page {
            items: rows.into_iter().map(shape).collect(),
            next,
        })
    }

    /// Checks the whole chain.
    pub async fn audit_verify(&self, caller: &Caller) -> Result<AuditVerified> {
        caller.may(Permission::ReadAudit)?;
        let mut tx = self.store.read().await?;
        let removed = audit_cut_find(&mut tx).await?.through;
        Ok(match audit_verify(&mut tx).await? {
            AuditVerdict::Intact(head) => AuditVerified {
                intact: true,
                entries: head.sequence.saturating_sub(removed),
                removed,
                first_bad: None,
                fault: String::new(),
                head: head.hash.to_string(),
            },
            AuditVerdict::Broken { sequence, fault } => AuditVerified {
                intact: false,
                entries: sequence.saturating_sub(1).saturating_sub(removed),
                removed,
                first_bad: Some(sequence),
                fault: sentence(fault).to_owned(),
                head: String::new(),
            },
        })
    }
}

fn sentence(fault: AuditFault) -> &'static str {
    match fault {
        AuditFault::Missing => "the row is missing",
        AuditFault::Changed => "the row or the one before it was changed after it was written",
        AuditFault::Truncated => "the end of the trail was cut off",
        AuditFault::Beyond => "the row was added past the recorded end",
        AuditFault::Unvouched => "what came before it was removed, and no entry says so",
    }
}

fn shape(row: AuditRow) -> AuditEntry {
    AuditEntry {
        seq: row.sequence,
        at: at(row.at_us),
        actor: row.actor,
        action: row.action,
        subject: row.subject,
        detail: serde_json::from_str(&row.detail).unwrap_or_default(),
    }
}

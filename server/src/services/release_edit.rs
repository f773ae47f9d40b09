//! What can be edited of a release: its notes. What it deploys stays what it was.

use mantle_domain::permission::Permission;
use mantle_domain::release::notes::{self, NotesContext};
use serde_json::json;

use super::error::Result;
use super::planning::Pins;
use super::releases::{detail, fields_of};
use super::{Caller, Deed, Services, names};
use crate::api::body::{ReleaseDetail, ReleaseEdit};
use crate::store::{release_fetch, release_replace_notes};

/// So much of notes stands in the audit trail.
const AUDITED: usize = 1000;

/// Use cases of edits.
impl Services {
    /// Gives a release other notes, which are evaluated as when it was made.
    pub async fn release_edit(
        &self,
        caller: &Caller,
        project: &str,
        version: &str,
        request: &ReleaseEdit,
    ) -> Result<ReleaseDetail> {
        caller.may(Permission::ReleaseCreate)?;
        let now = self.now();
        let mut tx = self.store.begin().await?;
        let project = names::project(&mut tx, project).await?;
        let row = names::release(&mut tx, &project, version).await?;
        let pins = Pins::read(&mut tx, row.digests()).await?;
        let fields = fields_of(&row)?;
        let context = NotesContext {
            project: &project.slug,
            version: &row.version,
            channel: &row.channel,
            variables: &pins.variables.variables,
            packages: &pins.packages.packages,
            fields: &fields,
        };
        let (notes, warnings) = notes::evaluate(&request.notes, &context, now)?;
        if notes != row.notes {
            release_replace_notes(&mut tx, row.id, &notes).await?;
            let shown = |text: &str| text.chars().take(AUDITED).collect::<String>();
            let subject = format!("{} {}", project.slug, row.version);
            let deed = Deed {
                action: "release.edit",
                subject: &subject,
                id: Some(row.id.as_uuid()),
                detail: json!({ "notes": shown(&notes), "was": shown(&row.notes) }),
            };
            caller.audit(&mut tx, now, deed).await?;
        }
        let row = release_fetch(&mut tx, row.id).await?;
        let mut detail = detail(&mut tx, &project, &row).await?;
        tx.commit().await?;
        detail.warnings.extend(warnings);
        Ok(detail)
    }
}

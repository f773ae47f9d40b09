//! Applying health checks.

use mantle_domain::file::diff;
use mantle_domain::health::HealthCheckDefinition;
use mantle_domain::ids::HealthCheckId;

use super::apply::{Applier, Made, document};
use super::error::Result;
use super::health::definition;
use super::mint;
use crate::store::{HealthCheckRow, health_check_find, health_check_insert, health_check_update};

impl Applier<'_> {
    pub(super) async fn health_check(&mut self, new: &HealthCheckDefinition) -> Result<()> {
        let body = document(new)?;
        let changed_at_us = self.now.as_microsecond();
        let (old, row) = match health_check_find(self.tx, &new.name).await? {
            Some(row) if row.body == body => return Ok(()),
            Some(old) => {
                let row = HealthCheckRow {
                    body,
                    revision: old.revision + 1,
                    changed_at_us,
                    ..old.clone()
                };
                health_check_update(self.tx, &row).await?;
                (Some(old), row)
            }
            None => {
                let row = HealthCheckRow {
                    id: HealthCheckId::from_uuid(mint()),
                    name: new.name.clone(),
                    body,
                    revision: 1,
                    changed_at_us,
                    queued_at_us: None,
                };
                health_check_insert(self.tx, &row).await?;
                (None, row)
            }
        };
        let before = old.as_ref().map(definition).transpose()?;
        let lines = diff::health_check(before.as_ref(), new);
        let made = Made {
            kind: "health check",
            name: &new.name,
            old: old.as_ref().map(|old| old.body.as_str()),
            new: Some(&row.body),
            lines: &lines,
        };
        self.note(made).await
    }
}

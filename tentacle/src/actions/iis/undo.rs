//! The way back: what takes each change of an action back, on disk before the change is made.
//!
//! It serves twice. A change that fails takes back those before it; and when a step rolls back,
//! `iis.restore` does so for an action that had succeeded, also after a restart in between.

use std::fs;
use std::path::{Path, PathBuf};

use mantle_shared::Digest;
use serde::{Deserialize, Serialize};

use super::super::{ActionContext, ActionError, Names};
use super::change::{Change, Order};
use super::server::Iis;
use crate::durable;

/// The most ways back that are kept; the oldest go first. A rollback comes within its deployment.
const KEPT: usize = 200;

/// The ways back of one action of one task, the first change first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    format: u32,
    orders: Vec<Order>,
}

/// Where the way back of an action stands.
pub(super) struct Log {
    path: PathBuf,
}

impl Log {
    /// That of an action of this attempt's task, about this attempt's subject.
    pub(super) fn of(folder: &Path, names: &Names, action: &str) -> Self {
        let key = format!("{}\n{}\n{}", names.task, action, names.subject);
        Self {
            path: folder.join(format!("{}.json", Digest::of(key.as_bytes()))),
        }
    }

    fn read(&self) -> Result<Record, ActionError> {
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                ActionError::failed(format!(
                    "{} cannot be read: {error}; what this deployment changed in IIS must be taken back by hand",
                    self.path.display()
                ))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Record::default()),
            Err(error) => Err(ActionError::failed(format!(
                "{} cannot be read: {error}",
                self.path.display()
            ))),
        }
    }

    fn write(&self, record: &Record) -> Result<(), ActionError> {
        let failed = |error: std::io::Error| {
            ActionError::failed(format!(
                "{} cannot be written, so nothing was changed: {error}",
                self.path.display()
            ))
        };
        let bytes = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        durable::create_private_folder(folder).map_err(failed)?;
        durable::write_private(&self.path, &bytes).map_err(failed)
    }

    /// Forgets the oldest ways back beside this one.
    fn prune(&self) {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let Ok(found) = fs::read_dir(folder) else {
            return;
        };
        let mut files: Vec<_> = found
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
            })
            .collect();
        files.sort();
        let surplus = files.len().saturating_sub(KEPT);
        for (_, path) in files.into_iter().take(surplus) {
            // It is only room: the next one tries again.
            let _ = fs::remove_file(path);
        }
    }
}

/// Makes the changes in their order. When one fails, or the action is to stop, those before it are
/// taken back, the last first.
pub(super) fn carry_out(
    iis: &impl Iis,
    context: &ActionContext<'_>,
    log: &Log,
    changes: &[Change],
) -> Result<(), ActionError> {
    log.prune();
    let mut record = log.read()?;
    let before = record.orders.len();
    for change in changes {
        let tried = context.stop.check().and_then(|()| {
            if let Some(back) = &change.back {
                record.orders.push(back.clone());
                log.write(&Record {
                    format: 1,
                    orders: record.orders.clone(),
                })?;
            }
            context.info(&change.says);
            iis.order(&change.order).map(drop)
        });
        if let Err(error) = tried {
            let own = record.orders.split_off(before.min(record.orders.len()));
            // The one that failed is not known to have done nothing: its way back is gone too.
            record.orders.extend(take_back(iis, context, own));
            log.write(&record)?;
            return Err(match error {
                ActionError::Failed { message, exit_code } => ActionError::Failed {
                    message: format!("{}: {message}", change.says),
                    exit_code,
                },
                other => other,
            });
        }
    }
    Ok(())
}

/// Takes back what stands in the log since it held this much.
pub(super) fn back_out(
    iis: &impl Iis,
    context: &ActionContext<'_>,
    log: &Log,
    since: usize,
) -> Result<(), ActionError> {
    let mut record = log.read()?;
    let own = record.orders.split_off(since.min(record.orders.len()));
    record.orders.extend(take_back(iis, context, own));
    log.write(&record)
}

/// How much stands in the log.
pub(super) fn length(log: &Log) -> Result<usize, ActionError> {
    log.read().map(|record| record.orders.len())
}

/// Goes the ways back, the last first, and returns those that are still to go: one that fails is
/// told and kept for `iis.restore`, and the others are gone all the same.
fn take_back(iis: &impl Iis, context: &ActionContext<'_>, orders: Vec<Order>) -> Vec<Order> {
    let mut left = Vec::new();
    for order in orders.into_iter().rev() {
        let said = order.arguments.join(" ");
        match iis.take_back(&order) {
            Ok(_) => context.info(format!("taken back: {said}")),
            Err(error) if was_never_made(&error) => {
                context.verbose(format!("nothing to take back: {said}"));
            }
            Err(error) => {
                context.warning(format!("not taken back: {said}: {error}"));
                left.push(order);
            }
        }
    }
    left.reverse();
    left
}

/// Whether what was to be taken back is not there: its change was stopped before it was made.
fn was_never_made(error: &ActionError) -> bool {
    error
        .to_string()
        .to_ascii_lowercase()
        .contains("cannot find")
}

/// Takes back all that the action did.
pub(super) fn restore(
    iis: &impl Iis,
    context: &ActionContext<'_>,
    log: &Log,
) -> Result<(), ActionError> {
    let mut record = log.read()?;
    if record.orders.is_empty() {
        context.info("this deployment changed nothing here that is to be taken back");
        return Ok(());
    }
    while let Some(order) = record.orders.last() {
        context.stop.check()?;
        let said = order.arguments.join(" ");
        match iis.order(order) {
            Ok(_) => context.info(format!("taken back: {said}")),
            // Killed before it made the change, it left nothing to take back.
            Err(error) if was_never_made(&error) => {
                context.info(format!("nothing to take back: {said}"));
            }
            Err(error) => {
                return Err(ActionError::failed(format!(
                    "{said}: {error}; what was done before that is not taken back either"
                )));
            }
        }
        record.orders.pop();
        log.write(&record)?;
    }
    Ok(())
}

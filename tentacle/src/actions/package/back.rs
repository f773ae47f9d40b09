//! `package.back`: the version that was in use before an action of the same task, in use again.
//!
//! Servers order it to undo a `package`; no file names it. What was in use stands in the records of
//! the versions, written before the switch, so that a kill at any instant leaves it known. Nothing is
//! switched that the action did not switch: it may be repeated, and what somebody did since stays.
//!
//! A folder without its record is never taken for the version that its name says: what it was made of is
//! known by the record alone. Then the undo fails and says so; it never counts as done.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{Action, ActionContext, ActionError, ActionReport, read_inputs};
use super::place::{self, Place};
use super::{custom, pick, report, switch};
use crate::cache::{CustomDirectory, InstallRecord, Replaced};

/// `package.back`.
pub(in super::super) struct Back;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    package: String,
    /// The action of the task whose switch is undone.
    action: String,
}

/// Where the way back leads.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// What is in use has no record, and nothing else says that the action switched: nobody knows.
    Unknown(String),
    /// The action has not switched anything that is in use.
    Nowhere,
    /// To this folder.
    To(String),
    /// Nothing was in use before.
    Nothing,
}

impl Action for Back {
    fn name(&self) -> &'static str {
        "package.back"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        read_inputs::<Inputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        let package = pick(context.packages, &inputs.package)?;
        let place = Place::of(context, &package.id);
        let _lock = place.lock(context)?;
        place.clean().map_err(place::failed(place.root()))?;
        let records = place.records();
        let current = switch::current_folder(&place);
        let in_use = current.as_deref().unwrap_or("nothing");
        let by = |record: &InstallRecord| {
            let by = |replaced: &Replaced| {
                replaced.task == context.names.task && replaced.action == inputs.action
            };
            record.replaced.as_ref().is_some_and(by)
        };
        let folder = match way(&records, current.clone(), by) {
            Way::Unknown(folder) => {
                return Err(ActionError::failed(format!(
                    "it is not known whether '{}' of this deployment brought {folder} into use, nor what was in use before: {}; it stays in use. Deploy the release that is to run here: its package is brought in again and installed beside it",
                    inputs.action,
                    place.without_record(&folder)
                )));
            }
            Way::Nowhere => {
                context.info(format!(
                    "'{}' of this deployment switched nothing here that is still in use; {in_use} stays in use",
                    inputs.action
                ));
                return Ok(ActionReport::default());
            }
            Way::Nothing => {
                return Err(ActionError::failed(format!(
                    "no version of {} was in use here before {in_use}; it stays in use",
                    package.id
                )));
            }
            Way::To(folder) => folder,
        };
        let Some(record) = records.iter().find(|record| record.folder == folder) else {
            return Err(lost(&place, &folder, in_use));
        };
        context.stop.check()?;
        let left = records
            .iter()
            .find(|one| Some(&one.folder) == current.as_ref());
        let left = left.and_then(|one| one.custom.as_ref());
        // Before the switch: who is killed between finds the way once more.
        if let Some(custom) = &record.custom {
            custom::copy(context, &place.folder(record), custom, &[])?;
        }
        let record = switch::to(context, &place, record)?;
        let same = |other: &CustomDirectory| {
            Some(&other.path) == record.custom.as_ref().map(|own| &own.path)
        };
        if let Some(left) = left.filter(|left| !same(left)) {
            context.warning(format!(
                "{} goes on holding {in_use}: {} was not copied there",
                left.path, record.folder
            ));
        }
        report(context, &place, &record);
        Ok(ActionReport::default())
    }
}

/// Why the version that was in use before cannot be put back, and what can be done instead.
fn lost(place: &Place, folder: &str, in_use: &str) -> ActionError {
    let path = place.root().join(folder);
    let why = if path.is_dir() {
        format!(
            "{folder}, which was in use before {in_use}, cannot be taken for what it was: {}",
            place.without_record(folder)
        )
    } else {
        format!(
            "{}, which was in use before {in_use}, is not on this machine any more",
            path.display()
        )
    };
    ActionError::failed(format!(
        "{why}; {in_use} stays in use. Deploy the release that {folder} came with: its package is brought in again and installed anew"
    ))
}

/// From what is in use back over everything that the action switched: tried again, it may have
/// installed more than one folder.
fn way(
    records: &[InstallRecord],
    current: Option<String>,
    by: impl Fn(&InstallRecord) -> bool,
) -> Way {
    let replaced = |folder: &str| {
        let mut own = records.iter().filter(|record| by(record));
        own.find(|record| record.folder == folder)?
            .replaced
            .as_ref()
    };
    // A record of the action elsewhere says that something else was brought into use since.
    let unknown = |folder: &String| {
        !records.iter().any(|record| record.folder == *folder) && !records.iter().any(&by)
    };
    if let Some(folder) = current.as_ref().filter(|folder| unknown(folder)) {
        return Way::Unknown(folder.clone());
    }
    let mut at = current;
    // No more steps than there are versions: a circle leads nowhere.
    for step in 0..=records.len() {
        match at.as_deref().map(|folder| (folder, replaced(folder))) {
            Some((_, Some(before))) => at.clone_from(&before.folder),
            Some((_, None)) | None if step == 0 => return Way::Nowhere,
            Some((folder, None)) => return Way::To(folder.to_owned()),
            None => return Way::Nothing,
        }
    }
    Way::Nowhere
}

#[cfg(test)]
mod tests {
    use mantle_shared::Digest;

    use super::*;

    /// A version that took the place of another, or of none: `-`.
    fn record(folder: &str, before: Option<&str>) -> InstallRecord {
        InstallRecord {
            format: 1,
            package: "Web".to_owned(),
            version: folder.to_owned(),
            folder: folder.to_owned(),
            root: Digest::of(b"root"),
            inputs: Digest::of(b"inputs"),
            installed_at_us: 1,
            activated_at_us: 1,
            unproven: false,
            custom: None,
            replaced: before.map(|before| Replaced {
                task: mantle_shared::TaskId::from_uuid(uuid::Uuid::nil()),
                action: "Install".to_owned(),
                folder: (before != "-").then(|| before.to_owned()),
            }),
        }
    }

    #[test]
    fn the_way_leads_to_what_was_in_use_before_all_that_was_switched() {
        let to = |folder: &str| Way::To(folder.to_owned());
        let records = [
            record("1.0", None),
            record("1.1", Some("1.0")),
            record("1.1_1", Some("1.1")),
            record("first", Some("-")),
            record("a", Some("b")),
            record("b", Some("a")),
            record("x", Some("gone")),
        ];
        for (current, expected) in [
            (None, Way::Nowhere),
            (Some("1.0"), Way::Nowhere),
            (Some("somebody's"), Way::Nowhere),
            (Some("1.1"), to("1.0")),
            (Some("1.1_1"), to("1.0")),
            (Some("first"), Way::Nothing),
            (Some("a"), Way::Nowhere),
            (Some("x"), to("gone")),
        ] {
            let by = |record: &InstallRecord| record.replaced.is_some();
            let found = way(&records, current.map(str::to_owned), by);
            assert_eq!(found, expected, "{current:?}");
        }
        // Without a record of the action nobody knows whether it brought in what has none.
        for (current, expected) in [
            ("1.1", Way::Unknown("1.1".to_owned())),
            ("1.0", Way::Nowhere),
        ] {
            let by = |record: &InstallRecord| record.replaced.is_some();
            let found = way(&[record("1.0", None)], Some(current.to_owned()), by);
            assert_eq!(found, expected, "{current}");
        }
    }
}

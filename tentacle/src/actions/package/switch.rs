//! Making a version the current one.
//!
//! On Linux `current` is a symbolic link that is replaced by one rename. Windows has no such
//! rename for junctions, so there `current.json` is the truth, and the junction follows it: see
//! `junction`.

use std::fs;
use std::io;

use super::super::{ActionContext, ActionError};
#[cfg(not(unix))]
use super::junction;
use super::place::{Place, failed};
use crate::cache::InstallRecord;

/// What a link that is not renamed yet begins with.
pub(super) const TEMP_PREFIX: &str = ".current-";

/// Switches, and notes in the records which versions were in use; gives the record as it is then.
pub(super) fn to(
    context: &ActionContext<'_>,
    place: &Place,
    record: &InstallRecord,
) -> Result<InstallRecord, ActionError> {
    let before = current_folder(place);
    if let Some(before) = before.as_deref().filter(|before| *before != record.folder) {
        note_previous(place, before).map_err(failed(place.root()))?;
    }
    let already = before.as_deref() == Some(record.folder.as_str());
    switch(context, place, record, already)?;
    if already {
        context.info(format!("{} is current already", record.folder));
    } else {
        context.info(format!(
            "current is now {}{}",
            record.folder,
            before.map_or_else(String::new, |before| format!(", it was {before}"))
        ));
    }
    let mut used = record.clone();
    used.activated_at_us = jiff::Timestamp::now().as_microsecond();
    place
        .write_record(&used)
        .map_err(failed(&place.folder(record)))?;
    Ok(used)
}

/// The version before may lack the note that it was in use, if a kill fell between its switch and
/// the note; without it, it would be taken for a failed installation.
fn note_previous(place: &Place, folder: &str) -> io::Result<()> {
    let unnoted = place
        .records()
        .into_iter()
        .find(|record| record.folder == folder && record.activated_at_us == 0);
    match unnoted {
        Some(mut record) => {
            record.activated_at_us = record.installed_at_us;
            place.write_record(&record)
        }
        None => Ok(()),
    }
}

#[cfg(unix)]
pub(super) fn current_folder(place: &Place) -> Option<String> {
    let target = fs::read_link(place.current()).ok()?;
    target.to_str().map(str::to_owned)
}

#[cfg(unix)]
fn switch(
    context: &ActionContext<'_>,
    place: &Place,
    record: &InstallRecord,
    already: bool,
) -> Result<(), ActionError> {
    let _ = context;
    if already {
        return Ok(());
    }
    let current = place.current();
    if fs::symlink_metadata(&current).is_ok_and(|meta| !meta.is_symlink()) {
        return Err(ActionError::failed(format!(
            "{} is not a link that this agent made; move it away and deploy again",
            current.display()
        )));
    }
    let temp = place
        .root()
        .join(format!("{TEMP_PREFIX}{}", uuid::Uuid::now_v7().simple()));
    std::os::unix::fs::symlink(&record.folder, &temp)
        .inspect(|()| mantle_shared::fault::point("package.before_switch"))
        .and_then(|()| fs::rename(&temp, &current))
        .inspect(|()| mantle_shared::fault::point("package.switched"))
        .and_then(|()| crate::durable::sync_folder(place.root()))
        .map_err(failed(&current))
}

#[cfg(not(unix))]
pub(super) fn current_folder(place: &Place) -> Option<String> {
    junction::Current::read(place.root()).map(|current| current.folder)
}

#[cfg(not(unix))]
fn switch(
    context: &ActionContext<'_>,
    place: &Place,
    record: &InstallRecord,
    already: bool,
) -> Result<(), ActionError> {
    if !already {
        let current = junction::Current {
            format: 1,
            folder: record.folder.clone(),
            version: record.version.clone(),
            path: place.folder(record).display().to_string(),
        };
        current
            .write(place.root())
            .map_err(failed(&place.root().join(junction::FILE)))?;
        mantle_shared::fault::point("package.switched");
    }
    let link = place.current();
    match junction::follow(place.root(), &record.folder, JUNCTIONS) {
        Ok(_) => Ok(()),
        Err(error) if without_junctions() => {
            context.warning(format!("{}: {error}", link.display()));
            Ok(())
        }
        Err(error) => Err(ActionError::failed(format!(
            "{} names {}, but the junction {} does not follow: {error}; whatever uses the junction has another version",
            junction::FILE,
            record.folder,
            link.display()
        ))),
    }
}

/// For the tests under Wine, which has no junctions. Nothing excuses what is shipped.
#[cfg(not(unix))]
fn without_junctions() -> bool {
    cfg!(feature = "faults") && std::env::var_os("MANTLE_WITHOUT_JUNCTIONS").is_some()
}

#[cfg(not(unix))]
const JUNCTIONS: junction::Links = junction::Links {
    make: make_junction,
    // Removes the junction, never what it points at; a folder with files in it is refused.
    remove: |link| fs::remove_dir(link),
};

#[cfg(not(unix))]
fn make_junction(link: &std::path::Path, target: &std::path::Path) -> io::Result<()> {
    let output = std::process::Command::new("cmd")
        .args(["/D", "/C", "mklink", "/J"])
        .arg(link)
        .arg(target)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

/// Completes the switches that a kill cut short, when the agent starts.
#[cfg(not(unix))]
pub(in crate::actions) fn complete_all(apps: &std::path::Path) {
    junction::complete_all(apps, JUNCTIONS);
}

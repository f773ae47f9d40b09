//! Making a version the current one.
//!
//! On Linux `current` is a symbolic link that is replaced by one rename. Windows has no such
//! rename for junctions, so there `current.json` is the truth, and the junction follows it: it is
//! made anew by every installation, so one that a kill left behind is put right by the next.

use std::fs;
use std::io;

use super::super::{ActionContext, ActionError};
use super::place::{Place, failed};
use crate::cache::InstallRecord;

/// What a link that is not renamed yet begins with.
pub(super) const TEMP_PREFIX: &str = ".current-";

/// Switches, and notes in the records which versions were in use.
pub(super) fn to(
    context: &ActionContext<'_>,
    place: &Place,
    record: &InstallRecord,
) -> Result<(), ActionError> {
    let before = current_folder(place);
    if let Some(before) = before.as_deref().filter(|before| *before != record.folder) {
        note_previous(place, before).map_err(failed(place.root()))?;
    }
    if before.as_deref() == Some(record.folder.as_str()) {
        context.info(format!("{} is current already", record.folder));
    } else {
        switch(context, place, record)?;
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
        .map_err(failed(&place.folder(record)))
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
) -> Result<(), ActionError> {
    let _ = context;
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
#[derive(serde::Serialize, serde::Deserialize)]
struct Current {
    format: u32,
    folder: String,
    version: String,
    path: String,
}

#[cfg(not(unix))]
pub(super) fn current_folder(place: &Place) -> Option<String> {
    let bytes = fs::read(place.root().join("current.json")).ok()?;
    let current: Current = serde_json::from_slice(&bytes).ok()?;
    Some(current.folder)
}

#[cfg(not(unix))]
fn switch(
    context: &ActionContext<'_>,
    place: &Place,
    record: &InstallRecord,
) -> Result<(), ActionError> {
    use crate::durable::{self, Privacy};
    let current = Current {
        format: 1,
        folder: record.folder.clone(),
        version: record.version.clone(),
        path: place.folder(record).display().to_string(),
    };
    let path = place.root().join("current.json");
    serde_json::to_vec_pretty(&current)
        .map_err(io::Error::from)
        .and_then(|bytes| durable::write(&path, &bytes, Privacy::Folder))
        .map_err(failed(&path))?;
    if let Err(error) = point_junction(place, record) {
        context.warning(format!(
            "the junction {} could not be made ({error}); current.json names the version, the junction follows at the next installation",
            place.current().display()
        ));
    }
    Ok(())
}

#[cfg(not(unix))]
fn point_junction(place: &Place, record: &InstallRecord) -> io::Result<()> {
    let junction = place.current();
    if fs::symlink_metadata(&junction).is_ok() {
        // Removes the junction, never what it points at; a folder with files in it is refused.
        fs::remove_dir(&junction)?;
    }
    let output = std::process::Command::new("cmd")
        .args(["/D", "/C", "mklink", "/J"])
        .arg(&junction)
        .arg(place.folder(record))
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

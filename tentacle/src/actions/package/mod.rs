//! `package`: an installed version of a package, complete or not there, and `current` switched to it.
//!
//! Everything is made in a staging folder beside the target: the files, then what is written from
//! variables into them. A record of what went in is kept beside the folder, and the folder appears
//! by one rename. If a folder with the same manifest and the same written files is installed
//! already, only the switch is made, which is what makes going back instant. A kill at any instant
//! leaves either the old version current or the new one.

mod back;
mod files;
#[cfg(any(not(unix), test))]
mod junction;
mod place;
mod switch;
#[cfg(test)]
mod tests;
mod transforms;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use mantle_shared::Digest;
use mantle_shared::fault;
use mantle_shared::order::OrderPackage;
use mantle_shared::protocol::Level;
use mantle_shared::transform_rule::TransformRule;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::values;
use super::{Action, ActionContext, ActionError, ActionReport, ChildEnd, OutputSink};
use crate::cache::{Cache, InstallRecord, PackageFile, Replaced, WalkError};
use crate::durable;
use crate::output::service_message::MessageRules;
use place::Place;

pub(super) use back::Back;

#[cfg(not(unix))]
pub(super) use switch::complete_all;

/// Earlier versions that stay unless `keep` says otherwise.
const KEEP: u32 = 3;

/// `package`.
pub(super) struct Package;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    package: String,
    #[serde(default, deserialize_with = "values::texts")]
    substitute: Vec<String>,
    #[serde(default, deserialize_with = "rules")]
    transforms: Vec<(String, TransformRule)>,
    #[serde(default, deserialize_with = "values::switch")]
    ignore_transform_warnings: bool,
    #[serde(default, deserialize_with = "values::texts")]
    dotnet_config: Vec<String>,
    #[serde(default, deserialize_with = "values::texts")]
    structured: Vec<String>,
    #[serde(default, deserialize_with = "values::optional_number")]
    keep: Option<u32>,
}

impl Action for Package {
    fn name(&self) -> &'static str {
        "package"
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        super::read_inputs::<Inputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        let package = pick(context.packages, &inputs.package)?;
        let cache = Cache::at(context.state_dir.cache());
        let place = Place::of(context, &package.id);
        let lock = place.lock(context)?;
        place.clean().map_err(place::failed(place.root()))?;
        let files = cache
            .package_files(package.root)
            .map_err(|error| walk_failed(package, &error))?;
        let installation = Installation {
            context,
            cache: &cache,
            files: &files,
            inputs: &inputs,
            place: &place,
        };
        let (written, digest, found) = installation.settle(package)?;
        let mut record = match found {
            Some(record) => {
                context.info(format!(
                    "{} {} is installed already, with the same configuration, in {}",
                    package.id,
                    package.version,
                    place.folder(&record).display()
                ));
                record
            }
            None => install(context, package, &place, &written, digest)?,
        };
        context.stop.check()?;
        note_replaced(context, &place, &mut record)?;
        switch::to(context, &place, &record)?;
        place.retain(context, inputs.keep.unwrap_or(KEEP), &record.folder);
        drop(lock);
        report(context, &place, &record);
        Ok(ActionReport::default())
    }
}

/// What of a package is in use: its folder and its version.
pub(super) fn in_use(
    apps: &Path,
    (environment, project): (&str, &str),
    package: &str,
) -> Option<(PathBuf, String)> {
    let place = Place::new(apps, environment, project, package);
    let folder = switch::current_folder(&place)?;
    let mut records = place.records().into_iter();
    let record = records.find(|record| record.folder == folder)?;
    Some((place.folder(&record), record.version))
}

/// Lines of `transforms:`, each with what it means.
fn rules<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, TransformRule)>, D::Error> {
    let read = |line: String| match TransformRule::parse(&line) {
        Ok(rule) => Ok((line, rule)),
        Err(error) => Err(D::Error::custom(error)),
    };
    values::texts(deserializer)?.into_iter().map(read).collect()
}

/// An installation whose folder is not settled yet.
struct Installation<'a> {
    context: &'a ActionContext<'a>,
    cache: &'a Cache,
    files: &'a [PackageFile],
    inputs: &'a Inputs,
    place: &'a Place,
}

type Settled = (BTreeMap<String, Vec<u8>>, Digest, Option<InstallRecord>);

impl Installation<'_> {
    /// What is written, its digest, and the folder that was made of exactly that. Where files name the
    /// folder that they are in, each folder of the version is asked whether it was made so.
    fn settle(&self, package: &OrderPackage) -> Result<Settled, ActionError> {
        let new = self.place.unused_folder(&package.version);
        let (written, names_folder) = self.written(self.context, &new)?;
        let digest = inputs_digest(package.root, &written);
        let mut found = self.place.find(&package.version, digest);
        if names_folder {
            let quiet = ActionContext {
                output: &Quiet,
                ..*self.context
            };
            let mut records = self.place.records();
            records.retain(|one| one.version == package.version && one.root == package.root);
            records.sort_by_key(|one| std::cmp::Reverse(one.activated_at_us));
            for record in records {
                let (same, _) = self.written(&quiet, &record.folder)?;
                if inputs_digest(package.root, &same) == record.inputs {
                    found = Some(record);
                    break;
                }
            }
        }
        Ok((written, digest, found))
    }

    fn written(
        &self,
        context: &ActionContext<'_>,
        folder: &str,
    ) -> Result<(BTreeMap<String, Vec<u8>>, bool), ActionError> {
        let folder = self.place.root().join(folder);
        files::written(context, self.cache, self.files, self.inputs, &folder)
    }
}

/// Says nothing twice.
struct Quiet;

impl OutputSink for Quiet {
    fn line(&self, _level: Level, _text: &str) {}
    fn progress(&self, _percent: u8, _message: &str) {}
    fn set_variable(&self, _name: &str, _value: &str, _sensitive: bool) {}
    fn run_child(&self, _command: Command, _rules: &MessageRules) -> Result<ChildEnd, ActionError> {
        Err(ActionError::failed("files are written without a process"))
    }
}

/// Before the switch, what is in use and will not be: a rollback goes back to it.
fn note_replaced(
    context: &ActionContext<'_>,
    place: &Place,
    record: &mut InstallRecord,
) -> Result<(), ActionError> {
    let before = switch::current_folder(place);
    if before.as_deref() == Some(record.folder.as_str()) {
        return Ok(());
    }
    record.replaced = Some(Replaced {
        task: context.names.task,
        action: context.names.action.clone(),
        folder: before,
    });
    place
        .write_record(record)
        .map_err(place::failed(&place.folder(record)))
}

/// What later steps can know of the version in use.
fn report(context: &ActionContext<'_>, place: &Place, record: &InstallRecord) {
    for (name, value) in [
        (
            "Package.InstallationDirectoryPath",
            place.folder(record).display().to_string(),
        ),
        (
            "Package.CurrentDirectoryPath",
            place.current().display().to_string(),
        ),
        ("Package.Id", record.package.clone()),
        ("Package.Version", record.version.clone()),
    ] {
        context.output.set_variable(name, &value, false);
    }
}

/// The package that is meant.
fn pick<'a>(packages: &'a [OrderPackage], id: &str) -> Result<&'a OrderPackage, ActionError> {
    let wanted = id.trim();
    let found = packages
        .iter()
        .find(|package| package.id.eq_ignore_ascii_case(wanted));
    found.ok_or_else(|| {
        let ids: Vec<_> = packages.iter().map(|package| package.id.as_str()).collect();
        let has = match ids.as_slice() {
            [] => "the step uses none".to_owned(),
            ids => format!("the step uses: {}", ids.join(", ")),
        };
        ActionError::input(format!(
            "package: '{wanted}' is not a package of this step; {has}"
        ))
    })
}

/// The digest of all that goes into a folder.
fn inputs_digest(root: Digest, written: &BTreeMap<String, Vec<u8>>) -> Digest {
    let mut lines = vec![format!("mantle-install/1\n{root}")];
    lines.extend(
        written
            .iter()
            .map(|(path, bytes)| format!("{} {path}", Digest::of(bytes))),
    );
    Digest::of(lines.join("\n").as_bytes())
}

fn install(
    context: &ActionContext<'_>,
    package: &OrderPackage,
    place: &Place,
    written: &BTreeMap<String, Vec<u8>>,
    inputs: Digest,
) -> Result<InstallRecord, ActionError> {
    let staging = place
        .stage(&context.names.attempt.to_string())
        .map_err(place::failed(place.root()))?;
    let built = (|| {
        context.package_files.materialise(package, &staging)?;
        for (path, bytes) in written {
            context.stop.check()?;
            let target = path
                .split('/')
                .fold(staging.clone(), |at, part| at.join(part));
            overwrite(&target, bytes).map_err(place::failed(&target))?;
        }
        flush(&staging).map_err(place::failed(&staging))
    })();
    if let Err(error) = built {
        // What cannot be removed now is removed at the next installation.
        let _ = fs::remove_dir_all(&staging);
        return Err(error);
    }
    let record = InstallRecord {
        format: 1,
        package: package.id.clone(),
        version: package.version.clone(),
        folder: place.unused_folder(&package.version),
        root: package.root,
        inputs,
        installed_at_us: jiff::Timestamp::now().as_microsecond(),
        activated_at_us: 0,
        replaced: None,
    };
    let folder = place.folder(&record);
    place
        .write_record(&record)
        .inspect(|()| fault::point("package.before_rename"))
        .and_then(|()| durable::rename(&staging, &folder))
        .and_then(|()| durable::sync_folder(place.root()))
        .inspect(|()| fault::point("package.installed"))
        .map_err(place::failed(&folder))?;
    context.info(format!(
        "{} {} installed in {}",
        package.id,
        package.version,
        folder.display()
    ));
    Ok(record)
}

/// Writes a file of the staging folder anew; its mode stays.
fn overwrite(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::options().write(true).truncate(true).open(path)?;
    file.write_all(bytes)
}

/// Brings all of the folder to the disk before it gets its name: a power cut must not leave a
/// folder with a record and half its bytes.
fn flush(folder: &Path) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(fs::File::open(folder)?)?;
    #[cfg(not(target_os = "linux"))]
    flush_files(folder)?;
    Ok(())
}

/// Where a file system cannot be flushed as a whole: file by file; gives how many. A link has nothing
/// of its own to flush.
#[cfg(any(not(target_os = "linux"), test))]
fn flush_files(folder: &Path) -> std::io::Result<usize> {
    let mut files = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                // Windows flushes what may be written alone.
                let file = fs::File::options().append(true).open(entry.path())?;
                file.sync_all()?;
                files += 1;
            }
        }
        durable::sync_folder(&folder)?;
    }
    Ok(files)
}

fn walk_failed(package: &OrderPackage, error: &WalkError) -> ActionError {
    use std::error::Error as _;
    let mut message = format!("package {} {}: {error}", package.id, package.version);
    if let Some(source) = error.source() {
        message = format!("{message}: {source}");
    }
    ActionError::failed(format!(
        "{message}; deploy again, the agent fetches what is missing"
    ))
}

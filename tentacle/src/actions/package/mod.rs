//! `package`: an installed version of a package, complete or not there, and `current` switched to it.
//!
//! Everything is made in a staging folder beside the target: the files, then what is written from
//! variables into them. A record of what went in is kept beside the folder, and the folder appears
//! by one rename. If a folder with the same manifest and the same written files is installed
//! already, only the switch is made, which is what makes going back instant. A kill at any instant
//! leaves either the old version current or the new one.
//!
//! Where scripts are to work on a version before it is in use, its folder is a fresh one and has its
//! name from the start; until it is complete its record says so, and nothing takes it for a version.

mod back;
mod conventions;
mod custom;
mod files;
#[cfg(any(not(unix), test))]
mod junction;
mod making;
mod place;
mod scripts;
mod source;
mod switch;
#[cfg(test)]
mod tests;
mod transfer;
mod transforms;

use std::path::{Path, PathBuf};

use mantle_shared::order::OrderPackage;
use mantle_shared::transform_rule::TransformRule;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::values;
use super::{Action, ActionContext, ActionError, ActionReport};
use crate::cache::{Cache, InstallRecord, WalkError};
use conventions::Installation;
use custom::CustomInputs;
use making::Making;
use place::Place;
use scripts::InlineScripts;

pub(super) use back::Back;
pub(super) use transfer::Transfer;

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
    #[serde(default)]
    scripts: InlineScripts,
    #[serde(default, deserialize_with = "values::switch")]
    packaged_scripts: bool,
    custom_directory: Option<CustomInputs>,
    #[serde(default, deserialize_with = "values::switch")]
    skip_if_installed: bool,
    #[serde(default, deserialize_with = "values::optional_number")]
    keep: Option<u32>,
}

impl Inputs {
    /// Something is written into files.
    fn configures(&self) -> bool {
        let lists = [&self.substitute, &self.dotnet_config, &self.structured];
        !self.transforms.is_empty() || lists.iter().any(|list| !list.is_empty())
    }
}

impl Action for Package {
    fn name(&self) -> &'static str {
        "package"
    }

    fn verbatim(&self) -> &'static [&'static str] {
        &["scripts"]
    }

    fn check(&self, with: &Map<String, Value>) -> Result<(), ActionError> {
        super::read_inputs::<Inputs>(with).map(drop)
    }

    fn run(&self, context: &ActionContext<'_>) -> Result<ActionReport, ActionError> {
        let inputs: Inputs = context.inputs()?;
        let package = pick(context.packages, &inputs.package)?;
        let cache = Cache::at(context.state_dir.cache());
        let place = Place::of(context, &package.id);
        let _lock = place.lock(context)?;
        place.clean().map_err(place::failed(place.root()))?;
        let files = cache
            .package_files(package.root)
            .map_err(|error| walk_failed(package, &error))?;
        let making = Making {
            context,
            package,
            cache: &cache,
            files: &files,
            inputs: &inputs,
            place: &place,
        };
        Installation::of(making)?.run()
    }
}

/// What of a package is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// The version's folder.
    pub folder: PathBuf,
    /// The version.
    pub version: String,
    /// Where it was copied to.
    pub custom: Option<String>,
}

/// What of a package is in use.
pub(super) fn in_use(
    apps: &Path,
    (environment, project): (&str, &str),
    package: &str,
) -> Option<InUse> {
    let place = Place::new(apps, environment, project, package);
    let folder = switch::current_folder(&place)?;
    let mut records = place.records().into_iter();
    let record = records.find(|record| record.folder == folder)?;
    Some(InUse {
        folder: place.folder(&record),
        version: record.version,
        custom: record.custom.map(|custom| custom.path),
    })
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

/// Where a version is served from: a folder of its own, if it was copied there.
fn directory(place: &Place, record: &InstallRecord) -> String {
    match &record.custom {
        Some(custom) => custom.path.clone(),
        None => place.folder(record).display().to_string(),
    }
}

/// What later steps can know of the version in use.
fn report(context: &ActionContext<'_>, place: &Place, record: &InstallRecord) {
    for (name, value) in [
        (
            "Package.InstallationDirectoryPath",
            directory(place, record),
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

/// The bytes of one file of a package, as it was pushed.
pub(super) fn file(
    context: &ActionContext<'_>,
    package: &str,
    path: &str,
) -> Result<Vec<u8>, ActionError> {
    let package = pick(context.packages, package)?;
    let cache = Cache::at(context.state_dir.cache());
    let files = cache
        .package_files(package.root)
        .map_err(|error| walk_failed(package, &error))?;
    let wanted = path.trim().replace('\\', "/");
    let wanted = wanted.trim_start_matches("./");
    let found = files.iter().find(|file| file.path == wanted);
    let found = found.ok_or_else(|| {
        ActionError::failed(format!(
            "'{path}' is no file of the package {} {}; write its path as it is in the archive that was pushed",
            package.id, package.version
        ))
    })?;
    if found.size_bytes > crate::config::MAX_FILE_BYTES {
        return Err(ActionError::failed(format!(
            "'{path}' of the package {} {} is larger than {} bytes, which is the most that is read at once",
            package.id,
            package.version,
            crate::config::MAX_FILE_BYTES
        )));
    }
    cache
        .package_file(found)
        .map_err(|error| walk_failed(package, &error))
}

/// Puts all of a package into an empty folder, as it was pushed.
pub(super) fn unpack(
    context: &ActionContext<'_>,
    package: &str,
    into: &Path,
) -> Result<(), ActionError> {
    let package = pick(context.packages, package)?;
    context.package_files.materialise(package, into)
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
